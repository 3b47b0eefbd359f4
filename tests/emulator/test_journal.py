from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from procore_signin._emulator.journal import BODY_KEPT, Exchange, Journal

PLAIN: dict[str, Any] = {
    "started_at": 1_700_000_000.0,
    "took": 0.002,
    "caller": "app",
    "lane": "auth",
    "method": "POST",
    "target": "/oauth/token",
    "request_headers": (("content-type", "application/json"),),
    "request_body": b"{}",
    "status": 200,
    "response_headers": (("content-type", "application/json"),),
    "response_body": b"{}",
}


def record(journal: Journal, **changes: Any) -> Exchange:
    return journal.record(**(PLAIN | changes))


def numbers(journal: Journal, after: int = 0) -> list[int]:
    return [exchange.number for exchange in journal.exchanges(after)]


def test_exchanges_are_numbered_from_one_in_the_order_recorded() -> None:
    journal = Journal()

    recorded = [record(journal, target=f"/{place}") for place in range(3)]

    assert [exchange.number for exchange in recorded] == [1, 2, 3]
    assert recorded == journal.exchanges()


def test_every_field_is_kept_as_given() -> None:
    journal = Journal()

    exchange = record(journal, note="refused: the code was used before")

    assert {name: getattr(exchange, name) for name in (*PLAIN, "note")} == PLAIN | {
        "note": "refused: the code was used before"
    }


def test_only_exchanges_after_a_number_are_returned() -> None:
    journal = Journal()
    for _ in range(4):
        record(journal)

    assert numbers(journal, after=2) == [3, 4]
    assert numbers(journal, after=4) == []


def test_a_full_journal_drops_the_oldest() -> None:
    journal = Journal(capacity=2)
    for _ in range(5):
        record(journal)

    assert numbers(journal) == [4, 5]
    assert journal.last_number == 5


def test_one_exchange_is_found_by_its_number_as_long_as_it_is_kept() -> None:
    journal = Journal(capacity=1)
    first, second = record(journal), record(journal)

    assert second == journal.exchange(2)
    assert journal.exchange(first.number) is None
    assert journal.exchange(99) is None


def test_E5_only_the_beginning_of_a_huge_body_is_kept() -> None:
    journal = Journal()

    exchange = record(
        journal, request_body=b"q" * (BODY_KEPT + 1), response_body=b"a" * (BODY_KEPT + 9)
    )

    assert exchange.request_body == b"q" * BODY_KEPT
    assert exchange.response_body == b"a" * BODY_KEPT


def test_clearing_forgets_everything_and_no_number_is_used_twice() -> None:
    journal = Journal()
    record(journal)
    record(journal)

    journal.clear()

    assert journal.exchanges() == []
    assert journal.cleared_up_to == 2
    assert record(journal).number == 3


def test_the_repr_of_an_exchange_shows_no_secret() -> None:
    secret = "a-secret-that-must-not-be-seen"

    exchange = record(
        Journal(),
        target=f"/oauth/authorize?state={secret}",
        request_headers=(("authorization", f"Bearer {secret}"),),
        request_body=secret.encode(),
        response_headers=(("set-cookie", secret),),
        response_body=secret.encode(),
        note=secret,
    )

    assert secret not in repr(exchange)
    assert "POST" in repr(exchange)


def test_threads_recording_at_once_leave_no_gap_and_no_double() -> None:
    journal = Journal(capacity=10_000)
    start = threading.Barrier(8)

    def write() -> None:
        start.wait()
        for _ in range(100):
            record(journal)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(range(1, 801)) == numbers(journal)


def test_whoever_waits_is_woken_by_an_exchange_recorded_in_another_thread() -> None:
    journal = Journal()

    async def wait() -> bool:
        subscription = journal.subscribe()
        writer = threading.Thread(target=record, args=(journal,))
        writer.start()
        woken = await subscription.wait(30)
        writer.join()
        return woken

    assert asyncio.run(wait())


def test_an_exchange_recorded_before_the_wait_is_not_missed() -> None:
    journal = Journal()

    async def wait() -> bool:
        subscription = journal.subscribe()
        record(journal)
        return await subscription.wait(30)

    assert asyncio.run(wait())


def test_clearing_wakes_too() -> None:
    journal = Journal()

    async def wait() -> bool:
        subscription = journal.subscribe()
        journal.clear()
        return await subscription.wait(30)

    assert asyncio.run(wait())


def test_a_wait_without_news_ends_when_its_time_is_up() -> None:
    journal = Journal()

    async def wait() -> list[bool]:
        subscription = journal.subscribe()
        record(journal)
        return [await subscription.wait(30), await subscription.wait(0.01)]

    assert asyncio.run(wait()) == [True, False]


def test_who_unsubscribed_is_not_woken_any_more() -> None:
    journal = Journal()

    async def wait() -> bool:
        subscription = journal.subscribe()
        journal.unsubscribe(subscription)
        journal.unsubscribe(subscription)
        record(journal)
        return await subscription.wait(0.01)

    assert not asyncio.run(wait())


def test_a_subscriber_whose_loop_has_ended_is_dropped_without_a_trace() -> None:
    journal = Journal()

    async def subscribe_and_leave() -> None:
        journal.subscribe()

    asyncio.run(subscribe_and_leave())
    record(journal)

    assert set() == journal._subscriptions


def test_subscribing_without_an_event_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        Journal().subscribe()
