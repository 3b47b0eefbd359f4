"""The ledger: each authorization response counts once, and no grant is left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.base import attempt_over, storable
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.statement import Transaction
from procore_signin._store.escrows import Escrows
from procore_signin._store.records import Escrow, LedgerEntry

_OUTCOME_LENGTH: Final = 64
_MISDATED: Final = 3600


class Ledger(Escrows):
    """Sign-in attempts from the moment their authorization response arrives (rows C3, C4, C12)."""

    def take_attempt(
        self,
        state_hash: str,
        *,
        environment: str,
        now: int,
        expires_at: int,
        code_hash: str | None = None,
    ) -> LedgerEntry | None:
        """Take an attempt before its code is spent.

        Args:
            state_hash: SHA-256 of its `state`, 64 lower-case hex digits.
            environment: Whose code it is.
            now: Unix seconds.
            expires_at: From when it may be forgotten; no earlier than its cookie expires.
            code_hash: SHA-256 of the code that takes it, 64 lower-case hex digits; None for an
                answer without one. Who comes second is let in with the same code only (row A5).

        Returns:
            None for the one caller that took it; for every other, in all processes, what is known
            of it.
        """
        values = {
            "state_hash": state_hash,
            "environment": environment,
            "status": "taken",
            "created_at": now,
            "expires_at": expires_at,
            "code_hash": code_hash,
        }

        def work(transaction: Transaction) -> LedgerEntry | None:
            if transaction.insert_absent(self._statements.insert_attempt, values) is not None:
                return None
            row = transaction.one(self._statements.attempt, {"which_state": state_hash})
            if row is None:  # purged between the two statements
                raise Failed("collision")
            return LedgerEntry(*row)

        return self._database.write(work)

    def attempt(self, state_hash: str) -> LedgerEntry | None:
        """Return what is known of an attempt, or None where no one took it."""
        row = self._database.one(self._statements.attempt, {"which_state": state_hash})
        return None if row is None else LedgerEntry(*row)

    def escrow(self, state_hash: str, tokens: TokenSet, *, environment: str, now: int) -> None:
        """Keep the tokens of an exchange until the sign-in completes or someone revokes them.

        Args:
            state_hash: The attempt, taken before in `environment`.
            tokens: What the exchange granted.
            environment: Where.
            now: Unix seconds.

        Raises:
            AttemptInvalid: It is not waiting for an exchange: it failed or was forgotten. Revoke
                the tokens.
        """
        values = {
            "which_state": state_hash,
            "which_environment": environment,
            "status": "exchanged",
            "escrow": self._seal.seal_escrow(
                tokens, state_hash=state_hash, environment=environment
            ),
            "escrowed_at": now,
        }

        def work(transaction: Transaction) -> None:
            if transaction.run(self._statements.escrow, values) != 1:
                raise attempt_over()

        self._database.write(work)

    def escrowed(self, older_than: int, *, limit: int = 100) -> list[Escrow]:
        """Return tokens put in escrow before the time `older_than`, oldest first.

        And those that seem to have been put there more than an hour after it: the clock was set
        back since then (row R14).

        Fail such an attempt first, so that its sign-in cannot complete any more (one that is done
        stays done), then revoke the tokens, then clear the escrow.
        """
        place = {"before": older_than, "misdated": older_than + _MISDATED, "limit": limit}
        rows = self._database.many(self._statements.escrowed, place)
        return [self._open_escrow(*row) for row in rows]

    def escrowed_in(
        self, environment: str, older_than: int, *, after: Escrow | None = None, limit: int = 100
    ) -> list[Escrow]:
        """Return a page of `escrowed` for one environment.

        Args:
            environment: Whose tokens: only its processes can revoke them.
            older_than: As for `escrowed`.
            after: The last one of the page before. So one that stays, because it cannot be opened,
                keeps no one from those behind it.
            limit: The most of one page.
        """
        place = {
            "which_environment": environment,
            "before": older_than,
            "misdated": older_than + _MISDATED,
            "after": 0 if after is None else after.escrowed_at,
            "after_state": "" if after is None else after.state_hash,
            "limit": limit,
        }
        rows = self._database.many(self._statements.escrowed_in, place)
        return [self._open_escrow(*row) for row in rows]

    def has_sign_in_under_way(self, environment: str, *, since: int, now: int) -> bool:
        """Whether a sign-in may be bringing tokens of someone whom the ledger cannot name yet.

        Args:
            environment: Where.
            since: One whose code was taken before this time has ended; what it left in escrow
                counts all the same.
            now: Unix seconds.
        """
        place = {"which_environment": environment, "since": since, "now": now}
        return self._database.one(self._statements.nameless, place) is not None

    def put_off(self, escrows: Sequence[Escrow], *, now: int) -> None:
        """Let others come before escrows that Procore did not confirm, as if put there at `now`."""
        places = [{"which_state": each.state_hash, "escrowed_at": now} for each in escrows]
        self._database.write(lambda t: t.run_each(self._statements.put_off, places))

    def clear_escrow(self, state_hash: str) -> None:
        """Forget the tokens in escrow, after they were revoked."""
        values = {"which_state": state_hash}
        self._database.write(
            lambda transaction: transaction.run(self._statements.clear_escrow, values)
        )

    def fail_attempt(self, state_hash: str, outcome: str, *, now: int) -> bool:
        """Note that an attempt ended without a sign-in. Tokens in escrow stay there.

        Args:
            state_hash: Which attempt.
            outcome: Why, as a fixed word; cut at 64 characters.
            now: Unix seconds.

        Returns:
            True when this call ended it; False when it had ended before, or is unknown.
        """
        values = failed(state_hash, outcome, now)
        return self._database.write(
            lambda transaction: transaction.run(self._statements.fail_attempt, values) == 1
        )


def failed(state_hash: str, outcome: str, now: int) -> Mapping[str, object]:
    """Return what `fail_attempt` writes for an attempt that ended without a sign-in."""
    return {
        "which_state": state_hash,
        "status": "failed",
        "outcome": storable(outcome, _OUTCOME_LENGTH),
        "finished_at": now,
    }
