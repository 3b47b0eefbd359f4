"""From a code to a session: spend the code once, learn who it is, commit, or give it back.

The order is the design (rows C3, C4, C12). The attempt is taken in the ledger; the code is spent;
the tokens are in escrow before anything else is done with them, so a crash strands no grant; user,
tokens and session appear in one transaction. Each phase knows what comes next, and how what it has
is given back where nothing comes next.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Protocol

from procore_signin._flow.attempt import SignInAttempt
from procore_signin._flow.context import Context
from procore_signin._flow.hooks import Candidate, call_hook, tell
from procore_signin._flow.revocation import gave_up_at_once, give_up, withdraw
from procore_signin._flow.sessions import (
    Browser,
    check_browser,
    hash_session_token,
    new_session,
    new_session_token,
)
from procore_signin._flow.steps import Do, Flow, Send, ask, do, later, send
from procore_signin._flow.token_response import take_tokens
from procore_signin._flow.users import tell_linked
from procore_signin._protocol.companies import companies_request, parse_companies_response
from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.me import Me, me_request, parse_me_response
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import (
    AuthorizationCodeGrant,
    token_request,
)
from procore_signin._protocol.token_response import tokens_within
from procore_signin._protocol.token_set import TokenSet
from procore_signin._protocol.value import value
from procore_signin._store.ledger import AttemptOf, EscrowTokens, FailAttempt
from procore_signin._store.linking.links import ReferencesOfProcoreUser
from procore_signin._store.records import CompletedSignIn, Escrow, NewLink, User
from procore_signin._store.sessions import SessionOf
from procore_signin._store.sign_in import CompleteSignIn, person_disabled
from procore_signin.errors import (
    AttemptInvalid,
    SignInRefused,
    StoreUnavailable,
)
from procore_signin.events import Event, emit


@value(frozen=True, slots=True)
class SignedIn:
    """A finished sign-in.

    Attributes:
        user: Who it is.
        session_token: What the browser keeps; the store knows only its hash.
        return_to: The path where the user lands.
        created: True at the first sign-in of this user: a sign-up.
    """

    user: User
    session_token: Secret
    return_to: str
    created: bool


@value(frozen=True, slots=True)
class Visit:
    """Who came back from Procore, and with what.

    Attributes:
        attempt: The attempt, taken in the ledger.
        code: The code, which is sent once.
        browser: The browser that brought it.
    """

    attempt: SignInAttempt
    code: Secret
    browser: Browser


class Phase(Protocol):
    """How far a sign-in has come."""

    def go_on(self, context: Context) -> Flow[Phase | Done]:
        """Do the next thing, and return how far it is then."""

    def undo(self, context: Context, reason: str) -> Flow[None]:
        """Leave nothing behind: no live grant at Procore, no open attempt in the ledger.

        Args:
            context: The surroundings.
            reason: Why, as a fixed word.
        """


def exchange_and_commit(context: Context, visit: Visit) -> Flow[SignedIn]:
    """Spend the code of an attempt that was taken, and sign the user in."""
    phase: Phase | Done = Taken(visit, context.clock())
    try:
        while not isinstance(phase, Done):
            phase = yield from phase.go_on(context)
        return (yield from phase.finish(context))
    except GeneratorExit:  # no one drives this flow any more: the janitor finds what is in escrow
        raise
    except BaseException as error:  # the application's hook may raise anything, or be interrupted
        if isinstance(phase, Done):  # what interrupts its last hook takes nothing back
            raise
        reason = type(error).__name__
        ended: bool | None = True
        if isinstance(phase, Admitted) and isinstance(error, StoreUnavailable):
            # Perhaps the response to the commit was lost, and not the commit.
            ended = yield from _end(context, visit.attempt, outcome=reason)
            if ended is False:
                return (yield from phase.committed(context))
        emit(
            Event.SIGN_IN_FAILED,
            request=visit.browser.request_id,
            attempt=visit.attempt.state_hash[:8],
            environment=context.environment.name,
            reason=reason,
            error=getattr(error, "error", None),
            procore_request_id=getattr(error, "request_id", None),
        )
        # Where no one knows whether the attempt has ended, the janitor will.
        if ended is not None:
            yield from phase.undo(context, reason)
        raise


@value(frozen=True, slots=True)
class Taken:
    """The attempt is taken.

    Attributes:
        visit: Whose.
        asked_at: When the code is sent. Lifetimes count from before the request: a response that
            was long under way is not younger.
    """

    visit: Visit
    asked_at: float

    def go_on(self, context: Context) -> Flow[Phase]:
        """Spend the code, once."""
        grant = AuthorizationCodeGrant(
            code=self.visit.code,
            redirect_uri=context.client.redirect_uri,
            code_verifier=self.visit.attempt.code_verifier,
        )
        origin = context.environment.login_origin
        response: HttpResponse = yield Send(token_request(origin, context.client, grant))
        return Exchanged(self, response)

    def undo(self, context: Context, reason: str) -> Flow[None]:
        """End the attempt: nothing is known to live at Procore."""
        yield from _end(context, self.visit.attempt, outcome=reason)


@value(frozen=True, slots=True)
class Exchanged:
    """Procore has responded to the code."""

    taken: Taken
    response: HttpResponse = field(repr=False)

    def go_on(self, context: Context) -> Flow[Phase]:
        """Take the tokens out of the response."""
        yield from ()
        attempt = self.taken.visit.attempt.state_hash[:8]
        asked_at = self.taken.asked_at
        return Granted(
            self.taken, take_tokens(context, self.response, asked_at=asked_at, attempt=attempt)
        )

    def undo(self, context: Context, reason: str) -> Flow[None]:
        """Give back what is in the response that no one can use."""
        tokens = tokens_within(self.response, received_at=self.taken.asked_at)
        attempt = self.taken.visit.attempt
        if tokens is None:
            yield from _end(context, attempt, outcome=reason)
        else:
            yield from _give_back(context, attempt, tokens, None, outcome=reason)


@value(frozen=True, slots=True)
class Granted:
    """There are tokens."""

    taken: Taken
    tokens: TokenSet

    def go_on(self, context: Context) -> Flow[Phase]:
        """Put the tokens into escrow, and learn whose they are."""
        environment, now = context.environment.name, context.now()
        state_hash = self.taken.visit.attempt.state_hash
        yield Do(EscrowTokens(state_hash, self.tokens, environment=environment, now=now))
        request = me_request(context.environment.api_origin, self.tokens.access_token)
        response: HttpResponse = yield Send(request)
        me = parse_me_response(response, received_at=context.clock())
        return Identified(self.taken, self.tokens, me)

    def undo(self, context: Context, reason: str) -> Flow[None]:
        """Give the tokens back, whosesoever they are."""
        attempt = self.taken.visit.attempt
        yield from _give_back(context, attempt, self.tokens, None, outcome=reason)


@value(frozen=True, slots=True)
class Identified:
    """Procore has said whose the tokens are."""

    taken: Taken
    tokens: TokenSet
    me: Me

    def go_on(self, context: Context) -> Flow[Phase | Done]:
        """Let the application refuse someone whom Procore has confirmed.

        Before anything is stored. Who is logged in there already must not be someone else.
        """
        environment, procore_id = context.environment.name, self.me.procore_id
        known = yield from check_browser(context, procore_id, self.taken.visit.browser)
        may_sign_in = context.hooks.may_sign_in
        if may_sign_in is not None:
            request = companies_request(context.environment.api_origin, self.tokens.access_token)
            response = yield from send(request)
            companies = parse_companies_response(response, received_at=context.clock())
            if known is None:
                known = yield from ask(ReferencesOfProcoreUser(procore_id, environment=environment))
            candidate = Candidate(self.me, companies, environment, tuple(known))
            visit = self.taken.visit
            occasion = visit.browser.occasion(visit.attempt.bound)
            reason = yield from call_hook(may_sign_in, candidate, occasion)
            if reason is not None:
                raise SignInRefused("This application does not admit the user", reason=str(reason))
        return Admitted(self.taken, self.tokens, self.me, new_session_token(context))

    def undo(self, context: Context, reason: str) -> Flow[None]:
        """Give the user's tokens back."""
        attempt = self.taken.visit.attempt
        yield from _abandon(context, attempt, self.tokens, self.me, outcome=reason)


