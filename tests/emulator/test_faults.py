"""Each fault, seen from the other end of the wire."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from procore_signin.emulator import FAULT_KINDS, BadFault, Emulator

Tokens = dict[str, Any]
Headers = dict[str, str]
ExchangeBytes = Callable[[Emulator, bytes], bytes]
ME = b"GET /rest/v1.0/me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\n\r\n"


@pytest.fixture
def me(
    emulator: Emulator, http: httpx2.Client, sign_in: Callable[..., Tokens]
) -> tuple[bytes, Headers]:
    """A request for `/me` as bytes, and its headers."""
    token = sign_in(emulator, http)["access_token"]
    return ME % token.encode(), {"authorization": f"Bearer {token}"}


@pytest.fixture
def code(emulator: Emulator, authorize: Callable[..., str], code_in: Callable[[str], str]) -> str:
    """A code that was not exchanged yet."""
    return code_in(emulator.approve(authorize()))


def is_spent(http: httpx2.Client, code_form: Callable[..., dict[str, str]], code: str) -> bool:
    """Say whether the emulator carried out an exchange of this code before."""
    return http.post("/oauth/token", data=code_form(code)).status_code == 401


def answers_again(http: httpx2.Client, path: str) -> httpx2.Response:
    """Ask until there is an answer."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            return http.get(path)
        except httpx2.TransportError:
            time.sleep(0.01)  # nothing tells us when it is back
    pytest.fail("the emulator did not come back")


