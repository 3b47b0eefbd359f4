"""FastAPI and Starlette: what the mapping adds to an application, without a network.

That it answers alike on real servers is shown in `test_same_verdict.py`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from doing import meet
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from jinja2 import DictLoader
from jinja2 import Environment as JinjaEnvironment
from migrated import migrated
from scripted import KEYS, Clock, ScriptedProcore, front_door
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from procore_signin import Login, environments
from procore_signin._client import AsyncProcoreSignIn
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._store.records import User
from procore_signin._store.sessions import SessionOf
from procore_signin._web.http.messages import Page
from procore_signin.errors import GrantLost, ProcoreSignInError, ProcoreUnavailable, SettingsInvalid
from procore_signin.web import starlette
from procore_signin.web.fastapi import (
    CurrentUser,
    OptionalUser,
    Options,
    answer_problem,
    buttons,
    current_user,
    sign_in_routes,
    sign_out,
)
from procore_signin.web.starlette import SignIn

ORIGIN = "http://localhost:4567"
HTML = {"accept": "text/html"}
PROBLEM = "application/problem+json"
FETCH = {"accept": "application/json", "sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"}
JSON_TYPES = {
    str: "string",
    int: "integer",
    bool: "boolean",
    dict: "object",
    list: "array",
    type(None): "null",
}
SOCKET = "ws://localhost:4567/socket"


class AsyncScripted:
    """A good Procore, for tasks."""

    def __init__(self) -> None:
        self.inside = ScriptedProcore()

    async def send(self, request: HttpRequest) -> HttpResponse:
        return self.inside.send(request)

    async def aclose(self) -> None:
        pass


MakeDoor = Callable[..., AsyncProcoreSignIn]


@pytest.fixture
def make_door(tmp_path: Path) -> MakeDoor:
    def make(callback: str = "/procore/callback", **changes: Any) -> AsyncProcoreSignIn:
        url = migrated(tmp_path / "test.db")
        settings: dict[str, Any] = {
            "environment": environments.emulator(),
            "client_id": "fake-client-id",
            "client_secret": Secret("fake-client-secret", "client secret"),
            "redirect_uri": f"{ORIGIN}{callback}",
            "keys": KEYS,
            "database_url": url,
            "transport": AsyncScripted(),
        }
        return AsyncProcoreSignIn(**(settings | changes))

    return make


@pytest.fixture
def app(make_door: MakeDoor) -> FastAPI:
    app = FastAPI()
    app.include_router(sign_in_routes(make_door()), prefix="/procore")

    @app.get("/me")
    async def me(user: CurrentUser) -> str:
        return user.email

    @app.get("/page")
    async def page(user: OptionalUser) -> HTMLResponse:
        return HTMLResponse(f"<p>{user.email if user else 'no one'}</p>")

    @app.get("/kept")
    async def kept(_: OptionalUser) -> Response:
        return PlainTextResponse("kept", headers={"cache-control": "private, max-age=60"})

    @app.get("/public")
    async def public() -> Response:
        return PlainTextResponse("for everyone")

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, user: CurrentUser) -> None:
        await websocket.accept()
        await websocket.send_text(user.email)
        await websocket.close()

    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with visiting(app) as client:
        yield client


def visiting(app: Starlette) -> TestClient:
    return TestClient(app, base_url=ORIGIN, headers=HTML, follow_redirects=False)


def sign_in(client: TestClient, prefix: str = "/procore") -> str:
    """Go through a whole sign-in and return where it ended."""
    page = client.get(f"{prefix}/signin").text
    state = page.split("state=", 1)[1].split("&", 1)[0]
    back = client.get(f"{prefix}/callback?code=fake-code&state={state}")
    assert back.status_code == 303
    return back.headers["location"]


def test_signing_in_makes_somebody_the_current_user(client: TestClient) -> None:
    assert client.get("/me").headers["location"] == "/procore/signin?return_to=/me"
    assert sign_in(client) == "/"
    assert client.get("/me").json() == "joecontractor@procore.com"
    assert client.get("/page").text == "<p>joecontractor@procore.com</p>"


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_a_program_that_is_not_signed_in_is_told_so(client: TestClient, accept: str) -> None:
    answer = client.get("/me", headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM)
    told = answer.json()
    assert (told["code"], told["sign_in_url"]) == ("not_signed_in", "/procore/start")
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-store", "Cookie")


@pytest.mark.parametrize("wants", [StarletteHTTPException, 401])
def test_an_application_that_handles_refusals_itself_is_asked_first(
    make_door: MakeDoor, wants: type[Exception] | int
) -> None:
    app = FastAPI()
    app.include_router(sign_in_routes(make_door()), prefix="/procore")

    @app.exception_handler(wants)
    async def own(_request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteHTTPException)
        return PlainTextResponse(f"{error.status_code} {error.detail}", error.status_code)

    @app.get("/me")
    async def me(user: CurrentUser) -> str:
        return user.email

    with visiting(app) as client:
        answer = client.get("/me", headers={"accept": "application/json"})
    assert (answer.status_code, answer.text) == (401, "401 Not signed in")


def test_openapi_names_the_cookie_on_the_routes_that_ask_for_it(app: FastAPI) -> None:
    document = app.openapi()
    [(name, scheme)] = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["in"]) == ("apiKey", "cookie")
    assert scheme["name"] == "__Host-procore_signin_session"
    own = {path: item for path, item in document["paths"].items() if "/procore" not in path}
    secured = {path for path, item in own.items() if "security" in item["get"]}
    assert secured == {"/me", "/page", "/kept"}
    assert document["paths"]["/me"]["get"]["security"] == [{name: []}]
    assert "parameters" not in document["paths"]["/me"]["get"]


def test_openapi_lists_what_responds_with_json_and_no_page(app: FastAPI) -> None:
    listed = {
        (method, path): [*operation.get("requestBody", {"required": None})]
        for path, item in app.openapi()["paths"].items()
        for method, operation in item.items()
        if path.startswith("/procore")
    }
    assert listed.keys() == {
        ("get", "/procore/session"),
        ("get", "/procore/sessions"),
        ("get", "/procore/company"),
        ("post", "/procore/start"),
        ("post", "/procore/sign-out"),
        ("post", "/procore/sign-out-everywhere"),
        ("post", "/procore/sessions/end"),
        ("post", "/procore/company"),
        ("post", "/procore/disconnect"),
    }


def test_an_application_may_leave_the_sign_in_out_of_its_openapi(make_door: MakeDoor) -> None:
    app = FastAPI()
    routes = sign_in_routes(make_door())
    app.include_router(routes, prefix="/procore", include_in_schema=False)
    assert app.openapi()["paths"] == {}


def test_what_a_script_gets_is_what_openapi_says(app: FastAPI, client: TestClient) -> None:
    """Each operation is called in turn, first without a user and then with one."""
    document = app.openapi()
    operations = [
        (method, path, operation)
        for path, item in document["paths"].items()
        if path.startswith("/procore")
        for method, operation in item.items()
    ]
    operations.sort(key=lambda each: ("out" in each[1], "disconnect" in each[1]))
    statuses = []
    for is_signed_in in (False, True):
        if is_signed_in:
            sign_in(client)
        for method, path, operation in operations:
            body = {"company_id": 1, "others": True} if method == "post" else None
            told = client.request(method, path, json=body, headers=FETCH)
            said = operation["responses"]
            content = said.get(str(told.status_code), said["default"])["content"]
            fits(told.json(), content[told.headers["content-type"]]["schema"], document)
            needs_user = told.status_code == 401
            assert needs_user == ("security" in operation and not is_signed_in), (path, told.text)
            statuses.append(told.status_code)
    # No companies are scripted, so Procore does not say which ones there are.
    assert (statuses.count(200), statuses.count(401), statuses.count(503)) == (11, 5, 2)


def fits(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    """See that `value` is what `schema` says, which has no more than what FastAPI writes here."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for each in schema.get("anyOf", []):
        if (each.get("type") == "null") == (value is None):
            fits(value, each, document)
            return
    wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert JSON_TYPES[type(value)] in wanted, (value, schema)
    if isinstance(value, dict):
        assert value.keys() == schema["properties"].keys() == set(schema["required"])
        for name, member in value.items():
            fits(member, schema["properties"][name], document)
    if isinstance(value, list):
        for member in value:
            fits(member, schema["items"], document)


