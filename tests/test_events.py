"""docs/events.md lists every event with its level, as the log has it (row O2)."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from procore_signin.events import Event, emit, listen

PAGE = Path(__file__).parents[1] / "docs" / "events.md"
ROW = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \| (info|warning|error) \|", re.MULTILINE)


def test_O2_every_event_is_listed_with_its_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "procore_signin")
    for event in Event:
        emit(event)
    logged = {record.getMessage(): record.levelname.lower() for record in caplog.records}
    assert dict(ROW.findall(PAGE.read_text(encoding="utf-8"))) == logged


def test_a_listener_hears_each_event_until_it_is_stopped() -> None:
    heard: list[tuple[Event, object]] = []
    stop = listen(lambda event, fields: heard.append((event, fields["user"])))
    emit(Event.REFRESHED, user=1)
    stop()
    emit(Event.REFRESHED, user=2)
    assert heard == [(Event.REFRESHED, 1)]


def test_the_example_hears_of_a_lost_grant(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec"), names)  # noqa: S102  # our own page
    emit(Event.REFRESHED, user=1)
    emit(Event.GRANT_LOST, user=17)
    names["stop"]()
    assert capsys.readouterr().out == "ask for a new sign-in: 17\n"
