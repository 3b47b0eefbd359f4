"""Commands for who operates an application: `users`, `sessions`, `keys`, `purge`, `db`."""