@pytest.mark.parametrize("path", ["/me", "/page"])
def test_K7_an_answer_that_depends_on_somebody_is_marked_whoever_built_it(
    client: TestClient, path: str
) -> None:
    sign_in(client)
    headers = client.get(path).headers
    assert (headers["cache-control"], headers["vary"]) == ("no-store", "Cookie")


def test_K7_an_application_may_say_itself_how_long_an_answer_is_kept(client: TestClient) -> None:
    headers = client.get("/kept").headers
    assert (headers["cache-control"], headers["vary"]) == ("private, max-age=60", "Cookie")


def test_K7_an_answer_for_everybody_is_left_alone(client: TestClient) -> None:
    headers = client.get("/public").headers
    assert "cache-control" not in headers
    assert "vary" not in headers


def test_a_test_can_say_who_is_signed_in_without_a_sign_in(app: FastAPI) -> None:
    ann = User(1, 2, "ann@example.com", None, "emulator", 0, 0, None)
    app.dependency_overrides[current_user] = lambda: ann
    assert visiting(app).get("/me").json() == "ann@example.com"


def test_without_its_lifespan_nobody_is_taken_for_signed_in_or_out(app: FastAPI) -> None:
    with pytest.raises(RuntimeError, match="lifespan of the sign-in has not begun"):
        visiting(app).get("/me")


