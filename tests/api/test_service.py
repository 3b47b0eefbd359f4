"""Service accounts: the client's own token."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import Clock, ScriptedProcore, front_door, tokens
from tests.api.conftest import NewWorld
from tests.api.world import COMPANY, ME, PROJECTS, World

from procore_signin._api.service_account import ServiceTokens
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin.api import service_client_for
from procore_signin.errors import ClientMisconfigured, ProcoreUnavailable

COMPANIES = "/rest/v1.0/companies"


def grants(world: World) -> list[str | None]:
    """Return the grant types that were asked for after the sign-in."""
    return [request.grant_type for request in world.emulator.token_requests[1:]]


def test_a_service_account_acts_for_itself(world: World) -> None:
    answer = world.client(COMPANY, service=True).get(ME).json()

    assert answer["id"] == 900001
    assert ["client_credentials"] == grants(world)


@pytest.mark.parametrize("path", [ME, COMPANIES, PROJECTS])
def test_P4_every_call_names_the_company(world: World, path: str) -> None:
    response = world.client(COMPANY, service=True).get(path, params={"company_id": COMPANY})

    assert response.status_code == 200
    assert str(COMPANY) == world.asked(path)[-1]["procore-company-id"]


def test_P4_there_is_no_service_client_without_a_company(world: World) -> None:
    with pytest.raises(ValueError, match="integer from 1"):
        service_client_for(world.door, 0)


def test_one_token_serves_all_calls_and_companies(world: World) -> None:
    for company in (COMPANY, 562949953434271, COMPANY):
        world.client(company, service=True).get(ME)

    assert ["client_credentials"] == grants(world)


def test_R1_fifty_who_need_it_at_once_fetch_it_once(world: World) -> None:
    world.emulator.fault("POST /oauth/token", "latency", seconds=0.3)
    responses = world.client(COMPANY, service=True).together(50, ME)

    assert [200] * 50 == [response.status_code for response in responses]
    assert ["client_credentials"] == grants(world)


def test_a_token_that_has_ended_is_fetched_again(world: World) -> None:
    client = world.client(COMPANY, service=True)
    client.get(ME)
    world.emulator.advance(5400)

    assert client.get(ME).status_code == 200
    assert ["client_credentials"] * 2 == grants(world)


def test_R8_a_token_that_ends_soon_serves_on_while_the_next_cannot_be_fetched(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    client = world.client(COMPANY, service=True)
    client.get(ME)
    world.emulator.advance(5000)
    world.emulator.fault("POST /oauth/token", "status", times=None, status=503)

    for _ in range(3):
        assert client.get(ME).status_code == 200
        world.settle()
    # R7: one try, and then none for a while.
    assert ["client_credentials"] * 2 == grants(world)
    assert 1 == caplog.text.count("Postponed work failed")


def test_R8_a_token_that_ends_soon_is_replaced_beside_its_use(world: World) -> None:
    client = world.client(COMPANY, service=True)
    client.get(ME)
    world.emulator.advance(5000)
    for _ in range(3):
        client.get(ME)
        world.settle()

    assert ["client_credentials"] * 2 == grants(world)
    first, *_, last = (asked["authorization"] for asked in world.asked(ME)[1:])
    assert first != last


def test_R9_a_token_that_the_api_refuses_is_replaced_once(world: World) -> None:
    client = world.client(COMPANY, service=True)
    world.emulator.fault(f"GET {ME}", "status", status=401)

    assert client.get(ME).status_code == 200
    assert ["client_credentials"] * 2 == grants(world)


def test_R9_always_401_costs_two_calls_and_one_more_token(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "status", times=None, status=401)
    client = world.client(COMPANY, service=True)
    for _ in range(4):
        assert client.get(ME).status_code == 401

    assert ["client_credentials"] * 2 == grants(world)
    assert 5 == len(world.statuses(ME)) - 1


def test_R7_an_outage_is_not_asked_again_and_again(world: World) -> None:
    world.emulator.fault("POST /oauth/token", "status", times=None, status=503)
    client = world.client(COMPANY, service=True)
    for _ in range(5):
        with pytest.raises(ProcoreUnavailable):
            client.get(ME)
    assert ["client_credentials"] == grants(world)

    world.emulator.clear_faults()
    world.emulator.advance(5.01)  # the sum of a time and 5 may be a little less
    assert client.get(ME).status_code == 200


def test_an_outage_says_when_to_come_back(world: World) -> None:
    world.emulator.fault("POST /oauth/token", "status", status=503, headers={"Retry-After": "100"})
    client = world.client(COMPANY, service=True)
    with pytest.raises(ProcoreUnavailable):
        client.get(ME)

    with pytest.raises(ProcoreUnavailable, match="too early") as raised:
        client.get(ME)
    assert 95 <= (raised.value.retry_after or 0) <= 100


def test_a_client_that_gets_no_service_token_is_for_the_operator(new_world: NewWorld) -> None:
    world = new_world()
    world.emulator.client("emulator-client-id", "fake-new-secret", name="Changed")

    with pytest.raises(ClientMisconfigured):
        world.client(COMPANY, service=True).get(ME)


def test_it_shares_neither_token_nor_renewal_with_a_person(world: World) -> None:
    person, service = world.client(), world.client(COMPANY, service=True)
    ids = [client.get(ME).json()["id"] for client in (person, service, person, service)]

    assert [11111, 900001, 11111, 900001] == ids


def test_T6_a_slow_response_makes_no_token_of_a_service_account_younger(tmp_path: Path) -> None:
    procore, clock = ScriptedProcore(), Clock()

    def slow(_: HttpRequest) -> HttpResponse:
        clock.advance(9)
        return tokens()

    procore.next("/oauth/token", slow)
    with front_door(tmp_path, procore, clock) as door:
        service = ServiceTokens(door.context)
        assert door.run(service.fresh()).expires_in == 5400 - 9
