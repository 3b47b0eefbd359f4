"""Which extra brings which module, and the error where it was not installed.

The extras are declared in pyproject.toml; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

_EMBEDDED: Final = frozenset({"jinja2", "markupsafe", "structlog", "typer"})
"""Pages, and the commands for the one who runs the application: `db`, `keys`, `users`, …"""
_FLASK: Final = frozenset({"click", "flask", "werkzeug"}) | _EMBEDDED
_EMULATOR: Final = frozenset({"httptools", "jinja2", "typer", "yaml"})

BRINGS: Final[Mapping[str, frozenset[str]]] = {
    "app": frozenset({"granian", "jmespath", "prometheus_client", "rich", "starlette"})
    | _EMBEDDED
    | _EMULATOR,
    "emulator": _EMULATOR,
    "fastapi": frozenset({"fastapi", "starlette"}) | _EMBEDDED,
    "flask": _FLASK,
    "flask-login": frozenset({"flask_login"}) | _FLASK,
    "gevent": frozenset({"gevent"}),
    "django": frozenset({"asgiref", "django"}) | _EMBEDDED,
    "pytest": frozenset({"pytest"}) | _EMULATOR,
    "postgresql": frozenset({"psycopg"}),
    "mysql": frozenset({"pymysql"}),
}
"""The modules that each extra brings everywhere. Where several bring one, the first is named."""


class MissingExtra(ModuleNotFoundError):
    """Something needs a module that comes with an extra, which was not installed.

    Attributes:
        name: The module.
        extra: The extra.
        what: What happened, as a sentence.
        why: The reason, as a sentence.
        cure: What to do about it, as a sentence.
    """

    def __init__(self, module: str, extra: str) -> None:
        self.extra = extra
        self.what = f"{module} is needed here, and is not installed"
        self.why = f"It comes with the extra [{extra}] of procore-signin."
        self.cure = install(extra)
        super().__init__(f"{self.what}. {self.why} {self.cure}", name=module)


def install(extra: str) -> str:
    """Return the sentence that says how to install `extra`."""
    return f"Run: pip install 'procore-signin[{extra}]'"


def missing(error: ModuleNotFoundError, wanted: str | None = None) -> MissingExtra | None:
    """Return the error that names the extra; None if no extra brings the module.

    Args:
        error: What Python raised.
        wanted: The extra of the code that imports, which is named if it brings the module.
    """
    module = (error.name or "").partition(".")[0]
    brings = [extra for extra, modules in BRINGS.items() if module in modules]
    if not brings:
        return None
    return MissingExtra(module, wanted if wanted in brings else brings[0])


def need(extra: str) -> None:
    """Raise `MissingExtra` unless everything is there that `extra` brings."""
    for module in sorted(BRINGS[extra]):
        if find_spec(module) is None:
            raise MissingExtra(module, extra)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Name the extra where an import in this block finds no module.

    Args:
        name: The extra that the imports belong to.

    Raises:
        MissingExtra: A module is missing that an extra brings.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        named = missing(error, name)
        if named is None:
            raise
        raise named from None
