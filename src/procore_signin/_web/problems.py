"""The problem pages: what happened, why, and what to do.

The texts are our own: Procore's `error_description` goes only to the log (row C5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from procore_signin.errors import (
    AlreadyLinked,
    AttemptInvalid,
    ClientMisconfigured,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    SignInRefused,
    StoreUnavailable,
    UnexpectedResponse,
    VaultSealed,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem, as the page shows it.

    Attributes:
        code: A fixed name for programs and for the log.
        status: The HTTP status code.
        title: The heading.
        what: What happened.
        why: The likely reason, or None.
        cure: What the user can do.
        sign_in: Whether the page's button is a new sign-in; otherwise it leads to the first page.
    """

    code: str
    status: int
    title: str
    what: str
    why: str | None
    cure: str
    sign_in: bool


DENIED: Final = Problem(
    "denied",
    403,
    "You chose not to allow access",
    "Procore told us that access was not allowed, so you are not signed in.",
    None,
    "If that was not what you meant, sign in again and choose Allow.",
    sign_in=True,
)
NOT_GRANTED: Final = Problem(
    "not_granted",
    502,
    "Procore did not grant the sign-in",
    "Procore sent you back without granting access, so you are not signed in.",
    None,
    "Try again. If it keeps happening, give the reference to the operator of this application.",
    sign_in=True,
)
NOT_ADMITTED: Final = Problem(
    "not_admitted",
    403,
    "You cannot use this application",
    "Procore confirmed who you are, but this application does not admit you.",
    "Your account here may have been disabled.",
    "Ask the operator of this application, or sign in as someone else.",
    sign_in=True,
)
ATTEMPT_MISSING: Final = Problem(
    "attempt_missing",
    400,
    "This browser did not start that sign-in",
    "You came back from Procore, but this browser holds no sign-in that the response belongs to.",
    "Cookies may be switched off for this site, the sign-in may have begun in another browser, or "
    "the page may have been open for too long.",
    "Allow cookies for this site, then sign in again.",
    sign_in=True,
)
ATTEMPT_EXPIRED: Final = Problem(
    "attempt_expired",
    400,
    "That sign-in took too long",
    "The sign-in was begun more than half an hour ago, so it is no longer valid.",
    None,
    "Sign in again: it takes a moment.",
    sign_in=True,
)
ATTEMPT_USED: Final = Problem(
    "attempt_used",
    400,
    "That sign-in was used already",
    "Each sign-in works once, and this one has been used.",
    "This happens with the back button, or with an address kept from an earlier visit.",
    "Sign in again: it takes a moment.",
    sign_in=True,
)
ATTEMPT_MALFORMED: Final = Problem(
    "attempt_malformed",
    400,
    "That is not a response from Procore",
    "The address that this page was opened with is not one that Procore sends.",
    "It may have been shortened or changed on its way.",
    "Sign in again.",
    sign_in=True,
)
ATTEMPT_OF_OTHER: Final = Problem(
    "other_login",
    403,
    "Someone else is logged in now",
    "The user who began this is not the one who is logged in to this application now, so nothing "
    "was connected and no one was signed in.",
    "Someone may have logged out or in meanwhile, in this browser.",
    "Log in as the user who began it, and begin again.",
    sign_in=False,
)
LOGIN_OVER: Final = Problem(
    "login_over",
    403,
    "No one is logged in now",
    "The user who began this is not logged in to this application any more, so nothing was "
    "connected and no one was signed in.",
    "They may have logged out meanwhile, or the login may have ended by itself.",
    "Log in again, and begin again.",
    sign_in=False,
)
ALREADY_LINKED: Final = Problem(
    "already_linked",
    409,
    "It is connected to someone else",
    "Procore confirmed who you are, but the connection was not made.",
    "That Procore account, or your account here, is connected to another one.",
    "Disconnect the other one first, or use another Procore account.",
    sign_in=False,
)
OTHER_ACCOUNT: Final = Problem(
    "other_account",
    409,
    "Someone else is logged in here",
    "Procore confirmed who you are, but someone else is logged in to this application, so you are "
    "not signed in.",
    "That Procore account, or the account here, is connected to another one.",
    "Log out here first, or sign in with the Procore account that is connected.",
    sign_in=False,
)
NOT_LOGGED_IN: Final = Problem(
    "not_logged_in",
    403,
    "Log in to this application first",
    "Your Procore account is connected to your account here, and no one is logged in here.",
    None,
    "Log in, then connect your Procore account.",
    sign_in=False,
)
VALUE_INVALID: Final = Problem(
    "value_invalid",
    400,
    "That button no longer works",
    "What this application gave with the button cannot be read any more, so nothing was done.",
    None,
    "Open the page again and press it there.",
    sign_in=False,
)
CODE_REFUSED: Final = Problem(
    "code_refused",
    400,
    "Procore no longer accepts that sign-in",
    "The code that Procore sent us has expired or was used, so you are not signed in.",
    None,
    "Sign in again: it takes a moment.",
    sign_in=True,
)
PROCORE_UNAVAILABLE: Final = Problem(
    "procore_unavailable",
    503,
    "Procore is not answering",
    "We could not finish your sign-in, because Procore did not answer in time.",
    None,
    "Wait a moment, then sign in again.",
    sign_in=True,
)
MISCONFIGURED: Final = Problem(
    "misconfigured",
    500,
    "This application is not set up correctly",
    "Procore does not accept this application, so no one can sign in at the moment.",
    None,
    "Tell the operator of this application, and give them the reference below.",
    sign_in=True,
)
UNEXPECTED: Final = Problem(
    "unexpected_response",
    502,
    "Procore answered in a way we do not understand",
    "We could not finish your sign-in, because Procore's response was not what it documents.",
    None,
    "Sign in again. If it keeps happening, give the reference to the operator of this application.",
    sign_in=True,
)
STORE_UNAVAILABLE: Final = Problem(
    "store_unavailable",
    503,
    "Our database is not answering",
    "We could not look you up. You have not been signed out, and nothing was lost.",
    None,
    "Wait a moment, then try again.",
    sign_in=False,
)
SIGN_IN_NOT_STORED: Final = Problem(
    "sign_in_not_stored",
    503,
    "Our database is not answering",
    "We could not finish your sign-in, because our database did not answer.",
    None,
    "Wait a moment, then sign in again.",
    sign_in=True,
)
NOT_FOUND: Final = Problem(
    "not_found",
    404,
    "There is no such page",
    "This application has no page at that address.",
    None,
    "Go to the first page.",
    sign_in=False,
)
METHOD_NOT_ALLOWED: Final = Problem(
    "method_not_allowed",
    405,
    "That page cannot be used like this",
    "The request used a method that this page does not accept.",
    None,
    "Go to the first page.",
    sign_in=False,
)
FOREIGN_FORM: Final = Problem(
    "foreign_form",
    403,
    "That did not come from our pages",
    "The request was not sent from a page of this application, so nothing was done.",
    "Another site may have tried to act in your name, or your browser is too old to say where a "
    "form was sent from.",
    "If you meant it, go to the first page and try again from there.",
    sign_in=False,
)
BODY_TOO_LONG: Final = Problem(
    "body_too_long",
    413,
    "That is too much",
    "The form that was sent is longer than any form of this application, so nothing was done.",
    None,
    "Go to the first page and try again from there.",
    sign_in=False,
)
BODY_TOO_SLOW: Final = Problem(
    "body_too_slow",
    408,
    "That took too long",
    "The form that was sent did not arrive in time, so nothing was done.",
    "The connection may be slow, or something on the way holds requests up.",
    "Try again.",
    sign_in=False,
)
BODY_BROKEN_OFF: Final = Problem(
    "body_broken_off",
    400,
    "Not all of it arrived",
    "The form that was sent ended too early, so nothing was done.",
    "The connection may have been lost.",
    "Try again.",
    sign_in=False,
)
BODY_MALFORMED: Final = Problem(
    "body_malformed",
    400,
    "That cannot be read",
    "What was sent is not a JSON object of texts, whole numbers and truth values, so nothing was "
    "done.",
    None,
    "Try again. If it keeps happening, give the reference to the operator of this application.",
    sign_in=False,
)
BODY_TYPE_WRONG: Final = Problem(
    "body_type_wrong",
    415,
    "That cannot be read",
    "What was sent names another content type than application/json and "
    "application/x-www-form-urlencoded, or none, so nothing was done.",
    None,
    "Send it as one of these.",
    sign_in=False,
)
TOO_MANY_BODIES: Final = Problem(
    "too_many_bodies",
    429,
    "Too much at once",
    "More forms are on their way from your address than this application takes at once.",
    None,
    "Wait a moment, then try again.",
    sign_in=False,
)
NOT_A_NAVIGATION: Final = Problem(
    "not_a_navigation",
    403,
    "This page opens in a window of its own",
    "The request came from inside another page, or before anyone asked for it.",
    None,
    "Open the first page.",
    sign_in=False,
)
WRONG_HOST: Final = Problem(
    "wrong_host",
    400,
    "This application has another address",
    "The request named a host that this application does not answer for.",
    None,
    "Open the first page.",
    sign_in=False,
)
RATE_LIMITED: Final = Problem(
    "rate_limited",
    429,
    "Too many sign-ins",
    "More sign-ins were begun from your address than this application allows in a minute.",
    None,
    "Wait a minute, then try again.",
    sign_in=False,
)
NOT_YOUR_COMPANY: Final = Problem(
    "not_your_company",
    403,
    "That is not one of your companies",
    "Procore does not list you in the company that was chosen, so nothing was changed.",
    None,
    "Choose one of the companies that you belong to.",
    sign_in=False,
)
GRANT_LOST: Final = Problem(
    "grant_lost",
    401,
    "Procore no longer lets this application act for you",
    "The connection to Procore has ended, so we cannot ask it anything in your name.",
    None,
    "Sign in again to connect it.",
    sign_in=True,
)
COMPANIES_UNAVAILABLE: Final = Problem(
    "companies_unavailable",
    503,
    "Procore is not answering",
    "You are signed in, but Procore did not tell us which companies you belong to.",
    None,
    "Wait a moment, then try again.",
    sign_in=False,
)
NO_SUCH_SESSION: Final = Problem(
    "no_such_session",
    404,
    "That session is over",
    "You have no session of that kind any more: it was ended or has expired.",
    None,
    "Look at your sessions again.",
    sign_in=False,
)
NOT_SIGNED_IN: Final = Problem(
    "not_signed_in",
    401,
    "You are not signed in",
    "This address belongs to the user who is signed in, and no one is.",
    None,
    "Sign in.",
    sign_in=True,
)
FAILED: Final = Problem(
    "failed",
    500,
    "Something went wrong on our side",
    "This is our mistake, not yours.",
    None,
    "Try again. If it keeps happening, give the reference to the operator of this application.",
    sign_in=False,
)

