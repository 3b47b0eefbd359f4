from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import Emulator

Headers = dict[str, str]


@pytest.fixture
def list_projects(
    emulated: Callable[..., Emulator],
    http_of: Callable[[Emulator], httpx2.Client],
    sign_in: Callable[..., dict[str, Any]],
    bearer: Callable[[dict[str, Any]], Headers],
) -> Callable[..., httpx2.Response]:
    """Ask for the twenty projects of a company; `options` are the emulator's."""

    def ask(query: str, **options: Any) -> httpx2.Response:
        emulator = emulated(**options)
        emulator.company(7, "Seven")
        for number in range(1, 21):
            emulator.project(number, 7, f"Project {number}")
        http = http_of(emulator)
        headers = {**bearer(sign_in(emulator, http)), "procore-company-id": "7"}
        return http.get(f"/rest/v1.0/projects?company_id=7{query}", headers=headers)

    return ask


def links(answered: httpx2.Response) -> dict[str, str]:
    """Return the relations and addresses of the `Link` header, in order."""
    found = re.findall(r'<([^>]+)>; rel="(\w+)"', answered.headers["link"])
    return {relation: url for url, relation in found}


@pytest.mark.parametrize(
    ("page", "relations"),
    [
        (1, {"last": 4, "next": 2}),
        (2, {"first": 1, "last": 4, "next": 3}),
        (3, {"first": 1, "prev": 2, "last": 4, "next": 4}),
        (4, {"first": 1, "prev": 3, "last": 4}),
    ],
)
def test_the_links_of_each_page_are_those_of_the_documentation(
    list_projects: Callable[..., httpx2.Response], page: int, relations: dict[str, int]
) -> None:
    answered = list_projects(f"&page={page}&per_page=5")
    assert "20" == answered.headers["total"]
    assert "5" == answered.headers["per-page"]
    assert list(range(page * 5 - 4, page * 5 + 1)) == [row["id"] for row in answered.json()]
    origin = str(answered.url).partition("/rest")[0]
    expected = {
        relation: f"{origin}/rest/v1.0/projects?page={number}&per_page=5"
        for relation, number in relations.items()
    }
    assert expected == links(answered)
    assert list(expected) == list(links(answered))


def test_the_links_can_keep_the_other_parameters(
    list_projects: Callable[..., httpx2.Response],
) -> None:
    answered = list_projects("&page=1&per_page=5", link_keeps_query=True)
    assert links(answered)["next"].endswith("?company_id=7&page=2&per_page=5")


def test_one_page_has_no_links(list_projects: Callable[..., httpx2.Response]) -> None:
    answered = list_projects("")
    assert "link" not in answered.headers
    assert ("20", "100") == (answered.headers["total"], answered.headers["per-page"])


def test_a_page_beyond_the_last_is_empty(list_projects: Callable[..., httpx2.Response]) -> None:
    answered = list_projects("&page=9&per_page=5")
    assert [] == answered.json()
    assert "next" not in links(answered)


def test_no_page_is_larger_than_two_thousand(list_projects: Callable[..., httpx2.Response]) -> None:
    assert "2000" == list_projects("&per_page=999999").headers["per-page"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("&page=0", "page"), ("&page=x", "page"), ("&per_page=-1", "per_page"), ("&page=٣", "page")],
)
def test_a_page_that_is_no_positive_number_is_unprocessable(
    list_projects: Callable[..., httpx2.Response], query: str, parameter: str
) -> None:
    answered = list_projects(query)
    assert 422 == answered.status_code
    assert [parameter] == list(answered.json()["errors"])
