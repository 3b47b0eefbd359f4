"""What becomes of those who wait for a connection of an event loop, at a fork and at the end."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from procore_signin._forks import FORKS
from procore_signin._store.engine.capacity_limiter import Place
from procore_signin._store.engine.pool import Pool
from procore_signin._store.postgresql import loop_pool
from procore_signin._store.postgresql.callbacks import Callbacks
from procore_signin._store.postgresql.loop_pool import LoopPool


class Connection:
    """What a driver would make."""

    def __init__(self) -> None:
        self.made_at = time.monotonic()
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Made:
    """What takes the place of a connection."""

    gone = False

    def __init__(self, *parts: Any) -> None:
        _, _, self.line, self.place = parts

    def drop(self) -> None:
        self.line.leave(self.place)


class World:
    """LoopPool for at most one connection, which is made when `made` is set.

    Attributes:
        got: What those who wanted a connection were given.
    """

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.loop = asyncio.new_event_loop()
        self.made, self.asked = threading.Event(), threading.Event()
        self.connection = Connection()
        self.pool: Pool[Any] = Pool(self._connect, 1)
        server: Any = SimpleNamespace(breaker=SimpleNamespace(lasts=lambda: None))
        self.connections = LoopPool(server, self.pool, Callbacks(self.loop, lambda: None), threads)
        self.got: list[tuple[Any, Any]] = []

    def _connect(self) -> Connection:
        self.asked.set()
        assert self.made.wait(20)
        return self.connection

    def take(self) -> None:
        self.connections.take(
            time.monotonic() + 20, lambda connection, failed: self.got.append((connection, failed))
        )


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(1) as threads:
        world = World(threads)
        try:
            yield world
        finally:
            world.made.set()
    world.loop.close()


@contextmanager
def in_a_child(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do the block as a child of a process that forks here does it, in which no thread goes on."""
    with monkeypatch.context() as patched:
        patched.setattr(FORKS, "generation", FORKS.generation + 1)
        yield


def test_F3_a_child_takes_no_connection_that_its_parent_was_making_at_the_fork(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_pool, "LoopConnection", Made)
    world.take()
    assert world.asked.wait(20)
    with in_a_child(monkeypatch):
        world.made.set()
        world.loop.run_until_complete(world.loop.run_in_executor(world.connections._threads, int))
        world.loop.run_until_complete(asyncio.sleep(0))
    assert world.got == []
    assert not world.connection.closed  # the socket is the parent's as well
    assert list(world.connections._all) == []


def test_O11_an_event_loop_that_ends_keeps_no_place_of_a_connection_in_use(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_pool, "LoopConnection", Made)
    world.take()
    world.made.set()
    while not world.got:
        world.loop.run_until_complete(asyncio.sleep(0.01))
    world.got.clear()  # the callbacks of an event loop are all that knows who uses it
    gc.collect()
    world.loop.close()
    world.connections.close()
    assert world.pool.line.take(Place(), 0)


def test_O11_those_who_wait_for_a_connection_when_the_door_closes_get_an_error(
    world: World,
) -> None:
    other = Place()
    assert world.pool.line.take(other, 0)  # another event loop has the only one
    world.take()
    world.take()
    assert world.got == []
    world.connections.close()
    assert [(connection, failed.failure) for connection, failed in world.got] == [
        (None, "closed")
    ] * 2
    world.pool.line.leave(other)
