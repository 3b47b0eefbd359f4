"""Commands for a user without a web application: `login`, `logout`, `whoami`, `api`."""
