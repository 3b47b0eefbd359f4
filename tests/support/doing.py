"""Commands and queries of a test's own, and what runs several of the store's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import pytest
from sqlalchemy import bindparam, select, text

from procore_signin._store import Store
from procore_signin._store.engine.command import Command, LookUp, Query
from procore_signin._store.engine.statement import Row, Sql, Statements, Values
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.ledger import FailAttempt, PurgeAttempts
from procore_signin._store.schema import sessions
from procore_signin._store.sessions import PurgeSessions
from procore_signin._store.sqlite.group_commit import SqliteGroup
from procore_signin._store.tokens import EndedGrants, PurgeGrants
from procore_signin._store.withdrawal import FinishEscrow, HoldEscrow
from procore_signin.errors import StoreUnavailable

T = TypeVar("T")


class Doing(Command[T]):
    """A command that does what a generator function says."""

    def __init__(self, body: Callable[[], Statements[T]]) -> None:
        self.body = body

    def run(self, seal: TokenSeal) -> Statements[T]:  # noqa: ARG002 - the contract's
        return self.body()


class Asking(Query[T]):
    """A query that asks what a generator function says."""

    def __init__(self, body: Callable[[], Statements[T]], *, long: bool = False) -> None:
        self.body = body
        self.long = long  # type: ignore[misc]  # a test has both

    def run(self, seal: TokenSeal) -> Statements[T]:  # noqa: ARG002 - the contract's
        return self.body()


@dataclass(frozen=True)
class MeJson(LookUp[str]):
    """What `/me` answered at the sign-in of a session, as JSON text; `null` where it has ended."""

    session_id: int

    sql = Sql(select(sessions.c.me_json).where(sessions.c.id == bindparam("which_session")))

    def values(self) -> Values:
        return {"which_session": self.session_id}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> str:  # noqa: ARG002 - the contract's
        return str(rows[0][0]) if rows else "null"


def in_words(statement: str) -> Sql:
    """Return a statement that stands nowhere in the product."""
    return Sql(text(statement))


class Purged(NamedTuple):
    """How many rows one purge deleted."""

    sessions: int
    attempts: int


def purge(store: Store, now: int, limit: int = 1000) -> Purged:
    """Delete what has expired, as the janitor does."""
    return Purged(store.do(PurgeSessions(now, limit)), store.do(PurgeAttempts(now, limit)))


def purge_grants(
    store: Store, *, before: int, after: int = 0, limit: int = 1000
) -> tuple[int, int]:
    """Delete token sets that are over, as the command `purge` does, and say where it came to."""
    found = store.ask(EndedGrants(before=before, after=after, limit=limit))
    deleted = store.do(PurgeGrants(found, before=before))
    return deleted, found[-1].id if len(found) == limit else 0


def clear_escrow(store: Store, state_hash: str) -> None:
    """Forget what is in an escrow, as the janitor does when Procore has ended it."""
    store.do(FailAttempt(state_hash, "orphaned", now=0))
    held = store.do(HoldEscrow(state_hash, holder="a test", now=0))
    assert held.state != "busy"
    store.do(FinishEscrow(state_hash, holder="a test", outcome=held.outcome, now=0))


def meet(
    patch: pytest.MonkeyPatch,
    where: Store | type[Store],
    wanted: type[Command[Any] | Query[Any]],
    call: Callable[[Callable[[], Any], Any], object],
) -> None:
    """Have `call` meet every command or query of a kind before the store does.

    It is given a function that has the store run it, and the command or query.
    """
    if not issubclass(wanted, Command):
        _meet(patch, where, "ask", wanted, call)
        return
    _meet(patch, where, "do", wanted, call)
    _meet(patch, SqliteGroup, "do", wanted, call)


def _meet(
    patch: pytest.MonkeyPatch,
    where: object,
    name: str,
    wanted: type,
    call: Callable[[Callable[[], Any], Any], object],
) -> None:
    usual = getattr(where, name)

    def met(*arguments: Any) -> Any:
        if isinstance(arguments[-1], wanted):
            return call(partial(usual, *arguments), arguments[-1])
        return usual(*arguments)

    patch.setattr(where, name, met)


def away(patch: pytest.MonkeyPatch, wanted: type[Command[Any]], times: int) -> None:
    """Have the database be away for so many commands of a kind."""
    left = [times]

    def call(usual: Callable[[], Any], _: object) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise StoreUnavailable("down")
        return usual()

    meet(patch, Store, wanted, call)


def every(*bases: type) -> set[type]:
    """Return every command or query of the store, told by the classes that it is directly of."""
    found: set[type] = set()
    for base in bases:
        found.update(base.__subclasses__())
    # A dataclass with slots is made of another class of the same name, which is left behind.
    # Other tests of the same process may have some of their own.
    ours = {kind for kind in found if kind.__module__.startswith("procore_signin.")}
    return {kind for kind in ours if getattr(sys.modules[kind.__module__], kind.__name__) is kind}
