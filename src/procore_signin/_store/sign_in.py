"""What makes a sign-in true, in one transaction: user, tokens, session and ledger.

Users are known by environment and Procore's id, each with one token set per environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update

from procore_signin._protocol.me import Me
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.engine.clock import SHARED_NOW
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.statement import (
    Change,
    InsertAbsent,
    Last,
    Many,
    One,
    Row,
    Sql,
    Statements,
    Together,
    change,
    insert_if_absent,
    one,
)
from procore_signin._store.escrows import (
    REFRESHING,
    leave_doubt,
    put_away,
    put_away_predecessor,
    share,
)
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.ledger import FailAttempt, attempt_over, entry_of
from procore_signin._store.linking.links import (
    ReferencesOfProcoreUser,
    add_link,
    asked_beside,
    check_beside,
    stay_beside,
)
from procore_signin._store.records import CompletedSignIn, NewLink, NewSession, Replaced, User
from procore_signin._store.schema import UNFINISHED, sign_in_ledger, token_sets, users
from procore_signin._store.sessions import lock_opened_at, opening
from procore_signin._store.users import user_of
from procore_signin.errors import AttemptInvalid, SignInRefused, VaultSealed

_this_attempt: Final = sign_in_ledger.c.state_hash == bindparam("which_state")
_this_user: Final = users.c.id == bindparam("which_user")

_COMPLETE: Final = Sql(
    update(sign_in_ledger).where(_this_attempt, UNFINISHED),
    *("status", "user_id", "outcome", "escrow", "escrowed_at", "finished_at"),
)


@dataclass(frozen=True, slots=True, repr=False)
class CompleteSignIn(Command[CompletedSignIn | None]):
    """Make a sign-in true, in one transaction: user, tokens, session and ledger.

    The user is found or made by environment and Procore's id alone, exactly once however many
    sign in at the same time (rows I1, I2, I4). The session that the browser had before ends,
    whosesoever it was (row S2). Tokens that the new ones replace go into the attempt's escrow, to
    be revoked and then cleared: no grant is left behind if this process dies before that (row R11).

    It returns None where the user is disabled: only the ledger was written; revoke the tokens.

    Attributes:
        state_hash: The attempt, taken before.
        me: What Procore says about the user; e-mail and name are stored as it says now.
        environment: Where.
        tokens: What the exchange granted; they replace the user's tokens.
        session: The session to open.
        replaces: `id_hash` of the session cookie that the browser sent, or None.
        now: Unix seconds.
        link: The connection to a user of the application that the sign-in makes, or None.
        beside: The connection to the one who is logged in there, if it makes none, or None.

    Raises:
        AttemptInvalid: The attempt has ended already. Nothing was written; revoke the tokens.
        AlreadyLinked: One of both is connected to another one, perhaps since a moment. As above.
    """

    state_hash: str
    _: KW_ONLY
    me: Me
    environment: str
    tokens: TokenSet
    session: NewSession
    replaces: str | None
    now: int
    link: NewLink | None = None
    beside: NewLink | None = None

    def run(self, seal: TokenSeal) -> Statements[CompletedSignIn | None]:
        state_hash, environment, now = self.state_hash, self.environment, self.now
        who = {"which_environment": environment, "which_procore_id": self.me.procore_id}
        asked: tuple[Many, ...] = ()
        if self.beside is not None:
            references = Many(ReferencesOfProcoreUser.sql, who)
            asked = asked_beside(self.beside, environment, references)
        row, token_set, attempt, *links = yield Together(
            (
                One(_LOCK_USER, who),
                One(_LOCK_TOKENS, who),
                One(_LOCK_ATTEMPT, {"which_state": state_hash}),
                *asked,
            )
        )
        found = None if row is None else User(*row)
        if found is not None and found.disabled_at is not None:
            yield from FailAttempt(state_hash, "user_disabled", now=now).run(seal)
            return None
        if attempt is None:
            raise attempt_over()
        if self.beside is not None:
            check_beside(self.beside, links)
        if found is None:
            changes: list[Change] = []
            user = yield from _make_user(self.me, environment, now)
        else:
            user, changes = _as_told(found, self.me, now)
        unbound = None
        if self.link is not None:
            unbound = yield from add_link(user.id, self.link, now=now)
        granted, before = yield from _replace_tokens(seal, user, self.tokens, now, token_set)
        kept = None
        if before.tokens is not None:
            kept = seal.seal_escrow(before.tokens, state_hash=state_hash, environment=environment)
        done = {
            "which_state": state_hash,
            "status": "done",
            "user_id": user.id,
            "outcome": None,
            "escrow": kept,
            "escrowed_at": None if kept is None else now,
            "finished_at": now,
        }
        opened = opening(user.id, environment, self.session, replaces=self.replaces, now=now)
        yield Last(Together((*changes, granted, *opened, Change(_COMPLETE, done))))
        created = found is None
        return CompletedSignIn(
            user, created, before.tokens, before.sealed, before.given_up, unbound
        )


_LOCK_ATTEMPT: Final = Sql(
    select(sign_in_ledger.c.status).where(_this_attempt, UNFINISHED).with_for_update()
)
_this_person: Final = (
    users.c.environment == bindparam("which_environment"),
    users.c.procore_id == bindparam("which_procore_id"),
)
_LOCK_USER: Final = Sql(
    select(users)
    .where(*_this_person)
    # PostgreSQL: NO KEY UPDATE, which lets others insert rows that refer to the user
    .with_for_update(key_share=True)
)
_UPDATE_USER: Final = Sql(update(users).where(_this_user), "email", "name", "last_signed_in_at")


def _as_told(user: User, me: Me, now: int) -> tuple[User, list[Change]]:
    """Return a known user as Procore tells it now, and what writes that down."""
    told = {"email": me.login, "name": me.name, "last_signed_in_at": now}
    updated = User(
        user.id,
        user.procore_id,
        me.login,
        me.name,
        user.environment,
        user.created_at,
        now,
        user.disabled_at,
        user.company_id,
    )
    return updated, [Change(_UPDATE_USER, {"which_user": user.id, **told})]


_INSERT_USER: Final = Sql(
    insert_if_absent(users),
    *("procore_id", "email", "name", "environment", "created_at", "last_signed_in_at"),
)


def _make_user(me: Me, environment: str, now: int) -> Statements[User]:
    values = {
        "procore_id": me.procore_id,
        "email": me.login,
        "name": me.name,
        "environment": environment,
        "created_at": now,
        "last_signed_in_at": now,
    }
    user_id = yield InsertAbsent(_INSERT_USER, values)
    if user_id is None:
        # Someone was faster. To go on and lock that row could deadlock on MariaDB, where the
        # failed insert already holds a shared lock on it; to start again cannot.
        raise Failed("collision")
    return User(user_id, me.procore_id, me.login, me.name, environment, now, now, disabled_at=None)


_TOKEN_SET: Final = (
    *("id", "access_token", "refresh_token", "expires_at", "generation"),
    *("status", "lease_owner", "ambiguous", "predecessor"),
)
_LOCK_TOKENS: Final = Sql(
    select(*(token_sets.c[name] for name in _TOKEN_SET))
    .where(
        token_sets.c.user_id == select(users.c.id).where(*_this_person).scalar_subquery(),
        token_sets.c.environment == bindparam("which_environment"),
    )
    .with_for_update()
)
_GRANT: Final = ("generation", "access_token", "refresh_token", "status")
_LEASE: Final = ("lease_owner", "lease_until", "ambiguous")
_written: Final = {
    "expires_at": SHARED_NOW + bindparam("seconds"),
    "updated_at": SHARED_NOW,
}
_INSERT_TOKENS: Final = Sql(
    insert(token_sets).inline().values(**_written, created_at=SHARED_NOW),
    *("user_id", "environment", *_GRANT, *_LEASE),
)
_UPDATE_TOKENS: Final = Sql(
    update(token_sets)
    .where(token_sets.c.id == bindparam("which_tokens"))
    .values(**_written, predecessor=None),
    *_GRANT,
    *_LEASE,
)


def _replace_tokens(
    seal: TokenSeal, user: User, tokens: TokenSet, now: int, found: Row | None
) -> Statements[tuple[Change, Replaced]]:
    """Return what writes the tokens down, and what stood there before."""
    row = None if found is None else dict(zip(_TOKEN_SET, found, strict=True))
    generation = 1 if row is None else row["generation"] + 1
    values = {
        **seal.seal_row(
            tokens, user_id=user.id, environment=user.environment, generation=generation
        ),
        "generation": generation,
        "status": "ok",
        "lease_owner": None,
        "lease_until": None,
        "ambiguous": 0,
        # What is left by this host's clock, which may be wrong, is added to the shared one.
        "seconds": max(0, tokens.expires_at - now),
        "now": now,
    }
    owner = {"user_id": user.id, "environment": user.environment}
    if row is None:
        return Change(_INSERT_TOKENS, {**values, **owner}), Replaced(None)
    before = yield from _replaced(seal, {**row, **owner}, tokens, now)
    return Change(_UPDATE_TOKENS, {**values, "which_tokens": row["id"]}), before


def _replaced(
    seal: TokenSeal, row: Mapping[str, Any], tokens: TokenSet, now: int
) -> Statements[Replaced]:
    """Return what stood in a row before `tokens`, and leave nothing of it unknown."""
    before, sealed, others = None, False, []
    try:
        before = seal.open_row(
            row["access_token"],
            row["refresh_token"],
            row["expires_at"],
            user_id=row["user_id"],
            environment=row["environment"],
            generation=row["generation"],
        )
    except VaultSealed:
        sealed = True
    try:
        others += [(yield from put_away_predecessor(seal, row, now, tokens))]
    except VaultSealed:
        sealed = True
    if sealed or row["status"] == "lost" or row["ambiguous"]:
        yield from leave_doubt(row["user_id"], row["environment"], now)
    if before is None or share(before, tokens):
        before = None
    elif row["lease_owner"] is not None:
        # A refresh is under way: what is known of this pair is what that will say.
        others.append((yield from put_away(seal, before, row, REFRESHING, now)))
        before = None
    return Replaced(before, sealed, tuple(each for each in others if each is not None))


_LOCK_ENABLED: Final = Sql(
    select(users.c.environment)
    .where(_this_user, users.c.disabled_at.is_(None))
    .with_for_update(read=True, key_share=True)
)
_JOIN: Final = Sql(
    update(sign_in_ledger).where(
        _this_attempt,
        sign_in_ledger.c.status == "done",
        sign_in_ledger.c.joined_at.is_(None),
    ),
    "joined_at",
)


@dataclass(frozen=True, slots=True, repr=False)
class JoinSignIn(Command[User]):
    """Let the second of two identical callbacks in, once, in one transaction (rows C3, S2).

    The caller has compared the code. The session that the sign-in opened must still be there: no
    one who has signed out meanwhile comes in again. The session that the browser holds ends,
    whosesoever it is. It returns who has signed in.

    Attributes:
        state_hash: The attempt, done before.
        session: The session to open. What `/me` answered is taken from the first one.
        replaces: `id_hash` of the session cookie that the browser sent, or None.
        now: Unix seconds.
        beside: As in `CompleteSignIn`.

    Raises:
        AlreadyLinked: As there. Nothing was written.
        AttemptInvalid: It is not done, someone has joined it, or the user has signed out.
            Nothing was written.
        SignInRefused: The user is disabled or gone. Nothing was written.
    """

    state_hash: str
    _: KW_ONLY
    session: NewSession
    replaces: str | None
    now: int
    beside: NewLink | None = None

    def run(self, seal: TokenSeal) -> Statements[User]:
        entry = yield from entry_of(self.state_hash)
        if entry is None or entry.status != "done" or entry.user_id is None:
            raise attempt_over()
        # In the order in which `CompleteSignIn` locks: the user first.
        user_id, environment, now = entry.user_id, entry.environment, self.now
        if self.beside is not None:
            yield from stay_beside(user_id, self.beside)
        if (yield from one(_LOCK_ENABLED, {"which_user": user_id})) is None:
            raise person_disabled()
        joined = {"which_state": self.state_hash, "joined_at": now}
        if (yield from change(_JOIN, joined)) != 1:
            raise _used("A second callback of this sign-in was let in before")
        me_json = yield from lock_opened_at(user_id, environment, entry.finished_at, now=now)
        if me_json is None:
            raise _used("The user has signed out meanwhile")
        own = replace(self.session, me_json=me_json)
        yield Together(tuple(opening(user_id, environment, own, replaces=self.replaces, now=now)))
        user = yield from user_of(user_id)
        if user is None:
            raise person_disabled()
        return user


def person_disabled() -> SignInRefused:
    """Return the error for a user who is disabled or gone."""
    return SignInRefused(
        "This user may not sign in here any more. Ask the operator of this application."
    )


def _used(why: str) -> AttemptInvalid:
    return AttemptInvalid(why, reason="used")
