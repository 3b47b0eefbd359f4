"""The examples about the vault run, page after page, against the emulator."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from emulated import REDIRECT_URI, door_arguments
from pages import run_by
from scripted import Clock

from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin._flow.attempt import new_attempt
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.secret import Secret
from procore_signin._store.records import User
from procore_signin.emulator import Emulator

PAGES = [
    f"how-to/{name}.md"
    for name in ("call-the-api", "nightly-job", "end-access", "service-accounts")
]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.started(redirect_uris=(REDIRECT_URI,)) as emulator:
        yield emulator


@pytest.fixture
def clock(emulator: Emulator) -> Clock:
    return Clock(emulator.now())


@pytest.fixture
def arguments(emulator: Emulator, clock: Clock, tmp_path: Path) -> dict[str, Any]:
    return {**door_arguments(emulator, tmp_path), "clock": clock}


@pytest.fixture
def procore(arguments: dict[str, Any]) -> Iterator[ProcoreSignIn]:
    with ProcoreSignIn(**arguments) as door:
        yield door


def sign_in(procore: ProcoreSignIn, emulator: Emulator, login: str) -> User:
    attempt = new_attempt(procore.context, return_to="/")
    location = emulator.approve(attempt.authorization_url(procore.context), login=login)
    code = dict(parse_qsl(urlsplit(location).query))["code"]
    granted = CodeGranted(code=Secret(code, "code"), state=attempt.state, iss=None)
    browser = Browser(user_agent=None, session_hash=None)
    return procore.run(finish_sign_in(procore.context, attempt, granted, browser)).user


def examples() -> str:
    return "\n".join(block.text for block in run_by("vault", *PAGES))


def test_the_examples_run_and_the_nightly_job_survives_a_lost_grant(
    procore: ProcoreSignIn,
    arguments: dict[str, Any],
    emulator: Emulator,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    emulator.company(4268, "Demo Builders")
    emulator.project(1, 4268, "1234 - Sandbox Test Project")
    emulator.person(500, login="lost@procore.com", name="Lost")
    user = sign_in(procore, emulator, "joecontractor@procore.com")
    lost = sign_in(procore, emulator, "lost@procore.com")
    emulator.revoke(login="lost@procore.com")
    emulator.advance(5400)
    clock.advance(5400)
    names: dict[str, Any] = {"procore": procore, "user": user}
    exec(compile(examples(), "vault", "exec"), names)  # noqa: S102  # our own page
    assert names["authorization"].startswith("Bearer ")
    assert [project["name"] for project in names["projects"]] == ["1234 - Sandbox Test Project"]
    assert capsys.readouterr().out == f"{user.id} 1234 - Sandbox Test Project\n"
    assert [person.id for person in names["ask_again"]] == [lost.id]
    assert names["try_later"] == []
    assert names["companies"]
    assert names["ended"].certain
    assert [person.id for person in procore.users(disabled=True)] == [lost.id]
    assert names["me"]["login"] == "joecontractor@procore.com"

    again = sign_in(procore, emulator, "joecontractor@procore.com")

    async def await_it() -> Any:
        async with AsyncProcoreSignIn(**arguments) as awaited:
            return await names["project_names"](awaited, again)

    assert asyncio.run(await_it()) == ["1234 - Sandbox Test Project"]
