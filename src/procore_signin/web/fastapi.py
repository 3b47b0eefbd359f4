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

from typing import Annotated, Final

from fastapi import APIRouter, Security
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from procore_signin._client import AsyncProcoreSignIn
from procore_signin._store.records import User
from procore_signin._web.endpoints import SESSION_COOKIE
from procore_signin._web.http.cookies import cookie_name
from procore_signin._web.options import Options
from procore_signin.web import starlette
from procore_signin.web.starlette import SignIn, answer_problem

__all__ = [
    "CurrentUser",
    "OptionalUser",
    "Options",
    "answer_problem",
    "current_user",
    "optional_user",
    "sign_in_routes",
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


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
