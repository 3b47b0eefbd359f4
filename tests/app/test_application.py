"""The application as deployed: two workers, real sockets, and a Procore that misbehaves."""

import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from person import Person, exchanges
from ports import free_port
from running import Application, application

from procore_signin.emulator import Emulator

Enter = Callable[..., Person]


def test_a_sign_up_over_real_http_ends_at_the_tutorials_row(person: Enter) -> None:
    joe = person()
    answer = joe.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/home")
    user_id, *rest = joe.row().json()
    assert rest == [11111, "joecontractor@procore.com"]
    assert joe.row().text == f'[{user_id}, 11111, "joecontractor@procore.com"]'


def test_A1_A12_the_button_is_the_tutorials_link_with_state_and_pkce(
    person: Enter, emulator: Emulator, app: Application
) -> None:
    url = urlsplit(person().button())
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{emulator.url}/oauth/authorize"
    query = parse_qs(url.query)
    assert list(query) == [
        "client_id",
        "response_type",
        "redirect_uri",
        "state",
        "code_challenge",
        "code_challenge_method",
    ]
    assert query["redirect_uri"] == [f"{app.url}/callback"]
    assert query["code_challenge_method"] == ["S256"]


@pytest.mark.parametrize("pkce", ["ignore", "enforce"])
def test_A4_a_server_with_and_one_without_pkce_both_let_people_in(
    tmp_path: Path, pkce: str
) -> None:
    port = free_port()
    uris = (f"http://localhost:{port}/callback",)
    with (
        Emulator.started(redirect_uris=uris, pkce=pkce) as emulator,
        application(emulator.url, port, tmp_path) as app,
        Person(app.url, emulator) as joe,
    ):
        joe.sign_in()
        assert joe.signed_in


def test_A5_a_callback_in_another_browser_is_refused_and_sends_nothing(
    person: Enter, emulator: Emulator
) -> None:
    joe, mallory = person(), person()
    answer = mallory.http.get(joe.callback_address())
    assert answer.status_code == 400
    assert not mallory.signed_in
    assert exchanges(emulator) == 0


def test_C4_twenty_identical_callbacks_over_two_processes_send_the_code_once(
    person: Enter, emulator: Emulator
) -> None:
    joe = person()
    address = joe.callback_address()
    cookies = dict(joe.http.cookies)
    emulator.fault("POST /oauth/token", "latency", seconds=0.3)

    def click(_: int) -> tuple[int, bool]:
        with Person(str(joe.http.base_url), emulator) as again:
            again.http.cookies.update(cookies)
            answer = again.http.get(address)
            return answer.status_code, again.signed_in

    with ThreadPoolExecutor(20) as threads:
        came = sorted(threads.map(click, range(20)))
    # The one that spent the code and the one that joined it (row C3).
    assert came == [(303, True)] * 2 + [(400, False)] * 18
    assert exchanges(emulator) == 1
    assert len(emulator.live_grants()) == 1


@pytest.mark.parametrize(
    ("kind", "settings", "heading"),
    [
        ("malformed-json", {}, "Procore answered in a way we do not understand"),
        ("html", {}, "Procore answered in a way we do not understand"),
        ("html", {"status": 502}, "Procore is not answering"),
        ("status", {"status": 503}, "Procore is not answering"),
        ("rate-limit", {}, "Procore is not answering"),
        ("override", {"members": {"access_token": 7}}, "Procore answered in a way"),
        ("override", {"remove": ["access_token"]}, "Procore answered in a way"),
        ("huge", {}, "Procore answered in a way"),
        ("truncate", {}, "Procore is not answering"),
        ("drop-before-commit", {}, "Procore is not answering"),
        ("drop-after-commit", {}, "Procore is not answering"),
        ("redirect", {"status": 307}, "Procore answered in a way"),
        ("body", {"body": "[]"}, "Procore answered in a way"),
        ("body", {"body": ""}, "Procore answered in a way"),
    ],
)
@pytest.mark.parametrize("route", ["POST /oauth/token", "GET /rest/v1.0/me"])
def test_T3_T4_T7_whatever_procore_answers_the_person_gets_a_page_and_may_try_again(
    person: Enter, emulator: Emulator, route: str, kind: str, settings: dict[str, Any], heading: str
) -> None:
    if route.endswith("/me") and kind == "override":
        settings, heading = {"members": {"id": "11111"}}, "Procore answered in a way"
    joe = person()
    address = joe.callback_address()
    emulator.fault(route, kind, **settings)
    answer = joe.http.get(address)
    assert heading in answer.text
    assert "Sign In with Procore" in answer.text
    assert "Traceback" not in answer.text
    assert answer.status_code in {502, 503}
    assert not joe.signed_in
    joe.sign_in()
    assert joe.signed_in


