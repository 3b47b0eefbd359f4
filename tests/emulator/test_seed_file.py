"""Who and what exists, written in a file."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import Emulator, EmulatorRefused, Population, read_population

PEOPLE = """
people:
  - id: 7
    login: ada@example.com
    name: Ada Lovelace
    password: analytical
    job_title: Countess
  - {id: 598134325694431, login: charles@example.com}
companies:
  - {id: 70, name: Analytical Engines, zone: uk01, members: [7]}
  - {id: 71, name: Not Installed, connected: false}
projects:
  - {id: 700, company_id: 70, name: Mill, project_number: "12", active: false}
clients:
  - client_id: second
    client_secret: made-up
    redirect_uris: ["http://localhost:9000/callback"]
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a seed file; returns where."""

    def write(content: str | bytes, name: str = "people.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_the_people_of_the_file_can_log_in_and_find_what_is_theirs(
    written: Callable[..., Path],
    emulated: Callable[..., Emulator],
    http_of: Callable[[Emulator], httpx2.Client],
    sign_in: Callable[..., dict[str, Any]],
    bearer: Callable[[dict[str, Any]], dict[str, str]],
    log_in: Callable[..., httpx2.Response],
) -> None:
    emulator = emulated(population=read_population(written(PEOPLE)))
    http = http_of(emulator)
    headers = bearer(sign_in(emulator, http, login="ada@example.com"))
    assert {"id": 7, "login": "ada@example.com", "name": "Ada Lovelace"} == http.get(
        "/rest/v1.0/me", headers=headers
    ).json()
    headers["procore-company-id"] = "70"
    projects = http.get("/rest/v1.0/projects?company_id=70", headers=headers).json()
    assert [("12 - Mill", False)] == [(one["display_name"], one["active"]) for one in projects]
    shown = http.get("/rest/v1.0/companies/70/me", headers=headers).json()
    assert "Countess" == shown["job_title"]
    denied = http.get("/rest/v1.0/companies/71/me", headers={**headers, "procore-company-id": "71"})
    assert 403 == denied.status_code
    assert 302 == log_in(http, "/", login="ada@example.com", password="analytical").status_code


def test_the_built_in_people_and_companies_are_gone(
    written: Callable[..., Path], emulated: Callable[..., Emulator]
) -> None:
    emulator = emulated(population=read_population(written(PEOPLE)))
    directory = emulator._procore.state.directory
    assert [7, 598134325694431] == list(directory.people)
    assert [70, 71] == list(directory.companies)
    assert [700] == list(directory.projects)


def test_its_clients_stand_beside_the_one_of_the_options(
    written: Callable[..., Path], emulated: Callable[..., Emulator], authorize: Callable[..., str]
) -> None:
    emulator = emulated(population=read_population(written(PEOPLE)))
    for changes in ({}, {"client_id": "second", "redirect_uri": "http://localhost:9000/callback"}):
        assert emulator.approve(authorize(**changes), login="ada@example.com")


def test_reset_returns_to_the_file(
    written: Callable[..., Path], emulated: Callable[..., Emulator], authorize: Callable[..., str]
) -> None:
    emulator = emulated(population=read_population(written(PEOPLE)))
    emulator.remove_person(7)
    emulator.reset()
    assert emulator.approve(authorize(), login="ada@example.com")


def test_a_section_that_is_left_out_stays_as_it_is_built_in(written: Callable[..., Path]) -> None:
    only_people = read_population(written("people: [{id: 7, login: ada@example.com}]"))
    assert Population().companies == only_people.companies
    assert Population().projects == only_people.projects
    only_companies = read_population(written("companies: [{id: 70, name: Seventy}]"))
    assert Population().people == only_companies.people
    assert () == only_companies.projects


def test_json_says_the_same(written: Callable[..., Path]) -> None:
    said = {"people": [{"id": 7, "login": "ada@example.com", "name": "Ada"}]}
    expected = read_population(written("people: [{id: 7, login: ada@example.com, name: Ada}]"))
    assert expected == read_population(written(json.dumps(said), "people.json"))
    assert expected == read_population(written(json.dumps(said), "people.yaml"))


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("people: [{id: 7}]", "people, number 1: login"),
        ("people: [{id: seven, login: a@example.com}]", "people, number 1: id"),
        ("people: [{id: 1, login: a@b.example}, {id: 0, login: b@b.example}]", "people, number 2"),
        ("people: [{id: 1, login: no}]", "people, number 1: login is text"),
        ("people: [{id: 1, login: a@b.example, nickname: Ada}]", "Unknown: nickname"),
        ("people: [{id: 1, login: a@b.example}, {id: 1, login: b@b.example}]", "two have the id 1"),
        ("people: [{id: 1, login: a@b.example}, {id: 2, login: a@b.example}]", "belongs to"),
        ("people: {id: 1}", "people is a list"),
        ("persons: []", "Unknown: persons"),
        ("- 1", "An object is wanted"),
        ("", "An object is wanted"),
        ("companies: [{id: -1, name: A}]", "companies, number 1"),
        ("companies: [{id: 1, name: ''}]", "companies, number 1"),
        ("companies: [{id: 1, name: A}, {id: 1, name: B}]", "two have the id 1"),
        ("projects: [{id: 1, company_id: 2, name: A}]", "no company 2"),
        ("projects: [{id: 0, company_id: 8089, name: A}]", "projects, number 1"),
        (
            "clients: [{client_id: a, client_secret: b, redirect_uris: ['https://a.example/']}]",
            "clients, number 1: The emulator refuses the redirect URI",
        ),
        ("people: []\npeople: []", "line 1: 'people' occurs twice"),
        ("people:\n  - {id: 1, id: 2}", "line 2: 'id' occurs twice"),
        ("people: [", "line 1"),
        ("people: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        (b"\xff\xfe\xff", "people.yaml does not work"),
        ("[" * 20_000, "nested too deep"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    written: Callable[..., Path], content: str | bytes, place: str
) -> None:
    with pytest.raises(EmulatorRefused) as refused:
        read_population(written(content))
    assert place in str(refused.value)
    assert "people.yaml" in str(refused.value)


@pytest.mark.parametrize(
    "content", ['{"people": [', '{"people": [], "people": []}', "[" * 100_000, "[" * 70 + "]" * 70]
)
def test_json_that_cannot_be_is_refused(written: Callable[..., Path], content: str) -> None:
    with pytest.raises(EmulatorRefused, match=r"people\.json"):
        read_population(written(content, "people.json"))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmulatorRefused, match="cannot be read: No such file"):
        read_population(tmp_path / "people.yaml")


def test_without_pyyaml_the_extra_is_named_and_json_still_works(
    written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "yaml":
            raise ModuleNotFoundError(name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EmulatorRefused, match=r"procore-signin\[emulator\]"):
        read_population(written("people: []"))
    assert () == read_population(written('{"people": []}', "people.json")).people