_ATTEMPTS: Final = {
    "missing": ATTEMPT_MISSING,
    "mismatch": ATTEMPT_MISSING,
    "expired": ATTEMPT_EXPIRED,
    "used": ATTEMPT_USED,
    "malformed": ATTEMPT_MALFORMED,
    "other_login": ATTEMPT_OF_OTHER,
}
_SIGN_IN: Final[dict[type[ProcoreSignInError], Problem]] = {
    GrantLost: CODE_REFUSED,
    ProcoreUnavailable: PROCORE_UNAVAILABLE,
    ClientMisconfigured: MISCONFIGURED,
    UnexpectedResponse: UNEXPECTED,
    StoreUnavailable: SIGN_IN_NOT_STORED,
}


def of_sign_in(error: ProcoreSignInError) -> Problem:
    """Return the problem for a failed sign-in."""
    if isinstance(error, AttemptInvalid):
        return _ATTEMPTS[error.reason]
    if isinstance(error, SignInRefused):
        if error.error is None:
            return replace(NOT_ADMITTED, why=error.reason or NOT_ADMITTED.why)
        return DENIED if error.error == "access_denied" else NOT_GRANTED
    return _SIGN_IN.get(type(error), FAILED)


def of_link(error: AlreadyLinked, *, beside: bool) -> Problem:
    """Return the problem for two who cannot be connected.

    Args:
        error: What is connected to what.
        beside: Whether the user was only to be signed in, beside who is logged in here.
    """
    problem = OTHER_ACCOUNT if beside else ALREADY_LINKED
    return replace(problem, why=error.reason or problem.why)


def of_any(error: ProcoreSignInError) -> Problem:
    """Return the problem for any other request."""
    return STORE_UNAVAILABLE if isinstance(error, StoreUnavailable | VaultSealed) else FAILED
