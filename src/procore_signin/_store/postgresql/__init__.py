"""PostgreSQL: psycopg's connections, and what they are given to do."""
