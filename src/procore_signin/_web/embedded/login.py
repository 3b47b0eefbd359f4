"""The login that the application has of its own, beside which users sign in with Procore.

It is asked who is logged in there, so that a session of ours ends with the login that it was opened
under (row L1), and so that no user is connected to another user's Procore account (rows L3, L4).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from procore_signin._flow.attempt import NO_LOGIN, OwnLogin
from procore_signin._flow.hooks import check_functions
from procore_signin._flow.sessions import belongs_to
from procore_signin._flow.steps import Flow, call
from procore_signin._public import public_in
from procore_signin._store.records import Session, reference_of
from procore_signin._web.http.messages import BrowserRequest, Framework

SESSION_KEY: Final = "procore_signin"
"""The key, in a session of the framework's, of the random name that we give it."""


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Login:
    """The application's own login, as functions of its own, plain or `async`.

    They are given the framework's request.

    Attributes:
        user: Returns who is logged in, as a text, whole number or UUID that is the user's own for
            good, such as the primary key; None where no one is.
        log_out: Ends that login. It is also given a response of the framework's: cookies that it
            sets or deletes there are sent. None: signing out of Procore ends nothing else.
        session: Returns a text that names the login's session and changes with each login, for an
            application without a session of the framework's. There it is the framework's session.
        several_users: Whether a user of the application may connect several Procore accounts.
        several_references: Whether a Procore account may be connected to several users of the
            application.
        cookie: The name of the cookie that the login is kept in, such as a JWT. Without `session`,
            its value names the session and has to stay the same. Signing out deletes it, after
            `log_out` if there is one. It has the path `/` and no domain.
        log_in: Logs in the user of the application to whom the user who signs in is connected. It
            is given the request, a response as above and the reference, as text. It is called only
            if there is one such user, and no one is logged in.
        is_active: Returns whether the user of the application with a reference may log in. It is
            given the request and the reference, as text. While no one is logged in, someone who is
            connected to users none of whom may is not signed in. None: everyone may.

    Raises:
        TypeError: One of the functions is none.
    """

    user: Callable[[Any], Any]
    log_out: Callable[[Any, Any], Any] | None = None
    session: Callable[[Any], Any] | None = None
    several_users: bool = False
    several_references: bool = False
    cookie: str | None = None
    log_in: Callable[[Any, Any, str], Any] | None = None
    is_active: Callable[[Any, str], Any] | None = None

    def __post_init__(self) -> None:
        check_functions(self, "user", "log_out", "session", "log_in", "is_active")


def who_is_logged_in(
    login: Login | None, request: BrowserRequest, *, in_which_session: bool
) -> Flow[OwnLogin]:
    """Return who is logged in at the application in this request.

    Args:
        login: The application's own login, or None.
        request: What came.
        in_which_session: Whether to name the session as well, which may write to it.
    """
    framework = _framework_of(login, request)
    if login is None or framework is None:
        return NO_LOGIN
    user = yield from call(login.user, framework.request)
    if user is None:
        return NO_LOGIN
    name = None
    if in_which_session and login.session is not None:
        name = yield from call(login.session, framework.request)
    elif in_which_session and login.cookie is not None:
        name = _values_of(login.cookie, request)
    elif in_which_session:
        name = _name_of(framework.session())
    return OwnLogin(
        reference_of(user),
        None if name is None else hashlib.sha256(str(name).encode()).hexdigest(),
        login.several_users,
        login.several_references,
    )


def _framework_of(login: Login | None, request: BrowserRequest) -> Framework | None:
    """Return what `login` is asked with, or None where no one can tell who is logged in."""
    framework = None if login is None else request.framework()
    return framework if framework is not None and framework.knows_login else None


def _name_of(session: MutableMapping[str, Any] | None) -> str | None:
    """Return the random name of a framework's session: its own may change within one login."""
    if session is None:
        return None
    name = session.get(SESSION_KEY)
    if not isinstance(name, str):
        name = session[SESSION_KEY] = secrets.token_hex(16)
    return name


def _values_of(name: str, request: BrowserRequest) -> str | None:
    """Return all that the request says that the cookie is, or None if it has none."""
    pairs = [pair.strip() for each in request.cookies for pair in each.decode("latin-1").split(";")]
    return ";".join(pair for pair in pairs if pair.partition("=")[0] == name) or None


def kept_by(login: Login | None, request: BrowserRequest, session: Session) -> Flow[Session | None]:
    """Return `session` if it belongs to who is logged in at the application, or None (row L1).

    Where another site leads the browser here, the cookie of a login may stay behind: then the
    session is shown to no one, and does not end (row L10).

    Raises:
        StoreUnavailable: No one can tell (row S7).
    """
    if _framework_of(login, request) is None:
        return session
    own = yield from who_is_logged_in(login, request, in_which_session=False)
    if own.reference is None and session.reference is not None and _is_from_elsewhere(request):
        return None
    return session if (yield from belongs_to(session, own)) else None


def _is_from_elsewhere(request: BrowserRequest) -> bool:
    return request.header(b"sec-fetch-site") == "cross-site"


def log_out_of(login: Login | None, request: BrowserRequest) -> Flow[tuple[str, ...]]:
    """End the application's own login; return the `Set-Cookie` values that this takes (row L2)."""
    framework = _framework_of(login, request)
    gone = () if login is None or login.cookie is None else (_forget(login.cookie),)
    if login is None or login.log_out is None or framework is None:
        return gone
    response = framework.response()
    yield from call(login.log_out, framework.request, response)
    return (*gone, *framework.cookies_of(response))


def log_in_to(
    login: Login | None, request: BrowserRequest, references: Sequence[str]
) -> Flow[tuple[str, ...]]:
    """Log in the one user of the application in `references`, where no one is logged in (row L6).

    Returns:
        The `Set-Cookie` values that this takes.
    """
    framework = _framework_of(login, request)
    if login is None or login.log_in is None or framework is None or len(references) != 1:
        return ()
    response = framework.response()
    yield from call(login.log_in, framework.request, response, references[0])
    return tuple(framework.cookies_of(response))


def _forget(cookie: str) -> str:
    secure = "; Secure" if cookie.startswith("__") else ""
    return f"{cookie}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{secure}"
