from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import Clock, ScriptedProcore, front_door

from procore_signin.client import ProcoreSignIn


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
