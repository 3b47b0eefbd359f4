from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from person import Person
from ports import free_port
from running import Application, application, forget_tokens

from procore_signin.emulator import Emulator

Enter = Callable[..., Person]


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def running_emulator(port: int) -> Iterator[Emulator]:
    with Emulator.started(redirect_uris=(f"http://localhost:{port}/callback",)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def app(
    running_emulator: Emulator, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Application]:
    """Two workers on one database: what one of them ends, the other must know."""
    folder = tmp_path_factory.mktemp("app")
    with application(running_emulator.url, port, folder, "--workers", "2") as running:
        yield running


@pytest.fixture
def emulator(running_emulator: Emulator, app: Application) -> Emulator:
    forget_tokens(app)
    running_emulator.reset()
    return running_emulator


@pytest.fixture
def person(app: Application, emulator: Emulator) -> Iterator[Enter]:
    """Return a function that opens the browser of someone new."""
    with ExitStack() as stack:

        def enter(**settings: str) -> Person:
            return stack.enter_context(Person(app.url, emulator, **settings))

        yield enter


@pytest.fixture
def folder(app: Application) -> Path:
    return app.folder
