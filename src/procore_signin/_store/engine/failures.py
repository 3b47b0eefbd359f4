"""What a failing statement means: try again, tell the caller, or show a defect.

A driver's own text may quote values ("Key (environment, procore_id)=(…) already exists"). It is
read here to tell the cases apart and goes no further: what is raised instead is raised outside the
`except` block, so that no traceback carries the original.
"""

from __future__ import annotations

from typing import Final, Literal

from sqlalchemy import exc

from procore_signin._store.engine.address import Label
from procore_signin.errors import StoreUnavailable

Failure = Literal[
    "collision",
    "locked",
    "disconnected",
    "uncertain",
    "unmigrated",
    "absent",
    "no_folder",
    "no_schema",
    "no_database",
    "refused",
    "not_admitted",
    "no_encryption",
    "no_tls_there",
    "no_certificate",
    "untrusted",
    "parameter",
    "unresolved",
    "crowded",
    "starting",
    "pooler",
    "silent",
    "full",
    "read_only",
    "damaged",
    "closed",
    "unavailable",
    "trouble",
    "defect",
]
PASSING: Final[frozenset[str]] = frozenset({"collision", "locked", "uncertain", "closed"})
"""What one piece of work met; it says nothing about the next one."""

DUPLICATE_KEY: Final = "1062"
"""MariaDB's and MySQL's code for a row that is there already."""

_BY_CODE: Final[dict[str, Failure]] = {
    # the first two words of SQLite's error names
    "SQLITE_BUSY": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_CANTOPEN": "absent",
    "SQLITE_FULL": "full",
    "SQLITE_READONLY": "read_only",
    "SQLITE_PERM": "read_only",
    "SQLITE_CORRUPT": "damaged",
    "SQLITE_NOTADB": "damaged",
    # PostgreSQL's SQLSTATEs
    "40001": "collision",
    "40P01": "collision",
    "55P03": "locked",
    "57014": "locked",
    "08000": "disconnected",
    "08003": "disconnected",
    "08006": "disconnected",
    "57P01": "disconnected",
    "57P02": "disconnected",
    "57P03": "starting",
    "53300": "crowded",
    "42P01": "unmigrated",
    "42703": "unmigrated",
    "3F000": "unmigrated",
    "3D000": "no_database",
    "28000": "refused",
    "28P01": "refused",
    "42501": "refused",
    "53100": "full",
    "25006": "read_only",
    "26000": "pooler",
    "42P05": "pooler",
    # MariaDB's and MySQL's error numbers
    "1213": "collision",
    "1020": "collision",
    "1040": "crowded",
    "1203": "crowded",
    "1226": "crowded",
    "1205": "locked",
    "1969": "locked",
    "3024": "locked",
    "1053": "disconnected",
    "1927": "disconnected",
    "2006": "disconnected",
    "1146": "unmigrated",
    "1054": "unmigrated",
    "1049": "no_database",
    "1044": "refused",
    "1045": "refused",
    "1142": "refused",
    "1698": "refused",
    "1129": "not_admitted",
    "1130": "not_admitted",
    "3159": "no_encryption",
    "2026": "no_tls_there",
    "2005": "unresolved",
    "1047": "starting",
    "1021": "full",
    "1114": "full",
    "1290": "read_only",
    "1792": "read_only",
}
_BY_TEXT: Final[tuple[tuple[str, Failure], ...]] = (
    # SQLite tells no code for a missing table
    ("no such table", "unmigrated"),
    ("no such column", "unmigrated"),
    ("has no column named", "unmigrated"),
    # psycopg tells no SQLSTATE when it cannot connect. It tells of every address and, where TLS is
    # a matter of taste, of every way that it tried: what comes first here is nearest to the cure.
    ("valid client certificate", "no_certificate"),
    ("certificate authentication failed", "no_certificate"),
    ("alert certificate required", "no_certificate"),
    ("alert unknown ca", "no_certificate"),
    ("root certificate", "untrusted"),
    ("certificate file", "no_certificate"),
    ("private key file", "no_certificate"),
    ("certificate verify failed", "untrusted"),
    ("CERTIFICATE_VERIFY_FAILED", "untrusted"),
    ("does not match host name", "untrusted"),
    ("server does not support SSL", "no_tls_there"),
    ("SSL connection is required", "no_encryption"),
    ("SSL required", "no_encryption"),
    ("authentication failed", "refused"),
    ("no password supplied", "refused"),
    ("SSL encryption", "not_admitted"),
    ("no encryption", "no_encryption"),
    ("pg_hba.conf", "not_admitted"),
    ("invalid connection option", "parameter"),
    ("unrecognized configuration parameter", "parameter"),
    ("unsupported startup parameter", "parameter"),
    ("invalid sslmode value", "parameter"),
    ("invalid integer value", "parameter"),
    ("too many clients", "crowded"),
    ("too many connections", "crowded"),
    ("remaining connection slots", "crowded"),
    ("no more connections allowed", "crowded"),
    ("query_wait_timeout", "crowded"),
    ('role "', "refused"),
    ("is starting up", "starting"),
    ("is shutting down", "starting"),
    ("in recovery mode", "starting"),
    ("not yet accepting connections", "starting"),
    ("not currently accepting connections", "starting"),
    ("session is read-only", "read_only"),
    ("server is in hot standby mode", "read_only"),
    ("server login has been failing", "pooler"),
    ("server_login_retry", "pooler"),
    ("pgbouncer cannot connect", "pooler"),
    ("no such database", "no_database"),
    ("no such user", "refused"),
    ('" does not exist', "no_database"),
    ("failed to resolve host", "unresolved"),
    ("could not translate host name", "unresolved"),
    ("Name or service not known", "unresolved"),
    ("name resolution", "unresolved"),
)
_SILENT: Final = ("timed out", "timeout expired")
_NO_RESPONSE: Final = frozenset({"", "2002", "2003", "2013"})
"""Codes of which only the text says what happened: none, and MariaDB's of a failing connection."""

