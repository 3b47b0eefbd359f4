"""To which requests a fault happens, and which faults cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import FAULT_KINDS, BadFault, Emulator


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
    def test_E3_a_fault_happens_on_its_route_only(
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
