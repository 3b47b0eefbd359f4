"""Flask with Authlib's Flask integration, as Authlib's documentation shows it."""

from __future__ import annotations

import os

from authlib.integrations.flask_client import OAuth
from flask import Flask, jsonify, redirect, session
from flask.typing import ResponseReturnValue

from people import People

UPSTREAM = os.environ["BENCH_UPSTREAM"]

app = Flask(__name__)
app.secret_key = "a secret of the benchmark"
people = People()
oauth = OAuth(app)
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
def login() -> ResponseReturnValue:
    response: ResponseReturnValue = oauth.procore.authorize_redirect(
        os.environ["BENCH_REDIRECT_URI"]
    )
    return response


@app.get("/callback")
def callback() -> ResponseReturnValue:
    token = oauth.procore.authorize_access_token()
    me = oauth.procore.get("rest/v1.0/me", token=token).json()
    session["user_id"] = people.signed_in(me["id"], me["login"])
    return redirect("/home", 303)


@app.get("/home")
def home() -> ResponseReturnValue:
    row = people.row(session.get("user_id"))
    return redirect("/login", 303) if row is None else jsonify(row)
