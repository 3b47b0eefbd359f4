"""Sessions: who a request belongs to, and every way in which one ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

from procore_signin._flow import users
from procore_signin._flow.attempt import NO_LOGIN, Bound, OwnLogin
from procore_signin._flow.context import Context
from procore_signin._flow.hooks import NOWHERE, Occasion, tell
from procore_signin._flow.steps import Flow, ask, call, do, later
from procore_signin._protocol.pkce import base64url
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.value import value
from procore_signin._store.linking.links import ReferencesOfProcoreUser
from procore_signin._store.records import NewSession, Session
from procore_signin._store.sessions import (
    BindSession,
    EndOtherSessions,
    EndSessionOf,
    EndSessions,
    SessionAndMe,
    SessionOf,
    TouchSession,
)
from procore_signin.errors import AlreadyLinked, SignInRefused
from procore_signin.events import Event, emit

TOUCH_SECONDS: Final = 60
"""How often at most the use of a session is written down."""

TOUCHES: Final = 4
"""How often at least in the time after which an unused session ends, which may be a minute."""


class _Here(TypedDict):
    environment: str
    now: int


@value(frozen=True, slots=True)
class Browser:
    """What a finished sign-in needs to know of the browser.

    Attributes:
        user_agent: What it calls itself, shown to the user in their list of sessions.
        session_hash: Hash of the session cookie that it holds already, which this one replaces.
        login: Who is logged in at the application itself.
        request: The framework's own request, for hooks.
        is_active: `Login.is_active`, or None where no one is to be asked.
        request_id: The reference on the page that the user sees if this fails.
    """

    user_agent: str | None
    session_hash: str | None
    login: OwnLogin = NO_LOGIN
    request: Any = field(default=None, repr=False)
    is_active: Callable[[Any, str], Any] | None = None
    request_id: str | None = None

    def occasion(self, bound: Bound | None = None) -> Occasion:
        """Return what hooks are told of this, where an attempt was `bound`."""
        bound = bound or Bound()
        return Occasion(self.request, bound.value, self.login.reference, bound.connects)


def hash_session_token(token: str) -> str:
    """Return the hash under which the store knows a session (row S1)."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_session_token(context: Context) -> Secret:
    """Return a token that no one can guess, for a session's cookie."""
    return Secret(base64url(context.random_bytes(32)), "session token")


def new_session(
    context: Context, browser: Browser, id_hash: str, *, me_json: str, now: int
) -> NewSession:
    """Return a session that begins `now`, under the hash of its token."""
    return NewSession(
        id_hash=id_hash,
        me_json=me_json,
        user_agent=browser.user_agent,
        idle_expires_at=now + context.session_idle,
        absolute_expires_at=now + context.session_absolute,
        reference=browser.login.reference,
    )


def current_session(context: Context, token: str | None) -> Flow[Session | None]:
    """Return the live session that `token` belongs to, or None.

    None when there is no token, or its session is unknown, ended, expired, or its user disabled:
    each request asks the database, so all of these take effect at once in every process.

    Raises:
        StoreUnavailable: No one can tell. Answer 503: neither let in nor sign out (row S7).
    """
    if token is None:
        return None
    session = yield from ask(SessionOf(hash_session_token(token), **_here(context)))
    if session is not None:
        yield from _touch(context, session)
    return session


def session_and_me(context: Context, token: str | None) -> Flow[tuple[Session, str] | None]:
    """Return the same session, with what `/me` answered at its sign-in, as JSON text."""
    if token is None:
        return None
    found = yield from ask(SessionAndMe(hash_session_token(token), **_here(context)))
    if found is not None:
        yield from _touch(context, found[0])
    return found


def _here(context: Context) -> _Here:
    return {"environment": context.environment.name, "now": context.now()}


