"""FastAPI with Authlib's Starlette integration, as Authlib's documentation shows it."""

from __future__ import annotations

import os

from authlib.integrations.starlette_client import OAuth
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.middleware.sessions import SessionMiddleware

from people import People

UPSTREAM = os.environ["BENCH_UPSTREAM"]

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key="a secret of the benchmark")
people = People()
oauth = OAuth()
oauth.register(
    "procore",
    client_id="bench-client-id",
    client_secret="bench-client-secret",
    access_token_url=f"{UPSTREAM}/oauth/token",
    authorize_url=f"{UPSTREAM}/oauth/authorize",
    api_base_url=f"{UPSTREAM}/",
    client_kwargs={
        "code_challenge_method": "S256",
        "token_endpoint_auth_method": "client_secret_post",
    },
)


@app.get("/login")
async def login(request: Request) -> Response:
    response: Response = await oauth.procore.authorize_redirect(
        request, os.environ["BENCH_REDIRECT_URI"]
    )
    return response


@app.get("/callback")
async def callback(request: Request) -> Response:
    token = await oauth.procore.authorize_access_token(request)
    me = (await oauth.procore.get("rest/v1.0/me", token=token)).json()
    request.session["user_id"] = people.signed_in(me["id"], me["login"])
    return RedirectResponse("/home", 303)


@app.get("/home")
async def home(request: Request) -> Response:
    row = people.row(request.session.get("user_id"))
    return RedirectResponse("/login", 303) if row is None else JSONResponse(row)
