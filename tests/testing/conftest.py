"""Applications as their own tests see them: an API, pages, and a sign-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask, Response, jsonify, request

from procore_signin import AsyncProcoreSignIn, Hooks, ProcoreSignIn, User
from procore_signin._settings import read_settings
from procore_signin.api import raise_for_procore
from procore_signin.testing import settings_for_tests
from procore_signin.web import flask as flask_mapping
from procore_signin.web.fastapi import CurrentUser, OptionalUser, Options, sign_in_routes

PLAIN = "http://localhost:8000/procore/callback"
SECURE = "https://app.example.com/procore/callback"


def settings_of(redirect_uri: str) -> Any:
    return read_settings(environ=settings_for_tests(redirect_uri), env_file=None)


def fastapi_app(
    redirect_uri: str = PLAIN, hooks: Hooks | None = None, **options: Any
) -> tuple[FastAPI, AsyncProcoreSignIn]:
    procore = AsyncProcoreSignIn.from_settings(settings_of(redirect_uri), hooks=hooks or Hooks())
    app = FastAPI()
    app.include_router(sign_in_routes(procore, Options(**options)), prefix="/procore")

    @app.get("/me")
    async def me(user: OptionalUser) -> str | None:
        return None if user is None else user.email

    @app.get("/ask/{path:path}")
    async def ask(user: CurrentUser, path: str, company_id: int | None = None) -> Any:
        async with procore.api(user, company_id=company_id) as api:
            answer = await api.get(f"/{path}", params={"company_id": company_id or ""})
        return raise_for_procore(answer).json()

    return app, procore


def flask_app(
    redirect_uri: str = PLAIN, hooks: Hooks | None = None, **options: Any
) -> tuple[Flask, ProcoreSignIn]:
    app = Flask(__name__)
    app.config.update(settings_for_tests(redirect_uri))
    flask_mapping.SignIn(app, hooks=hooks, options=Options(**options))

    @app.get("/me")
    def me() -> Any:
        user = flask_mapping.get_user()
        return jsonify(user and user.email)

    @app.get("/ask/<path:path>")
    @flask_mapping.signed_in
    def ask(path: str) -> Any:
        company_id = request.args.get("company_id", type=int)
        with flask_mapping.procore.api(flask_mapping.current_user, company_id=company_id) as api:
            answer = api.get(f"/{path}", params={"company_id": company_id or ""})
        return jsonify(raise_for_procore(answer).json())

    return app, app.extensions["procore_signin"].procore


class Application:
    """An application, and test clients of it that all get a path in the same way."""

    def __init__(self, kind: str, stack: ExitStack, *given: Any, **options: Any) -> None:
        self._kind, self._stack = kind, stack
        self.app: Any
        self.procore: Any
        make = flask_app if kind == "flask" else fastapi_app
        self.app, self.procore = make(*given, **options)

    def client(self, app: Any = None) -> Any:
        app = app or self.app
        if self._kind == "flask":
            return self.app.test_client()
        client = TestClient(app, follow_redirects=False)
        return self._stack.enter_context(client) if self._kind == "lifespan" else client


def json_of(answer: Any) -> Any:
    return answer.get_json() if isinstance(answer, Response) else answer.json()


def get(client: Any, path: str) -> Any:
    """Return what a page says to a program."""
    return json_of(client.get(path, headers={"accept": "application/json"}))


@pytest.fixture(params=["fastapi", "lifespan", "flask"])
def application(request: pytest.FixtureRequest) -> Iterator[Callable[..., Application]]:
    """Make an application: FastAPI's without and with its lifespan, and Flask's."""
    with ExitStack() as stack:
        yield lambda *given, **options: Application(request.param, stack, *given, **options)


def only(*logins: str) -> Hooks:
    """Return hooks that admit these."""

    def may_sign_in(candidate: Any) -> str | None:
        return None if candidate.me.login in logins else "Not you."

    return Hooks(may_sign_in=may_sign_in)


def noting(into: list[str]) -> Hooks:
    """Return hooks of both kinds that write down whom they were called for."""

    async def on_sign_up(user: User) -> None:
        into.append(f"up {user.email}")

    def on_sign_in(user: User) -> None:
        into.append(f"in {user.email}")

    return Hooks(on_sign_up=on_sign_up, on_sign_in=on_sign_in)
