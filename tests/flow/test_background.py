"""Threads of their own for flows that are carried to their end."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.running import background
from procore_signin._flow.running.background import (
    LATER_AT_ONCE,
    LONGEST_EXIT_SECONDS,
    THREADS,
    Asked,
    Background,
)
from procore_signin._flow.running.closing import end_idle
from procore_signin._flow.running.outcome import Outcome
from procore_signin._flow.steps import Call, Flow, Wait, later, wait
from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable, StoreUnavailable

AT_ONCE = 4
WAIT_SECONDS = 10.0


class Watched(queue.SimpleQueue[Any]):
    """Counts the threads that wait in it at the same time."""

    def __init__(self) -> None:
        self.waits_over = threading.Semaphore(0)
        self.most = 0
        self._waiting = 0
        self._lock = threading.Lock()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002  # the queue's own signature
        with self._lock:
            self._waiting += 1
            self.most = max(self.most, self._waiting)
        try:
            return super().get(block, timeout)
        finally:
            with self._lock:
                self._waiting -= 1
            self.waits_over.release()


def test_R13_one_idle_thread_waits_at_a_time() -> None:
    # CPython 3.11: `SimpleQueue.get(timeout=…)` never returns if its time ends while another thread
    # takes the item that woke it. Then the process never ends.
    background = Background()
    watched = background._jobs = Watched()
    together = threading.Barrier(AT_ONCE + 1)

    def meet() -> None:
        together.wait(WAIT_SECONDS)

    for _ in range(AT_ONCE):
        assert background.start(meet)
    together.wait(WAIT_SECONDS)  # each has a thread
    for _ in range(2 * AT_ONCE):
        assert watched.waits_over.acquire(timeout=WAIT_SECONDS)
    assert watched.most == 1
    background.close(WAIT_SECONDS)


class OnTheWay(queue.SimpleQueue[Any]):
    """Keeps what it hands out from its thread for a while."""

    def __init__(self) -> None:
        self.has_left = threading.Event()
        self.may_arrive = threading.Event()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002  # as above
        job = super().get(block, timeout)
        self.has_left.set()
        self.may_arrive.wait(WAIT_SECONDS)
        return job


def test_R13_a_process_that_leaves_waits_for_what_is_on_its_way_to_a_thread() -> None:
    background = Background()
    queued = background._jobs = OnTheWay()
    done = threading.Event()

    assert background.start(done.set)
    assert queued.has_left.wait(WAIT_SECONDS)

    assert background.settle(0) == 1
    queued.may_arrive.set()
    assert background.settle(WAIT_SECONDS) == 0
    assert done.is_set()
    background.close(WAIT_SECONDS)


@pytest.mark.parametrize("when", ["before it is told", "afterwards"])
@pytest.mark.parametrize(("value", "error"), [(7, None), (None, LookupError("gone"))])
def test_who_follows_an_outcome_is_told_the_same(
    when: str, value: int | None, error: LookupError | None
) -> None:
    leader, follower = Outcome[int](), Outcome[int]()
    if when == "afterwards":
        leader.tell(value, error)
    follower.follow(leader)
    leader.tell(value, error)
    assert follower.done
    assert follower.error is error
    if error is None:
        assert follower.result() == value


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (ProcoreUnavailable("Procore is away", ambiguous=False), True),
        (StoreUnavailable("The database is away", reason="unreachable"), False),
    ],
)
def test_postponed_work_that_fails_is_logged_unless_the_state_of_the_database_tells_of_it(
    door: ProcoreSignIn,
    caplog: pytest.LogCaptureFixture,
    error: ProcoreSignInError,
    *,
    logged: bool,
) -> None:
    def failing() -> Flow[None]:
        yield from wait(0)
        raise error

    door.run(later(failing()))
    door._runner.settle()
    assert (f"Postponed work failed: {error}" in caplog.messages) is logged


class Impatient(Background):
    """Looks often, and counts its looks for work and its threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(background, "LOOK_SECONDS", 0.01)
        self.begun: list[threading.Thread] = []
        super().__init__()
        self.watched = self._jobs = Watched()

    def start(self, work: Callable[[], None]) -> bool:
        with self._lock:  # while no thread counts itself, so that one too many is not begun
            return super().start(work)

    def _serve(self) -> None:
        self.begun.append(threading.current_thread())
        super()._serve()

    def look(self, times: int) -> None:
        """Wait until some thread has looked for work so often, and found none."""
        while self.watched.waits_over.acquire(blocking=False):
            pass
        for _ in range(times):
            assert self.watched.waits_over.acquire(timeout=WAIT_SECONDS)

    def do_at_once(self, pieces: int) -> None:
        """Do so many pieces of work, of which each ends when all have begun."""
        together = threading.Barrier(pieces + 1)

        def meet() -> None:
            together.wait(WAIT_SECONDS)

        for _ in range(pieces):
            assert self.start(meet)
        together.wait(WAIT_SECONDS)
        assert self.settle(WAIT_SECONDS) == 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Generator[Impatient]:
    impatient = Impatient(monkeypatch)
    yield impatient
    impatient.close(WAIT_SECONDS)


