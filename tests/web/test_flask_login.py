"""Flask-Login beside the sign-in: one log-out, connections, buttons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import (
    Blueprint,
    Flask,
    Request,
    Response,
    render_template_string,
    request,
    session,
    url_for,
)
from flask.testing import FlaskClient
from scripted import Clock, ScriptedProcore, front_door

from procore_signin import Login, Options
from procore_signin._client import ProcoreSignIn
from procore_signin._store.store import Store
from procore_signin.errors import StoreUnavailable
from procore_signin.web.flask import SignIn, current_user, flask_login, get_user, sign_out

library = pytest.importorskip("flask_login", reason="requirements/test.txt has it: make test")

ORIGIN = "http://localhost:4567"
OUR_FORM = {"sec-fetch-site": "same-origin"}
JOE = "joecontractor@procore.com"


class Own(library.UserMixin):  # type: ignore[misc, name-defined]  # it has no types
    is_active = True

    def __init__(self, name: str) -> None:
        self.id = name


@pytest.fixture
def procore() -> ScriptedProcore:
    return ScriptedProcore()


@pytest.fixture
def door(tmp_path: Path, procore: ScriptedProcore) -> Iterator[ProcoreSignIn]:
    uri = f"{ORIGIN}/procore/callback"
    with front_door(tmp_path, procore, Clock(), redirect_uri=uri) as door:
        yield door


@pytest.fixture
def app(door: ProcoreSignIn) -> Flask:
    app = Flask(__name__)
    app.secret_key = "fake-secret-key"  # of a test
    manager = library.LoginManager(app)
    manager.user_loader(Own)
    SignIn(app, procore=door, options=Options(login=flask_login()))

    @app.get("/log-in/<name>")
    def log_in(name: str) -> str:
        library.login_user(Own(name))
        return who()

    @app.get("/look-and-log-in/<name>")
    def look_and_log_in(name: str) -> str:
        before = who()
        return f"{before}, {log_in(name)}"

    @app.get("/log-out")
    def log_out() -> str:
        library.logout_user()
        return who()

    @app.get("/who")
    def who() -> str:
        user = get_user()
        return user.email if user else "no one"

    @app.get("/page")
    def page() -> str:
        return render_template_string(
            "{{ procore_button(return_to='/who') }}{{ procore_connect_button('<b>') }}"
            "{{ procore_sign_out_button(return_to=url_for('procore_signin.signin')) }}"
        )

    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_HOST"] = "localhost:4567"
    client.environ_base["HTTP_ACCEPT"] = "text/html"
    return client


def get(client: FlaskClient, path: str) -> str:
    return client.get(path, base_url=ORIGIN).text


def start(client: FlaskClient, **form: str) -> str:
    """Press a button and return the state."""
    sent = client.post("/procore/start", base_url=ORIGIN, data=form, headers=OUR_FORM)
    return parse_qs(urlsplit(sent.location).query)["state"][0]


def come_back(client: FlaskClient, state: str) -> Any:
    return client.get(f"/procore/callback?code=fake-code&state={state}", base_url=ORIGIN)


def sign_in(client: FlaskClient) -> None:
    assert come_back(client, start(client)).status_code == 303


def test_L1_flask_logins_own_log_out_ends_the_sign_in(client: FlaskClient) -> None:
    get(client, "/log-in/ann")
    sign_in(client)
    assert get(client, "/who") == JOE
    held = client.get_cookie("procore_signin_session", domain="localhost")
    assert held is not None
    assert get(client, "/log-out") == "no one", "at once"
    assert client.get_cookie("procore_signin_session", domain="localhost") is None
    client.set_cookie("procore_signin_session", held.value, domain="localhost")
    assert get(client, "/who") == "no one", "the session itself has ended"


def test_S3_flask_logins_own_log_out_ends_the_session_beside_no_login_too(
    client: FlaskClient,
) -> None:
    sign_in(client)
    copied = client.get_cookie("procore_signin_session", domain="localhost")
    assert copied is not None
    assert get(client, "/who") == JOE
    get(client, "/log-out")
    client.set_cookie("procore_signin_session", copied.value, domain="localhost")
    assert get(client, "/who") == "no one"


def test_L1_a_log_in_as_someone_else_ends_the_sign_in(client: FlaskClient) -> None:
    get(client, "/log-in/ann")
    sign_in(client)
    assert get(client, "/log-in/bob") == "no one"
    assert get(client, "/who") == "no one"


def test_L1_a_view_that_looked_before_the_log_in_looks_again(client: FlaskClient) -> None:
    get(client, "/log-in/ann")
    sign_in(client)
    assert get(client, "/look-and-log-in/bob") == f"{JOE}, no one"


def test_L1_a_sign_in_from_before_the_log_in_stays_and_ends_with_it(client: FlaskClient) -> None:
    sign_in(client)
    assert get(client, "/log-in/ann") == JOE
    get(client, "/log-out")
    assert get(client, "/log-in/bob") == "no one"


def test_L2_signing_out_here_logs_out_of_flask_login(client: FlaskClient) -> None:
    get(client, "/log-in/ann")
    sign_in(client)
    client.post("/procore/sign-out", base_url=ORIGIN, headers=OUR_FORM)
    with client.session_transaction(base_url=ORIGIN) as kept:
        assert "_user_id" not in kept


def test_L2_a_log_out_fails_for_nothing_of_ours(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    get(client, "/log-in/ann")
    sign_in(client)

    def broken(*_: object) -> None:
        raise StoreUnavailable("The database is away")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "ask", broken)
        assert get(client, "/log-out") == "no one"
    assert "A session was left open" in caplog.text
    assert client.get_cookie("procore_signin_session", domain="localhost") is None


def test_L4_a_connection_that_is_under_way_ends_with_the_log_in(
    client: FlaskClient, door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    for meanwhile in ("/log-out", "/log-in/bob", "/log-in/ann"):
        get(client, "/log-in/ann")
        state = start(client, connect="yes")
        get(client, "/log-out")
        get(client, meanwhile)
        answer = come_back(client, state)
        if meanwhile == "/log-out":  # perhaps only the cookie of the login is not there
            assert (answer.status_code, answer.headers["refresh"][-8:]) == (200, "&again=1")
            answer = client.get(answer.headers["refresh"].partition("url=")[2])
        assert answer.status_code == 403
        get(client, "/log-out")
    assert procore.requests == []
    assert [door.user_of(name) for name in ("ann", "bob")] == [None, None]


def test_L4_a_connection_that_is_under_way_ends_with_the_next_log_in_of_the_same_user(
    client: FlaskClient, door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    get(client, "/log-in/ann")
    state = start(client, connect="yes")
    get(client, "/log-in/ann")
    assert come_back(client, state).status_code == 403
    assert procore.requests == []
    assert door.user_of("ann") is None


def test_L10_a_strict_session_that_stayed_behind_is_waited_for(
    app: Flask, client: FlaskClient, procore: ScriptedProcore
) -> None:
    app.config["SESSION_COOKIE_SAMESITE"] = "Strict"
    get(client, "/log-in/ann")
    state = get(client, "/procore/signin").split("state=", 1)[1].split("&", 1)[0]
    session_of_ann = client.get_cookie("session")
    assert session_of_ann is not None
    client.delete_cookie("session")
    led = come_back(client, state)
    assert (led.status_code, led.headers.get("refresh", "")[-8:]) == (200, "&again=1")
    assert procore.requests == [], "the code was not sent"
    client.set_cookie("session", session_of_ann.value)
    assert come_back(client, f"{state}&again=1").status_code == 303
    assert get(client, "/who") == JOE


def test_L3_a_plain_sign_in_brings_no_account_of_another_user_into_a_login(
    app: Flask, client: FlaskClient
) -> None:
    get(client, "/log-in/ann")
    assert come_back(client, start(client, connect="yes")).status_code == 303
    bob = app.test_client()
    bob.environ_base |= client.environ_base
    get(bob, "/log-in/bob")
    answer = come_back(bob, start(bob))
    assert (answer.status_code, "Someone else is logged in here" in answer.text) == (409, True)
    assert get(bob, "/who") == "no one"
    assert get(client, "/who") == JOE


def test_a_user_connects_a_procore_account(client: FlaskClient, door: ProcoreSignIn) -> None:
    get(client, "/log-in/ann")
    assert come_back(client, start(client, connect="yes", return_to="/who")).location == "/who"
    user = door.user_of("ann")
    assert user is not None
    assert user.email == JOE


def test_L8_flask_logins_users_who_are_gone_or_not_active_let_no_one_in(
    door: ProcoreSignIn,
) -> None:
    users = {"ann": Own("ann")}
    app = Flask(__name__)
    app.secret_key = "fake-secret-key"  # of a test
    library.LoginManager(app).user_loader(users.get)
    SignIn(app, procore=door, options=Options(login=flask_login(users.get)))
    client = app.test_client()
    client.environ_base["HTTP_HOST"] = "localhost:4567"
    sign_in(client)
    user = next(iter(door.users()))
    door.link(user, "ann")

    def comes_in() -> int:
        browser = app.test_client()
        browser.environ_base["HTTP_HOST"] = "localhost:4567"
        status: int = come_back(browser, start(browser)).status_code
        return status

    assert comes_in() == 303
    users["ann"].is_active = False
    assert comes_in() == 403
    del users["ann"]
    assert comes_in() == 403


class Renamed(Own):
    """A user with an alternative token, as Flask-Login calls what `get_id()` then returns."""

    token = "token-1"

    def get_id(self) -> str:
        return self.token


def test_a_user_whose_alternative_token_changes_stays_connected(door: ProcoreSignIn) -> None:
    ann = Renamed("7")
    app = Flask(__name__)
    app.secret_key = "fake-secret-key"  # of a test
    library.LoginManager(app).user_loader({"token-1": ann, "token-2": ann}.get)
    login = flask_login({"7": ann}.get, reference=lambda user: int(user.id))
    SignIn(app, procore=door, options=Options(login=login))

    @app.get("/log-in")
    def log_in() -> str:
        library.login_user(ann)
        return ""

    @app.get("/who")
    def who() -> str:
        return str(library.current_user.is_authenticated and library.current_user.id)

    client, later = app.test_client(), app.test_client()
    client.environ_base["HTTP_HOST"] = later.environ_base["HTTP_HOST"] = "localhost:4567"
    get(client, "/log-in")
    assert come_back(client, start(client, connect="yes")).status_code == 303
    assert door.user_of(7) is not None

    ann.token = "token-2"  # as after a change of the password
    sign_in(later)
    assert get(later, "/who") == "7"


def csrf_protect() -> Any:
    """Return what does of Flask-WTF's `CSRFProtect` what matters here."""

    def exempt(self: Any, blueprint: Blueprint) -> None:
        self.exempted.add(blueprint)

    def init_app(self: Any, app: Flask) -> None:
        app.extensions["csrf"] = self
        self.exempted = set()

        @app.before_request
        def protect() -> str | None:
            ours = app.blueprints.get(request.blueprint or "") in self.exempted
            return "The CSRF token is missing." if request.method == "POST" and not ours else None

    kind = type("CSRFProtect", (), {"exempt": exempt, "init_app": init_app})
    kind.__module__ = "flask_wtf.csrf"
    return kind()


