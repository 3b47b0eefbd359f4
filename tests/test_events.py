"""docs/reference/events.md lists every event with its level, as the log has it (row O2)."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pages import run_by

from procore_signin.events import LINES_PER_MINUTE, Event, Ration, emit, lines, listen

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "events.md"
ROW = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \| (info|warning|error) \|", re.MULTILINE)


def test_O2_every_event_is_listed_with_its_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "procore_signin")
    for event in Event:
        emit(event)
    logged = {record.getMessage(): record.levelname.lower() for record in caplog.records}
    assert dict(ROW.findall(PAGE.read_text(encoding="utf-8"))) == logged


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\0", "\x85", "\u2028", "\u202e"])
def test_O2_no_value_begins_a_line_or_moves_a_cursor(
    caplog: pytest.LogCaptureFixture, character: str
) -> None:
    caplog.set_level(logging.DEBUG, "procore_signin")
    emit(Event.REQUEST_REFUSED, path=f"/a{character}sign_in.succeeded user=1", count=1)
    (record,) = caplog.records
    assert vars(record)["fields"] == {"path": "/a\ufffdsign_in.succeeded user=1", "count": 1}


def test_O2_a_value_is_no_longer_than_256_characters(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "procore_signin")
    emit(Event.REQUEST_REFUSED, path="/" + "a" * 300)
    (record,) = caplog.records
    assert vars(record)["fields"] == {"path": "/" + "a" * 255}


def test_with_pythons_own_logging_an_event_is_one_readable_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    emit(
        Event.SIGN_IN_FAILED, attempt="ab12", environment="sandbox", reason="GrantLost", error=None
    )
    assert caplog.messages == ["sign_in.failed attempt=ab12 environment=sandbox reason=GrantLost"]
    [record] = caplog.records
    assert record.__dict__["event"] == "sign_in.failed"
    assert record.__dict__["fields"]["error"] is None


def test_O2_no_value_makes_a_field_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    emit(Event.REQUEST_REFUSED, path='/a user=1 "', reason="", count=2)
    assert caplog.messages == [r'request.refused path="/a user=1 \"" reason="" count=2']


@pytest.mark.parametrize("value", ["a b=c", "a b", "a=b"])
def test_O2_a_value_that_another_field_could_hide_in_is_quoted(
    caplog: pytest.LogCaptureFixture, value: str
) -> None:
    emit(Event.REQUEST_REFUSED, path=value, count=2)
    assert caplog.messages == [f'request.refused path="{value}" count=2']


def test_a_listener_hears_each_event_until_it_is_stopped() -> None:
    heard: list[tuple[Event, object]] = []
    stop = listen(lambda event, fields: heard.append((event, fields["user"])))
    emit(Event.REFRESHED, user=1)
    stop()
    emit(Event.REFRESHED, user=2)
    assert heard == [(Event.REFRESHED, 1)]


def test_the_example_hears_of_a_lost_grant(capsys: pytest.CaptureFixture[str]) -> None:
    [example] = run_by("listener")
    names: dict[str, Any] = {}
    exec(compile(example.text, str(PAGE), "exec"), names)  # noqa: S102  # our own page
    emit(Event.REFRESHED, user=1)
    emit(Event.GRANT_LOST, user=17)
    names["stop"]()
    assert capsys.readouterr().out == "ask for a new sign-in: 17\n"


def test_the_example_of_a_formatter_makes_json_of_every_record() -> None:
    [example] = run_by("json-log")
    names: dict[str, Any] = {}
    logger = logging.getLogger("procore_signin")
    exec(compile(example.text, str(PAGE), "exec"), names)  # noqa: S102  # our own page
    into = io.StringIO()
    names["handler"].setStream(into)
    try:
        emit(Event.GRANT_LOST, user=17, status="lost")
        logger.warning("Request %s: %s", "f00d", "no more")
    finally:
        logger.removeHandler(names["handler"])
    assert [json.loads(line) for line in into.getvalue().splitlines()] == [
        {"level": "warning", "event": "tokens.grant_lost", "user": 17, "status": "lost"},
        {"level": "warning", "event": "Request f00d: no more"},
    ]


@dataclass
class Minute:
    """A ration whose clock and timer a test moves by hand."""

    now: float = 0.0
    told: list[tuple[str, int]] = field(default_factory=list)
    due: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ration = Ration(
            lambda kind, count: self.told.append((kind, count)),
            most=3,
            clock=lambda: self.now,
            later=lambda _seconds, function: self.due.append(function),
        )

    def admitted(self, kind: str, times: int) -> int:
        return sum(self.ration.admits(kind) for _ in range(times))


def test_O9_of_each_kind_so_many_lines_a_minute_are_written() -> None:
    minute = Minute()
    assert (minute.admitted("a", 10), minute.admitted("b", 2)) == (3, 2)
    minute.now = 59
    assert (minute.admitted("a", 1), minute.admitted("b", 2)) == (0, 1)
    minute.now = 61
    assert minute.admitted("a", 10) == 3


def test_O9_what_was_left_out_is_told_once_though_nothing_more_comes() -> None:
    minute = Minute()
    minute.admitted("a", 10)
    minute.admitted("b", 5)
    (tell,) = minute.due
    tell()
    tell()
    assert minute.told == [("a", 7), ("b", 2)]
    minute.admitted("a", 4)
    assert len(minute.due) == 2
    minute.due[1]()
    assert minute.told[2:] == [("a", 4)]


def test_O9_a_thousand_refusals_are_sixty_lines_and_a_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Event] = []
    stop = listen(lambda event, _: heard.append(event))
    for number in range(1000):
        emit(Event.REQUEST_REFUSED, request=str(number), path="/", reason="foreign_form")
    emit(Event.REQUEST_REFUSED, request="another", path="/", reason="body_too_slow")
    lines.tell()
    stop()
    messages = [record.getMessage().partition(" ")[0] for record in caplog.records]
    assert messages == ["request.refused"] * (LINES_PER_MINUTE + 1) + ["log.left_out"]
    assert vars(caplog.records[-1])["fields"] == {
        "kind": "request.refused foreign_form",
        "count": 1000 - LINES_PER_MINUTE,
    }
    assert heard.count(Event.REQUEST_REFUSED) == 1001  # a listener counts them all


@pytest.mark.parametrize(
    "event",
    [
        Event.ATTEMPT_INVALID,
        Event.REQUEST_REFUSED,
        Event.REQUEST_FAILED,
        Event.RATE_LIMITED,
        Event.CONNECTIONS_CLOSED,
    ],
)
def test_O9_whatever_anyone_can_cause_with_one_request_is_rationed(
    caplog: pytest.LogCaptureFixture, event: Event
) -> None:
    for _ in range(LINES_PER_MINUTE + 40):
        emit(event)
    assert caplog.messages == [event.value] * LINES_PER_MINUTE


def test_O9_what_a_person_did_is_never_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "procore_signin")
    for _ in range(200):
        emit(Event.SIGNED_OUT, user=1)
    assert len(caplog.records) == 200


def test_O9_a_child_does_not_tell_what_its_parent_left_out() -> None:
    minute = Minute()
    minute.admitted("a", 10)
    child = os.fork()
    if child == 0:
        minute.ration.tell()
        os._exit(len(minute.told))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    minute.ration.tell()
    assert minute.told == [("a", 7)]
