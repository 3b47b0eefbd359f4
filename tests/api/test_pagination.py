"""Lists, page after page."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import httpx2
import pytest
from tests.api.conftest import Answering, MakeAnswer, NewWorld
from tests.api.world import COMPANY, ME, PROJECTS, World

from procore_signin._api.pagination import Pages
from procore_signin.api import (
    ApiError,
    Forbidden,
    NotConnected,
    UnexpectedAnswer,
    apaginate,
    paginate,
)

COMPANIES = "/rest/v1.0/companies"


def fill(world: World, number: int) -> list[int]:
    """Add projects to the company until it has `number`; return their ids in order."""
    for project_id in range(1, number):
        world.emulator.project(project_id, COMPANY, f"Project {project_id}", active=False)
    return sorted([*range(1, number), 2783683])


@pytest.mark.parametrize("per_page", [1, 7, 10, 25, 100])
def test_every_item_comes_once(world: World, per_page: int) -> None:
    expected = fill(world, 25)
    items = world.client(COMPANY).items(PROJECTS, params={"company_id": COMPANY}, per_page=per_page)

    assert expected == sorted(item["id"] for item in items)
    assert -(-25 // per_page) == len(world.asked(PROJECTS))


@pytest.mark.parametrize("keeps", [True, False])
def test_P2_parameters_that_the_link_loses_are_sent_again(
    new_world: NewWorld, *, keeps: bool
) -> None:
    world = new_world(link_keeps_query=keeps)
    fill(world, 25)
    items = world.client(COMPANY).items(
        PROJECTS,
        params={"company_id": COMPANY, "filters[by_status]": "Inactive"},
        per_page=10,
    )

    assert {False} == {item["active"] for item in items}
    assert len(items) == 24
    for target in world.targets(PROJECTS):
        query = httpx2.URL(f"http://x{target}").params
        assert (str(COMPANY), "Inactive", "10") == (
            query["company_id"],
            query["filters[by_status]"],
            query["per_page"],
        )


def test_P2_parameters_in_the_path_and_repeated_ones_are_kept(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    server = answering(
        answer(200, b"[1]", link='</rest/v1.0/things?page=2>; rel="next"'), answer(200, b"[2]")
    )
    items = world.client(at=server.origin).items(
        "/rest/v1.0/things?company_id=1", params={"ids[]": [3, 4], "view": "compact"}
    )

    assert [1, 2] == items
    for head in server.requests:
        query = httpx2.URL(head.split(b" ")[1].decode()).params
        assert ("1", ["3", "4"], "compact") == (
            query["company_id"],
            query.get_list("ids[]"),
            query["view"],
        )


def test_the_link_may_bring_a_cursor_and_may_not_change_what_was_asked_for() -> None:
    pages = Pages("/rest/v1.0/things", {"company_id": 1}, 5, 10)
    link = '<https://api.example/rest/v1.0/things?cursor=abc&company_id=666&page=9>; rel="next"'
    pages.take(page([1], link=link))

    assert pages.following is not None
    assert {"company_id": "1", "per_page": "5", "cursor": "abc", "page": "9"} == dict(
        pages.following[1].items()
    )


def page(body: Any, url: str = "https://api.example/rest/v1.0/things", **headers: str) -> Any:
    return httpx2.Response(
        200, json=body, headers=headers, request=httpx2.Request("GET", httpx2.URL(url))
    )


EVIL = [
    "{attacker}/rest/v1.0/companies?page=2",
    "//127.0.0.1:{port}/rest/v1.0/companies?page=2",
    "http://user:word@{host}/rest/v1.0/companies?page=2",
    "https://{host}/rest/v1.0/companies?page=2",
    "http://localhost:{own}/rest/v1.0/companies?page=2",
    "/oauth/revoke?page=2",
    "/rest/../oauth/token?page=2",
    "/rest/%2e%2e/oauth/token?page=2",
    "/rest/v1.0/%2e%2e%2foauth/token",
    "/_emulator/reset",
    "/restless?page=2",
    "ftp://{host}/rest/v1.0/companies?page=2",
    "javascript:alert(1)",
    "http://[bad/rest/v1.0",
]


@pytest.mark.parametrize("url", EVIL)
def test_P2_a_link_that_leads_elsewhere_is_refused(
    world: World, answering: Answering, answer: MakeAnswer, url: str
) -> None:
    attacker = answering(answer(200, b"[]"))
    host = world.emulator.url.removeprefix("http://")
    poison = url.format(
        attacker=attacker.origin, port=attacker.port, host=host, own=host.rpartition(":")[2]
    )
    world.emulator.fault(f"GET {COMPANIES}", "link", url=poison)
    client = world.client()
    before = len(world.emulator.requests)

    with pytest.raises(UnexpectedAnswer) as raised:
        client.items(COMPANIES)
    assert (0, before + 1) == (attacker.connections, len(world.emulator.requests))
    assert str(attacker.port) not in str(raised.value)


def test_P2_items_before_a_bad_page_are_given(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    server = answering(
        answer(200, b"[1]", link='</rest/v1.0/a?page=2>; rel="next"'), answer(500, b"down")
    )
    client = world.client(at=server.origin)

    assert [1] == client.first(1, "/rest/v1.0/a")
    with pytest.raises(ApiError, match="500"):
        client.items("/rest/v1.0/a")


@pytest.mark.parametrize("url", ["?page=1", "/rest/v1.0/companies?page=2", "/rest/v1.0/companies"])
def test_P2_a_list_that_goes_round_in_circles_ends(world: World, url: str) -> None:
    world.emulator.fault(f"GET {COMPANIES}", "link", times=None, url=url)

    with pytest.raises(UnexpectedAnswer, match="leads back"):
        world.client().items(COMPANIES, params={"page": 1})
    assert len(world.asked(COMPANIES)) <= 3


def test_P2_a_list_without_an_end_ends_at_the_cap(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    numbers = iter(range(2, 1_000_000))
    answers = [
        answer(200, b"[1]", link=f'</rest/v1.0/a?page={next(numbers)}>; rel="next"')
        for _ in range(60)
    ]
    server = answering(*answers)

    with pytest.raises(UnexpectedAnswer, match="page 50, and there are more"):
        world.client(at=server.origin).items("/rest/v1.0/a", max_pages=50)
    assert len(server.requests) == 50


def test_P2_of_a_million_pages_as_many_are_read_as_the_cap_says() -> None:
    pages = Pages("/rest/v1.0/a", None, None, 1_000)

    def take(number: int) -> None:
        link = f'</rest/v1.0/a?page={number + 1}>; rel="next"'
        pages.take(page([1], "https://api.example/rest/v1.0/a", link=link))

    for number in range(1, 1_000):
        take(number)
    with pytest.raises(UnexpectedAnswer, match="page 1000"):
        take(1_000)


def test_P2_there_is_a_cap_where_none_is_chosen() -> None:
    assert inspect.signature(paginate).parameters["max_pages"].default == 10_000
    assert inspect.signature(apaginate).parameters["max_pages"].default == 10_000


def test_without_a_link_the_total_leads_on(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    counted = {"total": "5", "per_page": "2"}
    server = answering(
        *(answer(200, body, **counted) for body in (b"[1,2]", b"[3,4]", b"[5]")),
        answer(200, b"[6]", **counted),
    )

    assert [1, 2, 3, 4, 5] == world.client(at=server.origin).items("/rest/v1.0/a")
    assert [b"/rest/v1.0/a", b"/rest/v1.0/a?page=2", b"/rest/v1.0/a?page=3"] == [
        head.split(b" ")[1] for head in server.requests
    ]


def test_the_envelope_of_version_2_is_opened(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    full = json.dumps({"data": [{"id": str(n)} for n in range(10)]}).encode()
    server = answering(answer(200, full), answer(200, b'{"data":[{"id":"10"}]}'))
    items = world.client(at=server.origin).items("/rest/v2.0/companies/1/a")

    assert [str(number) for number in range(11)] == [item["id"] for item in items]
    assert len(server.requests) == 2


@pytest.mark.parametrize("envelope", ["[1,2,3]", '{"data":[1,2,3]}'])
def test_a_list_that_has_no_pages_is_read_once(
    world: World, answering: Answering, answer: MakeAnswer, envelope: str
) -> None:
    """It answers whatever page with everything. The full page might have been one of several."""
    server = answering(answer(200, envelope.encode()))

    assert [1, 2, 3] == world.client(at=server.origin).items("/rest/v1.0/a", per_page=3)
    assert len(server.requests) == 2


def test_a_short_page_is_the_last(world: World, answering: Answering, answer: MakeAnswer) -> None:
    server = answering(answer(200, b"[1,2]"))

    assert [1, 2] == world.client(at=server.origin).items("/rest/v1.0/a", per_page=3)
    assert len(server.requests) == 1


@pytest.mark.parametrize("first", [b"[]", b'{"data":[]}', b'{"data":[],"total":99}'])
def test_an_empty_list_is_empty(
    world: World, answering: Answering, answer: MakeAnswer, first: bytes
) -> None:
    server = answering(answer(200, first, total="99", per_page="10"))

    assert [] == world.client(at=server.origin).items("/rest/v1.0/a")
    assert len(server.requests) == 1


def test_no_content_is_an_empty_list(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    assert [] == world.client(at=answering(answer(204)).origin).items("/rest/v1.0/a")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"{}", "is not a list"),
        (b'{"data":{}}', "is not a list"),
        (b'"text"', "is not a list"),
        (b"null", "is not a list"),
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b"[1,", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[" + b"1" * 5000 + b"]", "is not JSON"),
        (b"\xff[]", "is not JSON"),
    ],
)
def test_a_page_that_is_no_list_is_refused(
    world: World, answering: Answering, answer: MakeAnswer, body: bytes, what: str
) -> None:
    server = answering(answer(200, body))

    with pytest.raises(UnexpectedAnswer, match=re.escape(what)) as raised:
        world.client(at=server.origin).items("/rest/v1.0/a", params={"email": "joe@example.com"})
    assert "joe" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "error"), [(403, Forbidden), (401, ApiError), (302, UnexpectedAnswer)]
)
def test_a_page_that_is_refused_says_why(
    world: World, answering: Answering, answer: MakeAnswer, status: int, error: type[ApiError]
) -> None:
    server = answering(answer(status, b"{}", location="/elsewhere"))

    with pytest.raises(error):
        world.client(at=server.origin).items("/rest/v1.0/a")


def test_a_company_without_the_app_is_told_from_an_empty_one(world: World) -> None:
    world.emulator.company(78, "Without", connected=False)

    with pytest.raises(NotConnected):
        world.client(78).items(PROJECTS, params={"company_id": 78})


def test_pages_are_fetched_when_they_are_needed(world: World) -> None:
    fill(world, 25)
    client = world.client(COMPANY)
    items = client.first(5, PROJECTS, params={"company_id": COMPANY}, per_page=5)

    assert (5, 1) == (len(items), len(world.asked(PROJECTS)))


@pytest.mark.parametrize("wrong", [{"per_page": 0}, {"max_pages": 0}, {"per_page": -1}])
def test_numbers_that_make_no_sense_are_refused(world: World, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        world.client().items(ME, **wrong)


@pytest.mark.parametrize("total", ["-1", "x", "１０", "1e9", "9" * 30, ""])
def test_a_total_that_is_no_number_counts_as_none(total: str) -> None:
    pages = Pages("/rest/v1.0/a", None, None, 10)
    response = httpx2.Response(
        200,
        json=[1],
        headers=[(b"total", total.encode()), (b"per-page", b"1")],
        request=httpx2.Request("GET", "https://api.example/rest/v1.0/a"),
    )
    pages.take(response)

    # A full page by `Per-Page`: one more look.
    assert pages.following is not None
