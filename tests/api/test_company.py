"""The company that a call is made into."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from tests.api.world import COMPANY, ME, PROJECTS, World

from procore_signin._api.company import company_header, is_company_header
from procore_signin.api import (
    NotConnected,
    NotFound,
    NotSent,
    client_for,
    raise_for_procore,
)


@pytest.mark.parametrize("company_id", [1, COMPANY, 562949953434271, 2**63 - 1])
def test_P4_an_id_is_sent_as_it_is(world: World, company_id: int) -> None:
    world.client(company_id).get(ME)

    assert str(company_id) == world.asked(ME)[-1]["procore-company-id"]


BAD: list[Any] = [
    0,
    -1,
    2**63,
    True,
    1.0,
    "8089",
    "1\r\nX: y",
    "1\nAuthorization: Bearer fake",
    b"1",
    "１２",
    " 1",
    "1_0",
    float("nan"),
    (1,),
]


@pytest.mark.parametrize("company_id", BAD)
def test_P4_what_is_no_id_makes_no_client(world: World, company_id: Any) -> None:
    with pytest.raises(ValueError, match="integer from 1"):
        client_for(world.door, world.user, company_id)


@pytest.mark.parametrize("value", ["0", "-1", "01", "9223372036854775808", "1 ", "x", "1,2", ""])
def test_P4_a_header_of_a_call_is_held_to_the_same_rule(world: World, value: str) -> None:
    before = len(world.asked(ME))

    with pytest.raises(NotSent, match="company id"):
        world.client().get(ME, headers={"Procore-Company-Id": value})
    assert before == len(world.asked(ME))


def test_P4_two_companies_at_once_are_refused(world: World) -> None:
    with pytest.raises(NotSent, match="company id"):
        world.client().get(ME, headers=[("Procore-Company-Id", "1"), ("Procore-Company-Id", "2")])


def test_P4_a_call_may_name_another_company_than_its_client(world: World) -> None:
    world.client(1).get(ME, headers={"Procore-Company-Id": "2"})

    assert "2" == world.asked(ME)[-1]["procore-company-id"]


@pytest.mark.parametrize("name", ["x-note", "procore-company-id", "authorization"])
def test_P4_no_header_can_begin_another_line(world: World, name: str) -> None:
    before = len(world.asked(ME))

    with pytest.raises(NotSent) as raised:
        world.client().get(ME, headers=[("x-fine", "1"), (name, "1\r\nX-Injected: y"), ("X", "\n")])
    assert before == len(world.asked(ME))
    assert "Injected" not in f"{raised.value!r} {raised.value.hint}"


def test_P4_the_company_of_somebody_else_is_refused_by_procore(world: World) -> None:
    world.emulator.company(77, "Not Joe's", members=frozenset({11112}))
    response = world.client(77).get(PROJECTS, params={"company_id": 77})

    with pytest.raises(NotFound):
        raise_for_procore(response)


def test_a_company_without_the_app_says_so(world: World) -> None:
    world.emulator.company(78, "Without", connected=False)
    response = world.client(78).get(PROJECTS, params={"company_id": 78})

    with pytest.raises(NotConnected, match="App is not connected to this company") as raised:
        raise_for_procore(response)
    assert (403, "GET", PROJECTS) == (
        raised.value.status,
        raised.value.method,
        raised.value.path,
    )
    assert "installs the app" in (raised.value.hint or "")


def test_a_call_without_a_company_says_how_to_name_one(world: World) -> None:
    response: httpx2.Response = world.client().get(PROJECTS)

    with pytest.raises(Exception, match="Missing Procore-Company-Id") as raised:
        raise_for_procore(response)
    assert "company_id=" in raised.value.hint  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [b"1", b"9223372036854775807"])
def test_the_value_that_we_write_is_one_that_we_accept(value: bytes) -> None:
    assert is_company_header(value)
    assert value.decode() == company_header(int(value))
