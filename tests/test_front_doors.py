"""The two front doors: made from settings, closed, and opened again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from traceback import TracebackException
from typing import Any

import pytest
from migrated import migrated
from scripted import KEYS, Clock, ScriptedProcore, front_door

from procore_signin import (
    AsyncProcoreSignIn,
    ProcoreSignIn,
    Secret,
    SettingsInvalid,
    StoreUnavailable,
    environments,
)
from procore_signin._flow.hooks import Hooks
from procore_signin._flow.steps import ask, do
from procore_signin._store.sessions import PurgeSessions
from procore_signin._store.users import FindUsers, UserOf

Door = type[ProcoreSignIn] | type[AsyncProcoreSignIn]
BOTH = pytest.mark.parametrize("kind", [ProcoreSignIn, AsyncProcoreSignIn])


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `.env` in the working directory, with a database that is migrated."""
    url = migrated(tmp_path / "own.db")
    settings = {
        "PROCORE_ENVIRONMENT": "emulator",
        "PROCORE_REDIRECT_URI": "http://localhost:8000/procore/callback",
        "PROCORE_DATABASE_URL": url,
        "PROCORE_KEYS": KEYS.reveal(),
        "PROCORE_SESSION_IDLE_SECONDS": "600",
    }
    path = tmp_path / ".env"
    path.write_text("".join(f"{name}={text}\n" for name, text in settings.items()))
    monkeypatch.chdir(tmp_path)
    return path


