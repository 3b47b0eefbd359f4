"""The door to the database: short reads, and writes that are one transaction each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy.engine import Dialect

from procore_signin._store.engine.failures import Failed, Failure
from procore_signin._store.engine.statement import Statement, Transaction

T = TypeVar("T")

_ATTEMPTS: Final = 8
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.1
_WORTH_REPEATING: Final[frozenset[Failure]] = frozenset(
    {"collision", "locked", "crowded", "disconnected"}
)


class NotTogetherError(Exception):
    """A work has to be run again, by itself: nothing of it happened."""


class Group(Protocol):
    """Works of several callers in one transaction."""

    def run(self, do: Callable[[], T]) -> T:
        """Run what one caller wants done, and return what it returns.

        No one may be told before `commit` has returned: until then it can come to nothing.

        Args:
            do: Uses the store, on this thread.

        Raises:
            NotTogetherError: It failed in a way that waiting or repeating may cure, or after it
                had changed something. Then the group is spoiled, as `commit` will say.
            Exception: Whatever `do` raises.
        """

    def commit(self) -> None:
        """Make everything durable, and let others write. Waits for the disk; only the first time.

        Raises:
            NotTogetherError: The group was spoiled. Nothing of it happened: run each work again,
                by itself, and in this order.
            StoreUnavailable, RuntimeError: As `Failed.raised` says. Nothing of it happened.
        """


class Database(Protocol):
    """Reads and transactions, with each driver's failures told apart.

    Every method raises `StoreUnavailable` when the database does not do the work, and
    `RuntimeError` when it refuses a statement that it should not refuse. Safe from any thread.
    """

    label: str
    dialect: Dialect

    def one(self, statement: Statement, values: Mapping[str, object]) -> Sequence[Any] | None:
        """Return the only row, or None. Sees what was committed before; takes no lock."""

    def many(self, statement: Statement, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """Return every row, as `one`."""

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one durable transaction and return what it returned.

        `work` may run several times, after a collision or a lost connection, so it must do nothing
        but use the transaction. To be run again from the start it raises `Failed("collision")`.
        Whatever it raises undoes the transaction.
        """

    def check_writable(self) -> None:
        """Find out, without leaving a trace, whether rows can be written.

        Raises:
            StoreUnavailable: They cannot, or the database does not answer.
        """

    def group(self) -> Group | None:
        """Begin a transaction for works of several callers, without waiting for anyone.

        Until it is committed, no one else writes.

        Returns:
            None where each work has to be done alone: someone else is writing, or this database
            has no such thing.
        """

    def before_fork(self) -> None:
        """Have no transaction open, if a moment's patience is enough for that."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork(self) -> None:
        """Drop, without closing, the connections that a forked child shares with its parent."""

    def close(self) -> None:
        """Close every connection that is not in use; the others close when their work ends."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for others.

    Attributes:
        seconds: The longest wait for a lock, and for a whole transaction with its repetitions.
        clock: Seconds of a monotonic clock.
        sleep: Waits some seconds.
    """

    seconds: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def repeat(self, once: Callable[[], T], *, label: str) -> T:
        """Return what `once` returns; run it again where its failure undid all of its work.

        Raises:
            StoreUnavailable, RuntimeError: As `Failed.raised` says.
        """
        started = self.clock()
        for attempt in count(1):
            try:
                return once()
            except Failed as failed:
                last = failed
            if (
                last.failure not in _WORTH_REPEATING
                or attempt == _ATTEMPTS
                or self.clock() - started >= self.seconds
            ):
                break
            self.sleep(min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE))
        raise last.raised(label)
