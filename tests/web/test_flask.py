"""Flask: what the extension adds to an application, and gevent on a real server.

That it answers alike on real servers is shown in `test_same_verdict.py`.
"""

from __future__ import annotations

import importlib
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from doing import meet
from flask import Blueprint, Flask, Response, request
from flask.testing import FlaskClient
from hosts import Host, hosts
from migrated import migrated
from person import Person
from scripted import KEYS, Clock, ScriptedProcore, front_door

from procore_signin import Options, environments
from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin._flow.hooks import Hooks
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._store.sessions import SessionOf, SessionsOf
from procore_signin._web.http.messages import LONGEST_BODY
from procore_signin.emulator import Emulator
from procore_signin.errors import (
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    SettingsInvalid,
    StoreUnavailable,
)
from procore_signin.web.flask import (
    SignIn,
    current_user,
    get_user,
    procore,
    sign_in_blueprint,
    signed_in,
)
from procore_signin.web.gevent import GeventProcoreSignIn

ORIGIN = "http://localhost:4567"
OUR_FORM = {"sec-fetch-site": "same-origin"}
HTML = {"accept": "text/html"}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[ProcoreSignIn]:
    uri = f"{ORIGIN}/procore/callback"
    with front_door(tmp_path, ScriptedProcore(), Clock(), redirect_uri=uri) as door:
        yield door


@pytest.fixture
def app(door: ProcoreSignIn) -> Flask:
    app = Flask(__name__)
    SignIn(app, procore=door)

    @app.get("/me")
    @signed_in
    def me() -> str:
        return f"{current_user.email} {procore.context.client.client_id}"

    @app.get("/who")
    def who() -> str:
        user = get_user()
        return user.email if user else "nobody"

    @app.get("/proxy")
    def proxy() -> str:
        return "somebody" if bool(current_user) else "nobody"

    @app.get("/kept")
    def kept() -> Response:
        get_user()
        return Response("kept", headers={"Cache-Control": "private, max-age=60"})

    @app.get("/public")
    def public() -> str:
        return "for everyone"

    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return browser_of(app)


