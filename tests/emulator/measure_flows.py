"""Measures whole flows (authorize with remembered consent, token, me) per second of one core.

    python tests/emulator/measure_flows.py [number of flows]

The emulator runs in a process of its own; what counts is the CPU time the operating system charges
it, so that other work on the machine does not spoil the figure.
"""

from __future__ import annotations

import http.client
import multiprocessing
import resource
import sys
import threading
import time
from multiprocessing.connection import Connection
from urllib.parse import parse_qs, urlencode, urlsplit

from procore_signin.emulator import Emulator

CALLBACK = "http://localhost:4567/callback"
AUTHORIZE = "/oauth/authorize?" + urlencode(
    {"client_id": "emulator-client-id", "response_type": "code", "redirect_uri": CALLBACK}
)


def serve(pipe: Connection) -> None:
    """Run the emulator; answer each message on the pipe with the CPU seconds used so far.

    None ends it.
    """
    with Emulator.started() as emulator:
        pipe.send(emulator.url)
        while pipe.recv():
            usage = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send(usage.ru_utime + usage.ru_stime)


class Browser:
    """One keep-alive connection that knows just enough HTTP to be cheap."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._http = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._cookie = ""
        form = urlencode(
            {"login": "joecontractor@procore.com", "password": "procore", "continue_to": AUTHORIZE}
        )
        self._cookie = self._post("/login", form).partition(";")[0]
        self._post("/oauth/authorize", urlencode({"continue_to": AUTHORIZE, "decision": "allow"}))
        self.flow()

    def flow(self) -> None:
        """Authorize, exchange, ask who it is."""
        location, _ = self._get(AUTHORIZE, {"cookie": self._cookie})
        code = parse_qs(urlsplit(location).query).get("code", [""])[0]
        if not code:  # the first time: consent is not remembered until a code was exchanged
            location = self._post(
                "/oauth/authorize", urlencode({"continue_to": AUTHORIZE, "decision": "allow"})
            )
            code = parse_qs(urlsplit(location).query)["code"][0]
        form = urlencode(
            {
                "grant_type": "authorization_code",
                "client_id": "emulator-client-id",
                "client_secret": "emulator-client-secret",
                "code": code,
                "redirect_uri": CALLBACK,
            }
        )
        self._http.request("POST", "/oauth/token", form, _FORM)
        body = self._http.getresponse().read()
        token = body.partition(b'"access_token":"')[2].partition(b'"')[0].decode()
        _, me = self._get("/rest/v1.0/me", {"authorization": f"Bearer {token}"})
        if b'"id":11111' not in me:
            raise SystemExit(f"the flow did not end well: {me!r}")

    def _get(self, target: str, headers: dict[str, str]) -> tuple[str, bytes]:
        self._http.request("GET", target, headers=headers)
        response = self._http.getresponse()
        return response.getheader("location") or "", response.read()

    def _post(self, target: str, form: str) -> str:
        self._http.request("POST", target, form, {**_FORM, "cookie": self._cookie})
        response = self._http.getresponse()
        response.read()
        return response.getheader("set-cookie") or response.getheader("location") or ""


_FORM = {"content-type": "application/x-www-form-urlencoded"}


def main(flows: int) -> None:
    """Print the figure of the best of five rounds, and all of them."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    browsers = [Browser(url) for url in [ours.recv()] for _ in range(4)]
    rounds = []
    for _ in range(5):
        ours.send("cpu?")
        before, began = ours.recv(), time.perf_counter()
        threads = [
            threading.Thread(target=lambda one=one: [one.flow() for _ in range(flows // 4)])
            for one in browsers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ours.send("cpu?")
        rounds.append((flows / (ours.recv() - before), flows / (time.perf_counter() - began)))
    ours.send(None)
    process.join()
    for per_core, per_second in rounds:
        sys.stdout.write(
            f"{per_core:8.0f} flows per CPU second{per_second:8.0f} per second as run\n"
        )
    sys.stdout.write(f"median: {sorted(rounds)[2][0]:.0f} flows per second of one core\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