@pytest.mark.parametrize(
    "settings",
    [
        {"members": {"expires_in": "5400"}},
        {"members": {"token_type": "mac"}},
        {"members": {"error": None}},
        {"remove": ["token_type", "expires_in"]},
    ],
)
def test_T9_an_odd_answer_with_a_pair_in_it_signs_the_person_in(
    person: Enter, emulator: Emulator, settings: dict[str, Any]
) -> None:
    joe = person()
    emulator.fault("POST /oauth/token", "override", **settings)
    joe.sign_in()
    assert joe.signed_in
    assert len(emulator.live_grants()) == 1


@pytest.mark.parametrize(
    "settings", [{"members": {"access_token": 7}}, {"remove": ["access_token"]}]
)
def test_T9_of_an_answer_that_cannot_be_used_no_live_grant_is_left_behind(
    person: Enter, emulator: Emulator, settings: dict[str, Any]
) -> None:
    joe = person()
    address = joe.callback_address()
    emulator.fault("POST /oauth/token", "override", **settings)
    assert joe.http.get(address).status_code == 502
    assert emulator.live_grants() == []


@pytest.mark.parametrize("kind", ["malformed-json", "html", "drop-before-commit", "huge"])
def test_C12_when_me_fails_no_live_grant_is_left_behind(
    person: Enter, emulator: Emulator, kind: str
) -> None:
    joe = person()
    emulator.fault("GET /rest/v1.0/me", kind)
    joe.sign_in()
    assert emulator.live_grants() == []


def test_T3_a_dripping_answer_ends_at_the_deadline(person: Enter, emulator: Emulator) -> None:
    joe = person()
    address = joe.callback_address()
    emulator.fault("POST /oauth/token", "drip", bytes=1, interval=0.4)
    began = time.monotonic()
    answer = joe.http.get(address)
    assert answer.status_code == 503
    assert time.monotonic() - began < 12


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"name": "<script>alert(1)</script>"}, "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ({"name": "\u202eeoJ"}, "eoJ"),
        ({"name": "x" * 255}, "x" * 255),
        ({"name": None}, "joecontractor@procore.com"),
    ],
)
def test_I6_hostile_names_are_data(
    person: Enter, emulator: Emulator, changes: dict[str, Any], shown: str
) -> None:
    joe = person()
    emulator.fault("GET /rest/v1.0/me", "override", members=changes)
    joe.sign_in()
    page = joe.http.get("/home")
    assert page.status_code == 200
    assert shown in page.text
    assert "<script>alert" not in page.text


@pytest.mark.parametrize("identity", [True, 1.0, "１", -1, 0, 2**63, [1], None])
def test_I3_an_id_that_is_no_procore_id_is_refused(
    person: Enter, emulator: Emulator, identity: object
) -> None:
    joe = person()
    emulator.fault("GET /rest/v1.0/me", "override", members={"id": identity})
    assert joe.sign_in().status_code == 502
    assert not joe.signed_in


@pytest.mark.parametrize("identity", [2**31, 2**53 + 1, 2**63 - 1])
def test_I3_large_ids_are_kept_exactly(person: Enter, emulator: Emulator, identity: int) -> None:
    emulator.person(identity, login=f"{identity}@procore.com", name="Big")
    big = person(login=f"{identity}@procore.com")
    big.sign_in()
    assert big.row().json()[1] == identity