def browser_of(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_HOST"] = "localhost:4567"
    client.environ_base["HTTP_ACCEPT"] = "text/html"
    return client


def sign_in(client: FlaskClient, prefix: str = "/procore") -> str | None:
    """Go through a whole sign-in and return where it ended."""
    page = client.get(f"{prefix}/signin", base_url=ORIGIN).text
    state = page.split("state=", 1)[1].split("&", 1)[0]
    back = client.get(f"{prefix}/callback?code=fake-code&state={state}", base_url=ORIGIN)
    assert back.status_code == 303, back.text
    return back.location


def test_signing_in_makes_somebody_the_current_user(client: FlaskClient) -> None:
    assert client.get("/me", base_url=ORIGIN).location == "/procore/signin?return_to=/me"
    assert client.get("/proxy", base_url=ORIGIN).text == "nobody"
    assert sign_in(client) == "/"
    assert client.get("/me", base_url=ORIGIN).text == "joecontractor@procore.com fake-client-id"
    assert client.get("/who", base_url=ORIGIN).text == "joecontractor@procore.com"
    assert client.get("/proxy", base_url=ORIGIN).text == "somebody"


def test_an_async_view_admits_whom_a_sync_one_admits(app: Flask) -> None:
    @app.get("/async")
    @signed_in
    async def view() -> str:
        return current_user.email

    client = browser_of(app)
    assert client.get("/async").location == "/procore/signin?return_to=/async"
    sign_in(client)
    assert client.get("/async").text == client.get("/me").text.partition(" ")[0]


def test_S8_a_context_that_outlives_a_request_makes_nobody_another_user(app: Flask) -> None:
    """A module may push one for all requests: `app.app_context().push()`."""
    signed_in, stranger = browser_of(app), browser_of(app)
    with app.app_context():
        assert sign_in(signed_in) == "/"
        assert signed_in.get("/who", base_url=ORIGIN).text == "joecontractor@procore.com"
        assert stranger.get("/who", base_url=ORIGIN).text == "nobody"
        signed_in.post("/procore/sign-out", base_url=ORIGIN, headers=OUR_FORM)
        assert signed_in.get("/who", base_url=ORIGIN).text == "nobody"


def test_a_program_that_is_not_signed_in_is_told_so(client: FlaskClient) -> None:
    answer = client.get("/me", base_url=ORIGIN, headers={"accept": "*/*"})
    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")


@pytest.mark.parametrize("reads", ["get_json", "get_data", "form"])
def test_json_is_read_where_the_application_has_read_it_before_us(
    app: Flask, client: FlaskClient, reads: str
) -> None:
    @app.before_request
    def look() -> None:
        if request.method == "POST":
            _ = request.form if reads == "form" else getattr(request, reads)()

    headers = {**OUR_FORM, "accept": "application/json"}
    told = client.post(
        "/procore/start", base_url=ORIGIN, headers=headers, json={"value": "not sealed"}
    )
    assert (told.status_code, told.json["code"]) == (400, "value_invalid")  # type: ignore[index]


def test_the_factory_pattern_serves_two_applications_with_one_extension(tmp_path: Path) -> None:
    extension = SignIn()
    apps = []
    for name in ("a", "b"):
        migrated(tmp_path / f"{name}.db")
        app = Flask(name)
        app.config.from_mapping(
            PROCORE_ENVIRONMENT="emulator",
            PROCORE_REDIRECT_URI=f"{ORIGIN}/{name}/callback",
            PROCORE_CLIENT_ID=f"client-{name}",
            PROCORE_KEYS=KEYS.reveal(),
            PROCORE_DATABASE_URL=f"sqlite:///{tmp_path / name}.db",
            PROCORE_RATE_LIMIT=0,
        )
        extension.init_app(app)
        apps.append(app)
    for app in apps:
        with app.app_context():
            assert procore.context.client.client_id == f"client-{app.name}"
        found = browser_of(app).get(f"/{app.name}/signin", base_url=ORIGIN)
        assert f"client_id=client-{app.name}" in found.text
        with app.app_context():
            procore.close()


def test_settings_that_are_missing_are_all_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Flask(__name__)
    app.config["PROCORE_ENVIRONMENT"] = "sandbox"
    with pytest.raises(SettingsInvalid) as refused:
        SignIn(app)
    missing = {problem.setting for problem in refused.value.problems}
    assert missing == {"PROCORE_CLIENT_ID", "PROCORE_CLIENT_SECRET", "PROCORE_KEYS"}


def test_the_command_makes_the_tables_of_this_application_beside_its_own(tmp_path: Path) -> None:
    """With its own configuration, not that of the environment; and the cure names that command."""
    with closing(sqlite3.connect(tmp_path / "site.db")) as database:
        database.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT)")
        database.execute("INSERT INTO users (email) VALUES ('theirs@example.com')")
        database.commit()
    app = Flask(__name__)
    app.config.update(
        PROCORE_ENVIRONMENT="emulator",
        PROCORE_KEYS=KEYS.reveal(),
        PROCORE_DATABASE_URL=f"sqlite:///{tmp_path / 'site.db'}",
    )
    app.config["PROCORE_TABLE_PREFIX"] = "procore_signin_"
    SignIn(app)
    upgrade = ["procore-signin", "upgrade"]
    with app.app_context():
        with pytest.raises(StoreUnavailable, match="Run: flask procore-signin upgrade"):
            procore.store.probe()
        done = app.test_cli_runner().invoke(args=upgrade)
        procore.store.probe()
        procore.close()
    assert done.exit_code == 0
    assert "up to date in sqlite:///" in done.output
    with closing(sqlite3.connect(tmp_path / "site.db")) as database:
        assert database.execute("SELECT email FROM users").fetchall() == [("theirs@example.com",)]
        assert database.execute("SELECT count(*) FROM procore_signin_users").fetchone() == (0,)

    other = Flask(__name__)
    other.config.update({k: v for k, v in app.config.items() if k != "PROCORE_TABLE_PREFIX"})
    SignIn(other)
    refused = other.test_cli_runner().invoke(args=upgrade)
    assert refused.exit_code == 1
    assert "PROCORE_TABLE_PREFIX=procore_signin_" in refused.output


