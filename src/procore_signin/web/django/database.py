"""The sign-in's tables in the project's own database: `DATABASES["default"]`, or another of them.

They are reached through connections of the sign-in's own. A pair of tokens has to be committed
before it is used, whatever becomes of the transaction of the request that needed it. Where the
database is, is asked of Django each time: a test runner changes it after the start.

In tests, and where the database is SQLite's in memory, there is no other connection that sees what
the project sees. Then everything goes through Django's, on the caller's thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db import Error as DjangoDatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from sqlalchemy import delete
from sqlalchemy.engine import URL, Dialect

from procore_signin._flow.running.background import Background
from procore_signin._flow.steps import Flow
from procore_signin._forks import Lock
from procore_signin._settings import is_given, read_address, read_naming
from procore_signin._settings.parsers import unusable
from procore_signin._settings.row import PREFIX
from procore_signin._store.engine.address import Address, Label, Naming, parse_address
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.database import Database, Group, Patience, Transaction
from procore_signin._store.engine.failures import failed_by
from procore_signin._store.engine.statement import Row, Sql, Texts, Values, texts_for
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.schema import metadata
from procore_signin._store.store import DATABASE_TIMEOUT, Opening, open_database
from procore_signin.errors import Problem, SettingsInvalid, StoreUnavailable
from procore_signin.web.django.parameters import WrongParameterError, url_of
from procore_signin.web.gevent import GeventProcoreSignIn

T = TypeVar("T")

SETTING: Final = "PROCORE_SIGNIN"
PROGRAM: Final = "python manage.py procore_signin"
UPGRADE: Final = "python manage.py migrate"
_URL: Final = "PROCORE_DATABASE_URL"
_TABLE_PREFIX: Final = "PROCORE_TABLE_PREFIX"
_OWN_DEFAULTS: Final = {_URL: "", _TABLE_PREFIX: "procore_signin_"}
"""No address, which is in `DATABASES`; names as Django gives them: by the label of their app."""

_OWN_LOCK_SECONDS: Final = 0.5
"""How long to wait for a lock that the caller itself may hold."""

_OUT_OF_ATOMIC: Final = (
    "Call Procore before the request writes, or without a transaction: "
    "@transaction.non_atomic_requests."
)
_IN_ATOMIC: Final = ContextVar("procore_signin_in_atomic", default=False)
"""Whether who asked for this work, on whichever thread, has a transaction of SQLite open."""

_DIALECTS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
}
"""Whose texts Django's drivers understand too."""

_EMPTY: Final = tuple(Sql(delete(table)) for table in reversed(metadata.sorted_tables))


def under_test() -> bool:
    """Return whether Django's test environment is set up, by its own runner or by pytest-django."""
    utils = sys.modules.get("django.test.utils")
    return utils is not None and hasattr(utils._TestState, "saved_data")  # noqa: SLF001  # Django has no other word for it


def alias() -> str:
    """Return which of `DATABASES` has the tables."""
    given = getattr(settings, SETTING, {})
    return (
        str(given.get("DATABASE", DEFAULT_DB_ALIAS))
        if isinstance(given, dict)
        else DEFAULT_DB_ALIAS
    )


def is_elsewhere() -> bool:
    """Return whether `PROCORE_DATABASE_URL` says that the tables are in none of `DATABASES`."""
    return is_given(_URL, given_settings())


def defaults_for(given: dict[str, object]) -> dict[str, str]:
    """Return the defaults of settings that are Django's own where the tables are in `DATABASES`.

    A prefix that is set to nothing in `settings.py` is nothing.

    Args:
        given: What `settings.py` sets, by the names of the environment.
    """
    if is_given(_URL, given):
        return {}
    return _OWN_DEFAULTS | ({_TABLE_PREFIX: ""} if given.get(_TABLE_PREFIX) == "" else {})


def given_settings() -> dict[str, object]:
    """Return the settings of `settings.py` that say where the tables are."""
    own = getattr(settings, SETTING, {})
    return {f"{PREFIX}{key}": value for key, value in own.items()} if isinstance(own, dict) else {}


