"""The database's address: which of the three it is, by which driver, and how to name it safely."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

Backend = Literal["sqlite", "postgresql", "mysql"]

_EXAMPLES: Final = (
    "Write sqlite:///test.db, postgresql://user:password@host/database "
    "or mysql://user:password@host/database."
)
_ENCODE: Final = (
    "If the user, the password or another part has one of @ : / ? # % in it, write that "
    "percent-encoded: @ as %40, % as %25."
)
_BACKENDS: Final[dict[str, Backend]] = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_DRIVERS: Final[dict[Backend, tuple[str, str]]] = {
    "sqlite": ("pysqlite", "sqlite3"),
    "postgresql": ("psycopg", "psycopg"),
    "mysql": ("pymysql", "pymysql"),
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is.

    Attributes:
        backend: Which of the three kinds; MariaDB counts as `mysql`.
        label: Its name for messages: without user, password and options.
        url: What SQLAlchemy connects with, the driver named.
        path: SQLite's file, absolute; None for a server.
    """

    backend: Backend
    label: str
    url: URL = field(repr=False)
    path: Path | None = None


def parse_address(text: str) -> Address:
    """Read the setting `PROCORE_DATABASE_URL`.

    Args:
        text: `sqlite:///<file>`, `postgresql://…`, `mysql://…` or `mariadb://…`. The driver is
            chosen here; naming the same one, as in `postgresql+psycopg://…`, is fine.

    Raises:
        ValueError: No such form, another driver, a database in memory, a driver that is not
            installed, blanks around it, an `@` that belongs to a password and makes the rest of
            it a host, or a password that the driver cannot send. The message says what to do and
            never repeats the text.
    """
    if trimmed(text) != text:
        raise ValueError(
            "The database's address begins or ends with a blank, a line end or an invisible "
            "character. Remove it; the last is often the \\r of a file from Windows."
        )
    url = _make_url(text)
    scheme, _, driver = url.drivername.partition("+")
    backend = _BACKENDS.get(scheme)
    if backend is None:
        raise ValueError(f"The database's address starts with an unknown scheme. {_EXAMPLES}")
    wanted, module = _DRIVERS[backend]
    if driver not in {"", wanted}:
        raise ValueError(
            f"procore-signin reaches {scheme} databases through {wanted} only. "
            f"Write {scheme}:// without naming a driver."
        )
    if find_spec(module) is None:
        raise ValueError(
            f"The driver for {scheme} databases is not installed. "
            f"Run: pip install 'procore-signin[{backend}]'"
        )
    if backend == "sqlite":
        return _sqlite_address(url)
    # What stands behind a raw @ of the password would count as the host, and be shown as such.
    if text.count("@") > (url.username is not None):
        raise ValueError(f"The database's address has an @ too many. {_ENCODE} {_EXAMPLES}")
    if not url.database:
        raise ValueError(f"The database's address names no database. {_EXAMPLES}")
    if backend == "mysql" and not _is_latin_1(str(url.password or "")):
        # PyMySQL would raise an error that quotes the letter.
        raise ValueError(
            "The database's password has a letter beyond Latin-1, which the driver for "
            f"{scheme} cannot send. Choose another password."
        )
    name = "mariadb" if scheme == "mariadb" else backend
    place = f"{url.host or 'localhost'}{f':{url.port}' if url.port else ''}"
    return Address(
        backend, f"{scheme}://{place}/{url.database}", url.set(drivername=f"{name}+{wanted}")
    )


def _is_latin_1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def trimmed(text: str) -> str:
    """Return `text` without blanks, line ends and invisible characters at its ends."""
    seen = [place for place, c in enumerate(text) if c.isprintable() and not c.isspace()]
    return text[seen[0] : seen[-1] + 1] if seen else ""


def _make_url(text: str) -> URL:
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        pass  # their message may quote the text, and with it a password
    raise ValueError(f"The database's address cannot be read. {_EXAMPLES} {_ENCODE}")


def _sqlite_address(url: URL) -> Address:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ValueError(
            "SQLite needs a file, because threads and processes share it. Write sqlite:///test.db."
        )
    if url.query or url.host or url.username:
        raise ValueError("A SQLite address is sqlite:/// and the file, without anything else.")
    name, at, _ = url.database.partition("@")
    if at and ":" in name:  # a server's, behind the wrong scheme: it would be shown as a file
        raise ValueError(f"The database's address has a password behind sqlite://. {_EXAMPLES}")
    path = Path(url.database).absolute()
    return Address("sqlite", f"sqlite:///{url.database}", url, path)