@value(frozen=True, slots=True)
class Admitted(Identified):
    """The user may sign in.

    Attributes:
        session_token: For the session that this is to become.
    """

    session_token: Secret

    def go_on(self, context: Context) -> Flow[Phase | Done]:
        """Make it true in one transaction."""
        taken, browser, link = self.taken, self.taken.visit.browser, _link(self.taken.visit)
        now = context.now()
        id_hash = hash_session_token(self.session_token.reveal())
        session = new_session(context, browser, id_hash, me_json=self.me.json, now=now)
        completed: CompletedSignIn | None = yield Do(
            CompleteSignIn(
                taken.visit.attempt.state_hash,
                me=self.me,
                environment=context.environment.name,
                tokens=self.tokens,
                session=session,
                replaces=browser.session_hash,
                now=now,
                link=link,
                # Compared before, and again where no one can be connected meanwhile (row L3).
                beside=browser.login.link if link is None else None,
            )
        )
        if completed is None:
            raise person_disabled()
        return Done(taken, completed, self.session_token)

    def committed(self, context: Context) -> Flow[SignedIn]:
        """Go on from a commit that happened although its response was lost: its session is there.

        It joins nothing, so that the user's own second click still can.
        """
        id_hash = hash_session_token(self.session_token.reveal())
        environment, now = context.environment.name, context.now()
        session = yield from ask(SessionOf(id_hash, environment=environment, now=now))
        if session is None:
            raise AttemptInvalid("This sign-in attempt has ended meanwhile", reason="used")
        user = session.user
        created = user.created_at == user.last_signed_in_at
        yield from _tell_application(context, self.taken.visit, user, created=created)
        return SignedIn(user, self.session_token, self.taken.visit.attempt.return_to, created)


