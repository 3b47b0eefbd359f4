import hmac
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mortal import MortalRunner
from scripted import Clock, ScriptedProcore, front_door

from procore_signin._client import ProcoreSignIn
from procore_signin.events import Event, Field, listen


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


@pytest.fixture
def told() -> Iterator[list[tuple[Event, Mapping[str, Field]]]]:
    """Collect the events."""
    events: list[tuple[Event, Mapping[str, Field]]] = []
    stop = listen(lambda event, fields: events.append((event, fields)))
    yield events
    stop()


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Collect the outcomes of comparisons in constant time."""
    outcomes: list[bool] = []
    real = hmac.compare_digest

    def spy(one: Any, other: Any) -> bool:  # texts, or bytes
        outcomes.append(real(one, other))
        return outcomes[-1]

    monkeypatch.setattr(hmac, "compare_digest", spy)
    return outcomes
