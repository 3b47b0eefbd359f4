"""The model that gives the admin page its permissions; it has no table."""