@value(frozen=True, slots=True)
class Done:
    """It is committed: nothing is undone any more."""

    taken: Taken
    completed: CompletedSignIn
    session_token: Secret

    def finish(self, context: Context) -> Flow[SignedIn]:
        """Tell those who want to know, and have revoked what was replaced."""
        completed, attempt = self.completed, self.taken.visit.attempt
        if completed.replaced_tokens is not None:
            # No row holds the replaced set any more but the escrow of this attempt (row R11).
            replaced = Escrow(
                attempt.state_hash, context.environment.name, completed.replaced_tokens
            )
            yield from later(withdraw(context, replaced))
        for escrow in completed.given_up:
            yield from later(withdraw(context, escrow))
        if completed.replaced_sealed:
            # The user is served by the new ones. What Procore granted before lives on, unknown.
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
        if completed.unbound is not None:
            tell_linked(context, completed.user.id, completed.unbound)
        visit = self.taken.visit
        yield from _tell_application(context, visit, completed.user, created=completed.created)
        return SignedIn(completed.user, self.session_token, attempt.return_to, completed.created)


def _link(visit: Visit) -> NewLink | None:
    """Return the connection that the attempt makes. `finish_sign_in` has compared the login."""
    bound = visit.attempt.bound
    return visit.browser.login.link if bound is not None and bound.connects else None


def _tell_application(context: Context, visit: Visit, user: User, *, created: bool) -> Flow[None]:
    hooks = context.hooks
    if hooks.on_sign_up is None and hooks.on_sign_in is None:
        return
    occasion = visit.browser.occasion(visit.attempt.bound)
    if created:
        yield from tell(hooks.on_sign_up, user, occasion)
    yield from tell(hooks.on_sign_in, user, occasion)


def _abandon(
    context: Context, attempt: SignInAttempt, tokens: TokenSet, whose: Me, *, outcome: str
) -> Flow[None]:
    """End an attempt whose tokens are in escrow, and give them back, if it is no sign-in by now."""
    ended = yield from _end(context, attempt, outcome=outcome)
    if ended is False and (yield from _is_done(attempt)):
        return
    yield from _give_back(context, attempt, tokens, whose.procore_id, outcome=outcome)


def _give_back(
    context: Context,
    attempt: SignInAttempt,
    tokens: TokenSet,
    procore_id: int | None,
    *,
    outcome: str,
) -> Flow[None]:
    """Give the tokens of an attempt back, which ends with that.

    One command ends it and writes them down: between two, no one would know of them, and a user
    whose access is ended just then would seem to have none. Until the grant is dead its row names
    the user, where that is known: a user whose access is ended meanwhile still has it.
    """
    what: dict[str, Any] = {
        "procore_id": procore_id,
        "state_hash": attempt.state_hash,
        "outcome": outcome,
    }
    if (yield from gave_up_at_once(context, tokens, **what)):
        # Perhaps they could not be written down, and Procore has revoked them.
        yield from _end(context, attempt, outcome=outcome)
    else:
        # The user need not wait until the database, or Procore, is back.
        yield from later(give_up(context, tokens, **what))


def _is_done(attempt: SignInAttempt) -> Flow[bool]:
    """Tell whether an attempt became a sign-in. If no one knows, the janitor will."""
    try:
        entry = yield from ask(AttemptOf(attempt.state_hash))
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
        return (yield from do(FailAttempt(attempt.state_hash, outcome, now=context.now())))
    except StoreUnavailable:
        return None
