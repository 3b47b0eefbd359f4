"""What the parts of the store share: the database, the compiled reads and the seal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from sqlalchemy import Connection, Delete, Insert, Row, Update
from sqlalchemy.exc import IntegrityError

from procore_signin.errors import AttemptInvalid, SignInRefused
from procore_signin.protocol.token_set import TokenSet
from procore_signin.store.address import parse_address
from procore_signin.store.database import Database, Patience
from procore_signin.store.failures import DUPLICATE_KEY, code_of
from procore_signin.store.keyring import KeyRing
from procore_signin.store.schema import sign_in_ledger, users
from procore_signin.store.seal import Seal
from procore_signin.store.server import ServerDatabase
from procore_signin.store.sqlite import SqliteDatabase
from procore_signin.store.statements import Queries, insert_if_absent
from procore_signin.store.token_seal import TokenSeal


class StoreBase:
    """An open database and the seal of its tokens. See `Store` for the arguments."""

    def __init__(
        self,
        url: str,
        keys: KeyRing,
        *,
        lock_timeout: float = 5.0,
        pool_size: int = 5,
        random_bytes: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        address = parse_address(url)
        patience = Patience(lock_timeout, clock, sleep)
        self._database: Final[Database] = (
            SqliteDatabase(address, patience)
            if address.backend == "sqlite"
            else ServerDatabase(address, patience, pool_size=pool_size)
        )
        dialect = self._database.dialect
        self._on_file: Final = address.backend == "sqlite"
        self._queries: Final = Queries(dialect)
        self._insert_user: Final = insert_if_absent(users, dialect)
        self._insert_attempt: Final = insert_if_absent(sign_in_ledger, dialect)
        self._seal: Final = TokenSeal(Seal(keys, purpose="store", random_bytes=random_bytes))

    @property
    def reads_inline(self) -> bool:
        """True where a read is so short that an event loop may do it itself: SQLite."""
        return self._on_file

    @property
    def single_writer(self) -> bool:
        """True where writers only queue behind one another, so that one thread suffices: SQLite."""
        return self._on_file

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


def insert_absent(
    connection: Connection, statement: Insert, values: Mapping[str, object]
) -> Any | None:
    """Insert a row with a statement of `insert_if_absent`.

    Returns:
        The row's primary key; None where the row's key was taken.
    """
    try:
        result = connection.execute(statement, values)
    except IntegrityError as error:
        if code_of(error) != DUPLICATE_KEY:
            raise
        return None
    if result.returns_rows:
        return result.scalar_one_or_none()
    return None if result.rowcount != 1 else cast("Row[Any]", result.inserted_primary_key)[0]


def affected(
    connection: Connection, statement: Update | Delete, values: Mapping[str, object]
) -> int:
    """Run a statement and return how many rows it found."""
    return connection.execute(statement, values).rowcount


def storable(text: str, length: int) -> str:
    """Return untrusted text without what no column should hold, cut at `length` characters.

    PostgreSQL refuses NUL, no driver encodes lone surrogates, and control characters or marks that
    turn the direction of writing would mislead whoever reads the table (row I6).
    """
    return "".join(character for character in text if character.isprintable())[:length]


def person_disabled() -> SignInRefused:
    """Return the error for a person who is disabled or gone."""
    return SignInRefused(
        "This person may not sign in here any more. Ask the operator of this application."
    )


def attempt_over() -> AttemptInvalid:
    """Return the error for an attempt that has ended already."""
    return AttemptInvalid("This sign-in has ended already. Start a new one.", reason="used")