@pytest.mark.parametrize(
    ("callback", "prefix", "named"),
    [
        ("/callback", "/procore", ["/callback,", "/procore/callback", "without a prefix"]),
        (
            "/procore/callback",
            "",
            ["at /callback.", "Mount them at /procore,"],
        ),
        (
            "/a/callback",
            "/b",
            ["/a/callback,", "/b/callback", "Mount them at /a, or set it to", "register that"],
        ),
    ],
)
def test_a_prefix_that_does_not_fit_the_redirect_uri_stops_the_start_and_names_both(
    make_door: MakeDoor, callback: str, prefix: str, named: list[str]
) -> None:
    app = FastAPI()
    app.include_router(sign_in_routes(make_door(callback)), prefix=prefix)
    with pytest.raises(SettingsInvalid) as refused, visiting(app):
        pass
    for words in ["PROCORE_REDIRECT_URI", *named]:
        assert words in str(refused.value)


def test_an_application_with_two_front_doors_does_not_start(make_door: MakeDoor) -> None:
    app = FastAPI()
    app.include_router(sign_in_routes(make_door("/one/callback")), prefix="/one")
    app.include_router(sign_in_routes(make_door("/two/callback")), prefix="/two")
    with pytest.raises(RuntimeError, match="two front doors, and can have one"), visiting(app):
        pass


def test_a_redirect_uri_that_leads_to_no_callback_is_refused_when_the_routes_are_made(
    make_door: MakeDoor,
) -> None:
    with pytest.raises(SettingsInvalid, match="has the path /oauth/return"):
        sign_in_routes(make_door("/oauth/return"))


def test_a_front_door_that_waits_is_refused(tmp_path: Path) -> None:
    door = front_door(tmp_path, ScriptedProcore(), Clock())
    with door, pytest.raises(TypeError, match="needs AsyncProcoreSignIn"):
        sign_in_routes(door)  # type: ignore[arg-type]  # what someone may do by mistake


def included(door: AsyncProcoreSignIn) -> Starlette:
    app = FastAPI()
    app.include_router(sign_in_routes(door), prefix="/a/b")
    return app


