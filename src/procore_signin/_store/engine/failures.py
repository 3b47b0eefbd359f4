"""What a failing statement means: try again, tell the caller, or show a defect.

A driver's own text may quote values ("Key (environment, procore_id)=(…) already exists"). It is
read here to tell the cases apart and goes no further: what is raised instead is raised outside the
`except` block, so that no traceback carries the original.
"""

from __future__ import annotations

from typing import Final, Literal

from sqlalchemy import exc

from procore_signin.errors import StoreUnavailable

Failure = Literal[
    "collision",
    "locked",
    "disconnected",
    "uncertain",
    "unmigrated",
    "absent",
    "refused",
    "full",
    "read_only",
    "damaged",
    "closed",
    "unavailable",
    "defect",
]
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
    "57P03": "disconnected",
    "42P01": "unmigrated",
    "42703": "unmigrated",
    "3F000": "unmigrated",
    "3D000": "absent",
    "28000": "refused",
    "28P01": "refused",
    "42501": "refused",
    "53100": "full",
    "25006": "read_only",
    # MariaDB's and MySQL's error numbers
    "1213": "collision",
    "1020": "collision",
    "1040": "locked",
    "1203": "locked",
    "1205": "locked",
    "1969": "locked",
    "3024": "locked",
    "1053": "disconnected",
    "1927": "disconnected",
    "2006": "disconnected",
    "2013": "disconnected",
    "1146": "unmigrated",
    "1054": "unmigrated",
    "1049": "absent",
    "1044": "refused",
    "1045": "refused",
    "1142": "refused",
    "1698": "refused",
    "1021": "full",
    "1114": "full",
    "1290": "read_only",
    "1792": "read_only",
}
_BY_TEXT: Final[tuple[tuple[str, Failure], ...]] = (
    # psycopg tells no SQLSTATE when it cannot connect, and SQLite none for a missing table
    ("no such table", "unmigrated"),
    ("no such column", "unmigrated"),
    ("has no column named", "unmigrated"),
    ("authentication failed", "refused"),
    ("no password supplied", "refused"),
    ('" does not exist', "absent"),
    ("too many clients", "locked"),
    ("remaining connection slots", "locked"),
)
_OPERATIONAL: Final = frozenset({"OperationalError", "InterfaceError"})
_WORDS: Final[dict[Failure, tuple[str, str]]] = {
    "collision": ("kept colliding with other work", "Try again."),
    "locked": ("was locked or busy for too long", "Try again; look for a long transaction."),
    "disconnected": ("closed the connection", "Try again when it is back."),
    "uncertain": ("closed the connection during a commit", "Look what happened, then try again."),
    "unmigrated": ("lacks this version's tables", "Run: procore-signin db upgrade"),
    "absent": ("does not exist or cannot be opened", "Create it: procore-signin db upgrade"),
    "refused": (
        "refused the user, the password or the right",
        "Correct PROCORE_DATABASE_URL, where % and @ in a password are written %25 and %40.",
    ),
    "full": ("has no room left", "Make room on its disk."),
    "read_only": ("cannot be written to", "Give this process the right to write, or its primary."),
    "damaged": ("is damaged, or is no database", "Name another one, or restore it."),
    "closed": (
        "was closed by this application",
        "Open the front door again: `with procore:`, `async with procore:` or `procore.open()`.",
    ),
    "unavailable": ("did not answer", "Start it, or correct PROCORE_DATABASE_URL."),
}


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
        suffix = f" [{self.code}]" if self.code else ""
        if self.failure == "defect":
            return RuntimeError(
                f"The database {label} refused a statement{suffix}. This is a defect of "
                "procore-signin, or its tables were changed by hand. Values are left out."
            )
        what, cure = _WORDS[self.failure]
        return StoreUnavailable(f"The database {label} {what}{suffix}. {cure}", hint=cure)


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
    by_text = next((failure for words, failure in _BY_TEXT if words in str(original)), None)
    names = {kind.__name__ for kind in type(original).__mro__}
    by_class: Failure = "unavailable" if names & _OPERATIONAL else "defect"
    if isinstance(error, exc.TimeoutError):  # every connection of the pool is in use
        by_class = "locked"
    return Failed(_BY_CODE.get(code) or ("disconnected" if lost else by_text or by_class), code)


def _original(error: BaseException) -> BaseException:
    wrapped = error.orig if isinstance(error, exc.DBAPIError) else None
    return error if wrapped is None else wrapped
