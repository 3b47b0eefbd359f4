"""The page of states and its pictures are what `scripts/draw_states.py` writes from the tables."""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "draw_states.py"))


def test_what_is_committed_is_what_the_tables_say(script: dict[str, Any]) -> None:
    stale = [
        path.relative_to(ROOT).as_posix()
        for path, text in script["written"]().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]

    assert stale == [], "run: .venv/bin/python scripts/draw_states.py"


def test_a_picture_has_each_state_and_each_event_and_needs_no_network(
    script: dict[str, Any],
) -> None:
    for machine in script["MACHINES"]:
        drawn = ET.fromstring(script["picture"](machine))  # noqa: S314 - our own
        words = " ".join(" ".join(each.itertext()) for each in drawn.iter())
        missing = {word for state in machine.states for word in state.value.split(", ")}
        missing |= {line.event.value for line in machine.table}

        assert {each for each in missing if each not in words} == set()
        assert {key for each in drawn.iter() for key in each.attrib if "href" in key} == set()


def test_every_state_and_every_event_is_in_a_table(script: dict[str, Any]) -> None:
    lines = [line for machine in script["MACHINES"] for line in machine.table]
    reached = {line.next for line in lines} | {line.state for line in lines}

    assert {state for machine in script["MACHINES"] for state in machine.states} == reached
    assert {line.event for line in lines} == set(script["Event"])


def test_no_event_leads_from_a_state_to_two(script: dict[str, Any]) -> None:
    for machine in script["MACHINES"]:
        places = [(line.state, line.event) for line in machine.table]

        assert len(places) == len(set(places)), machine.name
