"""Events under fixed names: the audit trail of sign-ins, sessions and tokens.

Each event is one record of the standard library's logger `procore_signin`: the message is one
readable line, `record.event` the event's name, and `record.fields` holds its fields. No field ever
carries a code, a state, a token, a cookie, an e-mail address or a query (row O1); control
characters in text are replaced, so that no one can forge a line (row O2).

Events that anyone can cause cannot fill a disk: each process writes a limited number of lines of
each kind a minute, and one line with the number left out (row O9). Listeners get every event.
"""

from __future__ import annotations

import atexit
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from procore_signin._forks import look_after

__all__ = [
    "Event",
    "Field",
    "Listener",
    "listen",
]

LOGGER: Final = logging.getLogger("procore_signin")

Field = str | int | float | bool | None


class Event(StrEnum):
    """The events. A published name keeps its meaning."""

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
    USER_LINKED = "user.linked"
    USER_UNLINKED = "user.unlinked"
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
    DATABASE_FAILED = "database.failed"
    DATABASE_BACK = "database.back"
    LEFT_OUT = "log.left_out"
    CONNECTIONS_CLOSED = "connections.closed"


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
    Event.LEFT_OUT: logging.WARNING,
    Event.CONNECTIONS_CLOSED: logging.WARNING,
    Event.DATABASE_FAILED: logging.ERROR,
    Event.REQUEST_FAILED: logging.ERROR,
}

_BY_ANYBODY: Final = {
    Event.ATTEMPT_INVALID,
    Event.REQUEST_REFUSED,
    Event.REQUEST_FAILED,
    Event.RATE_LIMITED,
    Event.CONNECTIONS_CLOSED,
}
"""Events that anyone can cause with a single request."""

LINES_PER_MINUTE: Final = 60
_WINDOW_SECONDS: Final = 60.0
_TELL_SECONDS: Final = 10.0


class Ration:
    """Admits a limited number of lines of each kind a minute, and reports how many it left out.

    Args:
        tell: Called with a kind, and the number of its lines left out since the last call.
        most: The number of lines of each kind a minute.
        clock: Returns seconds; only differences matter.
        later: Calls a function after a number of seconds.
    """

    def __init__(
        self,
        tell: Callable[[str, int], None],
        *,
        most: int = LINES_PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], None] | None = None,
    ) -> None:
        self._tell: Final = tell
        self._most: Final = most
        self._clock: Final = clock
        self._later: Final = later or _on_a_thread
        self.after_fork()
        look_after(self)

    def after_fork(self) -> None:
        """Start again from zero: the parent reports what it left out."""
        self._lock = threading.Lock()
        self._windows: dict[
            str, tuple[float, int]
        ] = {}  # start of the minute, and lines since then
        self._left_out: dict[str, int] = {}

    def admits(self, kind: str) -> bool:
        """Count a line of `kind`, one of a small set, and return whether to write it."""
        now = self._clock()
        with self._lock:
            began, seen = self._windows.get(kind, (now, 0))
            if now - began >= _WINDOW_SECONDS:
                began, seen = now, 0
            self._windows[kind] = began, seen + 1
            if seen < self._most:
                return True
            is_first = not self._left_out
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
        if is_first:
            self._later(_TELL_SECONDS, self.tell)
        return False

    def tell(self) -> None:
        """Report what was left out since the last report."""
        with self._lock:
            told, self._left_out = self._left_out, {}
        for kind, count in told.items():
            self._tell(kind, count)


def _on_a_thread(seconds: float, function: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()


def _tell_left_out(kind: str, count: int) -> None:
    emit(Event.LEFT_OUT, kind=kind, count=count)


lines: Final = Ration(_tell_left_out)
"""Limits how many lines anyone can make this process write."""

atexit.register(lines.tell)


Listener = Callable[[Event, Mapping[str, Field]], None]
_listeners: Final[list[Listener]] = []


def listen(listener: Listener) -> Callable[[], None]:
    """Call `listener` with each event and its fields, on the thread that emits the event.

    Returns:
        A function that removes the listener.
    """
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def emit(event: Event, **fields: Field) -> None:
    """Record that `event` happened, with its `fields`."""
    for listener in _listeners:
        listener(event, fields)
    level = _LEVELS.get(event, logging.INFO)
    if LOGGER.isEnabledFor(level) and (
        event not in _BY_ANYBODY or lines.admits(f"{event} {fields.get('reason', '')}".rstrip())
    ):
        clean = {name: _one_line(value) for name, value in fields.items()}
        extra = {"event": event.value, "fields": clean}
        LOGGER.log(level, _line(event, clean), extra=extra)


_FOR_PROGRAMS: Final = frozenset({"generation", "to_generation"})
"""Fields that no reader can do anything with. `record.fields` and the lines in JSON have them."""


def _line(event: Event, fields: Mapping[str, Field]) -> str:
    """Return `event` and its fields for a reader: `sign_in.failed reason=GrantLost`."""
    told = [
        f"{name}={_word(value)}"
        for name, value in fields.items()
        if value is not None and name not in _FOR_PROGRAMS
    ]
    return " ".join((event.value, *told))


def _word(value: Field) -> str:
    """Return a field's value as one word; text in which another field could hide is quoted."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    is_plain = text and not any(character in text for character in ' ="')
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _one_line(value: Field) -> Field:
    """Replace characters that could start a new line or move the cursor in a terminal."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value[:256])
    return value


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
