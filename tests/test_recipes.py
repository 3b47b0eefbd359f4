"""The recipes of docs/how-to/own-users.md, as applications that people sign in to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from flask import Flask
from pages import Block, run_by
from running import settings_for

from procore_signin import Candidate, Occasion
from procore_signin._protocol.me import Me
from procore_signin._store.migrate import upgrade
from procore_signin.emulator import DEMO_LOGIN, Emulator
from procore_signin.web.flask import SignIn

PORT = 8000
ORIGIN = f"http://localhost:{PORT}"
BROWSER = {"accept": "text/html", "sec-fetch-site": "same-origin", "origin": ORIGIN}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.started(redirect_uris=(f"{ORIGIN}/procore/callback",)) as emulator:
        yield emulator


@pytest.fixture
def recipe(
    request: pytest.FixtureRequest,
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> SimpleNamespace:
    """Execute the block of the page that the test names, with settings in the environment."""
    for name, value in settings_for(emulator.url, PORT, tmp_path).items():
        monkeypatch.setenv(name, value)
    redirect_uri = f"{ORIGIN}/procore/callback"
    monkeypatch.setenv("PROCORE_REDIRECT_URI", redirect_uri)
    upgrade(f"sqlite:///{tmp_path}/test.db")
    block: Block = request.param
    names: dict[str, Any] = {}
    exec(compile(block.text, f"{block.page}", "exec"), names)  # noqa: S102  # a page of ours
    return SimpleNamespace(**names)


def of(blocks: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recipe", blocks, indirect=True, ids=[blocks[0].runner])


class FlaskBrowser:
    """A browser at a Flask application."""

    def __init__(self, app: Flask, emulator: Emulator) -> None:
        self.client = app.test_client()
        self.emulator = emulator

    def sign_in(self, **form: str) -> tuple[int, str]:
        """Press the button with these fields; return the status and page that end the sign-in."""
        sent = self.client.post("/procore/start", base_url=ORIGIN, data=form, headers=BROWSER)
        back = urlsplit(self.emulator.approve(sent.location, login=DEMO_LOGIN))
        answer = self.client.get(f"{back.path}?{back.query}", base_url=ORIGIN, headers=BROWSER)
        return answer.status_code, answer.text


@of(run_by("recipe-invitations"))
def test_whoever_has_an_invitation_comes_in_and_needs_no_second_one(
    recipe: SimpleNamespace, emulator: Emulator
) -> None:
    app = Flask("invitations")
    SignIn(app, hooks=recipe.hooks)
    door = app.extensions["procore_signin"].procore
    with door:
        stranger = FlaskBrowser(app, emulator)
        status, page = stranger.sign_in()
        assert (status, "You need an invitation." in page) == (403, True)
        with app.test_request_context(base_url=ORIGIN):
            button = app.jinja_env.globals["procore_button"]("Accept", value="invitation-7")  # type: ignore[operator]  # ours
        value = str(button).split('name="value" value="', 1)[1].split('"', 1)[0]
        assert stranger.sign_in(value=value)[0] == 303
        user = door.user_of(42)
        assert user is not None
        assert user.email == DEMO_LOGIN
        assert recipe.INVITATIONS == {}
        assert FlaskBrowser(app, emulator).sign_in()[0] == 303
        recipe.INVITATIONS["invitation-7"] = 43
        assert FlaskBrowser(app, emulator).sign_in(value=value)[0] == 303
        assert recipe.INVITATIONS == {"invitation-7": 43}, "who needs none spends none"
    who_connects = Occasion(reference="42", connects=True)
    nobody = Candidate(Me(1, "ann@example.com", None, "{}"), (), "emulator")
    assert recipe.may_sign_in(nobody, who_connects) is None


@of(run_by("recipe-company"))
def test_only_people_of_one_company_come_in(recipe: SimpleNamespace, emulator: Emulator) -> None:
    app = Flask("company")
    SignIn(app, hooks=recipe.hooks)
    with app.extensions["procore_signin"].procore:
        browser = FlaskBrowser(app, emulator)
        assert browser.sign_in()[0] == 303
        emulator.company(8089, "Sandbox Test Company", members=frozenset())
        status, page = browser.sign_in()
        assert (status, "Only people of the Sandbox" in page) == (403, True)


@of(run_by("recipe-sessions"))
def test_a_server_side_session_begins_and_ends_with_the_sign_in(
    recipe: SimpleNamespace, emulator: Emulator
) -> None:
    def me(request: Request) -> int | None:
        user: int | None = recipe.user_of(request)
        return user

    recipe.app.add_api_route("/me", me)
    with TestClient(recipe.app, base_url=ORIGIN, headers=BROWSER, follow_redirects=False) as client:

        def sign_in(**form: str) -> None:
            sent = client.post("/procore/start", data=form)
            back = emulator.approve(sent.headers["location"], login=DEMO_LOGIN)
            assert client.get(back).status_code == 303

        recipe.SESSIONS["sid-of-42"] = 42
        client.cookies.set("sid", "sid-of-42", domain="localhost.local")
        sign_in(connect="yes")
        client.post("/procore/sign-out")
        assert (recipe.SESSIONS, client.get("/me").json()) == ({}, None)
        sign_in()
        assert (list(recipe.SESSIONS.values()), client.get("/me").json()) == ([42], 42)
        client.post("/procore/sign-out")
        assert (recipe.SESSIONS, client.cookies.get("sid")) == ({}, None)
