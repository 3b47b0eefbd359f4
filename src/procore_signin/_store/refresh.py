"""The lease on a token set: who may refresh it, what is known of the outcome, and the new pair.

Leases and lifetimes are told by the clock that all users of the database share (`clock.py`).

A lease has an owner. A row whose lease has no owner is in a pause: Procore did not answer a moment
ago, and no one is to ask again before it is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Dialect

from procore_signin._forks import Made
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.engine.clock import database_now
from procore_signin._store.engine.statement import Statement, Transaction
from procore_signin._store.escrows import Escrows, share
from procore_signin._store.records import GrantStatus, TokenRow
from procore_signin._store.schema import token_sets, users
from procore_signin.errors import VaultSealed


class _Statements:
    def __init__(self, dialect: Dialect) -> None:
        now = database_now(dialect)
        this = token_sets.c.id == bindparam("which_tokens")
        unchanged = token_sets.c.generation == bindparam("which_generation")
        owned = token_sets.c.lease_owner == bindparam("which_owner")
        enabled = (
            select(users.c.id)
            .where(users.c.id == token_sets.c.user_id, users.c.disabled_at.is_(None))
            .exists()
        )
        free = or_(token_sets.c.lease_until.is_(None), token_sets.c.lease_until <= now)
        columns = (
            *token_sets.c,
            users.c.disabled_at,
            now.label("at"),
        )
        joined = select(*columns).join_from(token_sets, users, users.c.id == token_sets.c.user_id)
        self.row = Statement(
            joined.where(
                token_sets.c.user_id == bindparam("which_user"),
                token_sets.c.environment == bindparam("which_environment"),
            ),
            dialect,
            (),
        )
        self.row_by_id = Statement(joined.where(this), dialect, ())
        # MariaDB assigns from left to right and would see the new owner: the count comes first.
        self.take = Statement(
            update(token_sets)
            .where(this, unchanged, token_sets.c.status == "ok", free, enabled)
            .ordered_values(
                (
                    token_sets.c.ambiguous,
                    case(
                        (token_sets.c.lease_owner.is_not(None), token_sets.c.ambiguous + 1),
                        else_=token_sets.c.ambiguous,
                    ),
                ),
                (token_sets.c.lease_owner, bindparam("owner")),
                (token_sets.c.lease_until, now + bindparam("seconds")),
                (token_sets.c.lease_seconds, bindparam("seconds")),
            ),
            dialect,
            (),
        )
        self.note_ambiguous = Statement(
            update(token_sets).where(this, unchanged).values(ambiguous=token_sets.c.ambiguous + 1),
            dialect,
            (),
        )
        self.release = Statement(
            update(token_sets)
            .where(this, unchanged, owned)
            .values(
                lease_owner=None,
                lease_until=now + bindparam("seconds"),
                lease_seconds=bindparam("seconds"),
            ),
            dialect,
            (),
        )
        meant = func.coalesce(token_sets.c.lease_seconds, _LONGEST)
        self.redate = Statement(
            update(token_sets)
            .where(this, unchanged, token_sets.c.lease_until > now + meant)
            .values(lease_until=now + meant),
            dialect,
            (),
        )
        self.commit = Statement(
            update(token_sets)
            .where(this, unchanged, enabled)
            .values(
                generation=bindparam("generation"),
                access_token=bindparam("access"),
                refresh_token=bindparam("refresh"),
                expires_at=now + bindparam("seconds"),
                status="ok",
                lease_owner=None,
                lease_until=None,
                ambiguous=0,
                predecessor=bindparam("before"),
                updated_at=now,
            ),
            dialect,
            (),
        )
        self.settle = Statement(
            update(token_sets).where(this, unchanged).values(predecessor=None), dialect, ()
        )
        self.end = Statement(
            update(token_sets)
            .where(this, unchanged, owned)
            .values(
                status=case((token_sets.c.ambiguous > 0, "lost"), else_="revoked"),
                lease_owner=None,
                lease_until=None,
            ),
            dialect,
            (),
        )


_LONGEST: Final = 300
"""Seconds that a lease or pause may be meant to last whose length was not written down."""

_COLUMNS: Final = tuple(column.name for column in token_sets.c)
_ROW: Final = (*_COLUMNS, "disabled_at", "at")


class Refreshes(Escrows):
    """Token sets and the lease on each (rows R1 to R6)."""

    @Made
    def _refresh(self) -> _Statements:
        return _Statements(self._database.dialect)

    def token_row(self, user_id: int, environment: str, *, now: int) -> TokenRow | None:
        """Return the token set of a person with all that a refresh has to know, or None.

        Args:
            user_id: Whose.
            environment: Where.
            now: Unix seconds of this host; used where the database has no clock of its own.

        Raises:
            VaultSealed: The tokens cannot be opened. Only this person has to sign in again.
        """
        place = {"which_user": user_id, "which_environment": environment, "now": now}
        row = self._database.one(self._refresh.row, place)
        return None if row is None else self._token_row(row)

    def take_lease(self, row: TokenRow, *, owner: str, seconds: int, now: int) -> TokenRow | None:
        """Take the exclusive right to refresh `row` for `seconds`.

        A lease that another refresher let expire counts as an ambiguous outcome: it may have spent
        the refresh token.

        Returns:
            The row as it is now, ours; None when someone else holds it, when it is in a pause, or
            when it is not the row any more that was read.
        """
        values = {
            "which_tokens": row.id,
            "which_generation": row.generation,
            "owner": owner,
            "seconds": seconds,
            "now": now,
        }

        def work(transaction: Transaction) -> TokenRow | None:
            if transaction.run(self._refresh.take, values) != 1:
                return None
            taken = transaction.one(self._refresh.row_by_id, {"which_tokens": row.id, "now": now})
            return None if taken is None else self._token_row(taken)

        return self._database.write(work)

    def redate_lease(self, row: TokenRow, *, now: int) -> TokenRow | None:
        """Have a lease or pause of a clock that was set back last no longer than it was meant to.

        Counted from now: the holder of the lease may still be at work (row R14).

        Returns:
            The row as it is now, or None where it is gone.
        """
        place = {"which_tokens": row.id, "which_generation": row.generation, "now": now}

        def work(transaction: Transaction) -> TokenRow | None:
            transaction.run(self._refresh.redate, place)
            found = transaction.one(self._refresh.row_by_id, {"which_tokens": row.id, "now": now})
            return None if found is None else self._token_row(found)

        return self._database.write(work)

    def note_ambiguous(self, row: TokenRow, *, now: int) -> None:
        """Write down that no one knows what became of a request that carried the refresh token."""
        values = {"which_tokens": row.id, "which_generation": row.generation, "now": now}
        self._on_row(row, self._refresh.note_ambiguous, values, answered=False)

    def release_lease(self, row: TokenRow, *, owner: str, retry_in: int, now: int) -> None:
        """Give the lease back without a new pair; no one asks again for `retry_in` seconds."""
        values = {
            "which_tokens": row.id,
            "which_generation": row.generation,
            "which_owner": owner,
            "seconds": retry_in,
            "now": now,
        }
        self._on_row(row, self._refresh.release, values, answered=True)

    def commit_refresh(self, row: TokenRow, tokens: TokenSet, *, now: int) -> TokenRow | None:
        """Replace the pair of `row` by `tokens`, if it is still the generation that was refreshed.

        Whichever process holds the lease by now, the newest pair is kept (row R4). May be repeated
        when the response to the commit was lost: a row that already holds this pair is returned as
        it is.

        Args:
            row: The row as it was taken.
            tokens: The new pair; `expires_at` by this host's clock.
            now: Unix seconds of this host.

        Returns:
            The row with the new pair; None when a newer sign-in, a disconnect or a disabling came
            in between. Then revoke `tokens`.
        """
        sealed = self._seal.seal_row(
            tokens,
            user_id=row.user_id,
            environment=row.environment,
            generation=row.generation + 1,
        )
        spent = None
        if not share(row.tokens, tokens):  # it may be honoured until its successor is used
            spent = self._seal.seal_predecessor(
                row.tokens, user_id=row.user_id, environment=row.environment
            )
        values = {
            "which_tokens": row.id,
            "which_generation": row.generation,
            "generation": row.generation + 1,
            "before": spent,
            "access": sealed["access_token"],
            "refresh": sealed["refresh_token"],
            "seconds": max(0, tokens.expires_at - now),
            "now": now,
        }

        def work(transaction: Transaction) -> TokenRow | None:
            was = transaction.one(self._refresh.row_by_id, {"which_tokens": row.id, "now": now})
            before = None if was is None else dict(zip(_ROW, was, strict=True))
            leaves = before and (before["ambiguous"] or before["predecessor"] is not None)
            if leaves:
                self._lock_owner(transaction, row.user_id)
            changed = transaction.run(self._refresh.commit, values) == 1
            if changed and before and leaves:
                self._pass_over(transaction, before, row.tokens, tokens)
            found = transaction.one(self._refresh.row_by_id, {"which_tokens": row.id, "now": now})
            if found is None or found[_COLUMNS.index("generation")] != row.generation + 1:
                return None
            try:
                renewed = self._token_row(found)
            except VaultSealed:
                if changed:
                    raise
                return None  # a newer sign-in's, sealed with a key that this process lacks
            ours = renewed.tokens.access_token == tokens.access_token
            return renewed if changed or ours else None

        return self._database.write(work)

    def settle(self, row: TokenRow, *, now: int) -> None:
        """Forget the pair before the one of `row`: its successor was accepted, so it is dead."""
        values = {"which_tokens": row.id, "which_generation": row.generation, "now": now}
        self._database.write(lambda t: t.run(self._refresh.settle, values))

    def _pass_over(
        self, transaction: Transaction, row: Mapping[str, Any], *newer: TokenSet
    ) -> None:
        """Write down what a refresh of a row leaves behind, besides the pair that it spent.

        A pair before that one may live, if no one has seen its successor accepted; and so may a
        pair in a response that was lost before this one came.
        """
        at = int(row["at"])
        # Marked `lost` means that someone took this refresher for dead and counted its request,
        # whose response is here now.
        doubt = row["ambiguous"] > (1 if row["status"] == "lost" else 0)
        try:
            self._put_away_predecessor(transaction, row, at, *newer)
        except VaultSealed:
            doubt = True
        if doubt:
            self._doubt(transaction, row["user_id"], row["environment"], at)

    def _on_row(
        self, row: TokenRow, statement: Statement, values: Mapping[str, object], *, answered: bool
    ) -> None:
        """Run a refresher's statement; if the row has moved on, tell the ledger what is known."""

        def work(transaction: Transaction) -> None:
            if transaction.run(statement, values) != 1:
                self._refresh_over(transaction, row, answered=answered)

        self._database.write(work)

    def end_grant(self, row: TokenRow, *, owner: str, now: int) -> GrantStatus | None:
        """Mark the grant of `row` as over: `lost` if an outcome was ambiguous, else `revoked`.

        The row stays, so that the person and the operator can see what happened.

        Returns:
            What it was marked as; None when the lease is not `owner`'s any more, or the row has
            moved on: someone else knows better, read it again.
        """
        values = {
            "which_tokens": row.id,
            "which_generation": row.generation,
            "which_owner": owner,
            "now": now,
        }

        def work(transaction: Transaction) -> GrantStatus | None:
            if transaction.run(self._refresh.end, values) != 1:
                self._refresh_over(transaction, row)
                return None
            ended = transaction.one(self._refresh.row_by_id, {"which_tokens": row.id, "now": now})
            status: GrantStatus | None = None if ended is None else ended[_COLUMNS.index("status")]
            return status

        return self._database.write(work)

    def _token_row(self, row: Any) -> TokenRow:
        of = dict(zip(_ROW, row, strict=True))
        tokens = self._seal.open_row(
            of["access_token"],
            of["refresh_token"],
            of["expires_at"],
            user_id=of["user_id"],
            environment=of["environment"],
            generation=of["generation"],
        )
        at = int(of["at"])
        left = 0 if of["lease_until"] is None else max(0, of["lease_until"] - at)
        owned = of["lease_owner"] is not None
        meant = _LONGEST if of["lease_seconds"] is None else of["lease_seconds"]
        return TokenRow(
            id=of["id"],
            user_id=of["user_id"],
            environment=of["environment"],
            generation=of["generation"],
            tokens=tokens,
            status=of["status"],
            ambiguous=of["ambiguous"],
            expires_in=of["expires_at"] - at,
            lifetime=max(1, of["expires_at"] - of["updated_at"]),
            leased=owned and left > 0,
            retry_in=0 if owned else left,
            disabled=of["disabled_at"] is not None,
            misdated=left > meant,
            settled=of["predecessor"] is None,
        )
