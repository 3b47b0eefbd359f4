"""Rate limits: not hit where that can be known, and waited for where they are."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest
from tests.api.conftest import Answering, MakeAnswer, NewWorld
from tests.api.world import ME, World

from procore_signin._api.bearer import AsyncBearer, Surroundings
from procore_signin._api.http.replay import Renewals
from procore_signin._api.rate_limit import (
    FIRST_IN_FLIGHT,
    POLL_SECONDS,
    Pace,
    is_general,
    wait_before_retry,
)
from procore_signin._flow.tokens import FreshToken
from procore_signin._protocol.secret import Secret
from procore_signin.api import ApiOptions, RateLimited, raise_for_procore
from procore_signin.errors import ProcoreUnavailable
from procore_signin.events import Event, listen

NOW = 1_800_000_000


def told(limit: int, remaining: int, reset: float, **more: str) -> dict[str, str]:
    """Return the headers of a response."""
    return {
        "x-rate-limit-limit": str(limit),
        "x-rate-limit-remaining": str(remaining),
        "x-rate-limit-reset": f"{reset:.0f}",
        **more,
    }


def refusals(world: World) -> int:
    return world.statuses(ME).count(429)


def test_P5_a_limit_is_waited_for_and_never_hit(new_world: NewWorld) -> None:
    world = new_world(spike_limit=5)
    client = world.client(options=world.time.options())
    responses = [client.get(ME) for _ in range(17)]

    assert [200] * 17 == [response.status_code for response in responses]
    assert refusals(world) == 0
    # 5 requests in each 10 seconds, one of them the sign-in's own.
    assert 3 == len(world.time.slept)
    assert 20 <= sum(world.time.slept) <= 33


def test_P5_a_limit_is_shared_by_all_who_call_at_once(new_world: NewWorld) -> None:
    """Fails when each caller counts alone, or when what is under way is not counted."""
    world = new_world(spike_limit=10)
    client = world.client(options=world.time.options(patience=1e6, deadline=1e6))
    client.get(ME)
    responses = client.together(60, ME)

    assert [200] * 60 == [response.status_code for response in responses]
    assert refusals(world) == 0


def test_P5_a_limit_is_shared_by_all_clients_of_a_front_door(new_world: NewWorld) -> None:
    world = new_world(spike_limit=5)
    options = world.time.options()
    other = world.sign_in("sandbox+arch@example.com")
    clients = [world.client(options=options), world.client(user=other, options=options)]
    statuses = [clients[number % 2].get(ME).status_code for number in range(12)]

    assert [200] * 12 == statuses
    assert refusals(world) == 0


def test_P5_the_first_burst_does_not_hit_a_limit_that_nobody_has_told_yet(
    new_world: NewWorld,
) -> None:
    world = new_world(spike_limit=FIRST_IN_FLIGHT + 2)  # two were used by signing in
    world.emulator.fault(f"GET {ME}", "latency", times=FIRST_IN_FLIGHT, seconds=0.2)
    client = world.client(options=world.time.options(patience=1e6, deadline=1e6))
    responses = client.together(30, ME)

    assert [200] * 30 == [response.status_code for response in responses]
    assert refusals(world) == 0


def test_P5_an_hour_is_not_waited_for(new_world: NewWorld) -> None:
    world = new_world(hourly_limit=3)
    client = world.client(options=world.time.options())
    for _ in range(2):
        client.get(ME)

    with pytest.raises(RateLimited, match="was not sent") as raised:
        client.get(ME)
    assert 3500 < (raised.value.retry_after or 0) <= 3600
    assert (0, 3) == (refusals(world), len(world.asked(ME)))
    assert not raised.value.ambiguous


@pytest.mark.parametrize("reset", ["soon", "past", "far", "garbage"])
@pytest.mark.parametrize("retry_after", [True, False])
def test_P5_a_429_is_waited_for_and_sent_again(
    world: World, reset: str, *, retry_after: bool
) -> None:
    world.emulator.fault(
        f"GET {ME}", "rate-limit", times=2, reset=reset, seconds=5, retry_after=retry_after
    )
    response = world.client(options=world.time.options()).get(ME)

    assert (200, 2) == (response.status_code, refusals(world))
    slept = sum(world.time.slept)
    # A time to go by is gone by; otherwise one second, and then two.
    assert (8 if reset == "soon" else 2.9) <= slept <= (12 if reset == "soon" else 3.3)


def test_P5_a_429_that_stays_ends_as_what_it_is(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "rate-limit", times=None, reset="garbage")
    response = world.client(options=world.time.options(retries=2)).get(ME)

    assert (429, 3) == (response.status_code, refusals(world))
    with pytest.raises(RateLimited, match="surpassed the max number") as raised:
        raise_for_procore(response)
    assert isinstance(raised.value, ProcoreUnavailable)


def test_O2_a_limit_that_is_hit_or_used_up_leaves_an_event(world: World) -> None:
    heard: list[dict[str, object]] = []
    world.emulator.fault(f"GET {ME}", "rate-limit", reset="soon", seconds=300)
    client = world.client(options=world.time.options())
    stop = listen(lambda event, fields: heard.append({"event": event, **fields}))
    client.get(ME, params={"email": "joe@example.com"})
    with pytest.raises(RateLimited):
        client.get(ME)
    stop()
    limited = [each for each in heard if each["event"] is Event.API_RATE_LIMITED]
    assert [each.pop("sent") for each in limited] == [True, False]
    for each in limited:
        assert isinstance(wait := each.pop("retry_in"), int)
        assert 290 <= wait <= 301
        assert each == {"event": "api.rate_limited", "user": 1, "method": "GET", "path": ME}


def test_P5_a_429_that_asks_for_more_than_the_patience_is_not_waited_for(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "rate-limit", reset="soon", seconds=300)
    response = world.client(options=world.time.options()).get(ME)

    assert (429, []) == (response.status_code, world.time.slept)
    with pytest.raises(RateLimited) as raised:
        raise_for_procore(response, clock=world.emulator.now)
    assert 298 <= (raised.value.retry_after or 0) <= 300


def test_P5_who_comes_after_a_429_waits_as_well(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "rate-limit", reset="soon", seconds=300)
    client = world.client(options=world.time.options())
    client.get(ME)

    with pytest.raises(RateLimited, match="was not sent"):
        client.get(ME)
    assert len(world.asked(ME)) == 2


def test_P5_who_comes_after_a_429_without_numbers_waits_as_well(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    server = answering(answer(429, retry_after="300"))
    client = world.client(at=server.origin, options=world.time.options())
    client.get(ME)

    with pytest.raises(RateLimited, match="was not sent"):
        client.get("/rest/v1.0/other")
    assert len(server.requests) == 1


def test_a_429_of_one_endpoint_stops_nobody_elsewhere(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    soon = str(int(world.emulator.now()) + 1000)
    numbers: dict[str, Any] = {"x_rate_limit_limit": "25", "x_rate_limit_remaining": "9"}
    server = answering(
        answer(429, retry_after="300", **numbers, x_rate_limit_reset=soon), answer(200, b"[]")
    )
    client = world.client(at=server.origin, options=world.time.options())
    client.get(ME)

    assert client.get("/rest/v1.0/other").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("status", [429, 503])
def test_P5_a_call_that_does_something_is_not_sent_again(
    world: World, method: str, status: int
) -> None:
    world.emulator.fault(f"{method} {ME}", "status", status=status, headers={"Retry-After": "1"})
    response = world.client(options=world.time.options()).request(method, ME)

    assert (status, 2, []) == (response.status_code, len(world.asked(ME)), world.time.slept)


def test_P5_a_call_with_an_idempotency_token_is(world: World) -> None:
    world.emulator.fault(f"POST {ME}", "status", status=503, headers={"Retry-After": "7"})
    world.client(options=world.time.options()).request(
        "POST", ME, json={"a": 1}, headers={"Idempotency-Token": "fake-1"}
    )

    assert ([503, 501], [7.0]) == (world.statuses(ME)[-2:], world.time.slept)


def test_P5_a_503_that_names_a_time_is_waited_for(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "status", status=503, headers={"Retry-After": "7"})
    response = world.client(options=world.time.options()).get(ME)

    assert (200, [7.0]) == (response.status_code, world.time.slept)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_P5_another_failure_is_returned_at_once(world: World, status: int) -> None:
    world.emulator.fault(f"GET {ME}", "status", status=status)
    response = world.client(options=world.time.options()).get(ME)

    assert (status, []) == (response.status_code, world.time.slept)


def test_P5_without_retries_nothing_is_sent_again(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "status", status=503, headers={"Retry-After": "1"})
    response = world.client(options=world.time.options(retries=0)).get(ME)

    assert (503, []) == (response.status_code, world.time.slept)


def test_a_refused_token_after_a_429_is_renewed_all_the_same(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "rate-limit", reset="soon", seconds=5)
    world.emulator.fault(f"GET {ME}", "status", status=401)
    response = world.client(options=world.time.options()).get(ME)

    assert (200, [429, 401, 200]) == (response.status_code, world.statuses(ME)[-3:])


def test_a_call_that_fails_gives_its_place_back(world: World, answering: Answering) -> None:
    """Fails when a lost request stays counted as under way: the eleventh would wait forever."""
    server = answering(b"")
    client = world.client(at=server.origin, options=world.time.options(deadline=0.05))
    for _ in range(FIRST_IN_FLIGHT + 5):
        with pytest.raises(ProcoreUnavailable):
            client.get(ME)

    assert world.time.slept == []


def test_a_call_that_is_cancelled_gives_its_place_back() -> None:
    around = Surroundings(1, Pace(), Renewals(), ApiOptions(), lambda: NOW)

    async def tokens(_: int | None) -> FreshToken:
        return FreshToken(Secret("fake-access", "access token"), 1, 5400)

    async def cancel() -> None:
        asked = asyncio.Event()

        async def answer(_: httpx2.Request) -> httpx2.Response:
            asked.set()
            await asyncio.Event().wait()
            return httpx2.Response(200)

        transport = httpx2.MockTransport(answer)
        async with httpx2.AsyncClient(
            auth=AsyncBearer(around, tokens), transport=transport
        ) as client:
            call = asyncio.create_task(client.get("https://api.procore.com/rest/v1.0/me"))
            await asked.wait()
            assert around.pace._in_flight == 1
            call.cancel()
            await asyncio.wait([call])

    asyncio.run(cancel())
    assert around.pace._in_flight == 0


# The pace by itself.


def test_the_first_requests_may_leave_at_once_and_the_next_wait_for_an_answer() -> None:
    pace = Pace()
    waits = [pace.ask(0.0) for _ in range(FIRST_IN_FLIGHT + 1)]

    assert [0.0] * FIRST_IN_FLIGHT + [POLL_SECONDS] == waits
    pace.learn({}, clock=NOW, now=0.0)
    assert pace.ask(0.0) == 0.0


def test_a_used_up_window_is_waited_for_to_its_end() -> None:
    pace = Pace()
    pace.learn(told(25, 0, NOW + 8), clock=NOW, now=100.0)

    assert pace.ask(100.0) == 8.0
    assert pace.ask(107.5) == 0.5
    assert pace.ask(108.0) == 0.0


def test_what_is_under_way_counts() -> None:
    pace = Pace()
    pace.ask(0.0)
    pace.learn(told(3, 2, NOW + 8), clock=NOW, now=0.0)
    pace.done()

    assert [0.0, 0.0, POLL_SECONDS] == [pace.ask(0.0) for _ in range(3)]
    pace.done()
    assert pace.ask(0.0) == 0.0


def test_answers_that_overtake_each_other_do_not_give_room_back() -> None:
    pace = Pace()
    for remaining in (0, 9, 5):
        pace.learn(told(10, remaining, NOW + 8), clock=NOW, now=0.0)

    assert pace.ask(0.0) == 8.0


def test_both_windows_count() -> None:
    pace = Pace()
    pace.learn(told(600, 0, NOW + 1800), clock=NOW, now=0.0)
    pace.learn(told(25, 24, NOW + 8), clock=NOW, now=0.0)

    assert pace.ask(0.0) == 1800.0


def test_the_next_window_begins_anew() -> None:
    pace = Pace()
    pace.learn(told(2, 0, NOW + 8), clock=NOW, now=0.0)
    pace.learn(told(2, 1, NOW + 18), clock=NOW + 9, now=9.0)

    assert pace.ask(9.0) == 0.0
    assert pace.ask(9.0) == POLL_SECONDS


def test_a_late_answer_of_the_last_window_is_ignored() -> None:
    pace = Pace()
    pace.learn(told(2, 1, NOW + 18), clock=NOW, now=0.0)
    pace.learn(told(2, 0, NOW + 8), clock=NOW, now=0.0)

    assert pace.ask(0.0) == 0.0


def test_the_servers_own_clock_is_preferred_to_ours() -> None:
    pace = Pace()
    theirs = datetime.fromtimestamp(NOW, UTC)
    headers = told(2, 0, NOW + 8, date=format_datetime(theirs, usegmt=True))
    pace.learn(headers, clock=NOW + 600, now=0.0)

    assert pace.ask(0.0) == 8.0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        told(25, 0, NOW - 5),
        told(25, 0, NOW + 86_400),
        told(25, 26, NOW + 8),
        told(0, 0, NOW + 8),
        {**told(25, 0, NOW + 8), "x-rate-limit-reset": "soon, perhaps"},
        {**told(25, 0, NOW + 8), "x-rate-limit-remaining": "-1"},
        {**told(25, 0, NOW + 8), "x-rate-limit-limit": "２５"},
        {**told(25, 0, NOW + 8), "x-rate-limit-reset": "9" * 400},
        {**told(25, 0, NOW + 8), "date": "Fri, 01 Jan 9999 00:00:00 GMT"},
    ],
)
def test_P5_nonsense_stops_nobody(headers: dict[str, str]) -> None:
    pace = Pace()
    pace.learn(headers, clock=NOW, now=0.0)

    assert [0.0] * 50 == [pace.ask(0.0) for _ in range(50)]


def test_O6_windows_do_not_grow_without_bound() -> None:
    pace = Pace()
    for limit in range(1, 10_000):
        pace.learn(told(limit, limit, NOW + 8), clock=NOW, now=0.0)

    assert len(pace._windows) < 10


def test_P5_threads_together_never_pass_the_limit() -> None:
    """A server that counts; 16 threads; every request is under way for a moment."""
    pace = Pace()
    pace.ask(0.0)
    pace.learn(told(100, 100, NOW + 8), clock=NOW, now=0.0)
    pace.done()
    lock = threading.Lock()
    used = 0
    worst = 0

    def call(_: int) -> None:
        nonlocal used, worst
        if pace.ask(0.0) > 0:
            return
        with lock:
            used += 1
            remaining, worst = 100 - used, max(worst, used)
        pace.learn(told(100, max(0, remaining), NOW + 8), clock=NOW, now=0.0)
        pace.done()

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(call, range(2000)))
    assert worst == 100


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (429, {"retry-after": "7"}, 7.0),
        (429, {"x-rate-limit-reset": str(NOW + 9)}, 9.0),
        (429, {"retry-after": "7", "x-rate-limit-reset": str(NOW + 9)}, 7.0),
        (429, {"x-rate-limit-reset": str(NOW - 9)}, 4.0),
        (429, {"x-rate-limit-reset": str(NOW + 90_000)}, 4.0),
        (429, {"retry-after": "soon"}, 4.0),
        (429, {}, 4.0),
        (503, {"retry-after": "7"}, 7.0),
        (503, {"retry-after": "0"}, 4.0),
        (503, {"x-rate-limit-reset": str(NOW + 9)}, None),
        (503, {}, None),
        (500, {"retry-after": "7"}, None),
        (401, {"retry-after": "7"}, None),
    ],
)
def test_P5_how_long_to_wait_before_the_third_try(
    status: int, headers: dict[str, str], expected: float | None
) -> None:
    assert expected == wait_before_retry(status, headers, clock=NOW, tries=2)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, True), (told(25, 0, NOW), True), (told(25, 3, NOW), False)],
)
def test_a_429_of_one_endpoint_is_told_from_the_general_limits(
    headers: dict[str, Any], *, expected: bool
) -> None:
    assert expected == is_general(headers)
