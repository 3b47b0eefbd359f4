"""What a 401 of the API leads to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.api.conftest import Answering, MakeAnswer, Serve
from tests.api.server import Server
from tests.api.world import COMPANY, ME, PROJECTS, World

from procore_signin._api.http.replay import FUTILE_SECONDS, Renewals
from procore_signin._store.access import DisableUser
from procore_signin._store.users import UserOf
from procore_signin.api import Unauthorized, raise_for_procore
from procore_signin.errors import GrantLost, ProcoreUnavailable, SignInRefused
from procore_signin.events import Event, listen

TOGETHER = 50


def test_R9_a_token_that_the_api_refuses_is_renewed_and_the_call_sent_once_more(
    world: World,
) -> None:
    client = world.client()
    world.emulator.fault(f"GET {ME}", "status", status=401)
    response = client.get(ME)

    assert (200, [401, 200]) == (response.status_code, world.statuses(ME)[-2:])
    first, second = (request["authorization"] for request in world.asked(ME)[-2:])
    assert first != second
    assert world.token_requests == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_O2_a_renewal_leaves_an_event(world: World, method: str) -> None:
    heard: list[dict[str, object]] = []
    client = world.client()
    world.emulator.fault(f"{method} {ME}", "status", status=401)
    stop = listen(lambda event, fields: heard.append({"event": event, **fields}))
    client.request(method, ME)
    stop()
    assert [each for each in heard if each["event"] is Event.API_RENEWED] == [
        {"event": "api.token_renewed", "user": 1, "method": method, "path": ME, "generation": 2}
    ]


def test_R9_the_renewed_token_is_kept_for_the_next_call(world: World) -> None:
    client = world.client()
    world.emulator.fault(f"GET {ME}", "status", status=401)
    client.get(ME)
    client.get(ME)

    assert [401, 200, 200] == world.statuses(ME)[-3:]
    assert world.token_requests == 1


def test_R9_an_expired_token_is_renewed_before_the_call(world: World) -> None:
    client = world.client()
    world.emulator.advance(5401)
    client.get(ME)

    assert [200, 200] == world.statuses(ME)  # the first is the sign-in's own
    assert world.token_requests == 1


def test_R9_always_401_costs_two_calls_and_one_refresh(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "status", times=None, status=401)
    response = world.client().get(ME)

    assert [200, 401, 401] == world.statuses(ME)
    assert world.token_requests == 1
    with pytest.raises(Unauthorized, match=r"GET /rest/v1\.0/me got status 401"):
        raise_for_procore(response)


def all_at_once(first: bytes, then: bytes, number: int) -> Any:
    """Return a behaviour: 200 once; `first` to the next `number`, when all have asked; `then`."""
    barrier = threading.Barrier(number, timeout=20)
    lock = threading.Lock()
    asked = 0

    def behave(sock: socket.socket, server: Server) -> None:
        nonlocal asked
        while server.read(sock):
            with lock:
                asked += 1
                turn = asked
            if turn == 1:
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")
            elif turn <= number + 1:
                barrier.wait()
                sock.sendall(first)
            else:
                sock.sendall(then)

    return behave


def test_R9_always_401_for_fifty_at_once_costs_two_calls_each_and_one_refresh_in_all(
    world: World, serve: Serve, answer: MakeAnswer
) -> None:
    """The race is as wide as it gets: no one is refused before all fifty have asked.

    Fails without `rejected=` in `fresh_tokens`, and without `Renewals`.
    """
    server = serve(all_at_once(answer(401), answer(401), TOGETHER))
    client = world.client(at=server.origin)
    client.get(ME)  # now it is known that there is no limit: all fifty may leave
    responses = client.together(TOGETHER, ME)

    assert [401] * TOGETHER == [response.status_code for response in responses]
    assert 1 + 2 * TOGETHER == len(server.requests)
    assert world.token_requests == 1


def test_R9_fifty_at_once_with_a_stale_token_all_succeed_after_one_refresh(
    world: World, serve: Serve, answer: MakeAnswer
) -> None:
    server = serve(all_at_once(answer(401), answer(200, b"[1]"), TOGETHER))
    client = world.client(at=server.origin)
    client.get(ME)
    responses = client.together(TOGETHER, ME)

    assert [[1]] * TOGETHER == [response.json() for response in responses]
    assert 1 + 2 * TOGETHER == len(server.requests)
    assert world.token_requests == 1


def test_R9_fifty_at_once_find_out_together_that_the_grant_is_gone(
    world: World, serve: Serve, answer: MakeAnswer
) -> None:
    server = serve(all_at_once(answer(401), answer(401), TOGETHER))
    client = world.client(at=server.origin)
    client.get(ME)
    world.emulator.revoke(token=world.bearer)

    with pytest.raises(GrantLost):
        client.together(TOGETHER, ME)
    assert world.token_requests == 1


def test_R9_whoever_is_refused_with_the_new_token_too_does_not_renew_it_again(
    world: World,
) -> None:
    world.emulator.fault(f"GET {ME}", "status", times=None, status=401)
    client = world.client(options=world.time.options())
    for _ in range(5):
        client.get(ME)

    assert [200, *[401] * 6] == world.statuses(ME)
    assert world.token_requests == 1


def test_R9_after_five_minutes_it_may_be_renewed_once_more(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "status", times=None, status=401)
    client = world.client(options=world.time.options())
    client.get(ME)
    world.time.pass_by(FUTILE_SECONDS)
    client.get(ME)

    assert world.token_requests == 2


def test_R9_a_company_without_the_app_does_not_stop_renewals_in_another(world: World) -> None:
    world.emulator.fault(f"GET {PROJECTS}", "status", times=None, status=401)
    world.client(77).get(PROJECTS)
    world.emulator.fault(f"GET {ME}", "status", status=401)
    response = world.client(COMPANY).get(ME)

    assert response.status_code == 200
    assert world.token_requests == 2


def test_R9_a_success_makes_the_next_401_a_new_matter(world: World) -> None:
    client = world.client()
    for _ in range(2):
        world.emulator.fault(f"GET {ME}", "status", status=401)
        assert client.get(ME).status_code == 200
    assert world.token_requests == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_R9_a_call_that_does_something_is_not_sent_twice(world: World, method: str) -> None:
    world.emulator.fault(f"{method} {ME}", "status", status=401)
    client = world.client()
    response = client.request(method, ME)

    assert (401, [200, 401]) == (response.status_code, world.statuses(ME))
    assert world.token_requests == 1  # so that the next call has a token that works
    client.get(ME)
    assert (200, 1) == (world.statuses(ME)[-1], world.token_requests)


def test_R9_a_call_that_does_something_renews_once_as_well(world: World) -> None:
    world.emulator.fault(f"POST {ME}", "status", times=None, status=401)
    client = world.client()
    for _ in range(5):
        client.request("POST", ME)

    assert [200, *[401] * 5] == world.statuses(ME)
    assert world.token_requests == 1


def test_R9_a_call_with_an_idempotency_token_is(world: World) -> None:
    world.emulator.fault(f"POST {ME}", "status", status=401)
    world.client().request("POST", ME, json={"a": 1}, headers={"Idempotency-Token": "fake-1"})

    assert [401, 501] == world.statuses(ME)[-2:]
    sent = [each for each in world.emulator.requests if (each.method, each.target) == ("POST", ME)]
    assert [each.request_body for each in sent] == [b'{"a":1}', b'{"a":1}']


def test_R9_a_body_that_is_a_stream_is_never_sent_twice(world: World) -> None:
    parts = [b"first ", b"second"]

    def flow() -> Iterator[bytes]:
        yield from parts

    async def flow_too() -> Any:
        for part in parts:
            yield part

    world.emulator.fault(f"POST {ME}", "status", status=401)
    response = world.client().request(
        "POST",
        ME,
        content=flow() if world.colour == "sync" else flow_too(),
        headers={"Idempotency-Token": "fake-1"},
    )

    assert (401, [200, 401]) == (response.status_code, world.statuses(ME))


def test_R9_a_streamed_answer_is_renewed_as_well(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "status", status=401)

    assert b"11111" in b"".join(world.client().read_parts(ME))


def test_a_grant_that_is_gone_asks_for_a_new_sign_in(world: World) -> None:
    client = world.client()
    world.emulator.revoke(login="joecontractor@procore.com")

    with pytest.raises(GrantLost) as raised:
        client.get(ME)
    assert raised.value.hint == "Ask the user to sign in again."


def test_somebody_who_never_signed_in_is_told_so(world: World) -> None:
    before = len(world.emulator.requests)

    with pytest.raises(GrantLost):
        world.client(user=4711).get(ME)
    assert before == len(world.emulator.requests)


def test_R9_an_outage_of_the_token_endpoint_does_not_lose_the_grant(world: World) -> None:
    client = world.client()
    world.emulator.fault(f"GET {ME}", "status", status=401)
    world.emulator.fault("POST /oauth/token", "status", times=2, status=503)

    with pytest.raises(ProcoreUnavailable):
        client.get(ME)
    world.emulator.advance(60)
    assert client.get(ME).status_code == 200


def test_two_people_never_get_each_others_token(world: World) -> None:
    other = world.sign_in("sandbox+arch@example.com")
    mine, theirs = world.client(), world.client(user=other)

    logins = [client.get(ME).json()["id"] for client in (mine, theirs, mine, theirs)]
    assert [11111, 11112, 11111, 11112] == logins


def test_a_user_may_be_given_as_the_store_returns_them(world: World) -> None:
    user = world.door.store.ask(UserOf(world.user))
    assert user is not None

    assert world.client(user=user).get(ME).status_code == 200


def test_renewals_are_remembered_for_each_by_itself() -> None:
    renewals = Renewals()
    renewals.note("one", 7, 100.0)

    assert renewals.futile("one", 7, 399.0)
    assert not renewals.futile("one", 7, 400.0)
    assert not renewals.futile("one", 8, 101.0)
    assert not renewals.futile("two", 7, 101.0)


def test_O6_renewals_do_not_grow_without_bound() -> None:
    renewals = Renewals()
    for number in range(10_000):
        renewals.note(number, 1, 0.0)

    assert not renewals.futile(0, 1, 1.0)
    assert renewals.futile(9_999, 1, 1.0)
    assert len(renewals._renewed) < 5_000


def test_a_disabled_person_is_refused_before_anything_is_sent(world: World) -> None:
    client = world.client()
    world.door.store.do(DisableUser(world.user, now=int(world.emulator.now())))
    before = len(world.emulator.requests)

    with pytest.raises(SignInRefused):
        client.get(ME)
    assert before == len(world.emulator.requests)


def test_the_answer_that_was_refused_first_is_in_the_history(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    server = answering(answer(401, b"no"), answer(200, b"[]"))
    response: httpx2.Response = world.client(at=server.origin).get(ME)

    assert [401] == [earlier.status_code for earlier in response.history]
