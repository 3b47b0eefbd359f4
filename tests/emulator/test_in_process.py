"""The emulator for clients in its own process: the same replies, faults and journal."""

from __future__ import annotations

import asyncio
import json

import pytest

from procore_signin._emulator.wire.in_process import InProcess, Unanswered
from procore_signin._emulator.wire.messages import Reply
from procore_signin.emulator import Emulator, EmulatorOptions, LocalProcore

ORIGIN = "https://api.procore.com"


class Time:
    """A clock that goes on while someone sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def place(time: Time) -> InProcess:
    procore = LocalProcore(EmulatorOptions(seed=1))
    return InProcess(procore, monotonic=time, sleep=time.sleep)


@pytest.fixture
def emulator(place: InProcess) -> Emulator:
    return Emulator(place.app.procore, place)


def token_of(emulator: Emulator, place: InProcess) -> str:
    callback = "http://localhost:4567/callback"
    url = (
        f"/oauth/authorize?client_id=emulator-client-id&response_type=code&redirect_uri={callback}"
    )
    code = emulator.approve(url).partition("code=")[2].partition("&")[0]
    form = (
        f"grant_type=authorization_code&client_id=emulator-client-id&code={code}"
        f"&client_secret=emulator-client-secret&redirect_uri={callback}"
    )
    headers = (("content-type", "application/x-www-form-urlencoded"),)
    reply = place.ask(
        "POST", "https://login.procore.com/oauth/token", headers, form.encode(), deadline=10
    )
    return str(json.loads(reply.body)["access_token"])


def get(place: InProcess, path: str, token: str, *, deadline: float = 10) -> Reply:
    headers = (("authorization", f"Bearer {token}"),)
    return place.ask("GET", ORIGIN + path, headers, b"", deadline=deadline)


def test_a_client_signs_in_and_calls_the_api_and_the_journal_has_it(
    emulator: Emulator, place: InProcess
) -> None:
    reply = get(place, "/rest/v1.0/companies?per_page=1", token_of(emulator, place))

    assert (reply.status, len(json.loads(reply.body))) == (200, 1)
    assert reply.header("date") is not None
    assert [exchange.target for exchange in emulator.requests] == [
        "/oauth/token",
        "/rest/v1.0/companies?per_page=1",
    ]


def test_its_links_lead_to_the_origin_that_was_asked(emulator: Emulator, place: InProcess) -> None:
    link = get(place, "/rest/v1.0/companies?per_page=1", token_of(emulator, place)).header("link")

    assert link is not None
    assert link.startswith(f"<{ORIGIN}/rest/v1.0/companies?")


def test_a_request_waits_on_an_event_loop_too(emulator: Emulator, place: InProcess) -> None:
    headers = (("authorization", f"Bearer {token_of(emulator, place)}"),)
    emulator.fault("GET /rest/v1.0/me", "latency", seconds=0.01)

    reply = asyncio.run(place.aask("GET", f"{ORIGIN}/rest/v1.0/me", headers, b"", deadline=10))

    assert json.loads(reply.body)["id"] == 11111


def test_a_fault_changes_the_reply(emulator: Emulator, place: InProcess) -> None:
    emulator.fault("GET /rest/v1.0/me", "status", status=503)

    assert get(place, "/rest/v1.0/me", token_of(emulator, place)).status == 503


def test_a_slow_reply_takes_as_long_as_it_says(
    emulator: Emulator, place: InProcess, time: Time
) -> None:
    token = token_of(emulator, place)
    emulator.fault("GET /rest/v1.0/me", "latency", seconds=5)
    emulator.fault("GET /rest/v1.0/me", "drip", bytes=10, interval=0.5)

    get(place, "/rest/v1.0/me", token)
    assert time.now == 1005

    dripped = get(place, "/rest/v1.0/me", token)
    assert time.now == 1005 + 0.5 * -(-len(dripped.body) // 10)


def test_who_waits_longer_than_the_deadline_gives_up(
    emulator: Emulator, place: InProcess, time: Time
) -> None:
    token = token_of(emulator, place)
    emulator.fault("GET /rest/v1.0/me", "latency", seconds=60)

    with pytest.raises(Unanswered) as caught:
        get(place, "/rest/v1.0/me", token, deadline=10)

    assert (caught.value.sent, caught.value.in_time, time.now) == (True, False, 1010)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("drop-before-commit", {}),
        ("drop-after-commit", {"reset": True}),
        ("truncate", {"keep": 3}),
        ("content-length", {"length": 5000}),
    ],
)
def test_a_response_that_breaks_off_is_none(
    emulator: Emulator, place: InProcess, kind: str, settings: dict[str, int]
) -> None:
    token = token_of(emulator, place)
    emulator.fault("GET /rest/v1.0/me", kind, **settings)

    with pytest.raises(Unanswered) as caught:
        get(place, "/rest/v1.0/me", token)

    assert (caught.value.sent, caught.value.in_time) == (True, True)
    assert get(place, "/rest/v1.0/me", token).status == 200


def test_a_server_that_is_down_carries_nothing_out(
    emulator: Emulator, place: InProcess, time: Time
) -> None:
    token = token_of(emulator, place)
    emulator.fault("GET /rest/v1.0/me", "refuse", seconds=3)
    with pytest.raises(Unanswered):
        get(place, "/rest/v1.0/me", token)
    heard = len(emulator.requests)

    with pytest.raises(Unanswered) as caught:
        get(place, "/rest/v1.0/me", token)
    time.sleep(3)
    with emulator.refusing(), pytest.raises(Unanswered) as caught_again:
        get(place, "/rest/v1.0/me", token)

    assert (caught.value.sent, caught_again.value.sent) == (False, False)
    assert len(emulator.requests) == heard
    assert get(place, "/rest/v1.0/me", token).status == 200