def included_twice(door: AsyncProcoreSignIn) -> Starlette:
    outer, app = APIRouter(), FastAPI()
    outer.include_router(sign_in_routes(door), prefix="/b")
    app.include_router(outer, prefix="/a")
    return app


def mounted(door: AsyncProcoreSignIn) -> Starlette:
    sign_in = SignIn(door)
    return Starlette(routes=[Mount("/a/b", routes=sign_in.routes)], lifespan=sign_in.lifespan)


def mounted_by_name(door: AsyncProcoreSignIn) -> Starlette:
    sign_in = SignIn(door)
    routes = [Mount("/a/b", routes=sign_in.routes, name="auth")]
    return Starlette(routes=routes, lifespan=sign_in.lifespan)


def mounted_in_fastapi(door: AsyncProcoreSignIn) -> Starlette:
    sign_in = SignIn(door)
    app = FastAPI(lifespan=sign_in.lifespan)
    app.mount("/a/b", Starlette(routes=sign_in.routes))
    return app


@pytest.mark.parametrize(
    "build",
    [included, included_twice, mounted, mounted_by_name, mounted_in_fastapi],
)
def test_the_routes_can_be_included_or_mounted_anywhere(
    make_door: MakeDoor, build: Callable[[AsyncProcoreSignIn], Starlette]
) -> None:
    with visiting(build(make_door("/a/b/callback"))) as client:
        assert sign_in(client, "/a/b") == "/"
        assert client.get("/a/b/sessions").status_code == 200


@pytest.mark.parametrize(
    ("named", "server", "seen"), [("/a", "/a", ""), ("/a", "/a", "/a"), ("/a/", "", "")]
)
def test_behind_a_proxy_that_takes_the_beginning_of_the_path_away_people_come_back_to_it(
    make_door: MakeDoor, named: str, server: str, seen: str
) -> None:
    """A server that knows its root path puts it back before the path; an older one does not."""
    app = FastAPI()
    routes = sign_in_routes(make_door("/a/b/callback"), Options(root_path=named))
    app.include_router(routes, prefix="/b")

    @app.get("/me")
    async def me(user: CurrentUser) -> str:
        return user.email

    with TestClient(
        app, base_url=ORIGIN, headers=HTML, root_path=server, follow_redirects=False
    ) as client:
        sent = client.get(f"{seen}/me").headers["location"]
        assert sent == "/a/b/signin?return_to=/a/me"
        assert 'class="brand" href="/a/"' in client.get(f"{seen}/b/signin").text
        assert sign_in(client, f"{seen}/b") == "/a/"
        assert client.get(f"{seen}/me").status_code == 200


@pytest.mark.parametrize("first_page", ["/projects", "/a/projects"])
def test_the_first_page_is_below_the_prefix_that_a_proxy_removes(
    make_door: MakeDoor, first_page: str
) -> None:
    app = FastAPI()
    options = Options(root_path="/a", first_page=first_page)
    app.include_router(sign_in_routes(make_door("/a/b/callback"), options), prefix="/b")
    with visiting(app) as client:
        assert sign_in(client, "/b") == "/a/projects"


def test_a_root_path_is_a_path() -> None:
    for wrong in ("app", "https://app.example.com/app"):
        with pytest.raises(ValueError, match="root_path is a path such as /app"):
            Options(root_path=wrong)


def test_at_the_root_the_applications_own_pages_stay_its_own(make_door: MakeDoor) -> None:
    app = FastAPI()
    app.include_router(sign_in_routes(make_door("/callback")))

    @app.get("/home")
    async def home() -> str:
        return "ours"

    with visiting(app) as client:
        assert client.get("/home").json() == "ours"
        assert sign_in(client, "") == "/"
        assert client.get("/").status_code == 404


