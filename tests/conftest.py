"""Fixtures that every folder of tests shares.

A test that uses `real_browser` or `new_page` is marked `browser` by itself. Such tests run last:
Playwright's synchronous interface leaves its event loop running in the main thread, where no other
loop could then be started. For the same reason a browser test starts its servers in threads or
processes of their own, and never calls `asyncio.run` itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

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
Scheme = Literal["light", "dark"]


@pytest.fixture(autouse=True)
def _every_line_is_written() -> None:
    """Let no test be short of lines in the log because of the ones before it."""
    lines.after_fork()


class NewPage(Protocol):
    """Opens a page in a fresh browser profile (no cookies), closed when the test ends."""

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


def pytest_configure() -> None:
    """Take Ctrl-C as a terminal's programs do, however the suite was started.

    Under `nohup` and in the background of a shell SIGINT comes ignored, and every program that a
    test starts would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the browser tests and move them to the end (the sort keeps all other order)."""
    for item in items:
        if "real_browser" in getattr(item, "fixturenames", ()):
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly, after everything else, that the browser tests did not run."""
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

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find


@pytest.fixture(scope="session")
def real_browser() -> Iterator[Browser]:
    """One headless Chromium for the whole run. Use `new_page` for a profile of one's own."""
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


@pytest.fixture
def new_page(real_browser: Browser) -> Iterator[NewPage]:
    """Give the test a function that opens pages: `new_page(width, height, scheme)`."""
    contexts = []

    def open_page(width: int = 1280, height: int = 800, scheme: Scheme = "light") -> Page:
        context = real_browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        context.set_default_timeout(10_000)
        contexts.append(context)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()