def test_any_amount_of_work_has_a_thread_each_and_threads_are_used_again(
    impatient: Impatient,
) -> None:
    for pieces in (3, 5, 2, 5, 6):
        impatient.do_at_once(pieces)
        impatient.look(3 * len(impatient.begun))
        with impatient._lock:
            assert impatient._idle == len(impatient.begun) >= pieces
    assert list(impatient._open) == []  # nothing is kept of what was done


def test_work_that_counts_on_a_thread_which_is_just_taking_other_work_gets_one() -> None:
    background = Background()
    queued = background._jobs = OnTheWay()
    together, done = threading.Barrier(2), threading.Semaphore(0)

    def meet() -> None:
        together.wait(WAIT_SECONDS)
        done.release()

    assert background.start(meet)
    assert queued.has_left.wait(WAIT_SECONDS)
    assert background.start(meet)
    queued.may_arrive.set()
    for _ in range(2):
        assert done.acquire(timeout=WAIT_SECONDS)
    background.close(WAIT_SECONDS)


def test_a_thread_is_kept_for_a_while_after_its_latest_work(
    impatient: Impatient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "KEPT_SECONDS", 0.2)  # twenty looks
    for _ in range(15):
        impatient.do_at_once(1)
        impatient.look(3)
    assert len(impatient.begun) == 1
    assert impatient.begun[0].is_alive()
    impatient.begun[0].join(WAIT_SECONDS)
    assert not impatient.begun[0].is_alive()
    impatient.do_at_once(1)
    assert len(impatient.begun) == 2


def test_a_thread_whose_work_another_has_taken_is_kept_too(
    impatient: Impatient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "KEPT_SECONDS", 0.9)
    impatient._add_thread()
    impatient.look(3)
    assert impatient.begun[0].is_alive()
    impatient.do_at_once(1)
    assert len(impatient.begun) == 1


def test_threads_end_at_once_when_their_front_door_is_closed(impatient: Impatient) -> None:
    impatient.do_at_once(3)
    seen: list[bool] = []
    assert impatient.start(lambda: seen.append(impatient.closing))
    assert impatient.settle(WAIT_SECONDS) == 0
    began = threading.Event()
    closed = threading.Event()

    def until_it_closes() -> None:
        began.set()
        while not impatient.closing and not closed.wait(0.001):
            pass
        seen.append(impatient.closing)

    assert impatient.start(until_it_closes)
    assert began.wait(WAIT_SECONDS)
    assert impatient.close(WAIT_SECONDS / 2) == 0
    closed.set()
    assert seen == [False, True]
    for thread in impatient.begun:
        thread.join(WAIT_SECONDS / 5)  # less than a thread is kept for
        assert not thread.is_alive()
    impatient.do_at_once(1)  # it may be used again


def test_our_threads_bear_their_name_and_are_no_daemons_whoever_asks(impatient: Impatient) -> None:
    asking = threading.Thread(target=impatient.do_at_once, args=[2], daemon=True)
    asking.start()
    asking.join(WAIT_SECONDS)
    assert {(each.name, each.daemon) for each in impatient.begun} == {(THREADS, False)}


def test_a_process_that_has_no_thread_to_spare_says_so_and_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    background, done = Background(), list[int]()
    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", exhausted)
        assert not background.start(lambda: done.append(1))
    assert background.settle(WAIT_SECONDS) == 0
    assert done == []
    background.close(WAIT_SECONDS)


def test_as_much_work_for_later_is_done_at_once_each_time(door: ProcoreSignIn) -> None:
    background = door._runner._background
    for _ in range(3):
        together, now = threading.Barrier(LATER_AT_ONCE), list[int]()
        lock, most = threading.Lock(), list[int]()

        def work(
            together: threading.Barrier = together,
            now: list[int] = now,
            most: list[int] = most,
            lock: threading.Lock = lock,
        ) -> None:
            with lock:
                now.append(1)
                most.append(len(now))
            together.wait(WAIT_SECONDS)
            with lock:
                now.pop()

        for _ in range(LATER_AT_ONCE * 2):
            background.later(work, None)
        assert background.settle(WAIT_SECONDS) == 0
        assert max(most) == LATER_AT_ONCE