def test_the_operators_commands_act_on_the_database_of_the_applications_configuration(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    app = Flask(__name__)
    app.config.update(
        PROCORE_ENVIRONMENT="emulator",
        PROCORE_KEYS=KEYS.reveal(),
        PROCORE_DATABASE_URL=f"sqlite:///{tmp_path / 'site.db'}",
        PROCORE_TABLE_PREFIX="procore_signin_",
    )
    SignIn(app)
    run = app.test_cli_runner().invoke
    assert run(args=["procore-signin", "db", "upgrade"]).exit_code == 0
    with app.app_context():
        procore.store.probe()
        procore.close()
    assert run(args=["procore-signin", "users", "list", "--json"]).exit_code == 0
    assert run(args=["procore-signin", "users", "show", "7"]).exit_code == 1
    assert run(args=["procore-signin", "users", "--help"]).exit_code == 0
    said = capfd.readouterr()
    assert "List users: flask procore-signin users list" in said.err
    assert "Usage: flask procore-signin users" in said.out


def test_a_command_repeats_nothing_that_making_the_application_has_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROCORE_LANGUAGE", "es")
    app = Flask(__name__)
    app.config.update(
        PROCORE_ENVIRONMENT="emulator",
        PROCORE_KEYS=KEYS.reveal(),
        PROCORE_DATABASE_URL=f"sqlite:///{tmp_path / 'site.db'}",
    )
    SignIn(app)
    assert app.test_cli_runner().invoke(args=["procore-signin", "db", "upgrade"]).exit_code == 0
    assert "PROCORE_LANGUAGE is no setting" not in capfd.readouterr().err


def test_the_commands_of_an_application_say_what_they_do(tmp_path: Path) -> None:
    app = Flask(__name__)
    app.config.update(
        PROCORE_ENVIRONMENT="emulator",
        PROCORE_KEYS=KEYS.reveal(),
        PROCORE_DATABASE_URL=f"sqlite:///{tmp_path / 'site.db'}",
    )
    SignIn(app)
    said = app.test_cli_runner().invoke(args=["procore-signin", "--help"]).output
    upgrade = r"\n  upgrade +Make the tables of the sign-in, or bring them up to date.\n"
    assert re.search(upgrade, said)
    assert re.search(r"\n  users +Run `procore-signin users` on this application", said)


def test_the_hooks_of_an_application_with_settings_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROCORE_ENVIRONMENT", "emulator")
    monkeypatch.setenv("PROCORE_KEYS", KEYS.reveal())
    hooks = Hooks(on_sign_in=print)
    app = Flask(__name__)
    SignIn(app, hooks=hooks)
    with app.app_context():
        assert procore.context.hooks is hooks


@pytest.mark.parametrize(
    ("prefix", "named"),
    [("/auth", ["/procore/callback,", "/auth/callback", "Mount them at /procore,"]), (None, [])],
)
def test_a_prefix_that_does_not_fit_the_redirect_uri_is_refused_and_both_are_named(
    door: ProcoreSignIn, prefix: str | None, named: list[str]
) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        Flask(__name__).register_blueprint(sign_in_blueprint(door), url_prefix=prefix)
    for words in ["PROCORE_REDIRECT_URI", *named]:
        assert words in str(refused.value)


def test_below_a_path_the_redirect_uri_is_cured_and_not_the_place_of_the_pages(
    door: ProcoreSignIn,
) -> None:
    app = Flask(__name__)
    app.config["APPLICATION_ROOT"] = "/app"
    with pytest.raises(SettingsInvalid) as refused:
        SignIn(app, procore=door)
    assert f" Set it to {ORIGIN}/app/procore/callback, and register that" in str(refused.value)
    assert "APPLICATION_ROOT puts /app before every path" in str(refused.value)
    assert "ount them" not in str(refused.value)  # no place in Flask is at /procore


def test_a_second_front_door_is_refused_under_whatever_name(door: ProcoreSignIn) -> None:
    app = Flask(__name__)
    SignIn(app, procore=door)
    second = sign_in_blueprint(door)
    with pytest.raises(RuntimeError, match="two front doors, and can have one"):
        app.register_blueprint(second, name="second", url_prefix="/procore")


def test_the_blueprint_can_be_registered_below_another(door: ProcoreSignIn) -> None:
    outer = Blueprint("outer", __name__, url_prefix="/procore")
    outer.register_blueprint(sign_in_blueprint(door))
    app = Flask(__name__)
    app.register_blueprint(outer)
    assert sign_in(browser_of(app)) == "/"


def test_below_another_application_people_come_back_to_it(tmp_path: Path) -> None:
    uri = f"{ORIGIN}/app/procore/callback"
    with front_door(tmp_path, ScriptedProcore(), Clock(), redirect_uri=uri) as door:
        app = Flask(__name__)
        app.config["APPLICATION_ROOT"] = "/app"
        SignIn(app, procore=door)

        @app.get("/me")
        @signed_in
        def me() -> str:
            return current_user.email

        client = app.test_client()
        # What the server knows of the prefix is of no matter.
        assert client.get("/me", headers=HTML).location == "/app/procore/signin?return_to=/app/me"
        asked = client.get("/me", base_url=f"{ORIGIN}/app", headers=HTML)
        page = client.get("/procore/signin", base_url=f"{ORIGIN}/app", headers=HTML).text
        state = page.split("state=", 1)[1].split("&", 1)[0]
        assert 'class="brand" href="/app/"' in page
        back = f"/procore/callback?code=fake-code&state={state}"
        assert client.get(back, base_url=f"{ORIGIN}/app").location == "/app/"
    assert asked.location == "/app/procore/signin?return_to=/app/me"


def test_the_front_door_for_asyncio_is_refused() -> None:
    door = AsyncProcoreSignIn(
        environment=environments.emulator(),
        client_id="fake-client-id",
        client_secret=Secret("fake-client-secret", "client secret"),
        redirect_uri=f"{ORIGIN}/callback",
        keys=KEYS,
    )
    with pytest.raises(TypeError, match="Flask needs ProcoreSignIn"):
        sign_in_blueprint(door)  # type: ignore[arg-type]  # what someone may do by mistake
    door.store.close()


def test_without_the_extension_nobody_is_taken_for_signed_in_or_out() -> None:
    app = Flask(__name__)
    with (
        app.test_request_context(),
        pytest.raises(RuntimeError, match="This application has no sign-in"),
    ):
        get_user()


@pytest.mark.parametrize("path", ["/me", "/who", "/proxy"])
def test_K7_an_answer_that_depends_on_somebody_is_marked(client: FlaskClient, path: str) -> None:
    sign_in(client)
    headers = client.get(path, base_url=ORIGIN).headers
    assert (headers["cache-control"], headers["vary"]) == ("no-store", "Cookie")


def test_K7_what_the_application_says_itself_is_kept(client: FlaskClient) -> None:
    kept = client.get("/kept", base_url=ORIGIN).headers
    assert (kept["cache-control"], kept["vary"]) == ("private, max-age=60", "Cookie")
    assert "vary" not in client.get("/public", base_url=ORIGIN).headers


def test_flasks_own_session_is_its_own_affair(app: Flask) -> None:
    from flask import session  # noqa: PLC0415  # here alone

    app.secret_key = "fake-flask-secret"

    @app.get("/count")
    @signed_in
    def count() -> str:
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    client = browser_of(app)
    sign_in(client)
    assert [client.get("/count", base_url=ORIGIN).text for _ in range(3)] == ["1", "2", "3"]
    assert client.get("/count", base_url=ORIGIN).headers["vary"] == "Cookie"


def test_a_form_that_somebody_read_before_us_is_understood(app: Flask, door: ProcoreSignIn) -> None:
    """As an extension does that looks for its own field in every form."""

    @app.before_request
    def look() -> None:
        assert request.form is not None

    here, there = browser_of(app), browser_of(app)
    sign_in(here)
    sign_in(there)
    other = max(each.id for each in door.store.ask(SessionsOf(1, now=0)))
    form = {"session_id": str(other)}
    done = here.post("/procore/sessions/end", base_url=ORIGIN, data=form, headers=OUR_FORM)
    assert done.status_code == 303
    assert there.get("/me", base_url=ORIGIN).status_code == 303


def test_the_database_is_asked_once_for_each_request(
    app: Flask, door: ProcoreSignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = browser_of(app)
    sign_in(client)
    asked: list[str] = []

    def counted(look_up: Callable[[], object], session: SessionOf) -> object:
        asked.append(session.id_hash)
        return look_up()

    meet(monkeypatch, door.store, SessionOf, counted)
    client.get("/me", base_url=ORIGIN)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (GrantLost("gone"), 401, "no longer lets this application act for you"),
        (ProcoreUnavailable("slow", ambiguous=True), 503, "Procore is not answering"),
        (ProcoreSignInError("odd"), 500, "Something went wrong on our side"),
    ],
)
def test_an_error_of_ours_in_a_view_becomes_a_page_or_json(
    app: Flask, error: ProcoreSignInError, status: int, words: str
) -> None:
    @app.get("/broken")
    def broken() -> str:
        raise error

    page = browser_of(app).get("/broken", base_url=ORIGIN)
    told = browser_of(app).get("/broken", base_url=ORIGIN, headers={"accept": "*/*"})
    assert (page.status_code, told.status_code) == (status, status)
    assert words in page.text
    assert words in told.get_json(force=True)["title"]


