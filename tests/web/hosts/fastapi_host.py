"""A FastAPI application that people sign in to, for the tests of its mapping."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from procore_signin import AsyncProcoreSignIn
from procore_signin.api import raise_for_procore
from procore_signin.web.fastapi import (
    CurrentUser,
    OptionalUser,
    sign_in_routes,
)

procore = AsyncProcoreSignIn.from_env()
app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key="fake-session-secret")
app.add_middleware(
    CORSMiddleware,
    allow_origins=["https://friend.example"],
    allow_credentials=True,
)
app.include_router(sign_in_routes(procore), prefix="/procore")


@app.get("/")
async def first_page() -> str:
    return "The first page"


@app.api_route("/me", methods=["GET", "POST"])
async def me(user: CurrentUser) -> str:
    return user.email


@app.get("/places/{place:path}")
async def places(place: str, user: CurrentUser) -> list[str]:
    return [place, user.email]


@app.get("/who")
async def who(user: OptionalUser) -> Response:
    return HTMLResponse(json.dumps(None if user is None else user.email))


@app.get("/companies")
async def companies(user: CurrentUser) -> Any:
    async with procore.api(user) as api:
        answer = await api.get("/rest/v1.0/companies")
    return answer.json()


@app.get("/projects")
async def projects(user: CurrentUser, company_id: int) -> Any:
    async with procore.api(user, company_id=company_id) as api:
        asked = await api.get("/rest/v1.1/projects", params={"company_id": company_id})
    return raise_for_procore(asked).json()


@app.get("/visits")
async def visits(request: Request, user: CurrentUser) -> int:
    """Count in the application's own session, beside ours."""
    count: int = request.session.get(str(user.id), 0) + 1
    request.session[str(user.id)] = count
    return count
