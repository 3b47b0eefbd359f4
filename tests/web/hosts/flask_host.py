"""A Flask application that people sign in to, for the tests of its mapping."""

from __future__ import annotations

import asyncio

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from procore_signin._flow.hooks import Hooks
from procore_signin._store.records import User
from procore_signin.api import raise_for_procore
from procore_signin.web.flask import SignIn, current_user, get_user, procore, signed_in

noted: list[int] = []


async def note(user: User) -> None:
    """Take some time, as a hook does that asks another service."""
    await asyncio.sleep(0.2)
    noted.append(user.id)


sign_in = SignIn(hooks=Hooks(on_sign_in=note))


def create_app() -> Flask:
    app = Flask(__name__)
    sign_in.init_app(app)

    @app.get("/")
    def first_page() -> str:
        return "The first page"

    @app.get("/me")
    @signed_in
    def me() -> ResponseReturnValue:
        return jsonify(current_user.email)

    @app.post("/me")
    @signed_in
    def change_me() -> ResponseReturnValue:
        return jsonify(request.form.get("name"))

    @app.get("/places/<path:place>")
    @signed_in
    def places(place: str) -> ResponseReturnValue:
        return jsonify(place)

    @app.get("/who")
    def who() -> ResponseReturnValue:
        user = get_user()
        return jsonify(None if user is None else user.email)

    @app.get("/companies")
    @signed_in
    def companies() -> ResponseReturnValue:
        with procore.api(current_user.id) as api:
            return jsonify(api.get("/rest/v1.0/companies").json())

    @app.get("/projects")
    @signed_in
    def projects() -> ResponseReturnValue:
        company_id = int(request.args["company_id"])
        with procore.api(current_user, company_id=company_id) as api:
            asked = api.get("/rest/v1.1/projects", params={"company_id": company_id})
        return jsonify(raise_for_procore(asked).json())

    @app.get("/noted")
    def show_noted() -> ResponseReturnValue:
        return jsonify(noted)

    return app
