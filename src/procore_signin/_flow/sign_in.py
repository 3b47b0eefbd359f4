"""Finish a sign-in: spend the code once, learn who it is, commit everything or give it back.

The order is the design (rows C3, C4, C12): the attempt is taken in the ledger before the code is
sent, so a database that is down costs no code; the tokens are in escrow before anything else is
done with them, so a crash strands no grant; user, tokens and session appear in one transaction.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from procore_signin._flow.attempt import LIFETIME, SignInAttempt
from procore_signin._flow.context import Context
from procore_signin._flow.hooks import Candidate, tell
from procore_signin._flow.revocation import gave_up_at_once, give_up, withdraw
from procore_signin._flow.steps import Flow, call, later, read, send, shield, wait, write
from procore_signin._flow.token_response import take_tokens
from procore_signin._protocol.authorization import AuthorizationDenied, CodeGranted
from procore_signin._protocol.companies import companies_request, parse_companies_response
from procore_signin._protocol.me import Me, me_request, parse_me_response
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import (
    AuthorizationCodeGrant,
    token_request,
)
from procore_signin._protocol.token_response import tokens_within
from procore_signin._protocol.token_set import TokenSet
from procore_signin._protocol.wire import HttpResponse
from procore_signin._store.records import Escrow, LedgerEntry, NewSession, User
from procore_signin.errors import (
    AttemptInvalid,
    SignInRefused,
    StoreUnavailable,
)
from procore_signin.events import Event, emit

JOIN_SECONDS: Final = 5.0
"""How long the second of two identical callbacks waits for the first."""

JOIN_POLL_SECONDS: Final = 0.05
JOIN_FRESHNESS: Final = 30
"""Seconds after which a finished attempt lets no one in any more."""

JOIN_SKEW: Final = 1
"""Seconds by which the clock of the replica that finished the attempt may be ahead of ours.

No more: a clock that was set back must not keep a finished attempt open."""


@dataclass(frozen=True, slots=True)
class Browser:
    """What a finished sign-in needs to know of the browser.

    Attributes:
        user_agent: What it calls itself, shown to the person in their list of sessions.
        session_hash: Hash of the session cookie that it holds already, which this one replaces.
    """

    user_agent: str | None
    session_hash: str | None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A finished sign-in.

    Attributes:
        user: Who it is.
        session_token: What the browser keeps; the store knows only its hash.
        return_to: The path where the person lands.
        created: True at the first sign-in of this person: a sign-up.
    """

    user: User
    session_token: Secret
    return_to: str
    created: bool


