"""Applications behind a prefix, on real servers: everything leads to where the browser sees it."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hosts import GUNICORN, UVICORN, Host, running, wait_until_ready
from pages import path_of
from person import Person
from ports import free_port
from running import settings_for

from procore_signin import AsyncProcoreSignIn
from procore_signin._settings import read_settings
from procore_signin._store.migrate import upgrade
from procore_signin.emulator import Emulator
from procore_signin.errors import SettingsInvalid
from procore_signin.testing import procore_signed_in, settings_for_tests
from procore_signin.web.fastapi import CurrentUser, mounted_lifespan, sign_in_routes

ASGI = """
    from fastapi import FastAPI, Request
    from procore_signin import AsyncProcoreSignIn, Options
    from procore_signin.api import raise_for_procore
    from procore_signin.web.fastapi import CurrentUser, mounted_lifespan, sign_in_routes

    procore = AsyncProcoreSignIn.from_env(env_file=None)

    def add_pages(app, prefix):
        @app.get(f"{prefix}/me")
        async def me(user: CurrentUser):
            return user.email

        @app.get(f"{prefix}/address")
        async def address(request: Request):
            return str(request.url_for("procore_signin:signin"))

        @app.get(f"{prefix}/projects")
        async def projects(user: CurrentUser):
            async with procore.api(user) as api:
                return raise_for_procore(await api.get("/rest/v1.0/companies")).json()
"""
SOURCES = {
    "a mounted FastAPI application": (
        UVICORN,
        ASGI
        + """
    inner = FastAPI()
    inner.include_router(sign_in_routes(procore), prefix="/procore")
    add_pages(inner, "")
    app = FastAPI(lifespan=mounted_lifespan)
    app.mount("/app", inner)
""",
    ),
    "FastAPI with the sign-in as a mounted application": (
        UVICORN,
        ASGI
        + """
    inner = FastAPI()
    inner.include_router(sign_in_routes(procore))
    app = FastAPI(lifespan=mounted_lifespan)
    app.mount("/app/procore", inner)
    add_pages(app, "/app")
""",
    ),
    "FastAPI behind a proxy that removes the prefix": (
        UVICORN,
        ASGI
        + """
    inner = FastAPI()
    inner.include_router(
        sign_in_routes(procore, Options(root_path="/app")), prefix="/procore"
    )
    add_pages(inner, "")

    async def app(scope, receive, send):  # the proxy
        if scope["type"] == "http":
            scope = {**scope, "path": scope["path"].removeprefix("/app")}
        await inner(scope, receive, send)
""",
    ),
    "Flask": (
        GUNICORN,
        """
    from flask import Flask, jsonify, url_for
    from werkzeug.middleware.dispatcher import DispatcherMiddleware
    from procore_signin.api import raise_for_procore
    from procore_signin.web.flask import SignIn, current_user, procore, signed_in

    inner = Flask(__name__)
    inner.config["APPLICATION_ROOT"] = "/app"
    SignIn(inner)

    @inner.get("/me")
    @signed_in
    def me():
        return jsonify(current_user.email)

    @inner.get("/address")
    def address():
        return jsonify(url_for("procore_signin.signin", _external=True))

    @inner.get("/projects")
    @signed_in
    def projects():
        with procore.api(current_user) as api:
            return jsonify(raise_for_procore(api.get("/rest/v1.0/companies")).json())

    app = DispatcherMiddleware(Flask("nothing"), {"/app": inner})
""",
    ),
    "Django": (
        GUNICORN,
        """
    import os
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import JsonResponse
    from django.urls import include, path, reverse
    from procore_signin.api import raise_for_procore
    from procore_signin.web.django import procore, signed_in

    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["localhost"],
        ROOT_URLCONF=__name__,
        FORCE_SCRIPT_NAME="/app",
        INSTALLED_APPS=["procore_signin.web.django"],
        MIDDLEWARE=["procore_signin.web.django.middleware.SignInMiddleware"],
    )

    @signed_in
    def me(request):
        return JsonResponse(request.procore_user.email, safe=False)

    def address(request):
        place = request.build_absolute_uri(reverse("procore_signin:signin"))
        return JsonResponse(place, safe=False)

    @signed_in
    def projects(request):
        with procore.api(request.procore_user) as api:
            answer = api.get("/rest/v1.0/companies")
        return JsonResponse(raise_for_procore(answer).json(), safe=False)

    urlpatterns = [
        path("procore/", include("procore_signin.web.django.urls")),
        path("me", me), path("address", address), path("projects", projects),
    ]
    app = get_wsgi_application()
