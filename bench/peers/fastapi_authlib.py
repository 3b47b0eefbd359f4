"""FastAPI with Authlib's Starlette integration, as Authlib's documentation shows it."""

from __future__ import annotations

from authlib.integrations.starlette_client import OAuth
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from starlette.middleware.sessions import SessionMiddleware

from page import values
from people import People
from procore import REDIRECT_URI, REGISTRATION, wants_row

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key="a secret of the benchmark")
templates = Jinja2Templates("templates")
people = People()
oauth = OAuth()
oauth.register("procore", **REGISTRATION)


@app.get("/login")
async def login(request: Request) -> Response:
    response: Response = await oauth.procore.authorize_redirect(request, REDIRECT_URI)
    return response


@app.get("/callback")
async def callback(request: Request) -> Response:
    token = await oauth.procore.authorize_access_token(request)
    me = (await oauth.procore.get("rest/v1.0/me", token=token)).json()
    request.session["user_id"] = people.signed_in(me)
    return RedirectResponse("/home", 303)


@app.get("/home")
async def home(request: Request) -> Response:
    user_id = request.session.get("user_id")
    if wants_row(request.headers.get("accept")):
        row = people.row(user_id)
        return RedirectResponse("/login", 303) if row is None else JSONResponse(row)
    person = people.person(user_id)
    if person is None:
        return RedirectResponse("/login", 303)
    return templates.TemplateResponse(request, "home.html", values(person))
