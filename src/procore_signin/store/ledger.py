"""The ledger: each authorization response counts once, and no grant is left behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from procore_signin.protocol.token_set import TokenSet
from procore_signin.store.base import attempt_over, storable
from procore_signin.store.escrows import NEVER, Escrows
from procore_signin.store.failures import Failed
from procore_signin.store.records import Escrow, LedgerEntry
from procore_signin.store.statement import Transaction

_OUTCOME_LENGTH: Final = 64


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
        """Return what is known of an attempt, or None where nobody took it."""
        row = self._database.one(self._statements.attempt, {"which_state": state_hash})
        return None if row is None else LedgerEntry(*row)

    def escrow(self, state_hash: str, tokens: TokenSet, *, environment: str, now: int) -> None:
        """Keep the tokens of an exchange until the sign-in completes or somebody revokes them.

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

        Fail such an attempt first, so that its sign-in cannot complete any more (one that is done
        stays done), then revoke the tokens, then clear the escrow.
        """
        rows = self._database.many(
            self._statements.escrowed, {"before": older_than, "limit": limit}
        )
        return [self._open_escrow(*row) for row in rows]

    def escrowed_in(
        self,
        environment: str,
        older_than: int,
        *,
        newer_than: int = NEVER,
        after: Escrow | None = None,
        limit: int = 100,
    ) -> list[Escrow]:
        """Return a page of `escrowed` for one environment.

        Args:
            environment: Whose tokens: only its processes can revoke them.
            older_than: As for `escrowed`.
            newer_than: Those too that were put there after this time, which is still to come: the
                clock has been set back since.
            after: The last one of the page before. So one that stays, because it cannot be opened,
                keeps nobody from those behind it.
            limit: The most of one page.
        """
        place = {
            "which_environment": environment,
            "before": older_than,
            "ahead": newer_than,
            "after": 0 if after is None else after.escrowed_at,
            "after_state": "" if after is None else after.state_hash,
            "limit": limit,
        }
        rows = self._database.many(self._statements.escrowed_in, place)
        return [self._open_escrow(*row) for row in rows]

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