def address() -> Address:
    """Return where the tables are now. No other setting need be there.

    Raises:
        SettingsInvalid: The settings say so of no database that can be used.
    """
    given = given_settings()
    return _there(read_address(given)) if is_given(_URL, given) else address_in(alias(), naming())


def _there(written: Address) -> Address:
    """Return the address that `PROCORE_DATABASE_URL` writes out, with Django's command."""
    label = Label(written.label, setting=_URL, program=PROGRAM, upgrade=UPGRADE)
    return Address(written.backend, label, written.url, written.path, written.naming)


def naming() -> Naming:
    """Return what the tables are called. No other setting need be there.

    Raises:
        SettingsInvalid: The settings that say so are wrong, or say so of no database that can be
            used.
    """
    given = given_settings()
    names = read_naming(given, defaults=defaults_for(given))
    check_place(names, elsewhere=is_elsewhere())
    return names


def check_place(naming: Naming, *, elsewhere: bool) -> None:
    """Make sure that `DATABASES` has the database, and that it can have tables of these names.

    Args:
        naming: What they are called.
        elsewhere: Whether they are in none of `DATABASES`, but for tests.

    Raises:
        SettingsInvalid: It has not, or cannot.
    """
    name = alias()
    if name not in connections:
        keys = ", ".join(f'"{key}"' for key in connections)
        cure = f"Write one of its keys: {keys}."
        raise SettingsInvalid((Problem(f'{SETTING}["DATABASE"]', "is not in DATABASES", cure),))
    if naming.schema is None or (elsewhere and not under_test()):
        return
    try:
        naming.check_in(connections[name].vendor)
    except ValueError as error:
        wrong = unusable(error)
        problem = Problem(f"{PREFIX}DATABASE_SCHEMA", wrong.what, wrong.cure)
        raise SettingsInvalid((problem,)) from None


def empty() -> None:
    """Delete all users, sessions, tokens and attempts, through Django's connection.

    Raises:
        StoreUnavailable: The database does not do it.
    """
    name = alias()
    patience = Patience(DATABASE_TIMEOUT, time.monotonic, time.sleep)
    LentDatabase(label_of(name), naming(), patience).run(_EMPTY)


def address_in(name: str, naming: Naming) -> Address:
    """Return the address of `DATABASES[name]` as Django would connect to it now.

    Raises:
        SettingsInvalid: It is none that the sign-in can use.
    """
    label = label_of(name)
    try:
        backend, url, path = url_of(connections[name])
    except WrongParameterError as wrong:
        raise SettingsInvalid((Problem(label, wrong.what, wrong.cure),)) from None
    return Address(backend, label, url, path, naming)


class DjangoProcoreSignIn(GeventProcoreSignIn):
    """The front door of a Django project."""

    def _where(self, database_url: str, naming: Naming) -> Address | Opening:
        # Read once: each piece of work asks.
        self._elsewhere = is_elsewhere()
        check_place(naming, elsewhere=self._elsewhere)
        written = _there(parse_address(database_url, naming)) if self._elsewhere else None

        def opening(patience: Patience, *, timeout: float, connections: int) -> Database:
            def own(patience: Patience) -> Database:
                here = written or address_in(alias(), naming)
                return open_database(here, patience, timeout=timeout, connections=connections)

            label = written.label if written else label_of(alias())
            return DjangoDatabase(label, naming, patience, own, elsewhere=self._elsewhere)

        return opening

    def upgrade_tables(self) -> None:
        """See `ProcoreSignIn.upgrade_tables`; `manage.py migrate` does it too."""
        from procore_signin.web.django.tables import bring_up_to_date  # noqa: PLC0415  # as there

        bring_up_to_date()

    def run(self, flow: Flow[T]) -> T:
        """See `ProcoreSignIn.run`."""
        before = _IN_ATOMIC.set(not self._elsewhere and in_atomic_of_sqlite())
        try:
            return super().run(flow)
        finally:
            _IN_ATOMIC.reset(before)

    def _new_background(self) -> Background:
        return OnTheCallersThread(elsewhere=self._elsewhere)


