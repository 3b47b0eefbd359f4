"""A Starlette application that people sign in to, for the tests of its mapping."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from procore_signin import AsyncProcoreSignIn
from procore_signin.api import raise_for_procore
from procore_signin.web.starlette import (
    SignIn,
    current_user,
    optional_user,
)

procore = AsyncProcoreSignIn.from_env()
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


async def projects(request: Request) -> Response:
    user, company_id = await current_user(request), int(request.query_params["company_id"])
    async with procore.api(user, company_id=company_id) as api:
        asked = await api.get("/rest/v1.1/projects", params={"company_id": company_id})
    return JSONResponse(raise_for_procore(asked).json())


app = Starlette(
    routes=[
        Mount("/procore", routes=sign_in.routes),
        Route("/", first_page),
        Route("/me", me, methods=["GET", "POST"]),
        Route("/places/{place:path}", me),
        Route("/who", who),
        Route("/companies", companies),
        Route("/projects", projects),
    ],
    lifespan=sign_in.lifespan,
)