def test_the_applications_own_lifespan_goes_on_working(make_door: MakeDoor) -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def own(_app: FastAPI) -> AsyncIterator[dict[str, str]]:
        happened.append("begun")
        yield {"own": "state"}
        happened.append("ended")

    app = FastAPI(lifespan=own)
    app.include_router(sign_in_routes(make_door()), prefix="/procore")

    @app.get("/own")
    async def show(request: Request, _: OptionalUser) -> str:
        return str(request.state.own)

    with visiting(app) as client:
        assert client.get("/own").json() == "state"
    assert happened == ["begun", "ended"]


def test_starlettes_own_lifespan_can_be_joined_to_the_sign_ins(make_door: MakeDoor) -> None:
    @asynccontextmanager
    async def own(_app: Starlette) -> AsyncIterator[dict[str, str]]:
        yield {"own": "state"}

    async def show(request: Request) -> Response:
        await starlette.optional_user(request)
        return PlainTextResponse(request.state.own)

    sign_in = SignIn(make_door())
    routes = [Mount("/procore", routes=sign_in.routes), Route("/own", show)]
    with visiting(Starlette(routes=routes, lifespan=sign_in.lifespan_with(own))) as client:
        assert client.get("/own").text == "state"


def test_routes_that_are_mounted_nowhere_stop_the_start(make_door: MakeDoor) -> None:
    app = Starlette(lifespan=SignIn(make_door()).lifespan)
    with pytest.raises(SettingsInvalid, match="routes are mounted nowhere"), visiting(app):
        pass


def test_it_works_beside_the_applications_own_session_and_cors(make_door: MakeDoor) -> None:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret_key="fake-session-secret")
    app.add_middleware(
        CORSMiddleware, allow_origins=["https://friend.example"], allow_credentials=True
    )
    app.include_router(sign_in_routes(make_door()), prefix="/procore")

    @app.get("/visits")
    async def visits(request: Request, user: CurrentUser) -> int:
        count: int = request.session.get(str(user.id), 0) + 1
        request.session[str(user.id)] = count
        return count

    with visiting(app) as client:
        sign_in(client)
        assert [client.get("/visits").json() for _ in range(3)] == [1, 2, 3]
        friend = {"origin": "https://friend.example"}
        asked = friend | {"access-control-request-method": "GET"}
        assert client.options("/visits", headers=asked).status_code == 200
        shown = client.get("/visits", headers=friend).headers
        assert shown["access-control-allow-origin"] == "https://friend.example"
        assert {name.strip() for name in shown["vary"].split(",")} == {"Cookie", "Origin"}
        own = {"sec-fetch-site": "same-origin"}
        assert client.post("/procore/sign-out", headers=own).status_code == 200
        assert client.get("/visits").status_code == 303
        assert "session" in client.cookies  # the application's own session is its own affair


def test_the_database_is_asked_once_for_each_request(
    make_door: MakeDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = make_door()
    app = FastAPI()
    app.include_router(sign_in_routes(door), prefix="/procore")
    asked: list[str] = []

    def counted(look_up: Callable[[], object], session: SessionOf) -> object:
        asked.append(session.id_hash)
        return look_up()

    meet(monkeypatch, door.store, SessionOf, counted)

    @app.get("/me", dependencies=[Depends(current_user)])
    async def me(request: Request, user: OptionalUser) -> None:
        assert user == await starlette.optional_user(request)

    with visiting(app) as client:
        sign_in(client)
        asked.clear()
        assert client.get("/me").status_code == 200
    assert len(asked) == 1


def test_somebody_who_is_signed_in_can_open_a_websocket(client: TestClient) -> None:
    sign_in(client)
    with client.websocket_connect(SOCKET) as socket:
        assert socket.receive_text() == "joecontractor@procore.com"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:1", "null"])
def test_K8_a_page_of_another_origin_opens_no_websocket_as_somebody(
    client: TestClient, origin: str
) -> None:
    sign_in(client)
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect(SOCKET, headers={"origin": origin}),
    ):
        pass
    assert closed.value.code == 1008
    with client.websocket_connect(SOCKET, headers={"origin": ORIGIN}) as socket:
        assert socket.receive_text()