def _touch(context: Context, session: Session) -> Flow[None]:
    """Have the use of a session written down, for which its user does not wait."""
    now = context.now()
    if now - session.last_seen_at >= min(TOUCH_SECONDS, context.session_idle // TOUCHES):
        end = min(now + context.session_idle, session.absolute_expires_at)
        touch = TouchSession(session.id, now=now, idle_expires_at=end)
        yield from later(_do(touch), key=("touch", session.id))


def _do(touch: TouchSession) -> Flow[None]:
    yield from do(touch)


def belongs_to(session: Session, login: OwnLogin) -> Flow[bool]:
    """Return whether `session` may be used while `login` is there at the application.

    The first user of the application who is seen with it is the one to whose login it belongs. It
    ends when someone else is logged in there, or no one (row L1), and where its user is connected
    to someone else (row L3).

    Raises:
        StoreUnavailable: No one can tell (row S7).
    """
    if session.reference == login.reference:
        return True
    link = login.link
    if session.reference is None and link is not None:
        beside = (session.user.id, link)
        try:
            yield from do(BindSession(session.id, link.reference, beside=beside))
        except AlreadyLinked:
            pass
        else:
            return True
    if (yield from do(EndSessionOf(session.user.id, session.id))):
        emit(Event.SESSION_ENDED, user=session.user.id, reason="own_login")
    return False


def check_browser(context: Context, procore_id: int, browser: Browser) -> Flow[list[str] | None]:
    """Raise where someone may not sign in in `browser`, because of a user of the application.

    Args:
        context: The surroundings.
        procore_id: Whom Procore says it is, who may be new.
        browser: The browser that came back.

    Returns:
        What they are connected to and may log in; None where nothing was asked.

    Raises:
        AlreadyLinked: Someone else is logged in there (row L3).
        SignInRefused: No user of the application whom they are connected to may log in (row L8).
        StoreUnavailable: No one can tell.
    """
    link = browser.login.link
    if link is not None:
        return (yield from users.check_account(context, procore_id, link))
    if browser.is_active is None:
        return None
    environment = context.environment.name
    active: list[str] = []
    known = yield from ask(ReferencesOfProcoreUser(procore_id, environment=environment))
    for reference in known:
        may = yield from call(browser.is_active, browser.request, reference)
        active += [reference] if may else []
    if known and not active:
        raise SignInRefused("The user of this application may not log in")
    return active


def move_to(session: Session, reference: str) -> Flow[None]:
    """Have `session` belong to the login of `reference`, whosesoever it belonged to before."""
    yield from do(BindSession(session.id, reference, move=True))


def sign_out(context: Context, session: Session, occasion: Occasion = NOWHERE) -> Flow[None]:
    """End `session`. The tokens stay: other sessions and nightly work of this user need them."""
    yield from do(EndSessionOf(session.user.id, session.id))
    emit(Event.SIGNED_OUT, user=session.user.id)
    yield from tell(context.hooks.on_sign_out, session.user, occasion)


def end_session(session: Session, session_id: int) -> Flow[bool]:
    """End another session of the same user; False when the user has none of that id."""
    ended = yield from do(EndSessionOf(session.user.id, session_id))
    if ended:
        emit(Event.SESSION_ENDED, user=session.user.id)
    return ended


def end_others(session: Session) -> Flow[None]:
    """End every other session of the user."""
    count = yield from do(EndOtherSessions(session.user.id, session.id))
    emit(Event.SESSION_ENDED, user=session.user.id, sessions=count)


def sign_out_everywhere(
    context: Context, session: Session, occasion: Occasion = NOWHERE
) -> Flow[int]:
    """End every session of the user and return how many there were."""
    count = yield from do(EndSessions(session.user.id))
    emit(Event.SIGNED_OUT_EVERYWHERE, user=session.user.id, sessions=count)
    yield from tell(context.hooks.on_sign_out, session.user, occasion)
    return count


@dataclass(frozen=True, slots=True)
class Disconnected:
    """What became of a disconnection.

    Attributes:
        revoked: Whether Procore confirmed that the tokens are dead. When it did not, the user
            can end the access at Procore, under My Profile Settings > Connected Apps.
    """

    revoked: bool


def disconnect(context: Context, session: Session) -> Flow[Disconnected]:
    """Revoke the user's tokens at Procore, forget them, and end every session.

    The tokens are forgotten first, and kept in escrow until they are revoked: whatever happens
    after that, this application will not use them again.
    """
    outcome = yield from users.disconnect(context, session.user.id)
    return Disconnected(revoked=outcome is None or outcome.revoked)
