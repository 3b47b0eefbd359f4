"""Responses in JSON, made from what the endpoints know."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from procore_signin._store.records import Session, User
from procore_signin._web.http.messages import BrowserResponse
from procore_signin._web.json.shapes import (
    OpenSessionJson,
    SessionJson,
    SessionsJson,
    Shape,
    UserJson,
    encoded,
)
from procore_signin._web.look.words import browser_words


def json_response(shape: Shape) -> BrowserResponse:
    """Return `shape` as a response with status 200."""
    return BrowserResponse(status=200, body=encoded(shape), content_type="application/json")


def session_shape(session: Session | None, *, environment: str, sign_in_url: str) -> SessionJson:
    """Return who is signed in."""
    user = None if session is None else _user_shape(session.user)
    expires_at = None if session is None else _ends(session)
    return SessionJson(user, expires_at, environment, sign_in_url)


def sessions_shape(live: Sequence[Session], *, current: Session) -> SessionsJson:
    """Return the sessions of the user of `current`, which is that of this browser."""
    return SessionsJson(
        tuple(
            OpenSessionJson(
                id=each.id,
                current=each.id == current.id,
                browser=browser_words(each.user_agent),
                created_at=_at(each.created_at),
                last_seen_at=_at(each.last_seen_at),
                expires_at=_ends(each),
            )
            for each in live
        )
    )


def _user_shape(user: User) -> UserJson:
    return UserJson(user.id, user.procore_id, user.email, user.name, user.company_id)


def _ends(session: Session) -> dt.datetime:
    return _at(min(session.idle_expires_at, session.absolute_expires_at))


def _at(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