def test_I4_fifty_first_sign_ins_at_once_make_one_user(
    person: Enter, emulator: Emulator, folder: Path
) -> None:
    emulator.person(5050, login="crowd@procore.com", name="Crowd")
    crowd = [person(login="crowd@procore.com") for _ in range(50)]
    addresses = [each.callback_address() for each in crowd]

    def come_back(pair: tuple[Person, str]) -> int:
        each, address = pair
        return each.http.get(address).status_code

    with ThreadPoolExecutor(25) as threads:
        assert set(threads.map(come_back, zip(crowd, addresses, strict=True))) == {303}
    with closing(sqlite3.connect(folder / "test.db")) as database:
        found = database.execute("SELECT count(*) FROM users WHERE procore_id = 5050").fetchone()
    assert found == (1,)


def test_S3_a_signed_out_session_is_over_in_every_process(person: Enter) -> None:
    joe = person()
    joe.sign_in()
    copied = dict(joe.http.cookies)
    assert joe.post("/sign-out").status_code == 200
    # Each new connection may meet another worker.
    for _ in range(20):
        thief = person()
        thief.http.cookies.update(copied)
        assert not thief.signed_in


def test_I5_a_disabled_user_is_out_at_the_next_request_in_every_process(
    person: Enter, folder: Path
) -> None:
    joe = person()
    joe.sign_in()
    user_id = joe.row().json()[0]
    with closing(sqlite3.connect(folder / "test.db")) as database:
        database.execute("UPDATE users SET disabled_at = 1 WHERE id = ?", (user_id,))
        database.commit()
    try:
        assert not any(joe.signed_in for _ in range(10))
        answer = person().sign_in()
        assert answer.status_code == 403
        assert "does not admit you" in answer.text
    finally:
        with closing(sqlite3.connect(folder / "test.db")) as database:
            database.execute("UPDATE users SET disabled_at = NULL WHERE id = ?", (user_id,))
            database.commit()


class Locked:
    """The database file, locked by someone who does not let go: as good as down."""

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "test.db", check_same_thread=False)

    def __enter__(self) -> None:
        self._database.execute("BEGIN EXCLUSIVE")

    def __exit__(self, *_: object) -> None:
        self._database.rollback()
        self._database.close()


def test_C12_a_database_that_is_down_before_the_exchange_costs_nothing(
    person: Enter, emulator: Emulator, folder: Path
) -> None:
    joe = person()
    address = joe.callback_address()
    with Locked(folder):
        answer = joe.http.get(address)
    assert answer.status_code == 503
    assert "Our database is not answering" in answer.text
    assert exchanges(emulator) == 0
    assert joe.http.get(address).headers["location"] == "/home"
    assert joe.signed_in


def test_C12_a_database_that_goes_down_after_the_exchange_leaves_no_grant(
    person: Enter, emulator: Emulator, folder: Path
) -> None:
    joe = person()
    address = joe.callback_address()
    emulator.fault("POST /oauth/token", "latency", seconds=1.0, after_commit=True)
    locked = Locked(folder)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(joe.http.get, address)
        while not emulator.live_grants():  # the journal hears of a request when it is answered
            time.sleep(0.01)
        with locked:
            answer = waiting.result()
    assert answer.status_code == 503
    assert "Sign In with Procore" in answer.text
    assert emulator.live_grants() == []