class OnTheCallersThread(Background):
    """Does everything where it is asked for, where no other thread sees what that one sees.

    Args:
        elsewhere: Whether the tables are in none of `DATABASES`.
    """

    def __init__(self, *, elsewhere: bool) -> None:
        super().__init__()
        self._elsewhere: Final = elsewhere

    def start(self, work: Callable[[], None]) -> bool:
        """See `Background.start`."""
        if goes_through_django(elsewhere=self._elsewhere):
            return False
        return super().start(work)


def goes_through_django(*, elsewhere: bool) -> bool:
    """Return whether the project's own connection is the only one that sees the tables.

    Args:
        elsewhere: Whether they are in none of `DATABASES`.
    """
    if under_test():
        return True
    name = alias()
    on_sqlite = not elsewhere and str(connections.settings[name]["ENGINE"]).endswith("sqlite3")
    return on_sqlite and is_in_memory(connections[name])


def in_atomic_of_sqlite() -> bool:
    """Return whether the caller may hold the lock of its SQLite file, which only it can give up."""
    connection = connections[alias()]
    return connection.vendor == "sqlite" and bool(connection.in_atomic_block)


def label_of(name: str) -> Label:
    """Return what messages call `DATABASES[name]`, and send their readers to."""
    setting = f'DATABASES["{name}"]'
    other = "" if name == DEFAULT_DB_ALIAS else f" --database={name}"
    return Label(setting, setting=setting, program=PROGRAM, upgrade=f"{UPGRADE}{other}")


def is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    """Return whether this is SQLite in memory, which belongs to its connection."""
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())


@dataclass(frozen=True, slots=True)
class _Own:
    """Connections of our own to one place; the hurried ones do not wait for their own caller."""

    where: object
    patient: Database
    hurried: Database

    def close(self) -> None:
        self.patient.close()
        self.hurried.close()


class DjangoDatabase:
    """The project's database: through connections of our own, or through Django's.

    Args:
        label: Its name for messages.
        naming: What the tables are called.
        patience: How long to wait for others.
        own: Opens it with connections of our own, wherever it is now.
        elsewhere: Whether it is none of `DATABASES`.
    """

    def __init__(
        self,
        label: Label,
        naming: Naming,
        patience: Patience,
        own: Callable[[Patience], Database],
        *,
        elsewhere: bool,
    ) -> None:
        self.label: Label = label
        self._open: Final = own
        self._patience: Final = patience
        self._elsewhere: Final = elsewhere
        self._lent: Final = LentDatabase(label, naming, patience)
        self._lock: Final = Lock()
        self._own: _Own | None = None

    def _here(self) -> Database:
        if goes_through_django(elsewhere=self._elsewhere):
            return self._lent
        if self._elsewhere:
            return self._ours(None)
        where = connections.settings[alias()]
        return self._ours(tuple(where[key] for key in ("NAME", "HOST", "PORT", "USER", "PASSWORD")))

    def _ours(self, where: object) -> Database:
        own = self._own
        if own is None or own.where != where:
            with self._lock:
                own = self._own
                if own is None or own.where != where:
                    if own is not None:
                        own.close()
                    short = replace(self._patience, seconds=_OWN_LOCK_SECONDS)
                    own = self._own = _Own(where, self._open(self._patience), self._open(short))
        return own.hurried if _IN_ATOMIC.get() and not self._elsewhere else own.patient

    def rows(self, sql: Sql, values: Values) -> Sequence[Row]:
        """See `Database.rows`."""
        return self._here().rows(sql, values)

    def do(self, command: Command[T], seal: TokenSeal) -> T:
        """See `Database.do`."""
        here = self._here()
        try:
            return here.do(command, seal)
        except StoreUnavailable as error:
            if error.reason != "locked" or self._own is None or here is not self._own.hurried:
                raise
        raise StoreUnavailable(
            f"{self.label} is locked, most likely by the transaction of this very request: SQLite "
            f"lets one at a time write. {_OUT_OF_ATOMIC}",
            hint=_OUT_OF_ATOMIC,
            reason="locked",
        )

    def check_writable(self) -> None:
        """See `Database.check_writable`."""
        self._here().check_writable()

    def group(
        self, seal: TokenSeal, seconds: float = 0, known: list[Group] | None = None
    ) -> None:  # the contract's
        """See `Database.group`: callers that wait have no use for one."""

    def before_fork(self) -> None:
        """See `Database.before_fork`: what it opened looks after itself."""

    def after_fork_in_parent(self) -> None:
        """See `Database.after_fork_in_parent`: as above."""

    def after_fork(self) -> None:
        """See `Database.after_fork`: as above."""

    def close(self) -> None:
        """See `Database.close`."""
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            own.close()