def hash_session_token(token: str) -> str:
    """Return the hash under which the store knows a session (row S1)."""
    return hashlib.sha256(token.encode()).hexdigest()


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
        SignInRefused: The person said no, or is disabled here. Say so; offer to try again.
        AttemptInvalid: The attempt was used before (`used`), or `iss` names another server. The
            second of two identical responses is let in, once.
        GrantLost: Procore does not accept the code. Offer a new sign-in.
        ClientMisconfigured, UnexpectedResponse: Tell the operator.
        ProcoreUnavailable, StoreUnavailable: Offer to try again. When the store failed before the
            exchange, the same response may be brought again: the code was not spent.
    """
    # RFC 9207 §2.4: a response that names another issuer was meant for someone else.
    if response.iss is not None and response.iss != context.environment.login_origin:
        raise AttemptInvalid("The response names another authorization server", reason="mismatch")
    code_hash = hash_code(response.code) if isinstance(response, CodeGranted) else None
    now = context.now()
    taken_before = yield from write(
        lambda store: store.take_attempt(
            attempt.state_hash,
            environment=context.environment.name,
            now=now,
            expires_at=attempt.issued_at + LIFETIME,
            code_hash=code_hash,
        )
    )
    if isinstance(response, AuthorizationDenied):
        if taken_before is None:
            yield from write(
                lambda store: store.fail_attempt(attempt.state_hash, "denied", now=now)
            )
        elif taken_before.code_hash is not None:
            # A refusal does not end the sign-in of the browser that came with a code before.
            raise AttemptInvalid("This sign-in attempt was used before", reason="used")
        emit(Event.SIGN_IN_DENIED, attempt=attempt.state_hash[:8], error=response.error)
        raise SignInRefused(
            "The authorization request was not granted",
            error=response.error,
            error_description=response.error_description,
        )
    if taken_before is not None:
        _check_code(taken_before, code_hash)
        return (yield from _join(context, attempt, browser))
    return (yield from shield(_exchange_and_commit(context, attempt, response.code, browser)))


def _exchange_and_commit(
    context: Context, attempt: SignInAttempt, code: Secret, browser: Browser
) -> Flow[SignedIn]:
    answer = tokens = whose = me = None
    asked_at = context.clock()
    session_token = _new_session_token(context)
    try:
        answer = yield from _exchange(context, attempt, code)
        # Lifetimes count from before the request: a response that was long under way is not
        # younger.
        tokens = take_tokens(context, answer, asked_at=asked_at, attempt=attempt.state_hash[:8])
        whose = yield from _admit(context, attempt, tokens)
        yield from _ask_application(context, tokens, whose)
        me = whose
        return (
            yield from _complete(context, attempt, tokens, me, browser, session_token=session_token)
        )
    except GeneratorExit:  # no one drives this flow any more: the janitor finds what is in escrow
        raise
    except BaseException as error:  # the application's hook may raise anything, or be interrupted
        if tokens is None and answer is not None:  # what it has that no one can use
            tokens = tokens_within(answer, received_at=asked_at)
        reason = type(error).__name__
        undo: bool | None = True
        if me is not None and isinstance(error, StoreUnavailable):
            # Perhaps the response to the commit was lost, and not the commit.
            undo = yield from _end(context, attempt, outcome=reason)
            if undo is False:
                return (yield from _committed(context, attempt, session_token))
        emit(
            Event.SIGN_IN_FAILED,
            attempt=attempt.state_hash[:8],
            environment=context.environment.name,
            reason=reason,
            error=getattr(error, "error", None),
            procore_request_id=getattr(error, "request_id", None),
        )
        if undo:
            yield from _abandon(context, attempt, tokens, whose, outcome=reason)
        raise


def _committed(context: Context, attempt: SignInAttempt, session_token: Secret) -> Flow[SignedIn]:
    """Go on from a commit that happened although its response was lost: its session is there.

    It joins nothing, so that the person's own second click still can.
    """
    id_hash = hash_session_token(session_token.reveal())
    environment, now = context.environment.name, context.now()
    session = yield from read(
        lambda store: store.session(id_hash, environment=environment, now=now)
    )
    if session is None:
        raise AttemptInvalid("This sign-in attempt has ended meanwhile", reason="used")
    user = session.user
    created = user.created_at == user.last_signed_in_at
    yield from _tell_application(context, user, created=created)
    return SignedIn(user, session_token, attempt.return_to, created)


def _exchange(context: Context, attempt: SignInAttempt, code: Secret) -> Flow[HttpResponse]:
    """Spend the code, once."""
    grant = AuthorizationCodeGrant(
        code=code, redirect_uri=context.client.redirect_uri, code_verifier=attempt.code_verifier
    )
    return (yield from send(token_request(context.environment.login_origin, context.client, grant)))


def _admit(context: Context, attempt: SignInAttempt, tokens: TokenSet) -> Flow[Me]:
    """Put the tokens into escrow, and learn whose they are."""
    environment, now = context.environment.name, context.now()
    yield from write(
        lambda store: store.escrow(attempt.state_hash, tokens, environment=environment, now=now)
    )
    response = yield from send(me_request(context.environment.api_origin, tokens.access_token))
    return parse_me_response(response, received_at=context.clock())


def _complete(
    context: Context,
    attempt: SignInAttempt,
    tokens: TokenSet,
    me: Me,
    browser: Browser,
    *,
    session_token: Secret,
) -> Flow[SignedIn]:
    """Make it true in one transaction, and tell those who want to know."""
    session = _new_session(context, browser, session_token, me_json=me.json)
    completed = yield from write(
        lambda store: store.complete_sign_in(
            attempt.state_hash,
            me=me,
            environment=context.environment.name,
            tokens=tokens,
            session=session,
            replaces=browser.session_hash,
            now=context.now(),
        )
    )
    if completed.replaced_tokens is not None:
        # No row holds the replaced set any more but the escrow of this attempt (row R11).
        replaced = Escrow(attempt.state_hash, context.environment.name, completed.replaced_tokens)
        yield from later(withdraw(context, replaced))
    for escrow in completed.given_up:
        yield from later(withdraw(context, escrow))
    if completed.replaced_sealed:
        # The person is served by the new ones. What Procore granted before lives on, unknown.
        emit(
            Event.TOKENS_SEALED,
            user=completed.user.id,
            environment=context.environment.name,
            place="replaced",
        )
    emit(
        Event.SIGN_IN_SUCCEEDED,
        attempt=attempt.state_hash[:8],
        environment=context.environment.name,
        user=completed.user.id,
        created=completed.created,
    )
    yield from _tell_application(context, completed.user, created=completed.created)
    return SignedIn(completed.user, session_token, attempt.return_to, completed.created)


def _ask_application(context: Context, tokens: TokenSet, me: Me) -> Flow[None]:
    """Let the application refuse someone whom Procore has confirmed, before anything is stored."""
    may_sign_in = context.hooks.may_sign_in
    if may_sign_in is None:
        return
    request = companies_request(context.environment.api_origin, tokens.access_token)
    response = yield from send(request)
    companies = parse_companies_response(response, received_at=context.clock())
    candidate = Candidate(me=me, companies=companies, environment=context.environment.name)
    reason = yield from call(may_sign_in, candidate)
    if reason is not None:
        raise SignInRefused("This application does not admit the person", reason=str(reason))


def _tell_application(context: Context, user: User, *, created: bool) -> Flow[None]:
    hooks = context.hooks
    if created:
        yield from tell(hooks.on_sign_up, user)
    yield from tell(hooks.on_sign_in, user)


def _abandon(
    context: Context,
    attempt: SignInAttempt,
    tokens: TokenSet | None,
    whose: Me | None,
    *,
    outcome: str,
) -> Flow[None]:
    """Leave nothing behind: no live grant at Procore, no open attempt in the ledger.

    Until the grant is dead its row names the person, where that is known: someone whose access is
    ended meanwhile still has it.
    """
    procore_id = None if whose is None else whose.procore_id
    state_hash = attempt.state_hash
    ended = yield from _end(context, attempt, outcome=outcome)
    if tokens is None or (ended is False and (yield from _is_done(attempt))):
        return
    done = yield from gave_up_at_once(context, tokens, procore_id=procore_id, state_hash=state_hash)
    if not done:
        # The person need not wait until the database, or Procore, is back.
        yield from later(give_up(context, tokens, procore_id=procore_id, state_hash=state_hash))


def _is_done(attempt: SignInAttempt) -> Flow[bool]:
    """Tell whether an attempt became a sign-in. If no one knows, the janitor will."""
    try:
        entry = yield from read(lambda store: store.attempt(attempt.state_hash))
    except StoreUnavailable:
        return True
    return entry is not None and entry.status == "done"


def _end(context: Context, attempt: SignInAttempt, *, outcome: str) -> Flow[bool | None]:
    """End an attempt that shall not become a sign-in any more.

    Returns:
        True when this ended it; False when it had ended before; None when no one knows, because
        the database fails. Then the janitor finds an escrow that was written before that, and the
        attempt expires by itself.
    """
    try:
        return (
            yield from write(
                lambda store: store.fail_attempt(attempt.state_hash, outcome, now=context.now())
            )
        )
    except StoreUnavailable:
        return None


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
        entry = yield from read(lambda store: store.attempt(attempt.state_hash))
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
    session_token = _new_session_token(context)
    session = _new_session(context, browser, session_token, me_json="null")
    user = yield from write(
        lambda store: store.join_sign_in(
            attempt.state_hash, session=session, replaces=browser.session_hash, now=now
        )
    )
    emit(Event.SIGN_IN_JOINED, attempt=attempt.state_hash[:8], user=user.id)
    return SignedIn(user, session_token, attempt.return_to, created=False)


def _new_session_token(context: Context) -> Secret:
    text = urlsafe_b64encode(context.random_bytes(32)).rstrip(b"=").decode()
    return Secret(text, "session token")


def _new_session(
    context: Context, browser: Browser, session_token: Secret, *, me_json: str
) -> NewSession:
    now = context.now()
    return NewSession(
        id_hash=hash_session_token(session_token.reveal()),
        me_json=me_json,
        user_agent=browser.user_agent,
        idle_expires_at=now + context.session_idle,
        absolute_expires_at=now + context.session_absolute,
    )