def test_an_error_of_ours_on_a_websocket_is_not_swallowed(app: FastAPI, client: TestClient) -> None:
    @app.websocket("/broken")
    async def broken(websocket: WebSocket) -> None:
        await websocket.accept()
        raise GrantLost("gone")

    with (
        pytest.raises(GrantLost),
        client.websocket_connect("ws://localhost:4567/broken") as socket,
    ):
        socket.receive_text()


def test_nobody_opens_no_websocket(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect(SOCKET):
        pass
    assert closed.value.code == 1008


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (GrantLost("gone"), 401, "no longer lets this application act for you"),
        (ProcoreUnavailable("slow", ambiguous=True), 503, "Procore is not answering"),
        (ProcoreSignInError("odd"), 500, "Something went wrong on our side"),
    ],
)
def test_an_error_of_ours_in_a_handler_becomes_a_page_or_json(
    make_door: MakeDoor, error: ProcoreSignInError, status: int, words: str
) -> None:
    app = FastAPI()
    app.include_router(sign_in_routes(make_door()), prefix="/procore")

    @app.get("/broken")
    async def broken() -> None:
        raise error

    with visiting(app) as client:
        page = client.get("/broken")
        told = client.get("/broken", headers={"accept": "application/json"})
    assert (page.status_code, told.status_code) == (status, status)
    assert words in page.text
    assert told.headers["content-type"] == "application/problem+json"
    assert words in told.json()["title"]
    assert told.json()["error"] == error.code


def test_the_applications_own_handler_for_our_errors_goes_first(make_door: MakeDoor) -> None:
    app = FastAPI()
    app.include_router(sign_in_routes(make_door()), prefix="/procore")

    @app.get("/broken")
    async def broken() -> None:
        raise GrantLost("gone")

    @app.exception_handler(ProcoreSignInError)
    async def ours(_request: Request, _error: ProcoreSignInError) -> Response:
        return PlainTextResponse("in our own words", 409)

    with visiting(app) as client:
        answer = client.get("/broken")
    assert (answer.status_code, answer.text) == (409, "in our own words")


