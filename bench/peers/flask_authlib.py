"""Flask with Authlib's Flask integration, as Authlib's documentation shows it."""

from __future__ import annotations

from authlib.integrations.flask_client import OAuth
from flask import Flask, jsonify, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from page import values
from people import People
from procore import REDIRECT_URI, REGISTRATION, wants_row

app = Flask(__name__)
app.secret_key = "a secret of the benchmark"
people = People()
oauth = OAuth(app)
oauth.register("procore", **REGISTRATION)


@app.get("/login")
def login() -> ResponseReturnValue:
    response: ResponseReturnValue = oauth.procore.authorize_redirect(REDIRECT_URI)
    return response


@app.get("/callback")
def callback() -> ResponseReturnValue:
    token = oauth.procore.authorize_access_token()
    me = oauth.procore.get("rest/v1.0/me", token=token).json()
    session["user_id"] = people.signed_in(me)
    return redirect("/home", 303)


@app.get("/home")
def home() -> ResponseReturnValue:
    if wants_row(request.headers.get("accept")):
        row = people.row(session.get("user_id"))
        return redirect("/login", 303) if row is None else jsonify(row)
    person = people.person(session.get("user_id"))
    if person is None:
        return redirect("/login", 303)
    return render_template("home.html", **values(person))