class TestBeforeTheWork:
    def test_E3_latency_delays_the_work(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "latency", seconds=0.2)
        began = time.monotonic()
        assert 200 == http.get("/rest/v1.0/me", headers=me[1]).status_code
        assert 0.2 <= time.monotonic() - began
        assert emulator.requests[-1].took >= 0.2

    def test_E3_a_client_that_gives_up_waiting_does_not_stop_the_work(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        code: str,
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        emulator.fault("POST /oauth/token", "latency", seconds=0.1)
        with pytest.raises(httpx2.ReadTimeout):
            http.post("/oauth/token", data=code_form(code), timeout=0.02)
        deadline = time.monotonic() + 5
        while not emulator.live_grants() and time.monotonic() < deadline:
            time.sleep(0.01)  # nothing tells us from inside: the client is gone
        assert 1 == len(emulator.live_grants())
        assert is_spent(http, code_form, code)

    def test_E3_latency_after_commit_delays_the_answer_only(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        code: str,
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        emulator.fault("POST /oauth/token", "latency", seconds=0.5, after_commit=True)
        with pytest.raises(httpx2.ReadTimeout):
            http.post("/oauth/token", data=code_form(code), timeout=0.1)
        assert 1 == len(emulator.live_grants())

    @pytest.mark.parametrize(("reset", "error"), [(False, b""), (True, ConnectionResetError)])
    def test_E3_drop_before_commit_closes_the_connection_and_does_nothing(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        exchange_bytes: ExchangeBytes,
        code: str,
        code_form: Callable[..., dict[str, str]],
        reset: bool,  # noqa: FBT001 - a parameter of the table
        error: bytes | type[Exception],
    ) -> None:
        emulator.fault("POST /oauth/token", "drop-before-commit", reset=reset)
        form = httpx2.Request("POST", emulator.url, data=code_form(code)).read()
        sent = (
            b"POST /oauth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: "
            b"application/x-www-form-urlencoded\r\ncontent-length: %d\r\n\r\n%b" % (len(form), form)
        )
        if isinstance(error, bytes):
            assert error == exchange_bytes(emulator, sent)
        else:
            with pytest.raises(error):
                exchange_bytes(emulator, sent)
        assert 0 == emulator.requests[-1].status
        assert "nothing was carried out" in (emulator.requests[-1].note or "")
        assert not is_spent(http, code_form, code)

    def test_E3_a_status_instead_of_the_work(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        code: str,
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        emulator.fault(
            "POST /oauth/token", "status", status=503, headers={"Retry-After": "7"}, body="later"
        )
        answered = http.post("/oauth/token", data=code_form(code))
        assert (503, "7", "later") == (
            answered.status_code,
            answered.headers["retry-after"],
            answered.text,
        )
        assert not is_spent(http, code_form, code)

    def test_E3_a_redirect_to_elsewhere(self, emulator: Emulator, http: httpx2.Client) -> None:
        emulator.fault("/rest/*", "redirect", location="https://elsewhere.invalid/x", status=307)
        answered = http.get("/rest/v1.0/me")
        assert 307 == answered.status_code
        assert "https://elsewhere.invalid/x" == answered.headers["location"]

    @pytest.mark.parametrize(
        ("settings", "reset"),
        [
            ({"reset": "soon", "seconds": 5}, "1800000005"),
            ({"reset": "past"}, "1799913600"),
            ({"reset": "far"}, "2115360000"),
            ({"reset": "garbage"}, "soon, perhaps"),
        ],
    )
    def test_E3_a_rate_limit_with_any_kind_of_reset(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        settings: dict[str, Any],
        reset: str,
    ) -> None:
        emulator = emulated(now=lambda: 1_800_000_000.0)
        emulator.fault("/rest/*", "rate-limit", **settings)
        emulator.fault("/rest/*", "rate-limit", retry_after=True, **settings)
        http = http_of(emulator)
        first, second = http.get("/rest/v1.0/me"), http.get("/rest/v1.0/me")
        for answered in (first, second):
            assert 429 == answered.status_code
            assert reset == answered.headers["x-rate-limit-reset"]
        assert "retry-after" not in first.headers
        expected = "5" if settings["reset"] == "soon" else reset
        assert expected == second.headers["retry-after"]


class TestAfterTheWork:
    def test_E3_drop_after_commit_closes_the_connection_with_the_work_done(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        code: str,
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        emulator.fault("POST /oauth/token", "drop-after-commit")
        with pytest.raises(httpx2.RemoteProtocolError):
            http.post("/oauth/token", data=code_form(code))
        assert 0 == emulator.token_requests[-1].status
        assert "was carried out" in (emulator.requests[-1].note or "")
        assert is_spent(http, code_form, code)
        assert 1 == len(emulator.live_grants())

    def test_E3_a_5xx_after_the_work_was_done(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        code: str,
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        emulator.fault("POST /oauth/token", "status", status=500, commit=True)
        assert 500 == http.post("/oauth/token", data=code_form(code)).status_code
        assert is_spent(http, code_form, code)

    def test_E3_an_html_page_instead_of_json(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "html", status=502)
        answered = http.get("/rest/v1.0/me", headers=me[1])
        assert 502 == answered.status_code
        assert "text/html; charset=utf-8" == answered.headers["content-type"]
        assert answered.text.startswith("<!DOCTYPE html>")

    @pytest.mark.parametrize("path", ["/rest/v1.0/me", "/oauth/revoke"])
    def test_E3_malformed_json_keeps_its_type_and_cannot_be_parsed(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers], path: str
    ) -> None:
        emulator.fault(path, "malformed-json")
        method = "POST" if path == "/oauth/revoke" else "GET"
        answered = http.request(method, path, headers=me[1])
        assert "application/json; charset=utf-8" == answered.headers["content-type"]
        assert answered.content
        with pytest.raises(json.JSONDecodeError):
            answered.json()

    def test_E3_members_of_the_wrong_type_or_none_at_all(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "override", members={"id": "11111"}, remove=["name"])
        answered = http.get("/rest/v1.0/me", headers=me[1])
        assert {"id": "11111", "login": "joecontractor@procore.com"} == answered.json()

    def test_E3_an_override_of_a_list_replaces_it(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "override", members={"a": 1})
        assert {"a": 1} == http.get("/rest/v1.0/companies", headers=me[1]).json()

    def test_E3_an_override_of_a_page_replaces_it(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        emulator.fault("/login", "override", members={"a": 1})
        assert {"a": 1} == http.get("/login").json()

    @pytest.mark.parametrize("fragment", [False, True])
    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"members": {"iss": "https://elsewhere.invalid"}}, "code state iss=elsewhere"),
            ({"remove": ["state"]}, "code"),
            ({"remove": ["code"], "members": {"error": "server_error"}}, "state error"),
            ({"members": {"state": ["a", "b"]}}, "code state=a state=b"),
        ],
    )
    def test_E3_the_authorization_response_says_something_else(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        authorize: Callable[..., str],
        log_in: Callable[..., httpx2.Response],
        fragment: bool,  # noqa: FBT001 - a parameter of the table
        settings: dict[str, Any],
        expected: str,
    ) -> None:
        emulator = emulated(fragment=fragment)
        http = http_of(emulator)
        log_in(http, authorize())
        emulator.fault("POST /oauth/authorize", "override", **settings)
        consent = {"continue_to": authorize(), "decision": "allow"}
        answered = http.post("/oauth/authorize", data=consent)
        parts = urlsplit(answered.headers["location"])
        assert "http://localhost:4567/callback" == f"{parts.scheme}://{parts.netloc}{parts.path}"
        pairs = parse_qsl(parts.fragment if fragment else parts.query)
        assert "" == (parts.query if fragment else parts.fragment)
        assert [one.partition("=")[0] for one in expected.split()] == [name for name, _ in pairs]
        wanted = [one.split("=") for one in expected.split() if "=" in one]
        assert all(any(n == name and v in value for n, value in pairs) for name, v in wanted)

    def test_E3_any_body_at_all(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "body", body='{"id": NaN, "id": 1}\xff')
        answered = http.get("/rest/v1.0/me", headers=me[1])
        assert b'{"id": NaN, "id": 1}\xff' == answered.content

    def test_E3_a_poisoned_link(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "link", url="https://elsewhere.invalid/?page=2")
        answered = http.get("/rest/v1.0/companies?per_page=1", headers=me[1])
        assert '<https://elsewhere.invalid/?page=2>; rel="next"' == answered.headers["link"]
        assert 1 == len(answered.json())


class TestOnTheWire:
    def test_E3_a_huge_body_arrives_whole(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "huge", bytes=3_000_000)
        answered = http.get("/rest/v1.0/me", headers=me[1])
        assert 3_000_008 == len(answered.content) == int(answered.headers["content-length"])

    def test_E3_a_dripping_body_keeps_every_single_read_short(
        self, emulator: Emulator, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "drip", bytes=10, interval=0.02)
        parts = urlsplit(emulator.url)
        address = (parts.hostname or "", parts.port or 0)
        pieces: list[bytes] = []
        with socket.create_connection(address, timeout=5) as sock:
            sock.sendall(me[0])
            while not b"".join(pieces).endswith(b"}"):
                pieces.append(sock.recv(65_536))
        assert len(pieces) > 4
        assert all(len(piece) <= 20 for piece in pieces[1:])
        assert b"".join(pieces).endswith(b'"name":"Joe Contractor"}')

    def test_E3_a_drip_ends_when_the_client_leaves(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "drip", bytes=1, interval=0.01)
        with http.stream("GET", "/rest/v1.0/me", headers=me[1]) as answered:
            next(answered.iter_raw(1))
        assert 200 == http.get("/rest/v1.0/me", headers=me[1]).status_code

    def test_E3_a_truncated_body_ends_before_its_length(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "truncate", keep=5)
        head, _, body = exchange_bytes(emulator, me[0]).partition(b"\r\n\r\n")
        assert b"content-length: 72" in head
        assert b'{"id"' == body

    @pytest.mark.parametrize("length", [10, 1000])
    def test_E3_a_wrong_content_length_is_sent_and_the_connection_closed(
        self,
        emulator: Emulator,
        exchange_bytes: ExchangeBytes,
        me: tuple[bytes, Headers],
        length: int,
    ) -> None:
        emulator.fault("/rest/*", "content-length", length=length)
        head, _, body = exchange_bytes(emulator, me[0]).partition(b"\r\n\r\n")
        assert b"content-length: %d\r\n" % length in head
        assert 72 == len(body)

    def test_E3_a_body_of_unknown_length_comes_in_chunks(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "huge", bytes=10, chunked=True)
        sent = me[0].replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        head, _, body = exchange_bytes(emulator, sent).partition(b"\r\n\r\n")
        assert b"content-length" not in head
        assert b"transfer-encoding: chunked" in head
        assert b'12\r\n{"a":"aaaaaaaaaa"}\r\n0\r\n\r\n' == body

    def test_E3_a_small_body_unpacks_to_a_huge_one(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "huge", bytes=3_000_000, gzip=True)
        answered = http.get("/rest/v1.0/me", headers=me[1])
        assert "gzip" == answered.headers["content-encoding"]
        assert int(answered.headers["content-length"]) < 30_000
        assert 3_000_008 == len(answered.content)

    def test_E3_a_refused_connection_is_reset_and_for_a_while_nobody_can_connect(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        http_of: Callable[[Emulator], httpx2.Client],
        code: str,
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        emulator.fault("POST /oauth/token", "refuse", seconds=0.3)
        assert 200 == http.get("/").status_code
        began = time.monotonic()
        with pytest.raises(httpx2.ReadError):
            http.post("/oauth/token", data=code_form(code))
        for client in (http, http_of(emulator)):
            with pytest.raises(httpx2.ConnectError):
                client.get("/")
        assert 200 == answers_again(http, "/").status_code
        assert 0.3 <= time.monotonic() - began < 3
        assert not is_spent(http, code_form, code)

    def test_E3_each_refusal_lasts_as_long_as_it_says(
        self, emulator: Emulator, http: httpx2.Client, exchange_bytes: ExchangeBytes
    ) -> None:
        emulator.fault("/rest/*", "refuse", seconds=0.1)
        emulator.fault("/rest/*", "refuse", seconds=0.4)
        began = time.monotonic()
        with pytest.raises(ConnectionResetError):
            exchange_bytes(emulator, ME % b"x")
        answers_again(http, "/")
        with pytest.raises(ConnectionResetError):
            exchange_bytes(emulator, ME % b"x")
        answers_again(http, "/")
        assert 0.5 <= time.monotonic() - began < 3

    def test_E3_a_block_that_refuses_outlasts_a_refusal_that_is_under_way(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        emulator.fault("/rest/*", "refuse", seconds=0.05)
        with pytest.raises(httpx2.ReadError):
            http.get("/rest/v1.0/me")
        with emulator.refusing():
            time.sleep(0.1)  # longer than the fault's own refusal
            with pytest.raises(httpx2.ConnectError):
                http.get("/")
        assert 200 == http.get("/").status_code

    def test_E3_an_emulator_that_refuses_can_be_stopped(self) -> None:
        with Emulator.started() as emulator:
            emulator.fault("*", "refuse", seconds=60)
            with pytest.raises(httpx2.ReadError):
                httpx2.get(emulator.url, trust_env=False)
            began = time.monotonic()
        assert time.monotonic() - began < 1

    def test_E3_a_server_that_is_down_refuses_connections_and_comes_back(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        http_of: Callable[[Emulator], httpx2.Client],
    ) -> None:
        assert 200 == http.get("/").status_code
        with emulator.refusing():
            for client in (http, http_of(emulator)):
                with pytest.raises(httpx2.ConnectError):
                    client.get("/")
        assert 200 == http.get("/").status_code


class TestWhichRequests:
    def test_a_fault_happens_as_often_as_it_should(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        emulator.fault("/rest/*", "status", status=503, times=2)
        assert [503, 503, 401] == [http.get("/rest/v1.0/me").status_code for _ in range(3)]

    def test_a_fault_can_go_on_for_ever(self, emulator: Emulator, http: httpx2.Client) -> None:
        emulator.fault("/rest/*", "status", status=503, times=None)
        assert {503} == {http.get("/rest/v1.0/me").status_code for _ in range(10)}
        emulator.clear_faults()
        assert 401 == http.get("/rest/v1.0/me").status_code

    @pytest.mark.parametrize(
        ("route", "method", "path", "hit"),
        [
            ("POST /oauth/token", "POST", "/oauth/token", True),
            ("POST /oauth/token", "POST", "/oauth/token/", True),
            ("POST /oauth/token", "GET", "/oauth/token", False),
            ("POST /oauth/token", "POST", "/oauth/token/info", False),
            ("/oauth/token", "POST", "/oauth/token", True),
            ("/rest/v1.?/*", "GET", "/rest/v1.1/projects", True),
            ("*", "GET", "/", True),
            ("GET *", "GET", "/login", True),
            ("GET *", "POST", "/login", False),
            ("*", "GET", "/_emulator/people", False),
        ],
    )
    def test_a_fault_happens_on_its_route_only(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        route: str,
        method: str,
        path: str,
        hit: bool,  # noqa: FBT001 - a parameter of the table
    ) -> None:
        emulator.fault(route, "status", status=599)
        assert hit == (599 == http.request(method, path).status_code)

    def test_E3_chance_repeats_with_its_seed(
        self, emulated: Callable[..., Emulator], http_of: Callable[[Emulator], httpx2.Client]
    ) -> None:
        runs = []
        for seed in (7, 7, 8):
            emulator = emulated()
            emulator.fault("/rest/*", "status", times=None, probability=0.5, seed=seed)
            http = http_of(emulator)
            runs.append([http.get("/rest/v1.0/me").status_code for _ in range(40)])
        assert runs[0] == runs[1] != runs[2]
        assert 5 < runs[0].count(503) < 35

    def test_a_probability_of_nothing_never_happens(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        fault = emulator.fault("*", "status", times=None, probability=0.0)
        assert 200 == http.get("/").status_code
        assert 0 == fault.happened

    def test_the_first_of_two_faults_happens_first(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        emulator.fault("*", "status", status=501)
        emulator.fault("*", "status", status=502)
        assert [501, 502, 200] == [http.get("/").status_code for _ in range(3)]
        assert [1, 1] == [fault.happened for fault in emulator.faults()]


class TestWrongFaults:
    @pytest.mark.parametrize(
        ("route", "kind", "settings"),
        [
            ("oauth/token", "html", {}),
            ("", "html", {}),
            ("*", "unheard-of", {}),
            ("*", "html", {"times": 0}),
            ("*", "html", {"times": True}),
            ("*", "html", {"times": "2"}),
            ("*", "html", {"times": 1.5}),
            ("*", "html", {"probability": "0.5"}),
            ("*", "html", {"probability": True}),
            ("*", "html", {"seed": "x"}),
            ("*", "html", {"self": 1}),
            ("*", "refuse", {"seconds": -1}),
            ("*", "huge", {"gzip": 1}),
            ("*", "html", {"probability": 1.5}),
            ("*", "html", {"status": 99}),
            ("*", "html", {"status": True}),
            ("*", "html", {"commit": "yes"}),
            ("*", "html", {"colour": "red"}),
            ("*", "latency", {"seconds": -1}),
            ("*", "latency", {"seconds": "1"}),
            ("*", "latency", {"seconds": float("nan")}),
            ("*", "status", {"body": 1}),
            ("*", "status", {"headers": {"x": "a\r\nb: c"}}),
            ("*", "status", {"headers": {"x y": "a"}}),
            ("*", "status", {"headers": "x"}),
            ("*", "status", {"content_type": "a\r\nb: c"}),
            ("*", "override", {"members": [1]}),
            ("*", "override", {"remove": "name"}),
            ("*", "redirect", {"location": "/\r\nb: c"}),
            ("*", "redirect", {"status": 200}),
            ("*", "link", {"url": "ü"}),
            ("*", "rate-limit", {"reset": "never"}),
            ("*", "drip", {"bytes": 0}),
            ("*", "huge", {"bytes": 10**12}),
            ("*", "truncate", {"keep": -1}),
            ("*", "content-length", {"length": -1}),
        ],
    )
    def test_a_fault_that_cannot_be_is_refused_at_once(
        self, emulator: Emulator, route: str, kind: str, settings: dict[str, Any]
    ) -> None:
        with pytest.raises(BadFault):
            emulator.fault(route, kind, **settings)
        assert [] == list(emulator.faults())

    def test_an_unknown_kind_is_answered_with_those_there_are(self, emulator: Emulator) -> None:
        with pytest.raises(BadFault) as refused:
            emulator.fault("*", "unheard-of")
        assert all(kind in str(refused.value) for kind in FAULT_KINDS)
