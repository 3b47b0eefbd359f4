"""The ready application: the tutorial's pages, its settings and its server."""

from procore_signin.app.application import create_app, from_environment

__all__ = ["create_app", "from_environment"]
