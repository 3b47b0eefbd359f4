"""The JSON of the sign-in's endpoints, for pages that ask by `fetch`: one class for each response.

They are public in `procore_signin.web.json`. docs/reference/json.md describes them for readers who
write TypeScript, and a test compares the two. No shape has a token.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from procore_signin._public import public_in

PUBLIC: Final = "procore_signin.web.json"


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class UserJson:
    """The signed-in user.

    Attributes:
        id: Our own number, never given to anyone else.
        procore_id: Procore's number of the user, within the environment.
        email: The login at Procore. It can pass to another user: for display.
        name: The user's name, or null if Procore did not tell it.
        company_id: Procore's number of the company that the user chose here, or null.
    """

    id: int
    procore_id: int
    email: str
    name: str | None
    company_id: int | None


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class SessionJson:
    """Who is signed in, and where to sign in.

    Attributes:
        user: The signed-in user, or null.
        expires_at: When the session ends unless it is used, or null if no user is signed in.
        environment: Such as `production`.
        sign_in_url: Where a link of the application's own pages signs in. It takes `?return_to=`, a
            path of the application.
    """

    user: UserJson | None
    expires_at: dt.datetime | None
    environment: str
    sign_in_url: str


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class OpenSessionJson:
    """One session of the user.

    Attributes:
        id: Our own number. It opens nothing.
        current: Whether it is the session of this browser.
        browser: The browser in our own words, such as `Chrome on Linux`.
        created_at: The sign-in that opened it.
        last_seen_at: Its last use, to the minute.
        expires_at: When it ends unless it is used.
    """

    id: int
    current: bool
    browser: str
    created_at: dt.datetime
    last_seen_at: dt.datetime
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class SessionsJson:
    """The sessions of the user.

    Attributes:
        sessions: Those that are open now, the last used one first.
    """

    sessions: tuple[OpenSessionJson, ...]


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class CompanyJson:
    """A company of the user.

    Attributes:
        id: Procore's number of it.
        name: Its name.
    """

    id: int
    name: str


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class CompaniesJson:
    """The companies of the user.

    Attributes:
        companies: The active ones, as Procore lists them.
        company_id: The chosen one, or null. A user of one company need not choose.
    """

    companies: tuple[CompanyJson, ...]
    company_id: int | None


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class GoToJson:
    """It is done, or begun: the window goes on.

    Attributes:
        go_to: Where: a path of the application, or an address of Procore's.
    """

    go_to: str


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class DisconnectedJson:
    """The application has forgotten the tokens of the user, and ended all sessions.

    Attributes:
        go_to: Where the window goes on.
        revoked: Whether Procore has confirmed that the tokens are dead. Otherwise the user can end
            the access at Procore, under My Profile Settings > Connected Apps.
    """

    go_to: str
    revoked: bool


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class ProblemJson:
    """Why a request was refused or failed (RFC 9457), as `application/problem+json`.

    Attributes:
        title: The problem in a few words, for a reader.
        status: The HTTP status code.
        detail: What happened and what to do, for a reader.
        code: The problem, for programs: the same in every version.
        reference: The id of the request in the log.
        error: The code of the error, where one ended a request of the application's own, or null.
        sign_in_url: Where to sign in, if that helps; else null. As in `SessionJson`.
    """

    title: str
    status: int
    detail: str
    code: str
    reference: str
    error: str | None
    sign_in_url: str | None


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class StartRequest:
    """What begins a sign-in or a connection.

    Attributes:
        return_to: The path of the application where the user lands.
        connect: Whether the account is connected to the user of the application who is logged in.
        value: The sealed value of a button, for hooks.
    """

    return_to: str | None = None
    connect: bool = False
    value: str | None = None


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class SignOutRequest:
    """What signs out.

    Attributes:
        return_to: The path of the application to go on to. Without a session no body is read (row
            O8), and `go_to` is the first page.
    """

    return_to: str | None = None


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class EndSessionRequest:
    """Which sessions of the user end: a single one, or all but that of this browser.

    Attributes:
        session_id: The `id` of one session.
        others: Whether all others end.
    """

    session_id: int | None = None
    others: bool = False


@dataclass(frozen=True, slots=True)
@public_in(PUBLIC)
class CompanyRequest:
    """Which company the user chooses.

    Attributes:
        company_id: The `id` of one of the user's companies.
    """

    company_id: int


Shape = (
    SessionJson
    | SessionsJson
    | CompaniesJson
    | CompanyJson
    | GoToJson
    | DisconnectedJson
    | ProblemJson
)
"""What a response is."""


def encoded(shape: Shape) -> bytes:
    """Return `shape` as JSON."""
    return json.dumps(asdict(shape), default=_moment).encode()


def _moment(value: Any) -> str:
    """Return the only kind of value that JSON does not have: a moment, as RFC 3339 in UTC."""
    moment: dt.datetime = value
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
