"""Where the tables are: which database, by which driver, and what they are called there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, Self

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from procore_signin._extras import install
from procore_signin._program import database_setting
from procore_signin._program import program as this_program

Backend = Literal["sqlite", "postgresql", "mysql"]

_EXAMPLES: Final = (
    "Write sqlite:///test.db, postgresql://user:password@host/database "
    "or mysql://user:password@host/database."
)
_ENCODE: Final = (
    "If the user, the password or another part has one of @ : / ? # % in it, write that "
    "percent-encoded: @ as %40, % as %25."
)
LONGEST_PREFIX: Final = 24
"""The longest name of ours has 34 letters, and PostgreSQL cuts names after 63; some are left."""

_PREFIX: Final = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{LONGEST_PREFIX - 1}}}")
_SCHEMA: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_SQLITES_OWN: Final = "sqlite_"
_POSTGRESQLS_OWN: Final = re.compile(r"pg_|information_schema$", re.IGNORECASE)
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
class Naming:
    """What our tables are called in a database that they may share with an application's.

    Attributes:
        prefix: Stands before the name of every table, index and constraint.
        schema: The schema of PostgreSQL that they are in, which every statement spells out; None
            for the connection's own.

    Raises:
        ValueError: One of them cannot be part of a name. The message says what can.
    """

    prefix: str = ""
    schema: str | None = None

    def __post_init__(self) -> None:
        if self.prefix and not _PREFIX.fullmatch(self.prefix):
            raise ValueError(
                "The prefix of the tables is no part of a name. Write 1 to "
                f"{LONGEST_PREFIX} letters, digits and underscores, a letter first, such as "
                "procore_signin_."
            )
        if self.prefix.lower().startswith(_SQLITES_OWN):
            raise ValueError(
                f"SQLite keeps names that begin with {_SQLITES_OWN} to itself. "
                "Write another prefix, such as procore_signin_."
            )
        if self.schema is not None and not _SCHEMA.fullmatch(self.schema):
            raise ValueError(
                "The schema of the tables is no name. Write 1 to 63 letters, digits and "
                "underscores, a letter or an underscore first, such as procore."
            )
        if self.schema is not None and _POSTGRESQLS_OWN.match(self.schema):
            raise ValueError(
                "PostgreSQL keeps information_schema, and names that begin with pg_, to itself. "
                "Write another schema, such as procore."
            )

    def check_in(self, backend: Backend) -> None:
        """Make sure that a database of this kind can have the names.

        Raises:
            ValueError: It has no schemas.
        """
        if self.schema is not None and backend != "postgresql":
            raise ValueError(
                "Only PostgreSQL has schemas. Write a prefix for the tables instead, in "
                "PROCORE_TABLE_PREFIX."
            )

    def name(self, plain: str) -> str:
        """Return what the table, index or constraint `plain` is called."""
        return f"{self.prefix}{plain}"

    def key(self, plain: str) -> str:
        """Return what SQLAlchemy calls the table `plain`: with the schema, if there is one."""
        return ".".join([*([self.schema] if self.schema else []), self.name(plain)])


PLAIN: Final = Naming()
"""The tutorial's own names."""


class Label(str):
    """A database's name for messages: without user, password and options.

    Attributes:
        setting: The setting that says which database it is.
        program: How commands begin that act on it, such as `procore-signin`.
        upgrade: The command that makes and updates its tables.
    """

    __slots__ = ("program", "setting", "upgrade")
    setting: str
    program: str
    upgrade: str

    def __new__(
        cls,
        name: str,
        *,
        setting: str | None = None,
        program: str | None = None,
        upgrade: str | None = None,
    ) -> Self:
        """Return the name, with what messages send their readers to."""
        label = super().__new__(cls, name)
        label.setting = setting or database_setting()
        label.program = program or this_program()
        label.upgrade = upgrade or f"{label.program} db upgrade"
        return label


@dataclass(frozen=True, slots=True)
class Address:
    """Where the tables are.

    Attributes:
        backend: Which of the three kinds of database; MariaDB counts as `mysql`.
        label: The database's name for messages.
        url: What SQLAlchemy connects with, the driver named.
        path: SQLite's file, absolute; None for a server.
        naming: What the tables are called.
    """

    backend: Backend
    label: Label
    url: URL = field(repr=False)
    path: Path | None = None
    naming: Naming = PLAIN


def parse_address(text: str, naming: Naming = PLAIN) -> Address:
    """Read the setting `PROCORE_DATABASE_URL`.

    Args:
        text: `sqlite:///<file>`, `postgresql://…`, `mysql://…` or `mariadb://…`. The driver is
            chosen here; naming the same one, as in `postgresql+psycopg://…`, is fine.
        naming: What the tables are called there.

    Raises:
        ValueError: No such form, another driver, a database in memory, a driver that is not
            installed, blanks around it, an `@` that belongs to a password and makes the rest of
            it a host, a password that the driver cannot send, a schema where there are none, or a
            working directory that was deleted. The message says what to do and never repeats the
            text.
    """
    address = _parsed(text)
    naming.check_in(address.backend)
    return replace(address, naming=naming)


def address_of(where: Address | str) -> Address:
    """Return `where`, or the address that it writes out.

    Raises:
        ValueError: As `parse_address` says.
    """
    return where if isinstance(where, Address) else parse_address(where)


def _parsed(text: str) -> Address:
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
        raise ValueError(f"The driver for {scheme} databases is not installed. {install(backend)}")
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
        backend, Label(f"{scheme}://{place}/{url.database}"), url.set(drivername=f"{name}+{wanted}")
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
    try:
        path = Path(url.database).absolute()
    except FileNotFoundError:
        raise ValueError(
            "The database's file is in the working directory, which was deleted. Start in a folder "
            "that exists, or write the whole path: sqlite:////srv/app/procore.db."
        ) from None
    return Address("sqlite", Label(f"sqlite:///{url.database}"), url, path)
