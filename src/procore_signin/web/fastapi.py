"""The mapping for FastAPI: routes to include, and the signed-in user as a dependency.

```python
procore = AsyncProcoreSignIn.from_env()
app = FastAPI()
app.include_router(sign_in_routes(procore), prefix="/procore")

@app.get("/projects")
async def projects(user: CurrentUser): ...
```
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Final

from procore_signin._extras import extra

with extra("fastapi"):
    from fastapi import APIRouter, Security
    from fastapi.openapi.models import APIKey, APIKeyIn
    from fastapi.security.base import SecurityBase
    from starlette.requests import HTTPConnection

    from procore_signin._client import AsyncProcoreSignIn
    from procore_signin._store.records import User
    from procore_signin._web.endpoints import SESSION_COOKIE
    from procore_signin._web.http.cookies import cookie_name
    from procore_signin._web.json import shapes
    from procore_signin._web.options import Options
    from procore_signin._web.site import Site
    from procore_signin.web import starlette
    from procore_signin.web.starlette import (
        SignIn,
        answer_problem,
        buttons,
        mounted_lifespan,
        sign_out,
    )

__all__ = [
    "CurrentUser",
    "OptionalUser",
    "Options",
    "answer_problem",
    "buttons",
    "current_user",
    "mounted_lifespan",
    "optional_user",
    "sign_in_routes",
    "sign_out",
]


def sign_in_routes(procore: AsyncProcoreSignIn, options: Options | None = None) -> APIRouter:
    """Return the sign-in's pages as a router, to include at the path of the redirect URI.

    With the redirect URI `https://app.example.com/procore/callback` that is
    `app.include_router(sign_in_routes(procore), prefix="/procore")`. FastAPI adds the router's
    lifespan to the application's own: it opens and closes the front door, and refuses to start if
    prefix and redirect URI do not match.

    Args:
        procore: The front door.
        options: What the application chooses; see `procore_signin.Options`.

    Raises:
        SettingsInvalid: The redirect URI does not end in `/callback`.
    """
    sign_in = SignIn(procore, options)
    router = APIRouter(lifespan=sign_in.lifespan)
    router.routes.extend(sign_in.routes)
    _document(router, sign_in.site)
    return router


class SessionCookie(SecurityBase):
    """The session cookie as a security scheme in OpenAPI.

    It only documents the cookie; `current_user` checks it in the database.
    """

    def __init__(self) -> None:
        self.scheme_name = "ProcoreSignIn"
        self.model = APIKey.model_validate(
            {
                "in": APIKeyIn.cookie,
                "name": cookie_name(SESSION_COOKIE, secure=True),
                "description": "Set by signing in with Procore, in a browser. On plain http, which "
                "is for localhost only, its name is "
                f"`{cookie_name(SESSION_COOKIE, secure=False)}`.",
            }
        )

    async def __call__(self) -> None:
        """Check nothing; see the class."""


_COOKIE: Final = SessionCookie()


async def optional_user(
    connection: HTTPConnection, _: Annotated[None, Security(_COOKIE)] = None
) -> User | None:
    """Return the signed-in user, or None; see `web.starlette.optional_user`."""
    return await starlette.optional_user(connection)


async def current_user(
    connection: HTTPConnection, _: Annotated[None, Security(_COOKIE)] = None
) -> User:
    """Return the signed-in user, or refuse the request; see `web.starlette.current_user`."""
    return await starlette.current_user(connection)


CurrentUser = Annotated[User, Security(current_user)]
"""The signed-in user. Without one, browsers are redirected to sign in, and programs get 401."""

OptionalUser = Annotated[User | None, Security(optional_user)]
"""The signed-in user, or None."""


@dataclass(frozen=True, slots=True)
class _Operation:
    """What OpenAPI says of an endpoint that responds with JSON.

    Attributes:
        page: The name of its path.
        summary: What it does.
        response: What it responds with.
        method: In capitals.
        request: What it is sent, or None.
        for_user: Whether it needs a signed-in user.
    """

    page: str
    summary: str
    response: type[Any]
    method: str = "POST"
    request: type[Any] | None = None
    for_user: bool = True


_OPERATIONS: Final = (
    _Operation("session", "Say who is signed in", shapes.SessionJson, "GET", for_user=False),
    _Operation(
        "start",
        "Begin to sign in or connect",
        shapes.GoToJson,
        request=shapes.StartRequest,
        for_user=False,
    ),
    _Operation(
        "sign_out", "Sign out", shapes.GoToJson, request=shapes.SignOutRequest, for_user=False
    ),
    _Operation("sign_out_everywhere", "Sign out on every device", shapes.GoToJson, for_user=False),
    _Operation("sessions", "List the sessions of the user", shapes.SessionsJson, "GET"),
    _Operation(
        "end_session",
        "End sessions of the user",
        shapes.SessionsJson,
        request=shapes.EndSessionRequest,
    ),
    _Operation("company", "List the companies of the user", shapes.CompaniesJson, "GET"),
    _Operation("company", "Choose a company", shapes.CompanyJson, request=shapes.CompanyRequest),
    _Operation("disconnect", "End the access at Procore", shapes.DisconnectedJson),
)
_TAG: Final = "Sign in with Procore"
_IF_ACCEPTED: Final = (
    "Responds with JSON to a request with `Accept: application/json`, and with a page to any other."
)


def _document(router: APIRouter, site: Site) -> None:
    """Add the endpoints that respond with JSON to OpenAPI.

    Each stands behind the page at the same path, which takes every request: it is only read.
    """
    below = {page.name: page.below for page in site.pages}
    for each in _OPERATIONS:
        router.add_api_route(
            below[each.page],
            _read_only(each.request),
            methods=[each.method],
            name=f"procore_signin:{each.method}:{each.page}".lower(),
            operation_id=f"procore_{each.method}_{each.page}".lower(),
            summary=each.summary,
            description=_IF_ACCEPTED if each.page != "session" else "",
            tags=[_TAG],
            dependencies=[Security(_COOKIE)] if each.for_user else [],
            response_model=each.response,
            responses={"default": _PROBLEM},
        )


def _read_only(request: type[Any] | None) -> Callable[..., Coroutine[Any, Any, None]]:
    """Return a function with the parameters of an endpoint. No request reaches it."""
    if request is None:

        async def endpoint() -> None:
            pass

        return endpoint
    if any(each.default is MISSING for each in fields(request)):

        async def with_body(body: Any) -> None:
            pass

        with_body.__annotations__["body"] = request
        return with_body

    async def with_body_if_any(body: Any = request()) -> None:  # noqa: B008  # it never changes
        pass

    with_body_if_any.__annotations__["body"] = request
    return with_body_if_any


_TYPES: Final = {str: "string", int: "integer"}
_PROBLEM: Final[dict[str, Any]] = {
    "description": "A problem (RFC 9457): its `code` says which.",
    "content": {
        "application/problem+json": {
            "schema": {
                "title": shapes.ProblemJson.__name__,
                "type": "object",
                "properties": {
                    each.name: {"type": _TYPES.get(each.type, ["string", "null"])}  # type: ignore[arg-type]
                    for each in fields(shapes.ProblemJson)
                },
                "required": [each.name for each in fields(shapes.ProblemJson)],
            }
        }
    },
}


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
