from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import Emulator

Headers = dict[str, str]
Limited = Callable[..., tuple[Emulator, Callable[[], httpx2.Response]]]


@pytest.fixture
def limited(
    emulated: Callable[..., Emulator],
    http_of: Callable[[Emulator], httpx2.Client],
    sign_in: Callable[..., dict[str, Any]],
    bearer: Callable[[dict[str, Any]], Headers],
) -> Limited:
    """Start an emulator with limits; returns it and a function that calls `/me`."""

    def start(**options: Any) -> tuple[Emulator, Callable[[], httpx2.Response]]:
        emulator = emulated(now=lambda: 1_800_000_000.0, **options)
        http = http_of(emulator)
        headers = bearer(sign_in(emulator, http))
        return emulator, lambda: http.get("/rest/v1.0/me", headers=headers)

    return start


def told(answered: httpx2.Response) -> tuple[int, int, int]:
    """Return limit, remaining and reset."""
    names = ("limit", "remaining", "reset")
    limit, remaining, reset = (int(answered.headers[f"x-rate-limit-{name}"]) for name in names)
    return limit, remaining, reset


def test_without_limits_nobody_is_refused_and_the_headers_are_there(limited: Limited) -> None:
    _, call = limited()
    answers = [call() for _ in range(40)]
    assert {200} == {answer.status_code for answer in answers}
    assert {(3600, 3599, 1_800_003_600)} == {told(answer) for answer in answers}


def test_E2_the_spike_limit_refuses_and_ends_with_its_ten_seconds(limited: Limited) -> None:
    emulator, call = limited(spike_limit=2)
    first, second, third = call(), call(), call()
    assert [200, 200, 429] == [answer.status_code for answer in (first, second, third)]
    assert [(2, 1), (2, 0), (2, 0)] == [told(a)[:2] for a in (first, second, third)]
    assert 1_800_000_010 == told(third)[2]
    assert ["10"] == [a.headers.get("retry-after") for a in (first, second, third) if a.is_error]
    assert {
        "errors": "You have surpassed the max number of requests for your rate limit. "
        "Please wait until your limit resets."
    } == third.json()
    emulator.advance(10)
    assert 200 == call().status_code


def test_the_hourly_limit_refuses_and_ends_with_its_hour(limited: Limited) -> None:
    emulator, call = limited(hourly_limit=1)
    call()
    refused = call()
    assert 429 == refused.status_code
    assert (1, 0, 1_800_003_600) == told(refused)
    assert "requests for an hour" in refused.text
    emulator.advance(3599)
    assert 429 == call().status_code
    emulator.advance(1)
    assert 200 == call().status_code


def test_the_headers_tell_of_the_limit_that_will_be_reached_first(limited: Limited) -> None:
    emulator, call = limited(hourly_limit=4, spike_limit=3)
    assert (3, 2) == told(call())[:2]
    emulator.advance(10)
    assert (3, 2) == told(call())[:2]
    emulator.advance(10)
    assert (4, 1) == told(call())[:2]


def test_only_good_tokens_are_counted(limited: Limited) -> None:
    emulator, call = limited(spike_limit=1)
    emulator.revoke()
    assert [401, 401] == [call().status_code, call().status_code]


def test_reset_counts_anew(limited: Limited, authorize: Callable[..., str]) -> None:
    emulator, call = limited(hourly_limit=1)
    assert [200, 429] == [call().status_code, call().status_code]
    emulator.reset()
    assert 401 == call().status_code
    assert emulator.approve(authorize())
