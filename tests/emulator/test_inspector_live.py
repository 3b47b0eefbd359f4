"""The inspector's stream of events: what is told, to whom, and when it ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from recorded import APP, REQUEST, STATE, record, record_denial

from procore_signin._emulator.inspector.endpoints import Inspector
from procore_signin._emulator.journal import Journal


async def read_events(stream: AsyncGenerator[bytes, None], count: int) -> list[dict[str, str]]:
    """Read so many events; fields of each by name, a comment under `:`."""
    events: list[dict[str, str]] = []
    while len(events) < count:
        lines = (await anext(stream)).decode().strip().split("\n")
        events.append(
            {name or ":": value for name, _, value in (line.partition(": ") for line in lines)}
        )
    return events


def listen(inspector: Inspector, after: str, count: int, meanwhile: Any = None) -> Any:
    """Return `count` events that follow the mark, the stream's greeting left out."""

    async def run() -> Any:
        stream = inspector.event_stream(after)
        try:
            greeting = await anext(stream)
            assert greeting == b"retry: 1000\n\n"
            if meanwhile is not None:
                threading.Thread(target=meanwhile).start()
            async with asyncio.timeout(20):
                return await read_events(stream, count)
        finally:
            await stream.aclose()

    return asyncio.run(run())


def test_a_new_exchange_is_told_as_it_happens(journal: Journal, inspector: Inspector) -> None:
    (event,) = listen(inspector, "0", 1, meanwhile=lambda: record(journal, "GET", REQUEST))

    news = json.loads(event["data"])
    assert (event["event"], event["id"]) == ("chapter", "1.1700000000500")
    assert (news["id"], news["newest"]) == ("sign-in-1", True)
    assert 'id="sign-in-1-1-request"' in news["html"]
    assert news["said"].startswith("Step 3: The user clicks it")
    assert "Step 6: Procore displays the consent dialog (200 page)" in news["said"]


def test_news_carry_no_secret(journal: Journal, inspector: Inspector) -> None:
    record_denial(journal)

    (event,) = listen(inspector, "0", 1)

    assert STATE not in event["data"]


def test_after_a_lost_connection_only_what_is_new_is_told(
    journal: Journal, inspector: Inspector
) -> None:
    record_denial(journal)
    (first,) = listen(inspector, "0", 1)
    record(journal, "POST", "/logout")

    (event,) = listen(inspector, first["id"], 1)

    news = json.loads(event["data"])
    assert news["id"] == "others"
    assert "log" in news["said"]


def test_a_new_sign_in_redraws_the_one_before_without_its_steps_to_come(
    journal: Journal, inspector: Inspector
) -> None:
    record(journal, "GET", REQUEST)
    (first,) = listen(inspector, "0", 1)
    record(journal, "GET", REQUEST.replace(STATE, "9" * 64))

    before, newest = (json.loads(e["data"]) for e in listen(inspector, first["id"], 2))

    assert (before["id"], before["newest"], newest["id"], newest["newest"]) == (
        "sign-in-1",
        False,
        "sign-in-2",
        True,
    )
    assert "waiting" not in before["html"]
    assert "waiting" in newest["html"]


def test_two_listeners_both_hear_everything(journal: Journal, inspector: Inspector) -> None:
    async def run() -> list[str]:
        streams = [inspector.event_stream("0") for _ in range(2)]
        for stream in streams:
            await anext(stream)
        record(journal, "GET", REQUEST)
        heard = [(await read_events(stream, 1))[0]["id"] for stream in streams]
        for stream in streams:
            await stream.aclose()
        return heard

    assert asyncio.run(run()) == ["1.1700000000500"] * 2


def test_a_quiet_stream_sends_a_heartbeat(journal: Journal) -> None:
    inspector = Inspector(journal, app_url=APP, version="1.2.3", heartbeat=0.01)

    assert listen(inspector, "0", 1) == [{":": "still here"}]


def test_clearing_is_told_and_ends_the_stream(journal: Journal, inspector: Inspector) -> None:
    async def run() -> list[bytes]:
        stream = inspector.event_stream("0")
        await anext(stream)
        record_denial(journal)
        await anext(stream)
        journal.clear()
        return [event async for event in stream]

    assert asyncio.run(run()) == [b"event: cleared\ndata: {}\n\n"]


@pytest.mark.parametrize("mark", ["1.1600000000000", "7.1700000000500", "9", "x", "-1", "1.x"])
def test_a_mark_of_another_run_is_answered_with_cleared(
    journal: Journal, inspector: Inspector, mark: str
) -> None:
    record_denial(journal)

    (event,) = listen(inspector, mark, 1)

    assert event["event"] == "cleared"


def test_the_mark_of_a_page_loaded_after_clearing_is_good(
    journal: Journal, inspector: Inspector
) -> None:
    record_denial(journal)
    journal.clear()
    mark = inspector.page_html().partition('data-after="')[2].partition('"')[0]

    (event,) = listen(inspector, mark, 1, meanwhile=lambda: record(journal, "GET", REQUEST))

    assert (mark, event["event"]) == ("2", "chapter")


def test_a_stream_ends_when_its_listener_leaves(journal: Journal, inspector: Inspector) -> None:
    async def run() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        heard = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await heard.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if b"sign-in-1" in message.get("body", b""):
                heard.set()

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/_emulator/events",
            "query_string": b"after=0",
            "headers": [],
        }
        record(journal, "GET", REQUEST)
        async with asyncio.timeout(20):
            await inspector.answer(scope, receive, send)
        return sent

    start, *_ = asyncio.run(run())

    assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
    assert journal._subscriptions == set()


def test_a_reconnecting_browser_goes_on_after_its_last_event(
    journal: Journal, inspector: Inspector
) -> None:
    async def run() -> str:
        bodies: list[bytes] = []
        heard = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await heard.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            bodies.append(message.get("body", b""))
            if b"id: " in bodies[-1]:
                heard.set()

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/_emulator/events",
            "query_string": b"after=0",
            "headers": [(b"last-event-id", b"1.1700000000500")],
        }
        record(journal, "GET", REQUEST)
        record(journal, "POST", "/logout")
        async with asyncio.timeout(20):
            await inspector.answer(scope, receive, send)
        return b"".join(bodies).decode()

    told = asyncio.run(run())

    assert "id: 2.1700000000500" in told
    assert "sign-in-1" not in told