def test_O3_a_page_that_breaks_shows_nothing_of_the_program(
    make_door: MakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(page: Page) -> str:
        if page.name == "problem":
            return f"sorry, {page.values['reference']}"
        raise ZeroDivisionError("secret of the program")

    app = FastAPI()
    app.include_router(sign_in_routes(make_door(), Options(render=broken)), prefix="/procore")
    with visiting(app) as client:
        answer = client.get("/procore/signin")
    said, _, reference = answer.text.partition(", ")
    assert (answer.status_code, said) == (500, "sorry")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert f"Request {reference} failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


class Closed:
    """A middleware that shows no one what is inside it."""

    def __init__(self, app: ASGIApp) -> None:
        self._inside = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._inside(scope, receive, send)


def test_where_a_middleware_hides_the_stack_the_handler_can_be_registered_by_hand(
    make_door: MakeDoor,
) -> None:
    app = FastAPI()
    app.add_middleware(Closed)
    app.add_exception_handler(ProcoreSignInError, answer_problem)
    app.include_router(sign_in_routes(make_door()), prefix="/procore")

    @app.get("/broken")
    async def broken() -> None:
        raise GrantLost("gone")

    with visiting(app) as client:
        assert client.get("/broken").status_code == 401


def test_a_lifespan_may_begin_again_with_the_same_front_door(app: FastAPI) -> None:
    """As in a test suite whose tests each begin the lifespan of one application."""
    for _ in range(2):
        with visiting(app) as client:
            sign_in(client)
            assert client.get("/me").status_code == 200


def test_the_application_chooses_its_first_page_its_look_and_its_limit(
    make_door: MakeDoor,
) -> None:
    options = Options(
        first_page="/projects?all=1",
        render=lambda page: f"OUR LOOK {page.name} {json.dumps(page.values, default=str)}",
        starts_per_minute=2,
    )
    app = FastAPI()
    app.include_router(sign_in_routes(make_door(), options), prefix="/procore")
    with visiting(app) as client:
        assert sign_in(client) == "/projects?all=1"
        assert client.get("/procore/signin").text.startswith("OUR LOOK signin")
        assert client.get("/procore/signin").status_code == 429


@pytest.mark.parametrize("path", ["projects", "//evil.example", "https://evil.example", ""])
def test_A8_the_first_page_is_a_path_of_the_application(path: str) -> None:
    with pytest.raises(ValueError, match="first_page must be a path"):
        Options(first_page=path)


def test_a_front_door_from_settings_brings_their_limit_and_the_choice_of_companies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(tmp_path / "test.db")
    settings = {
        "PROCORE_ENVIRONMENT": "emulator",
        "PROCORE_REDIRECT_URI": f"{ORIGIN}/procore/callback",
        "PROCORE_KEYS": KEYS.reveal(),
        "PROCORE_RATE_LIMIT": "1",
        "PROCORE_CHOOSE_COMPANY": "yes",
    }
    (tmp_path / ".env").write_text("".join(f"{name}={text}\n" for name, text in settings.items()))
    monkeypatch.chdir(tmp_path)
    app = FastAPI()
    app.include_router(sign_in_routes(AsyncProcoreSignIn.from_env()), prefix="/procore")
    with visiting(app) as client:
        statuses = [client.get("/procore/signin").status_code for _ in range(2)]
        company = client.get("/procore/company").status_code
    assert statuses == [200, 429]
    assert company == 303  # to sign in, and not 404


# One log-out, and connections.


async def logged_in(request: Request) -> str | None:
    user: str | None = request.session.get("user")
    return user


def log_out_of_session(request: Request, response: Response) -> None:
    request.session.clear()
    response.delete_cookie("own")


def with_sessions(make_door: MakeDoor, same_site: Literal["lax", "strict"] = "lax") -> FastAPI:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret_key="fake", same_site=same_site)
    login = Login(user=logged_in, log_out=log_out_of_session)
    door = make_door()
    app.include_router(sign_in_routes(door, Options(login=login)), prefix="/procore")
    text = "{{ procore_button() }}{{ procore_connect_button('<b>', return_to='/who') }}"
    env = JinjaEnvironment(loader=DictLoader({"page.html": text}), autoescape=True)
    pages = Jinja2Templates(env=env, context_processors=[buttons])

    @app.get("/log-in/{name}")
    async def log_in(request: Request, name: str) -> None:
        request.session["user"] = name

    @app.get("/log-out")
    async def log_out(request: Request) -> str:
        request.session.clear()
        await sign_out(request)
        user = await starlette.optional_user(request)
        return user.email if user else "no one"

    @app.get("/forgets")
    async def forget(request: Request) -> None:
        request.session.clear()

    @app.get("/who")
    async def who(user: OptionalUser) -> str:
        return user.email if user else "no one"

    @app.get("/whose")
    async def whose(request: Request) -> int | None:
        user = await door.user_of(request.session["user"])
        return None if user is None else user.procore_id

    @app.get("/page")
    async def page(request: Request) -> Response:
        return pages.TemplateResponse(request, "page.html")

    return app


def start(client: TestClient, **form: str) -> str:
    """Press a button and return the state."""
    sent = client.post("/procore/start", data=form, headers={"sec-fetch-site": "same-origin"})
    return parse_qs(urlsplit(sent.headers["location"]).query)["state"][0]


def test_L1_the_applications_own_log_out_ends_the_sign_in(make_door: MakeDoor) -> None:
    with visiting(with_sessions(make_door)) as client:
        client.get("/log-in/ann")
        sign_in(client)
        held = client.cookies["procore_signin_session"]
        assert client.get("/who").json() == "joecontractor@procore.com"
        assert client.get("/log-out").json() == "no one"
        assert "procore_signin_session" not in client.cookies
        client.cookies["procore_signin_session"] = held
        assert client.get("/who").json() == "no one"


