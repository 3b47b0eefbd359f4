"""Who and what exists: users, companies, clients, grants. It knows nothing of HTTP."""
