"""The surroundings of a run, and the lines in which each says what it survived."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from tests.reliability.databases import KINDS, Database, a_database
from tests.reliability.processes import Zygote, a_zygote
from tests.reliability.settings import LONG
from tests.reliability.world import World, a_world

LINES = pytest.StashKey[list[str]]()
Report = Callable[..., None]
NewWorld = Callable[..., World]


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with a_zygote(tmp_path_factory.mktemp("zygote")) as zygote:
        yield zygote


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def database(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with a_database(kind, tmp_path_factory.mktemp(kind)) as database:
        yield database


@pytest.fixture
def new_world(database: Database, zygote: Zygote, tmp_path: Path) -> Iterator[NewWorld]:
    """Makes the one world of a test; its arguments are the emulator's options."""
    with ExitStack() as open_worlds:

        def make(**options: object) -> World:
            world: AbstractContextManager[World] = a_world(database, zygote, tmp_path, **options)
            return open_worlds.enter_context(world)

        yield make


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Takes what a run did and survived: a sentence with its numbers by name."""
    lines = request.config.stash.setdefault(LINES, [])
    began = time.monotonic()

    def tell(sentence: str, **numbers: object) -> None:
        run = request.node.name.removeprefix("test_")
        numbers["seconds"] = round(time.monotonic() - began, 1)
        numbers["size"] = "long" if LONG else "short"
        lines.append(json.dumps({"run": run, **numbers}))
        lines.append(f"{sentence.format(**numbers)} ({numbers['seconds']} s)")

    return tell


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the long runs the time they take on a busy machine."""
    if LONG:
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(pytest.mark.timeout(900))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(LINES, [])
    if lines:
        terminalreporter.section("what was survived")
        for line in lines:
            terminalreporter.write_line(line)
