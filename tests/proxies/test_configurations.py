"""What can be seen of the shipped configurations without their programs."""

from __future__ import annotations

import itertools
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from proxied import IDENTITY

from procore_signin._store.records import User
from procore_signin._web.forward_auth import REDIRECT, identity_headers
from procore_signin._web.paths import Paths

ROOT = Path(__file__).parents[2]
FILES = ("nginx.conf", "Caddyfile", "traefik.yml")
VERIFY = Paths.under("/procore").verify


def traefik() -> Any:
    yaml: Any = import_module("yaml")  # it ships no types
    return yaml.safe_load((ROOT / "deploy/traefik.yml").read_text())["http"]


def spellings(name: str) -> set[str]:
    parts = name.split("-")
    gaps = itertools.product("-_", repeat=len(parts) - 1)
    return {"".join(a + b for a, b in zip(parts, (*gap, ""), strict=True)) for gap in gaps}


def test_the_headers_are_those_that_the_endpoint_sends() -> None:
    user = User(1, 2, "a@example.com", None, "sandbox", 0, 0, None)

    assert tuple(name for name, _ in identity_headers(user)) == IDENTITY


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", IDENTITY)
def test_each_configuration_sets_each_header(file: str, name: str) -> None:
    assert name in (ROOT / "deploy" / file).read_text().lower()


@pytest.mark.parametrize("file", FILES)
def test_each_configuration_asks_the_endpoint_at_its_place(file: str) -> None:
    assert VERIFY in (ROOT / "deploy" / file).read_text()


def test_traefik_takes_every_header_from_the_answer_and_drops_every_other_spelling() -> None:
    middlewares = traefik()["middlewares"]
    taken = middlewares["signed-in"]["forwardAuth"]["authResponseHeaders"]
    dropped = middlewares["no-claims"]["headers"]["customRequestHeaders"]

    assert [name.lower() for name in taken] == list(IDENTITY)
    assert set(dropped.values()) == {""}  # an empty value removes the header
    wanted = set().union(*(spellings(name) for name in IDENTITY)) - set(IDENTITY)
    assert {name.lower() for name in dropped} == wanted


def test_traefik_asks_before_it_passes_anything_on_and_nobody_outside_can_ask() -> None:
    routers = traefik()["routers"]

    assert routers["application"]["middlewares"] == ["no-claims", "signed-in"]
    assert "!PathPrefix(`/procore/auth`)" in routers["procore-signin"]["rule"]
    address = traefik()["middlewares"]["signed-in"]["forwardAuth"]["address"]
    assert address.endswith(f"{VERIFY}?{REDIRECT.decode()}")
    # The two rules leave nothing of the endpoint to either.
    assert "!PathPrefix(`/procore/`)" in routers["application"]["rule"]


@pytest.mark.parametrize("file", FILES)
def test_the_page_about_proxies_shows_each_file(file: str) -> None:
    assert f"../deploy/{file}" in (ROOT / "docs/how-to/reverse-proxies.md").read_text()


@pytest.mark.parametrize(
    ("file", "bound"),
    [
        ("nginx.conf", "client_max_body_size 16k;"),
        ("Caddyfile", "max_size 16KB"),
        ("traefik.yml", "maxRequestBodyBytes: 16384"),
    ],
)
def test_O8_each_configuration_bounds_the_forms_of_the_sign_in(file: str, bound: str) -> None:
    assert bound in (ROOT / "deploy" / file).read_text()
