"""Threads of their own for flows that are carried to their end."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.running.background import Background
from procore_signin._flow.running.outcome import Outcome
from procore_signin._flow.steps import Flow, later, wait
from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable, StoreUnavailable

THREADS = 4
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
    together = threading.Barrier(THREADS + 1)

    def meet() -> None:
        together.wait(WAIT_SECONDS)

    for _ in range(THREADS):
        assert background.start(meet)
    together.wait(WAIT_SECONDS)  # each has a thread
    for _ in range(2 * THREADS):
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
