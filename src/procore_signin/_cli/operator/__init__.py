"""Commands for the operator of an application: `users`, `sessions`, `keys`, `purge`, `db`."""