_OPERATIONAL: Final = frozenset({"OperationalError", "InterfaceError"})
_WORDS: Final[dict[Failure, tuple[str, str]]] = {
    "collision": ("kept colliding with other work", "Try again."),
    "locked": ("was locked or busy for too long", "Try again; look for a long transaction."),
    "disconnected": ("closed the connection", "Try again when it is back."),
    "uncertain": ("closed the connection during a commit", "Look what happened, then try again."),
    "unmigrated": ("lacks this version's tables", "Run: {upgrade}"),
    "absent": ("does not exist or cannot be opened", "Create it: {upgrade}"),
    "no_folder": (
        "cannot be made: its folder is missing, or may not be written to",
        "Make the folder, or correct {setting}.",
    ),
    "no_schema": (
        "has no schema for the tables: search_path names none that exists",
        "Create the one that it names, or set PROCORE_DATABASE_SCHEMA, which is made by itself.",
    ),
    "no_database": (
        "does not exist on its server",
        (
            "Correct {setting}, or create it there: CREATE DATABASE in SQL, createdb on "
            "PostgreSQL, mariadb-admin create on MariaDB. Then run: {upgrade}"
        ),
    ),
    "not_admitted": (
        "lets no one in from this machine as this user",
        "Admit it there: in pg_hba.conf, or with the user's host in MariaDB.",
    ),
    "no_encryption": (
        "lets no one in from this machine as this user, or not without TLS",
        (
            "If it wants TLS (hostssl in pg_hba.conf), ask for it in {setting}: "
            "?sslmode=verify-full, for MariaDB ?ssl_ca=<file>. Otherwise admit this machine there."
        ),
    ),
    "no_tls_there": (
        "does not speak TLS, which the address asks for, or not as this machine does",
        "Switch TLS on at the server, or correct the options of {setting}.",
    ),
    "no_certificate": (
        "wants a client certificate that it trusts, and got none that can be used",
        (
            "Name one in {setting}: ?sslcert=<file>&sslkey=<file>, for MariaDB "
            "?ssl_cert=<file>&ssl_key=<file>. The key's file may be readable by its owner alone."
        ),
    ),
    "untrusted": (
        "has a certificate that is not trusted here",
        (
            "Name its authority in {setting}: ?sslrootcert=<file>, for MariaDB "
            "?ssl_ca=<file>; and the host as it stands in the certificate."
        ),
    ),
    "parameter": (
        "cannot be opened: its address, or what stands in between, knows a parameter not",
        "Correct what stands behind the ? in {setting}.",
    ),
    "unresolved": (
        "has a host name that cannot be resolved",
        "Correct the host in {setting}, or this machine's name service.",
    ),
    "crowded": (
        "has no connection left for this process",
        (
            "Let it, the user's limit and the pooler allow more, or lower "
            "PROCORE_DATABASE_CONNECTIONS; {program} doctor counts them."
        ),
    ),
    "starting": (
        "takes no one in: it is starting, shutting down, closed or without a quorum",
        "Wait until it is up; if that takes long, look at its own log.",
    ),
    "pooler": (
        "is not reached through the pooler in front of it",
        "Look at the pooler's log; in PgBouncer, at server_login_retry and prepared statements.",
    ),
    "silent": (
        "did not answer in time",
        "Look whether it, its disk and the network in between stand still.",
    ),
    "trouble": ("reported an error of its own", "Look at its log for the code in brackets."),
    "refused": (
        "refused the user, the password or the right",
        (
            "Correct {setting}, where % and @ in a password are written %25 and %40. "
            "MariaDB refuses a user that has to use TLS, and does not, in the same way."
        ),
    ),
    "full": ("has no room left", "Make room on its disk."),
    "read_only": (
        "cannot be written to",
        (
            "Give this process the right to write, or name the primary: a standby, and a server "
            "after a failover, may only read."
        ),
    ),
    "damaged": ("is damaged, or is no database", "Name another one, or restore it."),
    "closed": (
        "was closed by this application",
        "Open the front door again: `with procore:`, `async with procore:` or `procore.open()`.",
    ),
    "unavailable": ("did not answer", "Start it, or correct {setting}."),
}
"""What happened, and the cure, which names the setting and the command of the database."""


