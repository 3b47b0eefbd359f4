"""What each failure of a driver means, and that none of them shows a value (row O1)."""

from __future__ import annotations

import logging
import sqlite3
import traceback
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Select, bindparam, exc, literal_column, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import sqlite as sqlite_dialect

from procore_signin._store import CompletedSignIn, NewSession, Store
from procore_signin._store.engine.database import Patience
from procore_signin._store.engine.failures import Failed, Failure, failed_by
from procore_signin._store.engine.statement import Statement
from procore_signin._store.schema import metadata
from procore_signin._store.sessions import SessionOf
from procore_signin._store.sign_in import JoinSignIn
from procore_signin._store.tokens import TokensOf
from procore_signin.errors import StoreUnavailable

NOW = 1_800_000_000
SignIn = Callable[..., CompletedSignIn]


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class TestPatience:
    def always(self, failure: Failure, *, seconds: float = 60) -> tuple[int, Clock, Exception]:
        clock, tries = Clock(), 0

        def once() -> None:
            nonlocal tries
            tries += 1
            raise Failed(failure, "code")

        with pytest.raises(Exception, match="code") as raised:
            Patience(seconds, clock, clock.sleep).repeat(once, label="sqlite:///x")
        return tries, clock, raised.value

    @pytest.mark.parametrize("failure", ["collision", "locked", "disconnected"])
    def test_work_that_was_undone_is_repeated_a_bounded_number_of_times(
        self, failure: Failure
    ) -> None:
        tries, clock, error = self.always(failure)
        assert isinstance(error, StoreUnavailable)
        assert (8, 7) == (tries, len(clock.slept))
        assert clock.slept == sorted(clock.slept)
        assert max(clock.slept) <= 0.1

    def test_it_is_not_repeated_once_the_time_is_up(self) -> None:
        tries, clock, _ = self.always("collision", seconds=0.005)
        assert tries == 3
        assert sum(clock.slept) == pytest.approx(0.006)

    @pytest.mark.parametrize(
        "failure",
        ["uncertain", "unmigrated", "absent", "refused", "full", "read_only", "damaged", "closed"],
    )
    def test_what_repeating_cannot_help_is_told_at_once(self, failure: Failure) -> None:
        tries, _, error = self.always(failure)
        assert tries == 1
        assert isinstance(error, StoreUnavailable)
        assert error.hint is not None
        assert str(error).endswith(error.hint)

    def test_a_defect_is_no_outage(self) -> None:
        tries, _, error = self.always("defect")
        assert (1, RuntimeError) == (tries, type(error))

    def test_work_that_succeeds_after_a_collision_returns_what_it_made(self) -> None:
        outcomes = iter([Failed("collision"), Failed("locked"), None])
        clock = Clock()

        def once() -> str:
            outcome = next(outcomes)
            if outcome is not None:
                raise outcome
            return "made"

        assert Patience(60, clock, clock.sleep).repeat(once, label="x") == "made"


class DriverError(Exception):
    """Stands for any driver's exception."""


def driver_error(name: str, *arguments: object, **attributes: object) -> Exception:
    error: Exception = type(name, (DriverError,), {})(*arguments)
    for key, value in attributes.items():
        setattr(error, key, value)
    return error


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (driver_error("OperationalError", sqlite_errorname="SQLITE_BUSY"), "locked"),
        (driver_error("OperationalError", sqlite_errorname="SQLITE_BUSY_SNAPSHOT"), "locked"),
        (driver_error("OperationalError", sqlite_errorname="SQLITE_FULL"), "full"),
        (driver_error("OperationalError", sqlite_errorname="SQLITE_READONLY_DBMOVED"), "read_only"),
        (driver_error("OperationalError", "no such table: users"), "unmigrated"),
        (driver_error("DeadlockDetected", "…", sqlstate="40P01"), "collision"),
        (driver_error("SerializationFailure", "…", sqlstate="40001"), "collision"),
        (driver_error("UndefinedTable", "…", sqlstate="42P01"), "unmigrated"),
        (driver_error("AdminShutdown", "…", sqlstate="57P01"), "disconnected"),
        (driver_error("UniqueViolation", "…", sqlstate="23505"), "defect"),
        (driver_error("NumericValueOutOfRange", "…", sqlstate="22003"), "defect"),
        (driver_error("OperationalError", 1213, "…", sqlstate="40001"), "collision"),
        (driver_error("OperationalError", 1205, "…"), "locked"),
        (driver_error("ProgrammingError", 1146, "…"), "unmigrated"),
        (driver_error("IntegrityError", 1062, "…", sqlstate="23000"), "defect"),
        (driver_error("DataError", 1406, "…"), "defect"),
        (driver_error("OperationalError", 1040, "Too many connections"), "crowded"),
        (driver_error("OperationalError", "FATAL: sorry, too many clients already"), "crowded"),
        (driver_error("OperationalError", "something new"), "unavailable"),
        (driver_error("InterfaceError", "something new"), "unavailable"),
        (driver_error("ProgrammingError", "something new"), "defect"),
        (exc.TimeoutError("QueuePool limit"), "locked"),
    ],
)
def test_each_drivers_failures_are_told_apart(error: Exception, failure: Failure) -> None:
    assert failure == failed_by(error).failure


def test_O1_a_defect_shows_no_value_in_its_message_traceback_or_the_logs(
    store: Store,
    sign_in: SignIn,
    new_session: Callable[..., NewSession],
    hashed: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A driver quotes the values of a broken rule: "Key (id_hash)=(…) already exists"."""
    caplog.set_level(logging.DEBUG)
    first = new_session("first", me_json='"canary"')
    user = sign_in(login="canary@procore.com", tag="canary", session=first).user
    state, session = hashed("state for cookie canary"), new_session("first")
    with pytest.raises(RuntimeError, match="refused a statement") as defect:
        store.do(JoinSignIn(state, session=session, replaces=None, now=NOW))
    store.ask(SessionOf(hashed("first"), environment="emulator", now=NOW))
    store.ask(TokensOf(user.id, "emulator"))
    told = "".join(traceback.format_exception(defect.value)) + caplog.text
    assert defect.value.__context__ is None
    assert "canary" not in told
    assert hashed("first") not in told


def test_a_statement_wants_every_value_that_it_names() -> None:
    """A forgotten value must not become NULL, and match no row in silence."""
    users: SqlTable = metadata.tables["users"]
    of_both = (users.c.id == bindparam("which"), users.c.email == bindparam("whose"))
    statement = Statement(select(users.c.id).where(*of_both), sqlite_dialect.dialect(), ())
    assert statement.arguments({"which": 1, "whose": "a"}) == (1, "a")
    with pytest.raises(KeyError, match="whose"):
        statement.arguments({"which": 1})


def test_a_statement_of_one_value_wants_it_too() -> None:
    """SQLite takes it by its name, and looks for it itself."""
    asked: Select[Any] = select(literal_column("'found'")).where(
        literal_column("1") == bindparam("which")
    )
    statement = Statement(asked, sqlite_dialect.dialect(), ())
    with closing(sqlite3.connect(":memory:")) as connection:
        found = connection.execute(statement.text, statement.arguments({"which": 1})).fetchall()
        assert found == [("found",)]
        with pytest.raises(sqlite3.ProgrammingError, match="which"):
            connection.execute(statement.text, statement.arguments({"other": 1}))
