"""The decisions of a call, driven by hand: no network, no thread, no event loop.

`test_renewal.py` and `test_rate_limit.py` show the same with both drivers and a real server.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from procore_signin._api.bearer import Exchange, Fetch, Pause, Surroundings, exchange
from procore_signin._api.http.replay import Renewals, replay_safe
from procore_signin._api.http.transport import BEARER
from procore_signin._api.rate_limit import Pace
from procore_signin._flow.refresh import FreshToken
from procore_signin._protocol.secret import Secret
from procore_signin.api import ApiOptions, RateLimited

NOW = 1_800_000_000.0


def surroundings(**options: Any) -> Surroundings:
    return Surroundings(
        user=1,
        pace=Pace(),
        renewals=Renewals(),
        options=ApiOptions(monotonic=lambda: 100.0, **options),
        clock=lambda: NOW,
    )


def token(generation: int) -> FreshToken:
    return FreshToken(Secret(f"fake-access-{generation}", "access token"), generation, 5400)


def begin(around: Surroundings, method: str = "GET") -> tuple[Exchange, httpx2.Request]:
    request = httpx2.Request(method, "https://api.procore.com/rest/v1.0/me")
    return exchange(around, request), request


def answered(status: int, **headers: str) -> httpx2.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, headers=names)


def test_a_call_fetches_a_token_and_is_sent_with_it_beside_its_headers() -> None:
    around = surroundings()
    flow, request = begin(around)

    assert Fetch(None) == next(flow)
    assert request is flow.send(token(1))
    assert Secret("fake-access-1", "access token") == request.extensions[BEARER]
    assert "authorization" not in request.headers
    with pytest.raises(StopIteration):
        flow.send(answered(200))


def test_R9_a_401_asks_for_another_token_once() -> None:
    flow, request = begin(surroundings())
    next(flow)
    flow.send(token(1))

    assert Fetch(1) == flow.send(answered(401))
    assert request is flow.send(token(2))
    with pytest.raises(StopIteration):
        flow.send(answered(401))


def test_R9_a_second_401_ends_the_call_however_long_it_took() -> None:
    """Fails when only the memory of renewals, which fades after five minutes, ends it."""
    times = iter(range(0, 100_000, 1_000))
    around = replace(
        surroundings(), options=ApiOptions(monotonic=lambda: next(times), patience=1e9)
    )
    flow, _ = begin(around)
    next(flow)
    flow.send(token(1))
    flow.send(answered(401))
    flow.send(token(2))

    with pytest.raises(StopIteration):
        flow.send(answered(401))


def test_R9_a_call_that_does_something_gets_a_token_for_the_next_and_ends() -> None:
    flow, _ = begin(surroundings(), "POST")
    next(flow)
    flow.send(token(1))

    assert Fetch(1) == flow.send(answered(401))
    with pytest.raises(StopIteration):
        flow.send(token(2))


def test_R9_a_token_that_was_renewed_for_a_401_is_not_renewed_for_another() -> None:
    around = surroundings()
    for flow, rejected in ((begin(around)[0], True), (begin(around)[0], False)):
        next(flow)
        flow.send(token(1 if rejected else 2))
        if rejected:
            flow.send(answered(401))
            flow.send(token(2))
        with pytest.raises(StopIteration):
            flow.send(answered(401))


def test_P5_a_429_is_paused_for_and_fetches_the_token_anew() -> None:
    around = surroundings()
    flow, request = begin(around)
    next(flow)
    flow.send(token(1))

    assert Pause(7.0) == flow.send(answered(429, retry_after="7", x_rate_limit_remaining="3"))
    assert Fetch(None) == flow.send(None)
    assert request is flow.send(token(1))
    with pytest.raises(StopIteration):
        flow.send(answered(200))


def test_P5_patience_is_spent_over_all_tries() -> None:
    flow, _ = begin(surroundings(patience=10))
    next(flow)
    flow.send(token(1))
    flow.send(answered(503, retry_after="7"))
    next(flow)
    flow.send(token(1))

    with pytest.raises(StopIteration):
        flow.send(answered(503, retry_after="7"))


def test_P5_a_call_whose_turn_is_too_far_away_is_not_sent() -> None:
    around = surroundings(patience=10)
    around.pace.stand_back(150.0)
    flow, _ = begin(around)

    with pytest.raises(RateLimited, match="for another 50 seconds") as raised:
        next(flow)
    assert raised.value.retry_after == 50.0


@pytest.mark.parametrize("steps", [1, 2])
def test_a_call_that_is_abandoned_gives_its_place_back(steps: int) -> None:
    around = surroundings()
    for _ in range(50):
        flow, _ = begin(around)
        assert Fetch(None) == next(flow)
        if steps == 2:
            flow.send(token(1))
        flow.close()


@pytest.mark.parametrize(
    ("method", "more", "expected"),
    [
        ("GET", {}, True),
        ("HEAD", {}, True),
        ("OPTIONS", {}, True),
        ("get", {}, True),
        ("POST", {}, False),
        ("PUT", {}, False),
        ("PATCH", {}, False),
        ("DELETE", {}, False),
        ("QUERY", {}, False),
        ("POST", {"headers": {"Idempotency-Token": "fake-1"}}, True),
        ("POST", {"headers": {"idempotency-token": "fake-1"}, "json": {"a": 1}}, True),
        ("POST", {"headers": {"Idempotency-Token": " "}}, False),
        ("POST", {"headers": {"Idempotency-Token": "fake-1"}, "content": iter([b"a"])}, False),
        ("GET", {"content": iter([b"a"])}, False),
        ("POST", {"headers": {"Idempotency-Token": "x"}, "files": {"f": b"a"}}, False),
    ],
)
def test_what_may_be_sent_twice(method: str, more: dict[str, Any], *, expected: bool) -> None:
    request = httpx2.Request(method, "https://api.procore.com/rest/v1.0/a", **more)

    assert expected == replay_safe(request)
