"""A FastAPI application with a login of its own and a strict Content-Security-Policy."""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI
from fastapi.templating import Jinja2Templates
from jinja2 import DictLoader, Environment
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from procore_signin import AsyncProcoreSignIn, Login, Options
from procore_signin.web.fastapi import OptionalUser, buttons, sign_in_routes

POLICY = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark"><title>The application</title>
</head>
<body>
  <main>
    <h1>The application</h1>
    <p>Here: {{ own or "no one" }}. With Procore: {{ user.email if user else "no one" }}.
      Connected: {{ connected.email if connected else "no one" }}.</p>
    <p>{{ procore_button(return_to="/?signed-in") }}</p>
    <p>{{ procore_button("Accept the invitation", return_to="/?invited", value="nr 7") }}</p>
    <p>{{ procore_connect_button(return_to="/?connected") }}</p>
    <p>{{ procore_sign_out_button(return_to="/?signed-out") }}</p>
  </main>
</body>
</html>"""


async def logged_in(request: Request) -> str | None:
    user: str | None = request.session.get("user")
    return user


def log_out(request: Request, _response: Response) -> None:
    request.session.clear()


procore = AsyncProcoreSignIn.from_env()
app = FastAPI()
same_site: Any = os.environ.get("HOST_SAMESITE", "Lax").lower()
app.add_middleware(SessionMiddleware, secret_key="fake-session-secret", same_site=same_site)
login = Login(user=logged_in, log_out=log_out)
app.include_router(sign_in_routes(procore, Options(login=login)), prefix="/procore")
pages = Jinja2Templates(
    env=Environment(loader=DictLoader({"page.html": PAGE}), autoescape=True),
    context_processors=[buttons],
)


@app.get("/")
async def first_page(request: Request, user: OptionalUser) -> Response:
    own = await logged_in(request)
    connected = None if own is None else await procore.user_of(own)
    values = {"user": user, "own": own, "connected": connected}
    policy = {"content-security-policy": POLICY}
    return pages.TemplateResponse(request, "page.html", values, headers=policy)


@app.get("/log-in/{name}")
async def log_in(request: Request, name: str) -> Response:
    request.session["user"] = name
    return RedirectResponse("/", 303)


@app.get("/log-out")
async def own_log_out(request: Request) -> Response:
    request.session.clear()
    return RedirectResponse("/", 303)
