"""Callers are interrupted in the middle of a refresh, as job queues, people and gevent do it."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.reliability.conftest import NewWorld, Report
from tests.reliability.settings import CLIENT_ID, CLIENT_SECRET, KEYS, REDIRECT_URI, size

TIMES: Final = size(6, 150)
GREENLETS: Final = size(6, 60)
SECONDS: Final = 0.03
"""How long Procore thinks. Interrupts come at even distances before, during and after that."""


class SoftLimitError(BaseException):
    """As job queues raise it."""


class Target:
    """The main thread, which may be interrupted only while it asks for a token."""

    def __init__(self) -> None:
        self.armed = False
        self.ident = threading.get_ident()

    def handle(self, *_: object) -> None:
        if self.armed:
            self.armed = False
            raise SoftLimitError


def by_signal(target: Target) -> None:
    signal.pthread_kill(target.ident, signal.SIGUSR1)


def by_exception(target: Target) -> None:
    if target.armed:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(target.ident), ctypes.py_object(SoftLimitError)
        )


@pytest.fixture
def target() -> Iterator[Target]:
    target = Target()
    before = signal.signal(signal.SIGUSR1, target.handle)
    yield target
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("interrupt", [by_signal, by_exception])
def test_R13_no_interrupt_loses_a_grant(
    new_world: NewWorld, report: Report, target: Target, interrupt: Callable[[Target], None]
) -> None:
    world = new_world()
    world.widen_the_race(SECONDS)
    user = world.sign_in()
    world.witness.look()
    interrupted = 0
    for turn in range(TIMES):
        before = world.row(user).generation
        world.expire()
        timer = threading.Timer(2 * SECONDS * turn / TIMES, interrupt, [target])
        try:
            target.armed = True
            timer.start()
            world.door.fresh_tokens(user)
            target.armed = False
            timer.join()
        except SoftLimitError:
            interrupted += 1
        target.armed = False
        timer.join()
        world.door._runner.settle()
        assert world.door.fresh_tokens(user).generation == before + 1
    sight = world.witness.look()
    row = world.row(user)
    report(
        "{times} refreshes on {database}, {interrupted} of them interrupted {how}: {lost} grants"
        " lost, {double_spends} double spends",
        database=world.database.kind,
        times=TIMES,
        how=interrupt.__name__.replace("_", " "),
        interrupted=interrupted,
        lost=sight.invalid_grants,
        double_spends=sight.double_spends,
    )
    assert interrupted > 0
    assert (row.status, row.leased, row.ambiguous) == ("ok", False, 0)
    assert (sight.double_spends, sight.invalid_grants) == (0, 0)


GREEN: Final = """
from gevent import monkey
monkey.patch_all()
import json, sys, gevent
from procore_signin import environments
from procore_signin._protocol.secret import Secret
from procore_signin.web.gevent import GeventProcoreSignIn

order = json.loads(sys.argv[1])
interrupted = 0
with GeventProcoreSignIn(
    environment=environments.emulator(order["emulator"]), client_id=order["id"],
    client_secret=Secret(order["secret"], "client secret"), redirect_uri=order["redirect"],
    keys=Secret(order["keys"], "keys"), database_url=order["database"],
) as door:
    known = 1
    for turn in range(order["times"]):
        seconds = max(0.001, order["seconds"] * turn / order["times"])
        def ask():
            return door.fresh_tokens(order["user"], rejected=known).generation
        leader = gevent.spawn(ask)
        follower = gevent.spawn(ask)
        gevent.sleep(seconds)
        interrupted += not leader.ready()
        leader.kill()
        assert follower.get(timeout=30) == known + 1, follower
        try:
            with gevent.Timeout(seconds):
                door.fresh_tokens(order["user"], rejected=known + 1)
        except gevent.Timeout:
            interrupted += 1
        known = door.fresh_tokens(order["user"], rejected=known + 1).generation
print(interrupted, known)
"""


def test_R13_no_killed_greenlet_loses_a_grant(new_world: NewWorld, report: Report) -> None:
    world = new_world()
    world.widen_the_race(SECONDS)
    user = world.sign_in()
    world.witness.look()
    order = {
        "emulator": world.emulator.url,
        "id": CLIENT_ID,
        "secret": CLIENT_SECRET.reveal(),
        "redirect": REDIRECT_URI,
        "keys": KEYS.reveal(),
        "database": world.database.url,
        "user": user,
        "times": GREENLETS,
        "seconds": 2 * SECONDS,
    }
    done = subprocess.run(
        [sys.executable, "-c", GREEN, json.dumps(order)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    interrupted, generation = map(int, done.stdout.split())
    sight = world.witness.look()
    report(
        "{times} refreshes under gevent on {database}, {interrupted} greenlets interrupted:"
        " {lost} grants lost, {double_spends} double spends",
        database=world.database.kind,
        times=2 * GREENLETS,
        interrupted=interrupted,
        lost=sight.invalid_grants,
        double_spends=sight.double_spends,
    )
    assert interrupted > 0
    assert generation == 2 * GREENLETS + 1
    assert (sight.double_spends, sight.invalid_grants) == (0, 0)
