import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import EVERYWHERE, Host, hosts
from neutral import Browser, router_of
from scripted import Clock, ScriptedProcore, front_door

from procore_signin._client import ProcoreSignIn
from procore_signin._web.janitor import THREAD_NAME
from procore_signin.emulator import Emulator


@pytest.fixture(scope="module", autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """See that no janitor outlives its front door, and so that each test closes its own."""
    before = set(threading.enumerate())  # what tests of other folders left in this process
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name == THREAD_NAME:
            thread.join(timeout=20)
            assert not thread.is_alive(), "a test left a front door open"


@pytest.fixture(scope="session")
def emulator_of_hosts() -> Iterator[Emulator]:
    with Emulator.started() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def everywhere(
    emulator_of_hosts: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Host]]:
    """An application of each framework with the usual settings, shared by all modules.

    They take seconds to start. Tests sign in with a browser of their own, and leave no fault.
    """
    folder = tmp_path_factory.mktemp("hosts")
    with hosts(emulator_of_hosts, folder, *EVERYWHERE) as started:
        yield started


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def procore() -> ScriptedProcore:
    return ScriptedProcore()


@pytest.fixture
def door(tmp_path: Path, procore: ScriptedProcore, clock: Clock) -> Iterator[ProcoreSignIn]:
    with front_door(tmp_path, procore, clock) as door:
        yield door


@pytest.fixture
def browser(door: ProcoreSignIn, clock: Clock) -> Browser:
    return Browser(door, router_of(door, clock))


@pytest.fixture
def other_browser(door: ProcoreSignIn, browser: Browser) -> Browser:
    return Browser(door, browser.router)