class LentDatabase:
    """The project's own connection, for as long as a piece of work takes.

    What it writes belongs to the transaction that the project has open, and is gone with it.
    """

    def __init__(self, label: Label, naming: Naming, patience: Patience) -> None:
        self.label: Label = label
        self._naming: Final = naming
        self._patience: Final = patience

    def rows(self, sql: Sql, values: Values) -> Sequence[Row]:
        """See `Database.rows`."""
        return self._patience.repeat(self._rows, sql, values, label=self.label)

    def do(self, command: Command[T], seal: TokenSeal) -> T:
        """See `Database.do`."""
        return self._patience.repeat(self._once, command, seal, label=self.label)

    def run(self, statements: Sequence[Sql]) -> None:
        """Run statements that want no values, in one transaction."""
        self._patience.repeat(self._each, statements, label=self.label)

    def _each(self, statements: Sequence[Sql]) -> None:
        with transaction.atomic(using=alias()), self._cursor() as (cursor, texts, _):
            for sql in statements:
                cursor.execute(texts[sql].text)

    def _rows(self, sql: Sql, values: Values) -> Sequence[Row]:
        with self._cursor() as (cursor, texts, _):
            statement = texts[sql]
            cursor.execute(statement.text, statement.arguments(values))
            rows: Sequence[Row] = cursor.fetchall()
            return rows

    def _once(self, command: Command[T], seal: TokenSeal) -> T:
        with transaction.atomic(using=alias()), self._cursor() as (cursor, texts, duplicate):
            return Transaction(cursor, texts, duplicate).do(command.run(seal))

    @contextmanager
    def _cursor(self) -> Iterator[tuple[Any, Texts, type[Exception]]]:
        """Lend the driver's cursor; its errors become `Failed`.

        It is asked of Django, which may refuse it to a test that has said it needs no database. But
        Django does not see the statements, which would count as the project's own.
        """
        connection = connections[alias()]
        driver: Any = connection.Database
        try:
            with connection.cursor() as cursor:
                texts = texts_for(_dialect_of(connection), self._naming)
                yield cursor.cursor, texts, driver.IntegrityError
        except DjangoDatabaseError as error:
            failed = failed_by(error.__cause__ or error)
        except driver.Error as error:
            failed = failed_by(error)
        else:
            return
        raise failed

    def check_writable(self) -> None:
        """See `Database.check_writable`: a test will find out."""

    def group(
        self, seal: TokenSeal, seconds: float = 0, known: list[Group] | None = None
    ) -> None:  # the contract's
        """See `Database.group`."""

    def before_fork(self) -> None:
        """See `Database.before_fork`: the connection is Django's."""

    def after_fork_in_parent(self) -> None:
        """See `Database.after_fork_in_parent`: as above."""

    def after_fork(self) -> None:
        """See `Database.after_fork`: as above."""

    def close(self) -> None:
        """See `Database.close`: as above."""


def _dialect_of(connection: BaseDatabaseWrapper) -> Dialect:
    made: Dialect = URL.create(_DIALECTS[connection.vendor]).get_dialect()()
    return made