def raw(url: str, request: bytes) -> bytes:
    """Send these bytes as they are and return the whole response."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as peer:
        peer.sendall(request)
        answer = b""
        while chunk := peer.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    "target",
    [
        "/signin?return_to=/%0d%0aX-Evil:%20yes",
        "/callback?error=%0d%0aX-Evil:%20yes&state=%0d%0aX-Evil:%20yes",
        "/%0d%0aX-Evil:%20yes",
    ],
)
def test_A9_nothing_in_an_address_becomes_a_header(app: Application, target: str) -> None:
    host = urlsplit(app.url).netloc
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    head = raw(app.url, request.encode()).partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 ")
    assert b"\r\nx-evil" not in head


def test_K3_two_session_cookies_are_none(person: Enter, app: Application) -> None:
    joe = person()
    joe.sign_in()
    token = joe.http.cookies["procore_signin_session"]
    host = urlsplit(app.url).netloc
    cookie = f"procore_signin_session={token}; procore_signin_session={token}"
    request = (
        f"GET /home HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n"
        "Accept: application/json\r\nConnection: close\r\n\r\n"
    )
    assert raw(app.url, request.encode()).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["/", "/signin", "/home", "/nowhere", "/callback", "/healthz"])
def test_K6_the_careful_headers_are_on_the_wire(person: Enter, path: str) -> None:
    headers = person().http.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    policy = "no-referrer" if path == "/callback" else "same-origin"
    assert headers["referrer-policy"] == policy
    assert headers["cache-control"] == "no-store"


def test_static_files_are_kept_for_ever_because_their_address_names_their_content(
    person: Enter,
) -> None:
    joe = person()
    page = joe.http.get("/").text
    address = page.split('rel="stylesheet" href="', 1)[1].split('"', 1)[0]
    answer = joe.http.get(address)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]


def test_O5_the_probes_say_nothing_but_yes_or_no(person: Enter) -> None:
    joe = person()
    assert joe.http.get("/healthz", headers={"host": "10.0.0.7"}).json() == {"status": "ok"}
    assert joe.http.get("/readyz").json() == {"status": "ready"}


def test_O5_a_database_that_does_not_answer_is_not_ready(tmp_path: Path) -> None:
    port = free_port()
    with (
        Emulator.started(redirect_uris=(f"http://localhost:{port}/callback",)) as emulator,
        application(emulator.url, port, tmp_path) as app,
        Person(app.url, emulator) as joe,
    ):
        with closing(sqlite3.connect(tmp_path / "test.db")) as database:
            database.execute("DROP TABLE procore_signin_alembic_version")
            database.commit()
        answer = joe.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


def test_C13_a_server_that_is_stopped_mid_sign_in_finishes_it(tmp_path: Path) -> None:
    port = free_port()
    with (
        Emulator.started(redirect_uris=(f"http://localhost:{port}/callback",)) as emulator,
        application(emulator.url, port, tmp_path) as app,
        Person(app.url, emulator) as joe,
    ):
        address = joe.callback_address()
        emulator.fault("POST /oauth/token", "latency", seconds=2.0, after_commit=True)
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(joe.http.get, address)
            while not emulator.live_grants():  # the journal hears of a request when it is answered
                time.sleep(0.01)
            stopping = threading.Thread(target=app.stop)
            stopping.start()
            answer = waiting.result()
            stopping.join()
    assert answer.headers.get("location") == "/home"
    with closing(sqlite3.connect(tmp_path / "test.db")) as database:
        sessions = database.execute("SELECT count(*) FROM sessions").fetchone()[0]
    assert sessions == len(emulator.live_grants()) == 1


def test_C13_a_person_who_goes_away_mid_sign_in_strands_no_grant(
    person: Enter, emulator: Emulator, folder: Path
) -> None:
    emulator.person(6060, login="gone@procore.com", name="Gone")
    gone = person(login="gone@procore.com")
    address = gone.callback_address()
    emulator.fault("POST /oauth/token", "latency", seconds=0.5, after_commit=True)
    with pytest.raises(Exception, match="timed out"):
        gone.http.get(address, timeout=0.2)
    deadline = time.monotonic() + 5
    found = (0,)
    with closing(sqlite3.connect(folder / "test.db")) as database:
        while found == (0,) and time.monotonic() < deadline:
            found = database.execute(
                "SELECT count(*) FROM sessions JOIN users ON users.id = sessions.user_id "
                "WHERE procore_id = 6060"
            ).fetchone()
            time.sleep(0.02)
    assert found == (1,)
    assert len(emulator.live_grants()) == 1
