# ruff: noqa: INP001 - a program, not a package
"""What the emulator costs: whole flows a second of one core, and the sign-ins of a test suite.

    python bench/emulator/measure.py [number of flows] [number of sign-ins]

Flow: authorize with remembered consent, exchange the code, ask `/me`, on a connection kept alive.
Sign-in: what a test does that goes through the pages: an emulator of its own is started, the panel,
the log-in, the consent dialog, Allow, the exchange and `/me` are asked for, and it is stopped.

What counts is the CPU time the operating system charges, so that other work on the machine does not
spoil the figure. For flows it is that of the emulator's process alone; for sign-ins, where emulator
and test share a process, it is that of the process without what the client's thread spent.
"""

from __future__ import annotations

import http.client
import multiprocessing
import resource
import statistics
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from procore_signin.emulator import Emulator

ROUNDS: Final = 5
BROWSERS: Final = 4
CALLBACK: Final = "http://localhost:4567/callback"
CLIENT: Final = {"client_id": "emulator-client-id", "client_secret": "emulator-client-secret"}
LOGIN: Final = {"login": "joecontractor@procore.com", "password": "procore"}
FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
AUTHORIZE: Final = "/oauth/authorize?" + urlencode(
    {"client_id": CLIENT["client_id"], "response_type": "code", "redirect_uri": CALLBACK}
)


class Browser:
    """One keep-alive connection that knows just enough HTTP to be cheap."""

    def __init__(self, url: str) -> None:
        self._http = http.client.HTTPConnection(urlsplit(url).netloc)
        self._cookie = ""

    def log_in(self) -> None:
        """Come from the application, read the panel, fill it in."""
        location, _ = self._ask("GET", AUTHORIZE)
        self._ask("GET", location)
        _, cookie = self._ask("POST", "/login", {**LOGIN, "continue_to": AUTHORIZE})
        self._cookie = cookie.partition(";")[0]

    def consent(self) -> str:
        """Read the dialog and press Allow; returns the code."""
        self._ask("GET", AUTHORIZE)
        sent = {"continue_to": AUTHORIZE, "decision": "allow"}
        return _code(self._ask("POST", "/oauth/authorize", sent)[0])

    def be_remembered(self) -> str:
        """Come again: consent is remembered; returns the code."""
        return _code(self._ask("GET", AUTHORIZE)[0])

    def finish(self, code: str) -> None:
        """Do what the application does with a code."""
        form = {"grant_type": "authorization_code", **CLIENT, "code": code}
        body = self._send("POST", "/oauth/token", {**form, "redirect_uri": CALLBACK})
        token = body.partition(b'"access_token":"')[2].partition(b'"')[0].decode()
        me = self._send("GET", "/rest/v1.0/me", authorization=f"Bearer {token}")
        if b'"id":11111' not in me:
            raise SystemExit(f"the flow did not end well: {me!r}")

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def _ask(self, method: str, target: str, form: dict[str, str] | None = None) -> tuple[str, str]:
        headers = {**(FORM if form else {}), "cookie": self._cookie}
        self._http.request(method, target, urlencode(form) if form else None, headers)
        response = self._http.getresponse()
        response.read()
        return response.getheader("location") or "", response.getheader("set-cookie") or ""

    def _send(
        self, method: str, target: str, form: dict[str, str] | None = None, **headers: str
    ) -> bytes:
        body = urlencode(form) if form else None
        self._http.request(method, target, body, {**headers, **(FORM if form else {})})
        return self._http.getresponse().read()


def _code(location: str) -> str:
    return parse_qs(urlsplit(location).query)["code"][0]


def serve(pipe: Connection) -> None:
    """Run the emulator; answer each message on the pipe with the CPU seconds used so far.

    None ends it.
    """
    with Emulator.started() as emulator:
        pipe.send(emulator.url)
        while pipe.recv():
            pipe.send(cpu_seconds())


def cpu_seconds() -> float:
    """Return what this process was charged so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure_flows(flows: int) -> None:
    """Print whole flows per CPU second of the emulator, round by round."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    browsers = [Browser(url) for url in [ours.recv()] for _ in range(BROWSERS)]
    for browser in browsers:
        browser.log_in()
        browser.finish(browser.consent())

    def flow(browser: Browser) -> None:
        for _ in range(flows // BROWSERS):
            browser.finish(browser.be_remembered())

    figures = []
    for _ in range(ROUNDS):
        ours.send("cpu?")
        before, began = ours.recv(), time.perf_counter()
        threads = [threading.Thread(target=flow, args=(browser,)) for browser in browsers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ours.send("cpu?")
        figures.append(flows / (ours.recv() - before))
        _print(
            f"{figures[-1]:8.0f} per CPU second, {flows / (time.perf_counter() - began):.0f} as run"
        )
    ours.send(None)
    process.join()
    _print(f"flows, median: {statistics.median(figures):.0f} per second of one core")


def measure_sign_ins(number: int) -> None:
    """Print the CPU seconds that a test suite of so many sign-ins spends in the emulator."""
    sign_ins(1)
    figures = []
    for _ in range(ROUNDS):
        figures.append(sign_ins(number))
        _print(f"{figures[-1]:8.2f} CPU seconds for {number}")
    _print(f"sign-ins, median: {statistics.median(figures):.2f} CPU seconds for {number}")


def sign_ins(number: int) -> float:
    """Do what so many tests do; returns the CPU seconds that the emulators cost."""
    before, of_the_client = cpu_seconds(), 0.0
    for _ in range(number):
        with Emulator.started() as emulator:
            began = time.thread_time()
            browser = Browser(emulator.url)
            browser.log_in()
            browser.finish(browser.consent())
            browser.close()
            of_the_client += time.thread_time() - began
    return cpu_seconds() - before - of_the_client


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(flows: int = 4000, number: int = 500) -> None:
    """Measure flows, and so many sign-ins."""
    measure_flows(flows)
    measure_sign_ins(number)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
