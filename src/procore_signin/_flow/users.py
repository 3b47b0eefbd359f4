"""What those who run the application do with users: their access, and whom they are connected to.

Access is ended, given back or erased (rows I5, S6); users are connected to the application's own
ones (rows L3, L4).

None of this asks the user. A flow that returns None found no one of that number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from procore_signin._flow.context import Context
from procore_signin._flow.revocation import Revocation, withdraw
from procore_signin._flow.steps import Flow, ask, do, shield
from procore_signin._public import public_in
from procore_signin._store.access import (
    DeleteUser,
    DisableUser,
    DisconnectUser,
    EnableUser,
    EndedAccess,
    EscrowsOf,
)
from procore_signin._store.ledger import HasSignInUnderWay
from procore_signin._store.linking.links import (
    ForgetReference,
    Link,
    ReferencesOf,
    ReferencesOfProcoreUser,
    Unlink,
    UsersOfReference,
    check_free,
    is_connected,
)
from procore_signin._store.records import NewLink, User
from procore_signin._store.sessions import EndSessions
from procore_signin.events import Event, emit

LONGEST_SIGN_IN_SECONDS: Final = 60
"""After so long a sign-in has asked Procore all that it asks, or its process has ended."""

_WORST_LAST: Final[tuple[Revocation, ...]] = ("none", "confirmed", "pending", "unsure", "sealed")


PATIENCE_SECONDS: Final = 5.0
"""How long to wait for another process that is revoking the same tokens."""


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class AccessEnded:
    """What became of ending someone's access.

    Attributes:
        user: The user, as stored last.
        sessions: How many sessions ended. Their next request is answered as if signed out.
        revocation: What is known of the tokens at Procore; the worst, if there were several sets.
        refresh_under_way: Whether another process was refreshing. It will find that it lost, and
            give up the pair that it brings. Ask again a minute later: then it is known whether it
            did, or died with it.
        sign_in_under_way: Whether a sign-in of someone whom no one can name yet is under way, or
            was cut off and waits for the janitor: it may be this user's. One that is under way
            comes to nothing where the user is disabled. Ask again a minute later.
    """

    user: User
    sessions: int
    revocation: Revocation
    refresh_under_way: bool
    sign_in_under_way: bool = False

    @property
    def revoked(self) -> bool:
        """Whether every token that was known is certainly dead at Procore."""
        return self.revocation in {"none", "confirmed"}

    @property
    def certain(self) -> bool:
        """Whether Procore certainly honours no token of this user any more (decision 25)."""
        under_way = self.refresh_under_way or self.sign_in_under_way
        return self.revoked and not under_way


def disable(context: Context, user_id: int) -> Flow[AccessEnded | None]:
    """Disable a user: no session, no refresh and no sign-in from this moment on, in any process.

    Their tokens go into escrow in the same transaction, and are then revoked at Procore. If this
    process dies before that, or Procore does not answer, the janitor goes on (decision 0010).
    Repeating it is harmless, and tries again what is still pending.

    Raises:
        StoreUnavailable: Nothing was changed, or the janitor goes on. Repeat it.
    """
    return (yield from shield(_disable(context, user_id)))


def _disable(context: Context, user_id: int) -> Flow[AccessEnded | None]:
    now = context.now()
    ended = yield from do(DisableUser(user_id, now=now))
    if ended is None:
        return None
    emit(
        Event.USER_DISABLED,
        user=user_id,
        environment=ended.user.environment,
        sessions=ended.sessions,
    )
    return (yield from _revoke(context, ended))


def disconnect(context: Context, user_id: int) -> Flow[AccessEnded | None]:
    """End every session of a user, undo the connections, and forget and revoke the tokens.

    The user may sign in again. Crash-safe, as `disable`.

    Raises:
        StoreUnavailable: Nothing was changed, or the janitor goes on. Repeat it.
    """
    return (yield from shield(_disconnect(context, user_id)))


def _disconnect(context: Context, user_id: int) -> Flow[AccessEnded | None]:
    now = context.now()
    ended = yield from do(DisconnectUser(user_id, now=now))
    if ended is None:
        return None
    if ended.unlinked:
        emit(Event.USER_UNLINKED, user=user_id, environment=ended.user.environment)
    outcome = yield from _revoke(context, ended)
    emit(
        Event.DISCONNECTED,
        user=user_id,
        environment=ended.user.environment,
        sessions=ended.sessions,
        revoked=outcome.revoked,
    )
    return outcome


def enable(user_id: int) -> Flow[User | None]:
    """Let a user sign in again. They have to: sessions and tokens do not come back.

    Raises:
        StoreUnavailable: Nothing was changed.
    """
    user = yield from do(EnableUser(user_id))
    if user is not None:
        emit(Event.USER_ENABLED, user=user_id, environment=user.environment)
    return user


def delete(
    context: Context, user_id: int, *, even_sealed: bool = False
) -> Flow[AccessEnded | None]:
    """Disable a user, revoke the tokens, and erase the user, the sessions and the tokens.

    Tokens whose revocation is pending stay in escrow, sealed, until the janitor has revoked them.
    Until then Procore's number of the user stays beside them, and nothing else of the user: someone
    who signs in again and is ended again has this grant too.

    Args:
        context: The surroundings.
        user_id: Whom.
        even_sealed: Erase tokens too that cannot be opened. Procore goes on honouring them.

    Raises:
        VaultSealed: The tokens cannot be opened. The user is disabled, and still there.
        StoreUnavailable: Nothing was changed, or the user is disabled. Repeat it.
    """
    return (yield from shield(_delete(context, user_id, even_sealed=even_sealed)))


def _delete(context: Context, user_id: int, *, even_sealed: bool) -> Flow[AccessEnded | None]:
    outcome = yield from _disable(context, user_id)
    if outcome is None:
        return None
    now = context.now()
    deleted = yield from do(DeleteUser(user_id, now=now, even_sealed=even_sealed))
    if deleted is not None:
        emit(Event.USER_DELETED, user=user_id, environment=outcome.user.environment)
        if deleted.withdrawn:  # someone enabled the user, who signed in, in between
            return replace(outcome, revocation="pending")
    return outcome


def end_sessions(user_id: int) -> Flow[int]:
    """End every session of a user and return how many there were. The tokens stay."""
    count = yield from do(EndSessions(user_id))
    emit(Event.SESSIONS_REVOKED, user=user_id, sessions=count)
    return count


def _revoke(context: Context, ended: EndedAccess) -> Flow[AccessEnded]:
    """Revoke what is in escrow for this user, by this call or an earlier one."""
    known: list[Revocation] = ["unsure"] if ended.lost else []
    known += ["sealed"] if ended.sealed else []
    environment, now = ended.user.environment, context.now()
    nameless = yield from ask(
        HasSignInUnderWay(environment, since=now - LONGEST_SIGN_IN_SECONDS, now=now)
    )
    # What was nameless then and got its name since is among these.
    named = yield from ask(EscrowsOf(ended.user))
    left = {escrow.state_hash: escrow for escrow in (*ended.escrows, *named)}
    for escrow in left.values():
        known.append((yield from withdraw(context, escrow, patience=PATIENCE_SECONDS)))
    return AccessEnded(
        ended.user,
        ended.sessions,
        max(known, default="none", key=_WORST_LAST.index),
        ended.leased,
        nameless,
    )


def link(context: Context, user_id: int, new: NewLink) -> Flow[bool]:
    """Connect a user, and return whether that is new.

    Raises:
        AlreadyLinked: One of both is connected to another one. Nothing was changed.
        ValueError: There is no such user.
        StoreUnavailable: Repeat it.
    """
    unbound = yield from do(Link(user_id, new, now=context.now()))
    if unbound is None:
        return False
    tell_linked(context, user_id, unbound)
    return True


def tell_linked(context: Context, user_id: int, unbound: int) -> None:
    """Say that a user was connected, and how many sessions ended by that; see `add_link`."""
    emit(Event.USER_LINKED, user=user_id, environment=context.environment.name)
    if unbound:
        emit(Event.SESSION_ENDED, user=user_id, reason="linked", sessions=unbound)


def check_account(context: Context, procore_id: int, link: NewLink) -> Flow[list[str]]:
    """Raise where someone could not be connected to who is logged in at the application (row L3).

    Nor may such a session be in that browser: it would act for the one in the name of the other.

    Args:
        context: The surroundings.
        procore_id: Whom Procore says it is, who may be new.
        link: The connection to who is logged in there.

    Returns:
        What they are connected to.

    Raises:
        AlreadyLinked: One of both is connected to another one.
        StoreUnavailable: No one can tell.
    """
    environment = context.environment.name
    known = yield from ask(ReferencesOfProcoreUser(procore_id, environment=environment))
    if not is_connected(link, known):
        users = yield from ask(UsersOfReference(link.reference, environment=environment))
        check_free(link, taken=bool(users))
    return known


def unlink(context: Context, user_id: int, reference: str | None) -> Flow[int]:
    """Undo the connections of a user, or the one to `reference`; return how many there were.

    Raises:
        StoreUnavailable: Repeat it.
    """
    count = yield from do(Unlink(user_id, reference))
    if count:
        emit(Event.USER_UNLINKED, user=user_id, environment=context.environment.name)
    return count


def unlink_all(context: Context, reference: str) -> Flow[int]:
    """Undo every connection of `reference`, end its sessions, and return how many were undone.

    Raises:
        StoreUnavailable: Repeat it.
    """
    environment = context.environment.name
    found = yield from do(ForgetReference(reference, environment=environment))
    for user_id in found:
        emit(Event.USER_UNLINKED, user=user_id, environment=environment)
    return len(found)


def users_of(context: Context, reference: str) -> Flow[list[User]]:
    """Return the users of this environment who are connected to `reference`."""
    return (yield from ask(UsersOfReference(reference, environment=context.environment.name)))


def references_of(user_id: int) -> Flow[list[str]]:
    """Return what a user is connected to."""
    return (yield from ask(ReferencesOf(user_id)))
