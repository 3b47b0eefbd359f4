"""What the parts of the store share: the database, the statements and the seal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.engine.address import Address, parse_address
from procore_signin._store.engine.database import Database, Group, Patience
from procore_signin._store.engine.server import ServerDatabase
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.keys.seal import Seal
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.statements import Statements
from procore_signin.errors import AttemptInvalid, SignInRefused

DATABASE_TIMEOUT: Final = 4.0
DATABASE_CONNECTIONS: Final = 20
_LOCK_SHARE: Final = 0.75
"""How much of the time may go by waiting for others' locks: then the server says so in time."""


class StoreBase:
    """An open database and the seal of its tokens. See `Store` for the arguments.

    Attributes:
        timeout: Seconds that one call may take, SQLite's disk left aside.
    """

    def __init__(
        self,
        url: str,
        keys: KeyRing,
        *,
        timeout: float = DATABASE_TIMEOUT,
        lock_timeout: float | None = None,
        connections: int = DATABASE_CONNECTIONS,
        random_bytes: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        address = parse_address(url)
        locks = timeout * _LOCK_SHARE if lock_timeout is None else lock_timeout
        whole = max(timeout, locks / _LOCK_SHARE)
        self._database: Final = _open(
            address, Patience(locks, clock, sleep), timeout=whole, connections=connections
        )
        self.timeout: Final = whole
        self._on_file: Final = address.path is not None
        self._statements: Final = Statements(self._database.dialect)
        self._key_ids: Final = keys.ids
        self._seal: Final = TokenSeal(Seal(keys, purpose="store", random_bytes=random_bytes))

    @property
    def label(self) -> str:
        """The database's name for messages, without a password."""
        return self._database.label

    @property
    def reads_inline(self) -> bool:
        """True where a read is so short that an event loop may do it itself: SQLite."""
        return self._on_file

    @property
    def single_writer(self) -> bool:
        """True where writers only queue behind one another, so that one thread suffices: SQLite."""
        return self._on_file

    def group(self) -> Group | None:
        """Begin a transaction for works of several callers: see `Database.group`."""
        return self._database.group()

    def close(self) -> None:
        """Close all connections. The store is of no use afterwards."""
        self._database.close()

    def _open_tokens(self, user_id: int, environment: str, row: Sequence[Any]) -> TokenSet:
        access_token, refresh_token, expires_at, generation = row
        return self._seal.open_row(
            access_token,
            refresh_token,
            expires_at,
            user_id=user_id,
            environment=environment,
            generation=generation,
        )


def _open(address: Address, patience: Patience, *, timeout: float, connections: int) -> Database:
    if address.path is None:
        return ServerDatabase(address, patience, timeout=timeout, connections=connections)
    # Here, because importing procore_signin imports no database driver, sqlite3 included.
    from procore_signin._store.sqlite.database import SqliteDatabase  # noqa: PLC0415 - see above

    return SqliteDatabase(address.path, address.label, patience)


def storable(text: str, length: int) -> str:
    """Return untrusted text without what no column should hold, cut at `length` characters.

    PostgreSQL refuses NUL, no driver encodes lone surrogates, and control characters or marks that
    turn the direction of writing would mislead a reader of the table (row I6).
    """
    return "".join(character for character in text if character.isprintable())[:length]


def person_disabled() -> SignInRefused:
    """Return the error for a person who is disabled or gone."""
    return SignInRefused(
        "This person may not sign in here any more. Ask the operator of this application."
    )


def attempt_used(why: str) -> AttemptInvalid:
    """Return the error for an attempt that lets no one else in."""
    return AttemptInvalid(why, reason="used")


def attempt_over() -> AttemptInvalid:
    """Return the error for an attempt that has ended already."""
    return AttemptInvalid("This sign-in has ended already. Start a new one.", reason="used")
