"""End a user's access: disable, enable and delete users, and keep their tokens to be revoked.

Ending an access moves the tokens, sealed anew, into an escrow of the ledger in the same transaction
that disables the user. So no one uses them again, a refresh under way finds another generation
and loses, and whatever process is left revokes them (rows I5, R10; docs/decisions/0010).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar, Final

from sqlalchemy import and_, bindparam, delete, or_, select, update

from procore_signin._store.engine.clock import SHARED_NOW
from procore_signin._store.engine.command import Command, LookUp
from procore_signin._store.engine.statement import (
    Change,
    Row,
    Sql,
    Statements,
    Together,
    Values,
    change,
    many,
    one,
)
from procore_signin._store.escrows import (
    FORGET_DOUBTS,
    REFRESHING,
    UNANSWERED,
    is_in_doubt,
    leave_doubt,
    open_escrow,
    put_away,
    put_away_predecessor,
)
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.linking.links import UNLINK
from procore_signin._store.records import Escrow, User
from procore_signin._store.schema import sign_in_ledger, token_sets, users
from procore_signin._store.sessions import end_all
from procore_signin._store.users import user_of
from procore_signin.errors import VaultSealed

DISABLED: Final = "access_ended"
"""The outcome of a ledger row that holds the tokens of a user whose access was ended."""


@dataclass(frozen=True, slots=True)
class EndedAccess:
    """What ending a user's access found.

    Attributes:
        user: The user, as stored now.
        sessions: How many sessions ended.
        withdrawn: How many token sets went into escrow: revoke them.
        lost: Whether a response was lost before: its tokens are known to no one, and may live.
        sealed: Whether there are tokens that cannot be opened. They stay as they are.
        leased: Whether a refresh was under way. It brings a pair that it has to give up itself.
        unlinked: How many connections to users of the application were undone.
        escrows: All that waits to be revoked, what just went into escrow among it. If the user is
            deleted a moment later, no row has their `id` any more.
    """

    user: User
    sessions: int
    withdrawn: int
    lost: bool
    sealed: bool
    leased: bool
    unlinked: int = 0
    escrows: tuple[Escrow, ...] = ()


_this: Final = users.c.id == bindparam("which_user")
_of_user: Final = token_sets.c.user_id == bindparam("which_user")
_this_set: Final = token_sets.c.id == bindparam("which_tokens")

_DELETE_TOKENS: Final = Sql(delete(token_sets).where(_of_user))


@dataclass(frozen=True, slots=True, repr=False)
class DisableUser(Command[EndedAccess | None]):
    """Disable a user, end all sessions and put the tokens into escrow, in one transaction.

    Repeating it is harmless, and finds what the first time could not open. It returns what was
    found; None where there is no such user.
    """

    user_id: int
    _: KW_ONLY
    now: int

    def run(self, seal: TokenSeal) -> Statements[EndedAccess | None]:
        user = yield from _lock(self.user_id)
        return None if user is None else (yield from _end_access(seal, user, self.now))


@dataclass(frozen=True, slots=True, repr=False)
class DisconnectUser(Command[EndedAccess | None]):
    """End all sessions of a user, undo the connections, and forget the tokens (row L7).

    The tokens go into escrow to be revoked. The user may sign in again. Tokens that cannot
    be opened stay as they are. It returns what was found; None where there is no such user.
    """

    user_id: int
    _: KW_ONLY
    now: int

    def run(self, seal: TokenSeal) -> Statements[EndedAccess | None]:
        user = yield from _lock(self.user_id)
        if user is None:
            return None
        ended = yield from _end_access(seal, user, self.now, disable=False)
        if ended.lost:  # a row that goes cannot tell it any more
            yield from leave_doubt(self.user_id, user.environment, self.now)
        if not ended.sealed:
            yield from change(_DELETE_TOKENS, {"which_user": self.user_id})
        unlinked = yield from change(UNLINK, {"which_user": self.user_id})
        return replace(ended, unlinked=unlinked)


_ENABLE: Final = Sql(
    update(users).where(_this, users.c.disabled_at.is_not(None)).values(disabled_at=None)
)


@dataclass(frozen=True, slots=True, repr=False)
class EnableUser(Command[User | None]):
    """Let a user sign in again. Their tokens are gone: they have to.

    It returns the user, or None where there is none of that number.
    """

    user_id: int

    def run(self, seal: TokenSeal) -> Statements[User | None]:
        yield from change(_ENABLE, {"which_user": self.user_id})
        return (yield from user_of(self.user_id))


# The database empties `user_id` where the user goes. Whose the tokens are stays known all the same:
# who signs in again and is ended again still has this grant.
_NAME_BY_NUMBER: Final = Sql(
    update(sign_in_ledger)
    .where(
        sign_in_ledger.c.user_id == bindparam("which_user"), sign_in_ledger.c.escrow.is_not(None)
    )
    .values(procore_id=bindparam("number"))
)
_DELETE: Final = Sql(delete(users).where(_this))


@dataclass(frozen=True, slots=True, repr=False)
class DeleteUser(Command[EndedAccess | None]):
    """Delete a user, their sessions and their token set; tokens still alive go into escrow.

    Until those are dead, their rows keep Procore's number of the user. Doubts are forgotten.

    It returns what was found; None where there is no such user.

    Attributes:
        user_id: Whom.
        now: Unix seconds.
        even_sealed: Delete tokens too that cannot be opened, and so never revoked.

    Raises:
        VaultSealed: There are tokens that cannot be opened. Nothing was changed.
    """

    user_id: int
    _: KW_ONLY
    now: int
    even_sealed: bool = False

    def run(self, seal: TokenSeal) -> Statements[EndedAccess | None]:
        user = yield from _lock(self.user_id)
        if user is None:
            return None
        ended = yield from _end_access(seal, user, self.now)
        if ended.sealed and not self.even_sealed:
            raise VaultSealed(
                "This user's tokens cannot be opened, and so not revoked. Put the key that "
                "sealed them back into PROCORE_KEYS, or delete them unrevoked.",
                hint="Put the key back, or delete them unrevoked.",
            )
        who = {"which_user": self.user_id, "now": self.now, "number": user.procore_id}
        changes = (_DELETE_TOKENS, FORGET_DOUBTS, _NAME_BY_NUMBER, _DELETE)
        yield Together(tuple(Change(each, who) for each in changes))
        return ended


@dataclass(frozen=True, slots=True, repr=False)
class EscrowsOf(LookUp[list[Escrow]]):
    """A user's tokens in escrow, which wait to be revoked.

    Also those that they had as a user who was deleted. Procore knows one and the same.
    """

    user: User

    sql: ClassVar = Sql(
        select(
            sign_in_ledger.c.state_hash,
            sign_in_ledger.c.environment,
            sign_in_ledger.c.escrow,
            sign_in_ledger.c.escrowed_at,
        ).where(
            or_(
                sign_in_ledger.c.user_id == bindparam("which_user"),
                and_(
                    sign_in_ledger.c.procore_id == bindparam("which_procore_id"),
                    sign_in_ledger.c.environment == bindparam("which_environment"),
                    sign_in_ledger.c.escrowed_at >= 0,
                ),
            ),
            sign_in_ledger.c.escrow.is_not(None),
        )
    )

    def values(self) -> Values:
        user = self.user
        return {
            "which_user": user.id,
            "which_procore_id": user.procore_id,
            "which_environment": user.environment,
        }

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> list[Escrow]:
        return [open_escrow(seal, *row) for row in rows]


# FOR UPDATE whole: a session that someone is opening waits, or is seen and ended too.
_LOCK: Final = Sql(select(users).where(_this).with_for_update())


def _lock(user_id: int) -> Statements[User | None]:
    row = yield from one(_LOCK, {"which_user": user_id})
    return None if row is None else User(*row)


_DISABLE: Final = Sql(update(users).where(_this).values(disabled_at=bindparam("now")))
_TOKEN_SET: Final = (*(column.name for column in token_sets.c), "at")
_LOCK_TOKENS: Final = Sql(
    select(*token_sets.c, SHARED_NOW.label("at")).where(_of_user).with_for_update()
)


def _end_access(
    seal: TokenSeal, user: User, now: int, *, disable: bool = True
) -> Statements[EndedAccess]:
    who = {"which_user": user.id, "now": now}
    if disable and user.disabled_at is None:
        yield from change(_DISABLE, who)
        user = replace(user, disabled_at=now)
    ended = yield from end_all(user.id)
    lost = yield from is_in_doubt(user.id)
    found = EndedAccess(user, ended, withdrawn=0, lost=lost, sealed=False, leased=False)
    for row in (yield from many(_LOCK_TOKENS, who)):
        token_set = dict(zip(_TOKEN_SET, row, strict=True))
        found = replace(
            found,
            leased=found.leased or _leased_for(token_set) > 0,
            lost=found.lost or token_set["status"] == "lost" or _is_refreshed_again(token_set),
        )
        for withdraw in (_withdraw_predecessor, _withdraw):
            try:
                moved = yield from withdraw(seal, token_set)
            except VaultSealed:
                found = replace(found, sealed=True)
            else:
                found = replace(found, withdrawn=found.withdrawn + (moved is not None))
    waiting = yield from EscrowsOf(user).run(seal)
    return replace(found, escrows=tuple(waiting))


_FORGET_PREDECESSOR: Final = Sql(update(token_sets).where(_this_set).values(predecessor=None))


def _withdraw_predecessor(seal: TokenSeal, row: Mapping[str, Any]) -> Statements[Escrow | None]:
    """Move the pair before that of a locked row into escrow, where there is one.

    Raises:
        VaultSealed: It cannot be opened, and stays.
    """
    moved = yield from put_away_predecessor(seal, row, int(row["at"]))
    if moved is not None:
        yield from change(_FORGET_PREDECESSOR, {"which_tokens": row["id"]})
    return moved


_WITHDRAW: Final = Sql(
    update(token_sets)
    .where(_this_set)
    .values(status="revoked", lease_owner=None, lease_until=None, ambiguous=0),
    *("generation", "access_token", "refresh_token", "expires_at", "updated_at"),
)


def _withdraw(seal: TokenSeal, row: Mapping[str, Any]) -> Statements[Escrow | None]:
    """Move the tokens of a locked row into escrow, unless they are over.

    Raises:
        VaultSealed: They cannot be opened, and stay.
    """
    if row["status"] != "ok":
        return None
    whose: dict[str, Any] = {"user_id": row["user_id"], "environment": row["environment"]}
    cells, generation = (row["access_token"], row["refresh_token"]), row["generation"]
    tokens = seal.open_row(*cells, row["expires_at"], **whose, generation=generation)
    at = int(row["at"])
    moved = yield from put_away(seal, tokens, row, _what_is_known(row), at)
    if _is_refreshed_again(row):  # what the refresher says is of its second request alone
        yield from leave_doubt(row["user_id"], row["environment"], at)
    sealed = seal.seal_row(tokens, **whose, generation=generation + 1)
    values = {**sealed, "generation": generation + 1, "updated_at": at}
    yield from change(_WITHDRAW, {**values, "which_tokens": row["id"]})
    return moved


def _is_refreshed_again(row: Mapping[str, Any]) -> bool:
    """Whether a refresh is under way that had no response to an earlier request."""
    return _leased_for(row) > 0 and row["ambiguous"] > 0


def _leased_for(row: Mapping[str, Any]) -> int:
    return 0 if row["lease_owner"] is None else max(0, int(row["lease_until"]) - int(row["at"]))


def _what_is_known(row: Mapping[str, Any]) -> str:
    """Return the note for the tokens of a row: whether their refresh token may have been spent."""
    if _leased_for(row) > 0:
        return REFRESHING
    return UNANSWERED if row["lease_owner"] is not None or row["ambiguous"] else DISABLED
