"""A FastAPI application that people sign in to, for the tests of its mapping."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from procore_signin.errors import ProcoreSignInError
from procore_signin.web.fastapi import (
    CurrentUser,
    OptionalUser,
    answer_problem,
    from_environment,
    sign_in_routes,
)

procore = from_environment()
app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key="fake-session-secret")
app.add_middleware(
    CORSMiddleware,
    allow_origins=["https://friend.example"],
    allow_credentials=True,
)
app.add_exception_handler(ProcoreSignInError, answer_problem)
app.include_router(sign_in_routes(procore), prefix="/procore")


@app.get("/")
async def first_page() -> str:
    return "The first page"


@app.api_route("/me", methods=["GET", "POST"])
async def me(user: CurrentUser) -> str:
    return user.email


@app.get("/who")
async def who(user: OptionalUser) -> Response:
    return HTMLResponse(json.dumps(None if user is None else user.email))


@app.get("/companies")
async def companies(user: CurrentUser) -> Any:
    async with procore.api(user) as api:
        answer = await api.get("/rest/v1.0/companies")
    return answer.json()


@app.get("/visits")
async def visits(request: Request, user: CurrentUser) -> int:
    """Count in the application's own session, beside ours."""
    count: int = request.session.get(str(user.id), 0) + 1
    request.session[str(user.id)] = count
    return count
