from collections.abc import Iterator
from pathlib import Path

import pytest
from mortal import MortalRunner
from scripted import Clock, ScriptedProcore, front_door

from procore_signin._client import ProcoreSignIn


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def procore() -> ScriptedProcore:
    return ScriptedProcore()


@pytest.fixture
def door(tmp_path: Path, procore: ScriptedProcore, clock: Clock) -> Iterator[ProcoreSignIn]:
    with front_door(tmp_path, procore, clock) as door:
        yield door


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Front doors that do everything on the thread of their caller, and can die."""
    monkeypatch.setattr("procore_signin._client.Runner", MortalRunner)