class Failed(Exception):
    """A piece of work that did not happen. Stays in this room: callers see what `raised` makes."""

    def __init__(self, failure: Failure, code: str = "") -> None:
        super().__init__(failure)
        self.failure: Final[Failure] = failure
        self.code: Final = code

    def raised(self, label: str) -> Exception:
        """Return the error for callers: `StoreUnavailable`, or `RuntimeError` for a defect.

        Args:
            label: The database's name without a password.
        """
        if self.failure == "defect":
            suffix = f" [{self.code}]" if self.code else ""
            return RuntimeError(
                f"The database {label} refused a statement{suffix}. This is a defect of "
                "procore-signin, or its tables were changed by hand. Values are left out."
            )
        return self.unavailable(label)

    def unavailable(self, label: str) -> StoreUnavailable:
        """Return the error for callers, where it is known to be no defect."""
        suffix = f" [{self.code}]" if self.code else ""
        named = label if isinstance(label, Label) else Label(label)
        what, cure = _WORDS[self.failure]
        cure = cure.format(setting=named.setting, program=named.program, upgrade=named.upgrade)
        words = f"The database {label} {what}{suffix}. {cure}"
        return StoreUnavailable(words, hint=cure, reason=self.failure)


def code_of(error: BaseException) -> str:
    """Return the driver's code: a SQLite error name, a MariaDB number, an SQLSTATE, or ``."""
    original = _original(error)
    name = getattr(original, "sqlite_errorname", None)
    if isinstance(name, str):
        return "_".join(name.split("_")[:2])
    first = original.args[0] if original.args else None
    state = first if isinstance(first, int) else getattr(original, "sqlstate", None)
    return "" if state is None else str(state)


def failed_by(error: BaseException, *, lost: bool = False) -> Failed:
    """Tell which failure an error of a driver or of SQLAlchemy is.

    Args:
        error: What was raised.
        lost: Whether the connection broke.
    """
    code, original = code_of(error), _original(error)
    text = str(original)
    is_operational = any(kind.__name__ in _OPERATIONAL for kind in type(original).__mro__)
    if isinstance(error, exc.TimeoutError):  # every connection of the pool is in use
        return Failed("locked", code)
    if is_operational and code in _NO_RESPONSE and any(words in text for words in _SILENT):
        return Failed("silent", code)
    by_class: Failure = "defect"
    if is_operational:
        by_class = "unavailable" if code in _NO_RESPONSE else "trouble"
    by_text = next((failure for words, failure in _BY_TEXT if words in text), None)
    return Failed(
        _BY_CODE.get(code) or by_text or ("disconnected" if lost else by_class),
        code,
    )


def _original(error: BaseException) -> BaseException:
    wrapped = error.orig if isinstance(error, exc.DBAPIError) else None
    return error if wrapped is None else wrapped
