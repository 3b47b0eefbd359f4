"""Each fault, seen from the other end of the wire."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from procore_signin.emulator import Emulator

Headers = dict[str, str]
ExchangeBytes = Callable[[Emulator, bytes], bytes]


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
        is_spent: Callable[[str], bool],
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        emulator.fault("POST /oauth/token", "latency", seconds=0.1)
        with pytest.raises(httpx2.ReadTimeout):
            http.post("/oauth/token", data=code_form(code), timeout=0.02)
        deadline = time.monotonic() + 5
        while not emulator.live_grants() and time.monotonic() < deadline:
            time.sleep(0.01)  # nothing tells us from inside: the client is gone
        assert 1 == len(emulator.live_grants())
        assert is_spent(code)

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
        exchange_bytes: ExchangeBytes,
        code: str,
        is_spent: Callable[[str], bool],
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
        assert not is_spent(code)

    def test_E3_a_status_instead_of_the_work(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        code: str,
        is_spent: Callable[[str], bool],
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
        assert not is_spent(code)

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

    @pytest.mark.parametrize("retry_after", [7, 7.9])
    def test_E3_a_rate_limit_says_how_long_to_wait_in_seconds(
        self, emulator: Emulator, http: httpx2.Client, retry_after: float
    ) -> None:
        emulator.fault("/rest/*", "rate-limit", retry_after=retry_after)
        assert "7" == http.get("/rest/v1.0/me").headers["retry-after"]

    @pytest.mark.parametrize("retry_after", ["7", -1, None])
    def test_E3_anything_else_is_no_time_to_wait(
        self, emulator: Emulator, retry_after: object
    ) -> None:
        with pytest.raises(ValueError, match="retry_after is"):
            emulator.fault("/rest/*", "rate-limit", retry_after=retry_after)

    def test_E6_a_stub_of_the_api_asks_for_a_good_token(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        sign_in: Callable[..., dict[str, Any]],
        bearer: Callable[[dict[str, Any]], dict[str, str]],
    ) -> None:
        good = bearer(sign_in(emulator, http))
        emulator.fault("GET /rest/v1.0/projects/*/rfis", "status", status=200, body="[]")
        path = "/rest/v1.0/projects/1/rfis"
        assert 401 == http.get(path).status_code
        assert "The access token is invalid" == emulator.requests[-1].note
        assert 401 == http.get(path, headers={"authorization": "Bearer x"}).status_code
        assert [0] == [fault.happened for fault in emulator.faults()]
        assert "[]" == http.get(path, headers=good).text
        assert [1] == [fault.happened for fault in emulator.faults()]
        emulator.fault(path, "status", status=200, times=None)
        emulator.advance(5400)
        assert 401 == http.get(path, headers=good).status_code
        emulator.clear_faults()
        emulator.fault("/rest/*", "status", status=503)
        assert 503 == http.get(path).status_code


class TestAfterTheWork:
    def test_E3_drop_after_commit_closes_the_connection_with_the_work_done(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        code: str,
        is_spent: Callable[[str], bool],
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        emulator.fault("POST /oauth/token", "drop-after-commit")
        with pytest.raises(httpx2.RemoteProtocolError):
            http.post("/oauth/token", data=code_form(code))
        assert 0 == emulator.token_requests[-1].status
        assert "was carried out" in (emulator.requests[-1].note or "")
        assert is_spent(code)
        assert 1 == len(emulator.live_grants())

    def test_E3_a_5xx_after_the_work_was_done(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        code: str,
        is_spent: Callable[[str], bool],
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        emulator.fault("POST /oauth/token", "status", status=500, commit=True)
        assert 500 == http.post("/oauth/token", data=code_form(code)).status_code
        assert is_spent(code)

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