@pytest.mark.parametrize("is_first", [True, False])
def test_flask_wtf_asks_our_pages_for_no_token_and_all_others_as_before(
    door: ProcoreSignIn, *, is_first: bool
) -> None:
    app, guard = Flask(__name__), csrf_protect()
    if is_first:
        guard.init_app(app)
    SignIn(app, procore=door)
    if not is_first:
        guard.init_app(app)
    app.post("/own")(lambda: "let through")
    client = app.test_client()
    sign_in(client)
    elsewhere = {"sec-fetch-site": "cross-site"}
    foreign = client.post("/procore/sign-out", base_url=ORIGIN, headers=elsewhere)
    assert foreign.status_code == 403
    assert client.post("/own").text == "The CSRF token is missing."


def test_the_buttons_are_in_every_template(client: FlaskClient, app: Flask) -> None:
    page = get(client, "/page")
    assert 'href="/procore/start?return_to=/who"' in page
    assert "&lt;b&gt;" in page
    with app.test_request_context(base_url=ORIGIN):
        for name in ("start", "sign_out", "signin", "sessions", "end_session", "disconnect"):
            assert url_for(f"procore_signin.{name}").startswith("/procore/")


def test_an_application_with_a_login_of_its_own_ends_both_in_one_function(
    door: ProcoreSignIn,
) -> None:
    """No Flask-Login: a user id in Flask's session."""
    app = Flask(__name__)
    app.secret_key = "fake-secret-key"  # of a test

    def end(_: Request, response: Response) -> None:
        session.clear()
        response.delete_cookie("own")

    login = Login(user=lambda _: session.get("user"), log_out=end)
    SignIn(app, procore=door, options=Options(login=login))

    @app.get("/log-in")
    def log_in() -> str:
        session["user"] = "ann"
        return ""

    @app.get("/log-out")
    def log_out() -> str:
        session.clear()
        sign_out()
        return ""

    @app.get("/who")
    def who() -> str:
        return str(get_user() and current_user.email)

    client = app.test_client()
    client.environ_base["HTTP_HOST"] = "localhost:4567"
    for _ in range(2):
        get(client, "/log-in")
        sign_in(client)
        assert get(client, "/who") == JOE
        get(client, "/log-out")
        assert get(client, "/who") == "None"
    get(client, "/log-in")
    sign_in(client)
    gone = client.post("/procore/sign-out", base_url=ORIGIN, headers=OUR_FORM)
    assert any(cookie.startswith("own=;") for cookie in gone.headers.getlist("Set-Cookie"))
    with client.session_transaction(base_url=ORIGIN) as kept:
        assert dict(kept) == {}
