"""The database behind the store: its address, statements, transactions and failures."""
