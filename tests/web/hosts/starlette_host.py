"""A Starlette application that people sign in to, for the tests of its mapping."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from procore_signin.errors import ProcoreSignInError
from procore_signin.web.starlette import (
    SignIn,
    answer_problem,
    current_user,
    from_environment,
    optional_user,
)

procore = from_environment()
sign_in = SignIn(procore)


async def first_page(_request: Request) -> Response:
    return PlainTextResponse("The first page")


async def me(request: Request) -> Response:
    user = await current_user(request)
    return JSONResponse(user.email)


async def who(request: Request) -> Response:
    user = await optional_user(request)
    return JSONResponse(None if user is None else user.email)


async def companies(request: Request) -> Response:
    user = await current_user(request)
    async with procore.api(user) as api:
        answer = await api.get("/rest/v1.0/companies")
    return JSONResponse(answer.json())


app = Starlette(
    routes=[
        Mount("/procore", routes=sign_in.routes),
        Route("/", first_page),
        Route("/me", me, methods=["GET", "POST"]),
        Route("/who", who),
        Route("/companies", companies),
    ],
    exception_handlers={ProcoreSignInError: answer_problem},
    lifespan=sign_in.lifespan,
)
