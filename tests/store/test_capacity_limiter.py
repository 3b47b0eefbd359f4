"""Writers of one process in their line, and interrupts at any point of a read or write (R13)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from interrupting import interrupted_everywhere
from migrated import migrated

from procore_signin._store import Store
from procore_signin._store.engine.capacity_limiter import CapacityLimiter, Place
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.sessions import EndSessions, SessionOf


def test_the_first_one_writes_and_the_others_follow_in_their_order() -> None:
    line, first, wrote = CapacityLimiter(), Place(), list[int]()
    assert line.take(first, 0)

    def write(number: int) -> None:
        place = Place()
        assert line.take(place, 20)
        wrote.append(number)
        line.leave(place)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(line._places) < number + 2:
            time.sleep(0.001)
    line.leave(first)
    for thread in threads:
        thread.join(20)
    assert wrote == [0, 1, 2, 3, 4]


def test_who_is_not_first_in_time_gets_no_turn_and_keeps_no_one_out() -> None:
    line, first, second, third = CapacityLimiter(), Place(), Place(), Place()
    assert line.take(first, 0)
    assert not line.take(second, 0.01)
    line.leave(second)
    line.leave(first)
    line.leave(first)  # twice is harmless
    assert line.take(third, 0)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    key = KeyRing.generate(lambda count: b"\x07" * count, key_id="k1")
    store = Store(migrated(tmp_path / "test.db"), KeyRing.parse(key))
    yield store
    store.close()


def test_R13_an_interrupt_at_any_point_keeps_no_other_caller_from_the_database(
    sqlite_store: Store,
) -> None:
    calls: dict[str, Callable[[], object]] = {
        "write": lambda: sqlite_store.do(EndSessions(1)),
        "read": lambda: sqlite_store.ask(SessionOf("a" * 64, environment="emulator", now=1)),
    }
    broken: list[str] = []
    for kind, call in calls.items():
        call()
        for place in interrupted_everywhere(call, most=400):
            failures: list[BaseException] = []
            thread = threading.Thread(target=_try, args=(calls.values(), failures), daemon=True)
            thread.start()
            thread.join(10)
            if thread.is_alive() or failures:
                broken.append(f"{kind}: {place}: {failures or 'hangs'}")
    assert broken == []


def _try(calls: Iterable[Callable[[], object]], failures: list[BaseException]) -> None:
    for call in calls:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # whatever it is, another caller caused it
            failures.append(error)
