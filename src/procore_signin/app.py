"""The ready application: the tutorial's pages, its settings and its server.

The two functions are loaded on first use: reading the settings needs no web framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from procore_signin._extras import extra

if TYPE_CHECKING:
    from procore_signin._app.application import create_app, from_environment

__all__ = ["create_app", "from_environment"]


def __getattr__(name: str) -> object:
    """Load a public name (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with extra("app"):
        value: object = getattr(import_module("procore_signin._app.application"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
