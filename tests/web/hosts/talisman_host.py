"""A Flask application with a login of its own, and Flask-Talisman's policy on all its pages."""

from __future__ import annotations

import os

from flask import Flask, Request, Response, redirect, render_template_string, session
from flask.typing import ResponseReturnValue
from flask_talisman import Talisman

from procore_signin import Login, Options
from procore_signin.web.flask import SignIn, get_user, procore

POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "script-src": "'self'",
    "img-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>The application</title></head>
<body>
  <h1>The application</h1>
  <p>Here: {{ own or "no one" }}. With Procore: {{ user.email if user else "no one" }}.
    Connected: {{ connected.email if connected else "no one" }}.</p>
  <p>{{ procore_button(return_to="/?signed-in") }}</p>
  <p>{{ procore_connect_button(return_to="/?connected") }}</p>
  <p>{{ procore_sign_out_button(return_to="/?signed-out") }}</p>
</body>
</html>"""


def logged_in(_: Request) -> str | None:
    user: str | None = session.get("user")
    return user


def log_out(_: Request, _response: Response) -> None:
    session.clear()


def create_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "fake-session-secret"
    SignIn(app, options=Options(login=Login(user=logged_in, log_out=log_out)))
    # The tests have no certificate.
    Talisman(
        app,
        content_security_policy=POLICY,
        force_https=False,
        session_cookie_secure=False,
        session_cookie_samesite=os.environ.get("HOST_SAMESITE", "Lax"),
    )

    @app.get("/")
    def first_page() -> str:
        own = session.get("user")
        connected = None if own is None else procore.user_of(own)
        return render_template_string(PAGE, own=own, user=get_user(), connected=connected)

    @app.get("/log-in/<name>")
    def log_in(name: str) -> ResponseReturnValue:
        session["user"] = name
        return redirect("/", 303)

    return app
