"""Callers are interrupted in the middle of a refresh, as job queues, people and gevent do it."""

from __future__ import annotations

import ctypes
import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from own_process import run_script
from ports import free_port
from tests.reliability.conftest import NewWorld, Report
from tests.reliability.settings import CLIENT_ID, CLIENT_SECRET, KEYS, REDIRECT_URI, size
from tests.reliability.world import World, until

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


def front_door_of(world: World) -> dict[str, object]:
    """Return what a program of its own needs to open a front door in `world`."""
    return {
        "emulator": world.emulator.url,
        "id": CLIENT_ID,
        "secret": CLIENT_SECRET.reveal(),
        "redirect": REDIRECT_URI,
        "keys": KEYS.reveal(),
        "database": world.database.url,
    }


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
    order = front_door_of(world) | {
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


ON_AN_EVENT_LOOP: Final = """
import asyncio, ctypes, json, signal, sys, threading, time
from procore_signin import AsyncProcoreSignIn, environments
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.secret import Secret
from tests.reliability.worker import BROWSER, attempt_from

order = json.loads(sys.argv[1])
interrupted, armed, me = 0, False, threading.get_ident()

class SoftLimitError(Exception):
    pass

def on_the_loop(frame):
    # This program itself is to live. And while a thread starts another, CPython sets an exception
    # that is meant for the one on the other, which is then waited for forever.
    while frame is not None and frame.f_code.co_name not in ("run_forever", "start"):
        frame = frame.f_back
    return armed and frame is not None and frame.f_code.co_name != "start"

def soft_limit(_, frame):
    global interrupted
    if on_the_loop(frame):
        interrupted += 1
        raise SoftLimitError

def alarms(seconds):
    signal.signal(signal.SIGALRM, soft_limit)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)

def exceptions(seconds):
    def set_them():
        global interrupted
        while armed:
            time.sleep(seconds)
            if on_the_loop(sys._current_frames()[me]):
                interrupted += 1
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(me), ctypes.py_object(SoftLimitError)
                )
    threading.Thread(target=set_them).start()

def at_rest():
    # One that is on its way may come late.
    global armed
    while True:
        try:
            armed = False
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
            time.sleep(0.01)
            return
        except SoftLimitError:
            pass

def refresh(turn):
    return door.fresh_tokens(order["user"], rejected=turn + 1)

def sign_in(turn):
    attempt = attempt_from(order["granted"][turn]["attempt"])
    granted = CodeGranted(Secret(order["granted"][turn]["code"], "code"), attempt.state, None)
    return door.run(finish_sign_in(door.context, attempt, granted, BROWSER))

def ask(loop, turn):
    asked = loop.create_task({"refresh": refresh, "sign in": sign_in}[order["what"]](turn))
    asked.add_done_callback(lambda done: (done.cancelled() or done.exception(), loop.stop()))
    # An interrupt may take along what would end the wait: this is what it does to its caller.
    def stop():
        pause = 0.3
        while not over.wait(pause):
            pause = 0.02
            loop.call_soon_threadsafe(loop.stop)
    over = threading.Event()
    stopping = threading.Thread(target=stop)
    stopping.start()
    return asked, over, stopping

def storm(loop, turn, seconds):
    global armed
    asked, over, stopping = ask(loop, turn)
    loop.call_later(order["calm"], loop.stop)
    loop.run_forever()
    until = time.monotonic() + 0.3
    try:
        armed = True
        {"alarms": alarms, "exceptions": exceptions}[order["how"]](seconds)
        while time.monotonic() < until and not asked.done():
            try:
                loop.run_forever()
            except SoftLimitError:
                pass
    except (SoftLimitError, RuntimeError):
        pass  # it has met what runs the loop: the caller gives up
    at_rest()
    over.set()
    stopping.join()
    loop.close()

door = AsyncProcoreSignIn(
    environment=environments.emulator(order["emulator"]), client_id=order["id"],
    client_secret=order["secret"], redirect_uri=order["redirect"], keys=order["keys"],
    database_url=order["database"],
)
for turn in range(order["times"]):
    loop = asyncio.new_event_loop()
    storm(loop, turn, 0.0005 + order["seconds"] / 5 * turn / order["times"])
    door._runner._background.settle(30)
    if order["what"] == "refresh":
        # As a caller that comes later, on an event loop that nothing has met.
        found = asyncio.run(asyncio.wait_for(refresh(turn), 30))
        assert found.generation == turn + 2, (found.generation, turn)
asyncio.run(door.aclose())
print(interrupted)
"""


def in_a_storm(world: World, how: str, what: str, **more: object) -> int:
    """Interrupt callers on event loops, in a process of its own; return how often."""
    order = front_door_of(world) | {
        "times": TIMES,
        "seconds": SECONDS,
        "how": how,
        "what": what,
    }
    done = run_script(ON_AN_EVENT_LOOP, json.dumps(order | more), timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


@pytest.mark.parametrize("how", ["alarms", "exceptions"])
def test_R13_no_interrupt_of_an_event_loop_loses_a_grant(
    new_world: NewWorld, report: Report, how: str
) -> None:
    world = new_world()
    world.widen_the_race(SECONDS)
    user = world.sign_in()
    world.witness.look()
    interrupted = in_a_storm(world, how, "refresh", user=user, calm=0)
    sight = world.witness.look()
    report(
        "{times} refreshes on an event loop on {database}, {interrupted} interrupts ({how}):"
        " {lost} grants lost, {double_spends} double spends",
        database=world.database.kind,
        times=TIMES,
        how=how,
        interrupted=interrupted,
        lost=sight.invalid_grants,
        double_spends=sight.double_spends,
    )
    row = world.row(user)
    assert interrupted > 0
    assert (row.status, row.leased, row.ambiguous) == ("ok", False, 0)
    assert (sight.double_spends, sight.invalid_grants) == (0, 0)


@pytest.mark.parametrize("how", ["alarms", "exceptions"])
def test_R13_C12_an_exchange_becomes_a_sign_in_whatever_meets_the_event_loop(
    new_world: NewWorld, report: Report, how: str
) -> None:
    world = new_world()
    world.widen_the_race(SECONDS)
    people, interrupted, exchanged = itertools.count(), 0, 0
    while exchanged <= TIMES // 3:  # on a busy machine most are met before they have begun
        granted = [world.order_for_sign_in(next(people)) for _ in range(TIMES)]
        interrupted += in_a_storm(world, how, "sign in", granted=granted, calm=SECONDS / 3)
        exchanged += len(world.witness.look().exchanged)
    live, held = world.live_grants().total(), world.held_grants().total()
    report(
        "{times} sign-ins on an event loop on {database}, {interrupted} interrupts ({how}):"
        " {exchanged} codes were exchanged, {held} users are signed in, {lost} grants lost",
        database=world.database.kind,
        times=next(people),
        how=how,
        interrupted=interrupted,
        exchanged=exchanged,
        held=held,
        lost=live - held,
    )
    assert interrupted > 0
    assert (live, held) == (exchanged, exchanged)


UNDER_UVICORN: Final = """
import json, sys
import uvicorn
from procore_signin import AsyncProcoreSignIn, environments
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.secret import Secret
from tests.reliability.worker import BROWSER, attempt_from

order = json.loads(sys.argv[1])
door = AsyncProcoreSignIn(
    environment=environments.emulator(order["emulator"]), client_id=order["id"],
    client_secret=order["secret"], redirect_uri=order["redirect"], keys=order["keys"],
    database_url=order["database"],
)

async def app(scope, receive, send):
    attempt = attempt_from(order["attempt"])
    granted = CodeGranted(Secret(order["code"], "code"), attempt.state, None)
    await door.run(finish_sign_in(door.context, attempt, granted, BROWSER))

uvicorn.run(app, port=order["port"], lifespan="off", log_level="critical")
"""


def test_R13_C12_ctrl_c_three_times_under_uvicorn_loses_no_exchange(new_world: NewWorld) -> None:
    """At the second it puts back the handlers that were there before, and the third one raises."""
    world = new_world()
    thinking = world.hold_up(after_commit=True, seconds=1.5)
    order = world.order_for_sign_in() | front_door_of(world) | {"port": free_port()}
    process = subprocess.Popen(
        [sys.executable, "-c", UNDER_UVICORN, json.dumps(order)], stderr=subprocess.DEVNULL
    )
    try:
        browser = until(partial(_asking, order["port"]))
        until(lambda: thinking.happened)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.15)  # as fast as someone presses it
        process.wait(30)
        assert browser is not None
        browser.close()
    finally:
        process.kill()
        process.wait()
    live, held = world.live_grants().total(), world.held_grants().total()
    assert (live, held) == (1, 1)


def _asking(port: int) -> socket.socket | None:
    with suppress(ConnectionRefusedError):
        browser = socket.create_connection(("127.0.0.1", port), timeout=30)
        browser.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return browser
    return None
