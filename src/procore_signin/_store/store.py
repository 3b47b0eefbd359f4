"""The store: people, their sessions, their sealed tokens and the ledger of sign-ins.

Its parts are `administration.py`, `ledger.py`, `refresh.py`, `rewrap.py`, `sessions.py`, `users.py`
and `withdrawal.py`; here is what concerns all of them. Read `states.py` first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import false, select

from procore_signin._protocol.me import Me
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.administration import Administration
from procore_signin._store.base import attempt_over, attempt_used, person_disabled
from procore_signin._store.engine.statement import Statement, Transaction
from procore_signin._store.keys.rewrap import Rewrap
from procore_signin._store.ledger import Ledger, failed
from procore_signin._store.records import CompletedSignIn, LedgerEntry, NewSession, Purged, User
from procore_signin._store.refresh import Refreshes
from procore_signin._store.schema import SCHEMA_REVISION, metadata
from procore_signin._store.sessions import Sessions
from procore_signin._store.users import Users
from procore_signin.errors import StoreUnavailable

_MOST_PURGED: Final = 10_000


class Store(Administration, Rewrap, Ledger, Refreshes, Sessions, Users):
    """The database and the seal, behind the few things that a sign-in and a page need.

    Synchronous, and safe to call from any thread. Times are given and kept as UTC unix seconds.
    Opening a store connects to nothing. Every method raises `StoreUnavailable` when the database
    is down, locked for too long or not migrated; then nothing was half done.

    Args:
        url: As `PROCORE_DATABASE_URL`: `sqlite:///…`, `postgresql://…`, `mysql://…`, `mariadb://…`.
        keys: Seal and open the tokens.
        timeout: The longest that a call may take, in seconds; the time for connecting and for a
            server that says nothing is in it.
        lock_timeout: The longest wait for others' work, in seconds; None for three quarters of
            `timeout`, which is never less than that asks for.
        connections: The most connections to a server, half for reads and half for writes. SQLite
            opens one for writing and one for each thread that reads at the same time.
        random_bytes: A cryptographic source, for nonces.
        clock: Seconds of a monotonic clock, to bound repetitions.
        sleep: Waits some seconds between repetitions.

    Raises:
        ValueError: `url` is none, or its driver is not installed; the message says what to do.
    """

    def complete_sign_in(
        self,
        state_hash: str,
        *,
        me: Me,
        environment: str,
        tokens: TokenSet,
        session: NewSession,
        replaces: str | None,
        now: int,
    ) -> CompletedSignIn:
        """Make a sign-in true, in one transaction: person, tokens, session and ledger.

        The person is found or made by environment and Procore's id alone, exactly once however
        many sign in at the same time (rows I1, I2, I4). The session that the browser had before
        ends, whosesoever it was (row S2). Tokens that the new ones replace go into the attempt's
        escrow, to be revoked and then cleared: no grant is left behind if this process dies before
        that (row R11).

        Args:
            state_hash: The attempt, taken before.
            me: What Procore says about the person; e-mail and name are stored as it says now.
            environment: Where.
            tokens: What the exchange granted; they replace the person's tokens.
            session: The session to open.
            replaces: `id_hash` of the session cookie that the browser sent, or None.
            now: Unix seconds.

        Raises:
            SignInRefused: The person is disabled. Only the ledger was written; revoke the tokens.
            AttemptInvalid: The attempt has ended already. Nothing was written; revoke the tokens.
        """

        def work(transaction: Transaction) -> CompletedSignIn | None:
            user, created = self._find_or_make_user(transaction, me, environment, now)
            if user.disabled_at is not None:
                refused = failed(state_hash, "user_disabled", now)
                transaction.run(self._statements.fail_attempt, refused)
                return None
            before = self._replace_tokens(transaction, user, tokens, now, created=created)
            if replaces is not None:
                transaction.run(self._statements.end_session_of_cookie, {"which_hash": replaces})
            self._insert_session(transaction, user.id, environment, session, now)
            kept = None
            if before.tokens is not None:
                kept = self._seal.seal_escrow(
                    before.tokens, state_hash=state_hash, environment=environment
                )
            done = {
                "which_state": state_hash,
                "status": "done",
                "user_id": user.id,
                "outcome": None,
                "escrow": kept,
                "escrowed_at": None if kept is None else now,
                "finished_at": now,
            }
            if transaction.run(self._statements.complete_attempt, done) != 1:
                raise attempt_over()
            return CompletedSignIn(user, created, before.tokens, before.sealed, before.given_up)

        completed = self._database.write(work)
        if completed is None:
            raise person_disabled()
        return completed

    def join_sign_in(
        self, state_hash: str, *, session: NewSession, replaces: str | None, now: int
    ) -> User:
        """Let the second of two identical callbacks in, once, in one transaction (rows C3, S2).

        The caller has compared the code. The session that the sign-in opened must still be
        there: no one who has signed out meanwhile comes in again. The session that the browser
        holds ends, whosesoever it is.

        Args:
            state_hash: The attempt, done before.
            session: The session to open. What `/me` answered is taken from the first one.
            replaces: `id_hash` of the session cookie that the browser sent, or None.
            now: Unix seconds.

        Returns:
            Who has signed in.

        Raises:
            AttemptInvalid: It is not done, someone has joined it, or the person has signed out.
                Nothing was written.
            SignInRefused: The person is disabled or gone. Nothing was written.
        """

        def work(transaction: Transaction) -> User:
            this = {"which_state": state_hash}
            row = transaction.one(self._statements.attempt, this)
            entry = None if row is None else LedgerEntry(*row)
            if entry is None or entry.status != "done" or entry.user_id is None:
                raise attempt_over()
            # In the order in which `complete_sign_in` locks: the person first.
            person = {"which_user": entry.user_id}
            if transaction.one(self._statements.lock_enabled_user, person) is None:
                raise person_disabled()
            if transaction.run(self._statements.join_attempt, this | {"joined_at": now}) != 1:
                raise attempt_used("A second callback of this sign-in was let in before")
            first = person | {
                "which_environment": entry.environment,
                "opened_at": entry.finished_at,
                "now": now,
            }
            opened = transaction.one(self._statements.session_opened_at, first)
            if opened is None:
                raise attempt_used("The person has signed out meanwhile")
            if replaces is not None:
                transaction.run(self._statements.end_session_of_cookie, {"which_hash": replaces})
            own = replace(session, me_json=opened[0])
            self._insert_session(transaction, entry.user_id, entry.environment, own, now)
            user = transaction.one(self._statements.user, person)
            if user is None:
                raise person_disabled()
            return User(*user)

        return self._database.write(work)

    def purge(self, now: int, limit: int = 1000) -> Purged:
        """Delete expired sessions and ledger entries, at most `limit` of each (row O6).

        Two short transactions. Attempts with tokens in escrow stay until those were revoked.

        Raises:
            ValueError: `limit` is not 1 to 10,000.
        """
        if not 1 <= limit <= _MOST_PURGED:
            raise ValueError(f"A purge deletes 1 to {_MOST_PURGED} rows at a time.")
        some = {"now": now, "limit": limit}

        def purge_sessions(transaction: Transaction) -> int:
            rows = transaction.many(self._statements.ended_sessions, some)
            return transaction.run_each(
                self._statements.purge_session,
                ({"which_session": session_id, "now": now} for (session_id,) in rows),
            )

        def purge_attempts(transaction: Transaction) -> int:
            rows = transaction.many(self._statements.over_attempts, some)
            return transaction.run_each(
                self._statements.purge_attempt,
                ({"which_state": state_hash, "now": now} for (state_hash,) in rows),
            )

        return Purged(self._database.write(purge_sessions), self._database.write(purge_attempts))

    def probe(self) -> None:
        """Ask whether the database answers, can be written to, and has this version's tables.

        Raises:
            StoreUnavailable: It does not, or its tables are older or newer.
        """
        self._database.check_writable()
        row = self._database.one(self._statements.revision, {})
        revision = None if row is None else row[0]
        if revision == SCHEMA_REVISION:
            return
        if revision is not None and revision > SCHEMA_REVISION:
            self._check_columns()
            return
        cure = "Run: procore-signin db upgrade"
        raise StoreUnavailable(
            f"The database {self._database.label} has tables of revision {revision}, and this "
            f"version needs {SCHEMA_REVISION}. {cure}",
            hint=cure,
            reason="unmigrated",
        )

    def _check_columns(self) -> None:
        """Make sure that a newer version's tables still have all that this one uses.

        A rolling upgrade migrates first, and this version goes on until its replica is replaced.
        """
        for ours in metadata.sorted_tables:
            none_of_it = select(*ours.columns).where(false())
            try:
                self._database.many(Statement(none_of_it, self._database.dialect, ()), {})
            except StoreUnavailable as error:
                if error.reason != "unmigrated":
                    raise
                lacks = ours.name
            else:
                continue
            cure = "Run the newer version."
            raise StoreUnavailable(
                f"The database {self._database.label} was migrated by a newer version, whose table "
                f"`{lacks}` lacks what this version needs. {cure}",
                hint=cure,
                reason="unmigrated",
            )