@BOTH
def test_a_front_door_is_made_from_the_environment_and_the_file(
    kind: Door, env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert env_file.exists()
    monkeypatch.setenv("PROCORE_SESSION_IDLE_SECONDS", "900")
    hooks = Hooks(on_sign_in=print)
    door = kind.from_env(hooks=hooks)

    assert isinstance(door, kind)
    assert door.context.environment.name == "emulator"
    assert door.context.client.redirect_uri == "http://localhost:8000/procore/callback"
    assert (door.context.session_idle, door.context.session_absolute) == (900, 1_209_600)
    assert door.context.hooks is hooks
    assert door.settings is not None
    assert door.settings.rate_limit == 120


@BOTH
def test_a_front_door_reads_no_file_when_it_is_told_so(kind: Door, env_file: Path) -> None:
    assert env_file.exists()
    with pytest.raises(SettingsInvalid) as invalid:
        kind.from_env(env_file=None)

    assert "PROCORE_ENVIRONMENT" in {each.setting for each in invalid.value.problems}


def test_making_a_front_door_from_settings_imports_no_framework(env_file: Path) -> None:
    program = (
        "import sys; from procore_signin import ProcoreSignIn; ProcoreSignIn.from_env();"
        "print({'starlette', 'flask', 'django', 'jinja2', 'httpx2'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=env_file.parent,
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == "set()\n"


def test_a_front_door_that_waits_can_be_entered_again(tmp_path: Path) -> None:
    door = front_door(tmp_path, ScriptedProcore(), Clock())
    for _ in range(2):
        with door:
            assert door.run(ask(UserOf(1))) is None
            assert list(door.users()) == []


def test_a_closed_front_door_says_how_it_is_opened_again(tmp_path: Path) -> None:
    door = front_door(tmp_path, ScriptedProcore(), Clock())
    door.close()
    door.close()

    with pytest.raises(StoreUnavailable, match=r"closed by this application.*with procore"):
        door.run(ask(UserOf(1)))
    door.open()
    door.open()
    assert door.run(ask(UserOf(1))) is None
    door.close()


def test_a_front_door_for_asyncio_can_be_entered_again_on_another_event_loop(
    env_file: Path,
) -> None:
    assert env_file.exists()
    door = AsyncProcoreSignIn.from_env()

    async def use() -> int:
        async with door:
            assert await door.run(ask(UserOf(1))) is None
            return await door.run(do(PurgeSessions(0)))

    first, second = asyncio.run(use()), asyncio.run(use())

    assert first == second


def test_a_closed_front_door_for_asyncio_says_how_it_is_opened_again(env_file: Path) -> None:
    assert env_file.exists()
    door = AsyncProcoreSignIn.from_env()

    async def use_too_late() -> None:
        async with door:
            pass
        for flow in (ask(UserOf(1)), do(PurgeSessions(0))):
            with pytest.raises(StoreUnavailable, match=r"closed by this application.*async with"):
                await door.run(flow)

    asyncio.run(use_too_late())


def test_the_api_clients_of_a_front_door_work_after_it_opened_again(tmp_path: Path) -> None:
    door = front_door(tmp_path, ScriptedProcore(), Clock())
    for _ in range(2):
        with door, door.api(1) as api:
            assert str(api.base_url).startswith("http://127.0.0.1:4568")


def plain(kind: Door, tmp_path: Path, **more: Any) -> ProcoreSignIn | AsyncProcoreSignIn:
    """Return a front door that was made with plain text where a secret belongs."""
    given: dict[str, Any] = {
        "environment": environments.emulator("http://127.0.0.1:9"),
        "client_id": "an-id",
        "client_secret": "plain-secret-text",
        "redirect_uri": "http://localhost:4567/callback",
        "keys": KEYS.reveal(),
        "database_url": f"sqlite:///{tmp_path / 'own.db'}",
    }
    return kind(**given | more)


@BOTH
def test_N2_a_front_door_takes_secrets_as_plain_text_and_shows_them_in_no_repr(
    kind: Door, tmp_path: Path
) -> None:
    migrated(tmp_path / "own.db")
    door = plain(kind, tmp_path)

    assert door.context.client.client_secret == Secret("plain-secret-text", "client secret")
    assert door.context.attempt_seal is not None
    assert door.store.ask(FindUsers()) == []
    shown = repr(door) + repr(vars(door)) + repr(door.context) + repr(vars(door.store))
    assert "plain-secret-text" not in shown
    assert KEYS.reveal().partition(":")[2] not in shown


@BOTH
def test_N2_no_repr_of_a_front_door_shows_the_password_of_the_database(
    kind: Door, tmp_path: Path
) -> None:
    door = plain(kind, tmp_path, database_url="postgresql://app:s3cr3t@127.0.0.1:9/app")

    assert "s3cr3t" not in repr(vars(door)) + repr(vars(door.store))


@BOTH
@pytest.mark.parametrize("argument", ["client_secret", "keys"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"plain-secret-text", "not bytes. Pass the text itself, decoded"),
        (bytearray(b"plain-secret-text"), "not bytearray"),
        (None, "not NoneType. Pass the text itself; None often means that a setting is missing"),
        (["plain-secret-text"], "not list"),
    ],
)
def test_N2_what_is_no_text_is_refused_by_the_name_of_its_argument(
    kind: Door, tmp_path: Path, argument: str, given: object, words: str
) -> None:
    with pytest.raises(TypeError) as refusal:
        plain(kind, tmp_path, **{argument: given})

    assert str(refusal.value).startswith(f"{argument} must be text or a Secret, ")
    assert words in str(refusal.value)
    assert "plain-secret-text" not in str(refusal.value)


@BOTH
@pytest.mark.parametrize("argument", ["client_secret", "keys"])
def test_N2_a_plain_text_that_breaks_a_rule_is_not_shown(
    kind: Door, tmp_path: Path, argument: str
) -> None:
    with pytest.raises(ValueError, match=r"(?i)" + argument[-4:]) as refusal:
        plain(kind, tmp_path, **{argument: "plain-s\u00e9cret-text"})

    trace = TracebackException.from_exception(refusal.value, capture_locals=True).stack
    ours = [frame for frame in trace if "/src/procore_signin/" in frame.filename]
    assert ours
    assert "cret-text" not in str([frame.locals for frame in ours]) + str(refusal.value)


def test_N2_a_secret_stays_the_one_it_is_and_a_text_of_a_kind_of_its_own_becomes_plain() -> None:
    class Marked(str):
        __slots__ = ()

    given = Secret("x", "token")

    assert Secret.of(given, argument="client_secret") is given
    assert type(Secret.of(Marked("x"), argument="keys").reveal()) is str
    assert repr(Secret.of("x", argument="client_secret")) == "<client secret>"
