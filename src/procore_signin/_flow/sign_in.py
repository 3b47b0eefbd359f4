"""Finish a sign-in: each authorization response counts once.

The attempt is taken in the ledger before the code is sent (rows C3, C12), so a database that is
down costs no code. The flow that takes it spends the code: `phases.py`. The second of two identical
callbacks waits for that, and joins.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from procore_signin._flow.attempt import LIFETIME, SignInAttempt, check_login
from procore_signin._flow.context import Context
from procore_signin._flow.phases import SignedIn, Visit, exchange_and_commit
from procore_signin._flow.sessions import (
    Browser,
    check_browser,
    hash_session_token,
    new_session,
    new_session_token,
)
from procore_signin._flow.steps import Do, Flow, Shield, ask, do, wait
from procore_signin._protocol.authorization import AuthorizationDenied, CodeGranted
from procore_signin._protocol.secret import Secret
from procore_signin._store.ledger import AttemptOf, FailAttempt, TakeAttempt
from procore_signin._store.records import LedgerEntry
from procore_signin._store.sign_in import JoinSignIn
from procore_signin._store.users import UserOf
from procore_signin.errors import AttemptInvalid, SignInRefused
from procore_signin.events import Event, emit

JOIN_SECONDS: Final = 5.0
"""How long the second of two identical callbacks waits for the first."""

JOIN_POLL_SECONDS: Final = 0.05
JOIN_FRESHNESS: Final = 30
"""Seconds after which a finished attempt lets no one in any more."""

JOIN_SKEW: Final = 1
"""Seconds by which the clock of the replica that finished the attempt may be ahead of ours.

No more: a clock that was set back must not keep a finished attempt open."""


def hash_code(code: Secret) -> str:
    """Return the hash under which the ledger knows the code that took an attempt (row A5)."""
    return hashlib.sha256(code.reveal().encode()).hexdigest()


def finish_sign_in(
    context: Context,
    attempt: SignInAttempt,
    response: CodeGranted | AuthorizationDenied,
    browser: Browser,
) -> Flow[SignedIn]:
    """Turn an authorization response into a signed-in user.

    Args:
        context: The surroundings.
        attempt: The attempt that this browser holds for the response's state, already checked.
        response: What came back on the redirect URI.
        browser: The browser that brought it.

    Raises:
        SignInRefused: The user said no, is disabled here, or may not log in. Say so; offer to try
            again.
        AttemptInvalid: The attempt was used before (`used`), `iss` names another server, or another
            user of the application is logged in than the one who began it (`other_login`). The
            second of two identical responses is let in, once.
        AlreadyLinked: The user is connected to another user of the application than the one who is
            logged in there, or the reverse.
        GrantLost: Procore does not accept the code. Offer a new sign-in.
        ClientMisconfigured, UnexpectedResponse: Tell the operator.
        ProcoreUnavailable, StoreUnavailable: Offer to try again. When the store failed before the
            exchange, the same response may be brought again: the code was not spent.
    """
    if attempt.bound is not None:
        check_login(attempt.bound, browser.login)
    # RFC 9207 §2.4: a response that names another issuer was meant for someone else.
    if response.iss is not None and response.iss != context.environment.login_origin:
        raise AttemptInvalid("The response names another authorization server", reason="mismatch")
    code_hash = hash_code(response.code) if isinstance(response, CodeGranted) else None
    now = context.now()
    taken_before: LedgerEntry | None = yield Do(
        TakeAttempt(
            attempt.state_hash,
            environment=context.environment.name,
            now=now,
            expires_at=attempt.issued_at + LIFETIME,
            code_hash=code_hash,
        )
    )
    if isinstance(response, AuthorizationDenied):
        if taken_before is None:
            yield from do(FailAttempt(attempt.state_hash, "denied", now=now))
        elif taken_before.code_hash is not None:
            # A refusal does not end the sign-in of the browser that came with a code before.
            raise AttemptInvalid("This sign-in attempt was used before", reason="used")
        emit(
            Event.SIGN_IN_DENIED,
            request=browser.request_id,
            attempt=attempt.state_hash[:8],
            error=response.error,
        )
        raise SignInRefused(
            "The authorization request was not granted",
            error=response.error,
            error_description=response.error_description,
        )
    if taken_before is not None:
        _check_code(taken_before, code_hash)
        return (yield from _join(context, attempt, browser))
    visit = Visit(attempt, response.code, browser)
    signed_in: SignedIn = yield Shield(exchange_and_commit(context, visit))
    return signed_in


def _check_code(entry: LedgerEntry, code_hash: str | None) -> None:
    """Raise unless a second callback brings the code that took the attempt (row A5).

    State and cookie exist before the sign-in, so that others may hold copies of them: the last
    user of a shared computer, another program on this one. Nothing is spent by a wrong code.
    """
    if not hmac.compare_digest(entry.code_hash or "", code_hash or "none"):
        raise AttemptInvalid("This sign-in attempt was used with another code", reason="used")


def _join(context: Context, attempt: SignInAttempt, browser: Browser) -> Flow[SignedIn]:
    """Wait for the callback that spends the same code, and land in the same place, once.

    A double click makes the browser drop the first response and keep ours, so ours carries a
    session of its own. It replaces the one that the browser holds, which may be the first's.
    """
    waited = 0.0
    while True:
        entry = yield from ask(AttemptOf(attempt.state_hash))
        if entry is None or entry.status == "failed":
            raise AttemptInvalid("This sign-in attempt was used and did not succeed", reason="used")
        if entry.status == "done":
            break
        if waited >= JOIN_SECONDS:
            raise AttemptInvalid("This sign-in attempt is still being finished", reason="used")
        yield from wait(JOIN_POLL_SECONDS)
        waited += JOIN_POLL_SECONDS
    now = context.now()
    if entry.finished_at is None or not -JOIN_SKEW <= now - entry.finished_at <= JOIN_FRESHNESS:
        raise AttemptInvalid("This sign-in attempt was finished before", reason="used")
    asks = browser.login.link is not None or browser.is_active is not None
    if entry.user_id is not None and asks:
        # Someone may have logged in since the first one came, or may not log in any more.
        whose = yield from ask(UserOf(entry.user_id))
        if whose is not None:
            yield from check_browser(context, whose.procore_id, browser)
    session_token = new_session_token(context)
    id_hash = hash_session_token(session_token.reveal())
    session = new_session(context, browser, id_hash, me_json="null", now=now)
    user = yield from do(
        JoinSignIn(
            attempt.state_hash,
            session=session,
            replaces=browser.session_hash,
            now=now,
            beside=browser.login.link,
        )
    )
    emit(Event.SIGN_IN_JOINED, attempt=attempt.state_hash[:8], user=user.id)
    return SignedIn(user, session_token, attempt.return_to, created=False)