""",
    ),
}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Host, Emulator]]]:
    """Every application behind its prefix; they start at the same time."""
    with ExitStack() as stack:
        found = {}
        for number, (name, (command, source)) in enumerate(SOURCES.items()):
            folder, port = tmp_path_factory.mktemp(f"prefix{number}"), free_port()
            redirect_uri = f"http://localhost:{port}/app/procore/callback"
            emulator = stack.enter_context(Emulator.started(redirect_uris=(redirect_uri,)))
            (folder / "prefixed.py").write_text(textwrap.dedent(source))
            environment = settings_for(
                emulator.url, port, folder, PROCORE_REDIRECT_URI=redirect_uri
            )
            upgrade(environment["PROCORE_DATABASE_URL"])
            environment["PATH"] = path_of(sys.executable)
            if name == "Django":
                environment["SCRIPT_NAME"] = "/app"  # as gunicorn wants to be told
            begun = running(f"{command} prefixed:app", port, folder, environment)
            found[name] = stack.enter_context(begun), emulator
        for host, _ in found.values():
            wait_until_ready(host, "/app/procore/signin")
        yield found


@pytest.mark.parametrize("name", SOURCES)
def test_a_whole_sign_in_stays_behind_the_prefix(
    started: dict[str, tuple[Host, Emulator]], name: str
) -> None:
    host, emulator = started[name]
    with Person(host.url, emulator) as person:
        sent = person.http.get("/app/me")
        assert sent.headers["location"] == "/app/procore/signin?return_to=/app/me"
        back = person.sign_in(sent.headers["location"])
        assert back.headers["location"] == "/app/me"
        [cookie] = [
            each for each in back.headers.get_list("set-cookie") if "procore_signin_session" in each
        ]
        assert "Path=/;" in cookie
        assert person.http.get("/app/me").json() == emulator.people[0].login

        listed = person.http.get("/app/procore/sessions")
        linked = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', listed.text))
        [first_page] = {each for each in linked if not each.startswith("/app/procore/")}
        assert first_page == ("/" if "mounted" in name else "/app/")
        [style] = [each for each in linked if ".css" in each]
        assert person.http.get(style).status_code == 200

        assert person.post("/app/procore/sign-out").status_code in {200, 303}
        assert person.http.get("/app/me").status_code == 303
    assert "Traceback" not in host.said


@pytest.mark.parametrize("name", SOURCES)
def test_the_address_of_a_page_has_the_prefix(
    started: dict[str, tuple[Host, Emulator]], name: str
) -> None:
    host, emulator = started[name]
    with Person(host.url, emulator) as person:
        assert person.http.get("/app/address").json() == f"{host.url}/app/procore/signin"


@pytest.mark.parametrize("name", SOURCES)
def test_an_error_of_ours_becomes_a_page_that_leads_back(
    started: dict[str, tuple[Host, Emulator]], name: str
) -> None:
    host, emulator = started[name]
    with Person(host.url, emulator) as person:
        person.sign_in("/app/procore/signin")
        emulator.revoke()
        emulator.advance(6000)
        lost = person.http.get("/app/projects")
        assert lost.status_code == 401
        assert "<h1" in lost.text
        location = emulator.approve(_button_in(lost.text))
        back = person.http.get(location.removeprefix(host.url))
        assert back.headers["location"] == "/app/projects"


def _button_in(page: str) -> str:
    [found] = re.findall(r'href="(http[^"]*/oauth/authorize[^"]*)"', page)
    return str(found).replace("&amp;", "&")


def door(redirect_uri: str) -> AsyncProcoreSignIn:
    settings = read_settings(environ=settings_for_tests(redirect_uri), env_file=None)
    return AsyncProcoreSignIn.from_settings(settings)


def outer_of(redirect_uri: str) -> FastAPI:
    inner, outer = FastAPI(), FastAPI(lifespan=mounted_lifespan)
    inner.include_router(sign_in_routes(door(redirect_uri)), prefix="/procore")

    @inner.get("/me")
    async def me(user: CurrentUser) -> str:
        return user.email

    outer.mount("/app", inner)
    return outer


def test_a_mounted_application_at_another_place_than_the_redirect_uri_does_not_start() -> None:
    outer = outer_of("http://localhost:8000/procore/callback")

    with (
        pytest.raises(SettingsInvalid, match="have their callback at /app/procore/callback"),
        TestClient(outer),
    ):
        pass


def test_a_mounted_application_without_a_lifespan_is_told_which_one_it_needs() -> None:
    outer = outer_of("http://localhost:8000/app/procore/callback")

    with pytest.raises(RuntimeError, match="write `lifespan=mounted_lifespan` there"):
        TestClient(outer).get("/app/me")


def test_an_application_in_which_no_sign_in_is_mounted_does_not_start() -> None:
    with (
        pytest.raises(RuntimeError, match="No application that is mounted here has a sign-in"),
        TestClient(FastAPI(lifespan=mounted_lifespan)),
    ):
        pass


def test_a_test_signs_a_user_in_at_a_mounted_application_too() -> None:
    client = TestClient(outer_of("http://localhost:8000/app/procore/callback"))

    with procore_signed_in(client, "ann@example.com"):
        assert client.get("/app/me").json() == "ann@example.com"
