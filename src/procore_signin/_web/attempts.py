"""Sign-in attempts in the browser's cookies: one for each tab, five at most."""

from __future__ import annotations

from typing import Final

from procore_signin._flow.attempt import (
    LIFETIME,
    Bound,
    SignInAttempt,
    check_attempt,
    new_attempt,
    open_attempt,
    seal_attempt,
)
from procore_signin._flow.context import Context
from procore_signin._protocol.value import value
from procore_signin._web.http.cookies import clear_cookie, read_cookies, set_cookie
from procore_signin._web.http.messages import BrowserRequest
from procore_signin._web.http.origin import may_set_cookies
from procore_signin.errors import AttemptInvalid

MOST: Final = 5
"""The most attempts at once; beyond it, the oldest is forgotten (row K4)."""

MOST_BYTES: Final = 2500
"""The most bytes for the other attempts; with the new one and the session, cookies stay < 4 KiB."""


@value(frozen=True, slots=True)
class Begun:
    """A sign-in attempt that has begun.

    Attributes:
        url: The URL of the button: Procore's authorization page.
        cookies: `Set-Cookie` values that keep the attempt in this browser.
    """

    url: str
    cookies: tuple[str, ...]


def begin_attempt(
    context: Context,
    request: BrowserRequest,
    *,
    return_to: str,
    bound: Bound | None = None,
    wanted: bool = False,
) -> Begun:
    """Begin an attempt for the page that `request` asks for. Nothing is stored on the server.

    Args:
        context: The surroundings.
        request: What came.
        return_to: The checked path where the user lands.
        bound: What ties the attempt to the application itself, or None.
        wanted: Whether the request is known to come from a page of ours, on a user's click.
    """
    attempt = new_attempt(context, return_to=return_to, bound=bound)
    url = attempt.authorization_url(context)
    if not wanted and not may_set_cookies(request):
        return Begun(url, ())
    kept = set_cookie(
        attempt.name,
        seal_attempt(context, attempt),
        max_age=LIFETIME,
        secure=context.secure,
    )
    evicted = [clear_cookie(name, secure=context.secure) for name in _too_many(context, request)]
    return Begun(url, (*evicted, kept))


def find_attempt(context: Context, cookies: dict[str, str], state: str, name: str) -> SignInAttempt:
    """Return this browser's attempt for `state`.

    Args:
        context: The surroundings.
        cookies: What came, by short name.
        state: The state that came with it.
        name: `attempt_name` of that.

    Raises:
        AttemptInvalid: There is none (`missing`), or it has expired or belongs to another
            environment or client.
    """
    sealed = cookies.get(name)
    attempt = None if sealed is None else open_attempt(context, name, sealed)
    # The name is only a short hash: the state itself must match as well.
    if attempt is None or not attempt.has_state(state):
        raise AttemptInvalid(
            "This browser holds no sign-in attempt for that state",
            reason="missing",
            hint="Cookies may be off, or the sign-in began in another browser.",
        )
    check_attempt(context, attempt)
    return attempt


def _too_many(context: Context, request: BrowserRequest) -> list[str]:
    """Return the names of attempts to forget, so that a new one fits in (row K4)."""
    attempts: list[tuple[int, str, int]] = []
    for name, sealed in read_cookies(request.cookies, secure=context.secure).items():
        if name.startswith("a_"):
            attempt = open_attempt(context, name, sealed)
            age = 0 if attempt is None else attempt.issued_at
            attempts.append((age, name, len(name) + len(sealed)))
    attempts.sort(reverse=True)
    size, kept = 0, 0
    for _, _, length in attempts:
        size += length
        if kept == MOST - 1 or size > MOST_BYTES:
            break
        kept += 1
    return [name for _, name, _ in attempts[kept:]]
