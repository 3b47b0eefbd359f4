"""Fixtures that every folder of tests shares.

A test that uses `real_browser` or `new_page` is marked `browser` by itself. Such tests run last:
Playwright's synchronous interface leaves its event loop running in the main thread, where no other
loop could then be started. For the same reason a browser test starts its servers in threads or
processes of their own, and never calls `asyncio.run` itself.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import failures
import ports
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from profiles import PATIENCE, Look, Profiles, Scheme

from procore_signin.events import lines

CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",  # the container that runs the suite is the sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=PreloadTopChromeWebUI",  # two more processes for each page
]
BROWSER_CURE = (
    "install Chromium (Debian: apt-get install chromium; or any Chrome) "
    "or name its program in PROCORE_SIGNIN_CHROMIUM"
)


@pytest.fixture(autouse=True)
def _every_line_is_written() -> None:
    """Let no test be short of lines in the log because of the ones before it."""
    lines.after_fork()


class NewPage(Protocol):
    """Opens a page in an empty browser profile (no cookies), closed when the test ends."""

    def __call__(self, width: int = 1280, height: int = 800, scheme: Scheme = "light") -> Page: ...


def chromium() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    named = os.environ.get("PROCORE_SIGNIN_CHROMIUM")
    if named:
        return shutil.which(named)
    candidates = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, candidates) if path), None)


def browser_required() -> bool:
    """Tell whether a machine without Chromium fails the suite instead of skipping."""
    return os.environ.get("PROCORE_SIGNIN_REQUIRE_BROWSER") == "1"


FILE_OF_FAILURES = pytest.StashKey[str | None]()


def pytest_configure(config: pytest.Config) -> None:
    """Take Ctrl-C as a terminal's programs do, however the suite was started.

    Under `nohup` and in the background of a shell SIGINT comes ignored, and every program that a
    test starts would inherit that.
    """
    config.stash[FILE_OF_FAILURES] = failures.take_file()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def names_a_browser(path: Path) -> bool:
    """Tell whether a file of tests may have one that needs a browser, from its words alone."""
    return re.search(r"real_browser|new_page|profiles", path.read_text("utf-8")) is not None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave other files aside where browser tests alone are asked for: half the time they take."""
    if config.option.markexpr != "browser" or collection_path.suffix != ".py":
        return None
    return None if names_a_browser(collection_path) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the browser tests and move them to the end (the sort keeps all other order)."""
    for item in items:
        if "real_browser" in getattr(item, "fixturenames", ()):
            if not names_a_browser(item.path):
                problem = "needs a browser: name `real_browser` or `new_page` in its file"
                raise pytest.UsageError(f"{item.nodeid} {problem}, or `make test` misses it.")
            item.add_marker(pytest.mark.browser)
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a browser test where there is no Chromium, or fail it where one is required."""
    if item.get_closest_marker("browser") is None or chromium() is not None:
        return
    if browser_required():
        pytest.fail(
            f"No Chromium was found and the suite requires one: {BROWSER_CURE}.", pytrace=False
        )
    pytest.skip(f"no Chromium on this machine: {BROWSER_CURE}")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say loudly, after everything else, what failed and that the browser tests did not run."""
    failures.add_to_file(terminalreporter, config.stash[FILE_OF_FAILURES])
    skipped = [
        report
        for report in terminalreporter.getreports("skipped")
        if "browser" in getattr(report, "keywords", {})
    ]
    if skipped and chromium() is None:
        terminalreporter.write_line(
            f"{len(skipped)} BROWSER TESTS DID NOT RUN. To run them, {BROWSER_CURE}.",
            yellow=True,
            bold=True,
        )


@pytest.fixture(scope="session")
def artefacts(pytestconfig: pytest.Config) -> Path:
    """Folder for screenshots and other things a person may want to look at afterwards."""
    folder = pytestconfig.rootpath / "artefacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a function that finds a loopback port on which nothing listens at this moment."""

    return ports.free_port


@pytest.fixture(scope="session")
def real_browser() -> Iterator[Browser]:
    """One headless Chromium for the whole run. Use `new_page` for a page of one's own."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=chromium(),
            args=CHROMIUM_ARGUMENTS,
            # Playwright's own handlers would end the browser before pytest can close its pages.
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def profiles(real_browser: Browser) -> Profiles:
    """Profiles of that browser, which are used again."""
    return Profiles(real_browser)


@pytest.fixture
def new_page(profiles: Profiles) -> Iterator[NewPage]:
    """Give the test a function that opens pages: `new_page(width, height, scheme)`."""
    with ExitStack() as stack:

        def open_page(width: int = 1280, height: int = 800, scheme: Scheme = "light") -> Page:
            return stack.enter_context(profiles.lent(Look(width, height, scheme))).open()

        yield open_page