def test_R13_a_process_that_leaves_tells_its_work_and_waits_for_it() -> None:
    background, done = Background(), list[bool]()
    began, given_up = threading.Event(), threading.Event()

    def until_it_leaves() -> None:
        began.set()
        while not background.closing and not given_up.wait(0.001):
            pass
        done.append(background.closing)

    assert background.start(until_it_leaves)
    assert began.wait(WAIT_SECONDS)
    background.wait_to_leave(WAIT_SECONDS / 2)
    given_up.set()
    assert background.settle(WAIT_SECONDS) == 0
    assert done == [True]
    background.close(WAIT_SECONDS)


def test_R13_a_process_that_leaves_waits_no_longer_than_it_may() -> None:
    background, release = Background(), threading.Event()
    background.wait_to_leave(math.inf)  # nothing is under way

    def busy() -> None:
        release.wait(WAIT_SECONDS)

    assert background.start(busy)
    background.wait_to_leave(0.01)
    assert background._unfinished() == 1
    release.set()
    background.close(WAIT_SECONDS)


class Leaving(Background):
    """Notes how long it is to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait_to_leave(self, seconds: float) -> None:
        self.seconds.append(seconds)


def nothing() -> None:
    pass


def test_os_exit_waits_in_forked_children_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    left, ours, theirs = list[int](), Leaving(), Leaving()
    plain: Callable[[int], None] = left.append
    monkeypatch.setattr(os, "_exit", plain)
    monkeypatch.setattr(background, "is_a_child", lambda: False)
    assert ours.start(nothing)
    assert vars(os)["_exit"] is plain
    monkeypatch.setattr(background, "is_a_child", lambda: True)
    for _ in range(2):
        assert theirs.start(nothing)
    vars(os)["_exit"](3)
    assert (left, theirs.seconds) == ([3], [LONGEST_EXIT_SECONDS])
    for each in (ours, theirs):
        each.close(WAIT_SECONDS)


def thread(name: str, *, daemon: bool = False, alive: bool = True) -> Any:
    return SimpleNamespace(name=name, daemon=daemon, is_alive=lambda: alive)


@pytest.mark.parametrize(
    ("main_is_there", "others", "alone"),
    [
        (True, [thread(THREADS)], False),
        (False, [thread(THREADS), thread(f"{THREADS}-store_0")], True),
        (False, [thread(THREADS), thread("Thread-1")], False),
        (False, [thread(THREADS), thread("Thread-1", daemon=True)], True),
    ],
)
def test_a_process_is_ending_that_waits_for_our_threads_alone(
    monkeypatch: pytest.MonkeyPatch, *, main_is_there: bool, others: list[Any], alone: bool
) -> None:
    main = thread("MainThread", alive=main_is_there)
    ours = Background()
    monkeypatch.setattr(threading, "main_thread", lambda: main)
    monkeypatch.setattr(threading, "enumerate", lambda: [main, *others])
    before = ours.ending()
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + 100)
    monkeypatch.setattr(background, "time", later)
    now = ours.ending()
    monkeypatch.undo()
    assert (before > 0, now > 100) == (alone, alone)
    ours.close(0)


class Patiently(Outcome[int]):
    """Is told at its third look."""

    looks = 0

    def inherited(self) -> bool:
        self.looks += 1
        if self.looks == 3:
            self.tell(7)
        return False


def test_who_waits_for_an_outcome_looks_as_often_as_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("procore_signin._flow.running.outcome.FORK_SEEN_SECONDS", 0.01)
    outcome = Patiently()
    assert outcome.wait()
    assert (outcome.result(), outcome.looks) == (7, 3)


def test_who_waits_for_a_flow_looks_as_often_as_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "FORK_SEEN_SECONDS", 0.01)
    asked = Asked(repr, listening=True)
    asked.outcome = Patiently()  # type: ignore[misc]  # a test looks inside
    assert asked.wait() == 7


@pytest.mark.parametrize("leaves", ["before", "meanwhile"])
def test_R13_the_application_is_called_all_the_same_where_the_caller_leaves(leaves: str) -> None:
    asked = Asked(lambda step: step.arguments, listening=True)
    if leaves == "before":
        asked.leave()
    with ThreadPoolExecutor(1) as flow:
        called = flow.submit(asked.call, Call(repr, (1,)))
        if leaves == "meanwhile":
            asked._news.get(timeout=WAIT_SECONDS)
            asked.leave()
        assert called.result(WAIT_SECONDS) == (1,)


@pytest.mark.parametrize(("idle", "closing"), [(False, True), (True, False), (False, False)])
def test_a_wait_goes_on_that_others_do_not_end(*, idle: bool, closing: bool) -> None:
    end_idle(Wait(1, idle), closing=closing)


def test_a_wait_for_others_ends_with_the_process_and_nothing_was_sent() -> None:
    with pytest.raises(ProcoreUnavailable) as raised:
        end_idle(Wait(1, idle=True), closing=True)
    assert (raised.value.retry_after, raised.value.ambiguous) == (1, False)