def test_the_applications_own_handler_for_an_error_of_ours_goes_first(app: Flask) -> None:
    @app.errorhandler(GrantLost)
    def ours(_: GrantLost) -> tuple[str, int]:
        return "in our own words", 409

    @app.get("/broken")
    def broken() -> str:
        raise GrantLost("gone")

    answer = browser_of(app).get("/broken", base_url=ORIGIN)
    assert (answer.status_code, answer.text) == (409, "in our own words")


def test_O3_a_page_that_breaks_shows_nothing_of_the_program(
    door: ProcoreSignIn, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(page: object) -> str:
        if "problem" in str(page):
            return "sorry"
        raise ZeroDivisionError("secret of the program")

    app = Flask(__name__)
    SignIn(app, procore=door, options=Options(render=broken))
    answer = browser_of(app).get("/procore/signin", base_url=ORIGIN)
    assert (answer.status_code, answer.text) == (500, "sorry")
    assert "ZeroDivisionError" in caplog.text


def test_O8_a_body_in_chunks_is_read_no_further_than_it_may_be_long(client: FlaskClient) -> None:
    sign_in(client)
    sent = BytesIO(b"x" * LONGEST_BODY * 4)
    in_chunks = {
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input_terminated": True,
    }
    answer = client.post(
        "/procore/sessions/end",
        base_url=ORIGIN,
        headers=OUR_FORM,
        input_stream=sent,
        environ_overrides=in_chunks,
    )
    assert answer.status_code == 413
    assert sent.tell() == LONGEST_BODY + 1


def test_nothing_of_one_request_is_left_for_the_next(app: Flask, client: FlaskClient) -> None:
    seen: list[object] = []

    @app.teardown_request
    def look(_: BaseException | None) -> None:
        seen.append(request.environ.get("_procore_signin_session"))

    sign_in(client)
    seen.clear()
    client.get("/me", base_url=ORIGIN)
    browser_of(app).get("/public", base_url=ORIGIN)
    assert [each is None for each in seen] == [False, True]


def test_where_gevent_has_not_patched_the_process_requests_are_not_sent_from_its_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gevent = importlib.import_module("gevent")
    importlib.import_module("gevent.monkey")
    sent_from, in_pool = [], gevent.get_hub().threadpool.apply(threading.get_ident)

    class Noting(ScriptedProcore):
        def send(self, request: HttpRequest) -> HttpResponse:
            sent_from.append(threading.get_ident())
            return super().send(request)

    monkeypatch.setattr("procore_signin._client.PyreqwestTransport", Noting)
    url = migrated(tmp_path / "test.db")
    with GeventProcoreSignIn(
        environment=environments.emulator(),
        client_id="fake-client-id",
        client_secret=Secret("fake-client-secret", "client secret"),
        redirect_uri=f"{ORIGIN}/procore/callback",
        keys=KEYS,
        database_url=url,
    ) as door:
        app = Flask(__name__)
        SignIn(app, procore=door)
        greenlet = gevent.spawn(sign_in, browser_of(app))
        assert greenlet.get() == "/"
    assert sent_from
    assert in_pool not in sent_from


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.started() as emulator:
        yield emulator


WORKERS = ("flask", "flask-gevent", "flask-gevent-preloaded")


@pytest.fixture(scope="module")
def workers(
    emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Host]]:
    with hosts(emulator, tmp_path_factory.mktemp("workers"), *WORKERS) as started:
        yield started


@pytest.mark.parametrize("name", WORKERS)
def test_while_procore_takes_its_time_others_are_answered(
    emulator: Emulator, workers: dict[str, Host], name: str
) -> None:
    """One gunicorn worker. Without a thread of its own, gevent's hub stood still for it all."""
    url = workers[name].url
    with Person(url, emulator) as joe, Person(url, emulator) as ann:
        joe.sign_in("/procore/signin")
        address = ann.callback_address("/procore/signin")
        emulator.fault("POST /oauth/token", "latency", seconds=1.5)
        answers = []
        coming_back = threading.Thread(target=lambda: answers.append(ann.http.get(address)))
        coming_back.start()
        took = []
        while coming_back.is_alive():
            began = time.monotonic()
            assert joe.http.get("/me").status_code == 200
            took.append(time.monotonic() - began)
        coming_back.join()
    assert answers[0].status_code == 303
    assert len(took) > 10
    assert max(took) < 1.2
