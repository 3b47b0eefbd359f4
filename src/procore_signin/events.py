"""What happened, under fixed names: the audit trail of sign-ins, sessions and tokens.

Each event is one record of the standard library's logger `procore_signin`: the message is the
event's name, and `record.fields` holds its facts. No field ever carries a code, a state, a token,
a cookie, an e-mail address or a query (row O1); control characters in text are replaced, so that
nobody can forge a line (row O2).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

LOGGER: Final = logging.getLogger("procore_signin")

Field = str | int | float | bool | None


class Event(StrEnum):
    """The events. A name, once published, keeps its meaning."""

    SIGN_IN_SUCCEEDED = "sign_in.succeeded"
    SIGN_IN_JOINED = "sign_in.joined"
    SIGN_IN_DENIED = "sign_in.denied"
    SIGN_IN_FAILED = "sign_in.failed"
    ATTEMPT_INVALID = "attempt.invalid"
    SIGNED_OUT = "session.signed_out"
    SIGNED_OUT_EVERYWHERE = "session.signed_out_everywhere"
    SESSION_ENDED = "session.ended"
    SESSIONS_REVOKED = "session.revoked"
    DISCONNECTED = "tokens.disconnected"
    REFRESHED = "tokens.refreshed"
    REFRESH_WAITED = "tokens.refresh_waited"
    REFRESH_FAILED = "tokens.refresh_failed"
    REFRESH_KEPT = "tokens.refresh_kept"
    REFRESH_LEFT_BEHIND = "tokens.refresh_left_behind"
    ANSWER_ODD = "tokens.answer_odd"
    GRANT_LOST = "tokens.grant_lost"
    OUTAGE_BEGAN = "tokens.outage_began"
    OUTAGE_ENDED = "tokens.outage_ended"
    TOKENS_SEALED = "tokens.sealed"
    TOKENS_REVOKED = "tokens.revoked"
    REVOCATION_FAILED = "tokens.revocation_failed"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_DELETED = "user.deleted"
    KEY_GENERATED = "key.generated"
    KEY_PROMOTED = "key.promoted"
    KEYS_REWRAPPED = "key.rewrapped"
    KEY_RETIRED = "key.retired"
    KEY_GIVEN_UP = "key.given_up"
    REQUEST_REFUSED = "request.refused"
    REQUEST_FAILED = "request.failed"
    RATE_LIMITED = "request.rate_limited"
    API_RATE_LIMITED = "api.rate_limited"
    API_RENEWED = "api.token_renewed"


_LEVELS: Final = {
    Event.SIGN_IN_FAILED: logging.WARNING,
    Event.ATTEMPT_INVALID: logging.WARNING,
    Event.REFRESH_FAILED: logging.WARNING,
    Event.REFRESH_KEPT: logging.WARNING,
    Event.REFRESH_LEFT_BEHIND: logging.ERROR,
    Event.ANSWER_ODD: logging.WARNING,
    Event.GRANT_LOST: logging.WARNING,
    Event.OUTAGE_BEGAN: logging.WARNING,
    Event.TOKENS_SEALED: logging.WARNING,
    Event.REVOCATION_FAILED: logging.WARNING,
    Event.KEY_GIVEN_UP: logging.WARNING,
    Event.REQUEST_REFUSED: logging.WARNING,
    Event.RATE_LIMITED: logging.WARNING,
    Event.API_RATE_LIMITED: logging.WARNING,
    Event.REQUEST_FAILED: logging.ERROR,
}


Listener = Callable[[Event, Mapping[str, Field]], None]
_listeners: Final[list[Listener]] = []


def listen(listener: Listener) -> Callable[[], None]:
    """Have `listener` called with each event and its fields, on the thread that emits it.

    Returns:
        A function that ends it.
    """
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def emit(event: Event, **fields: Field) -> None:
    """Record that `event` happened, with its `fields`."""
    for listener in _listeners:
        listener(event, fields)
    level = _LEVELS.get(event, logging.INFO)
    if LOGGER.isEnabledFor(level):
        clean = {name: _one_line(value) for name, value in fields.items()}
        LOGGER.log(level, event.value, extra={"fields": clean})


def _one_line(value: Field) -> Field:
    """Replace what could start a new line or move the cursor in somebody's terminal."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value[:256])
    return value
