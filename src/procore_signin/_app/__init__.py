"""The ready application: the tutorial's pages, its logs and metrics, and its server."""
