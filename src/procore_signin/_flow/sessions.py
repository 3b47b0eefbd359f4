"""Sessions: who a request belongs to, and every way in which one ends."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from procore_signin._flow import users
from procore_signin._flow.context import Context
from procore_signin._flow.hooks import tell
from procore_signin._flow.steps import Flow, ask, do
from procore_signin._protocol.secret import Secret
from procore_signin._store.records import NewSession, Session
from procore_signin._store.sessions import EndSessionOf, EndSessions, SessionOf, TouchSession
from procore_signin.events import Event, emit

TOUCH_SECONDS: Final = 60
"""How often at most the use of a session is written down."""


@dataclass(frozen=True, slots=True)
class Browser:
    """What a finished sign-in needs to know of the browser.

    Attributes:
        user_agent: What it calls itself, shown to the person in their list of sessions.
        session_hash: Hash of the session cookie that it holds already, which this one replaces.
    """

    user_agent: str | None
    session_hash: str | None


def hash_session_token(token: str) -> str:
    """Return the hash under which the store knows a session (row S1)."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_session_token(context: Context) -> Secret:
    """Return a token that no one can guess, for a session's cookie."""
    text = urlsafe_b64encode(context.random_bytes(32)).rstrip(b"=").decode()
    return Secret(text, "session token")


def new_session(
    context: Context, browser: Browser, session_token: Secret, *, me_json: str
) -> NewSession:
    """Return a session that begins now."""
    now = context.now()
    return NewSession(
        id_hash=hash_session_token(session_token.reveal()),
        me_json=me_json,
        user_agent=browser.user_agent,
        idle_expires_at=now + context.session_idle,
        absolute_expires_at=now + context.session_absolute,
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
    now = context.now()
    id_hash = hash_session_token(token)
    environment = context.environment.name
    session = yield from ask(SessionOf(id_hash, environment=environment, now=now))
    if session is not None and now - session.last_seen_at >= TOUCH_SECONDS:
        idle_expires_at = min(now + context.session_idle, session.absolute_expires_at)
        yield from do(TouchSession(session.id, now=now, idle_expires_at=idle_expires_at))
    return session


def sign_out(context: Context, session: Session) -> Flow[None]:
    """End `session`. The tokens stay: other sessions and nightly work of this user need them."""
    yield from do(EndSessionOf(session.user.id, session.id))
    emit(Event.SIGNED_OUT, user=session.user.id)
    yield from tell(context.hooks.on_sign_out, session.user)


def end_session(session: Session, session_id: int) -> Flow[bool]:
    """End another session of the same user; False when the user has none of that id."""
    ended = yield from do(EndSessionOf(session.user.id, session_id))
    if ended:
        emit(Event.SESSION_ENDED, user=session.user.id)
    return ended


def sign_out_everywhere(context: Context, session: Session) -> Flow[int]:
    """End every session of the user and return how many there were."""
    count = yield from do(EndSessions(session.user.id))
    emit(Event.SIGNED_OUT_EVERYWHERE, user=session.user.id, sessions=count)
    yield from tell(context.hooks.on_sign_out, session.user)
    return count


@dataclass(frozen=True, slots=True)
class Disconnected:
    """What became of a disconnection.

    Attributes:
        revoked: Whether Procore confirmed that the tokens are dead. When it did not, the person
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