@pytest.mark.parametrize("over", ["/forgets", "/log-in/bob"])
def test_L1_a_login_that_is_over_without_a_word_ends_the_sign_in(
    make_door: MakeDoor, over: str
) -> None:
    with visiting(with_sessions(make_door)) as client:
        client.get("/log-in/ann")
        sign_in(client)
        client.get(over)
        assert client.get("/who").json() == "no one"
        client.get("/log-in/ann")
        assert client.get("/who").json() == "no one"


def test_S3_the_applications_own_log_out_ends_the_session_beside_no_login_too(
    make_door: MakeDoor,
) -> None:
    with visiting(with_sessions(make_door)) as client:
        sign_in(client)
        copied = client.cookies["procore_signin_session"]
        assert client.get("/who").json() == "joecontractor@procore.com"
        client.get("/log-out")
        client.cookies["procore_signin_session"] = copied
        assert client.get("/who").json() == "no one"


def test_L10_a_strict_session_that_stayed_behind_is_waited_for(make_door: MakeDoor) -> None:
    with visiting(with_sessions(make_door, "strict")) as client:
        client.get("/log-in/ann")
        state = client.get("/procore/signin").text.split("state=", 1)[1].split("&", 1)[0]
        session = client.cookies.pop("session")
        back = f"/procore/callback?code=fake-code&state={state}"
        led = client.get(back, headers={"sec-fetch-site": "cross-site"})
        assert (led.status_code, led.headers.get("refresh", "")[-8:]) == (200, "&again=1")
        client.cookies["session"] = session
        assert client.get(f"{back}&again=1").status_code == 303
        assert client.get("/who").json() == "joecontractor@procore.com"


def test_L2_signing_out_here_logs_out_of_the_application(make_door: MakeDoor) -> None:
    with visiting(with_sessions(make_door)) as client:
        client.get("/log-in/ann")
        sign_in(client)
        answer = client.post("/procore/sign-out", headers={"sec-fetch-site": "same-origin"})
        cookies = answer.headers.get_list("set-cookie")
        assert any(each.startswith("own=") for each in cookies)
        assert any(each.startswith("session=null") for each in cookies)


def test_L4_a_connection_that_is_under_way_ends_with_the_login(make_door: MakeDoor) -> None:
    with visiting(with_sessions(make_door)) as client:
        client.get("/log-in/ann")
        state = start(client, connect="yes")
        client.get("/log-out")
        client.get("/log-in/ann")
        back = f"/procore/callback?code=fake-code&state={state}"
        answer = client.get(back, headers=HTML)
        assert (answer.status_code, "Someone else is logged in now" in answer.text) == (403, True)
        state = start(client, connect="yes", return_to="/who")
        answer = client.get(f"/procore/callback?code=fake-code&state={state}")
        assert answer.headers["location"] == "/who"
        assert client.get("/whose").json() == 11111


def test_L3_a_plain_sign_in_brings_no_account_of_another_user_into_a_login(
    make_door: MakeDoor,
) -> None:
    with visiting(with_sessions(make_door)) as client:
        client.get("/log-in/ann")
        back = "/procore/callback?code=fake-code&state="
        assert client.get(back + start(client, connect="yes")).status_code == 303
        client.cookies.clear()
        client.get("/log-in/bob")
        answer = client.get(back + start(client), headers=HTML)
        assert (answer.status_code, "Someone else is logged in here" in answer.text) == (409, True)
        assert client.get("/who").json() == "no one"


def test_the_buttons_are_in_the_context_of_templates(make_door: MakeDoor) -> None:
    app = with_sessions(make_door)
    with visiting(app) as client:
        page = client.get("/page").text
    assert 'href="/procore/start"' in page
    assert "&lt;b&gt;" in page
    assert str(app.url_path_for("procore_signin:sign_out")) == "/procore/sign-out"
