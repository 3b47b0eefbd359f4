"""A profile that is used again is as empty as a new one (`support/profiles.py`)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import pytest
from profiles import Look, Profiles

SERVED = count(1)
LEAVE = """async () => {
  localStorage.left = sessionStorage.left = "1";
  document.cookie = "left=1";
  await (await caches.open("left")).put("/left", new Response("left"));
  await new Promise((resolve, reject) => {
    const opening = indexedDB.open("left", 1);
    opening.onsuccess = () => { opening.result.close(); resolve(); };
    opening.onerror = reject;
  });
  await navigator.serviceWorker.register("/worker.js");
  await navigator.serviceWorker.ready;
  return (await (await fetch("/kept")).text());
}"""
FIND = """async () => ({
  cookie: document.cookie,
  local: localStorage.length,
  session: sessionStorage.length,
  caches: (await caches.keys()).length,
  databases: (await indexedDB.databases()).length,
  workers: (await navigator.serviceWorker.getRegistrations()).length,
  location: (await navigator.permissions.query({name: "geolocation"})).state,
  kept: await (await fetch("/kept")).text(),
})"""


class Site(BaseHTTPRequestHandler):
    """Serves an empty page, a service worker, and what a browser may keep for an hour."""

    def do_GET(self) -> None:
        script = self.path == "/worker.js"
        kept = self.path == "/kept"
        body = str(next(SERVED)).encode() if kept else b"//" if script else b"<!doctype html>"
        self.send_response(200)
        self.send_header("content-type", "text/javascript" if script else "text/html")
        self.send_header("content-length", str(len(body)))
        if kept:
            self.send_header("cache-control", "max-age=3600")
        if self.path == "/":
            self.send_header("set-cookie", "hidden=1; HttpOnly")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sites() -> Iterator[list[str]]:
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Site) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield [f"http://localhost:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_profile_that_is_used_again_holds_nothing(profiles: Profiles, sites: list[str]) -> None:
    look = Look(777, 555, "dark")
    with profiles.lent(look) as first:
        first.context.grant_permissions(["geolocation"])
        page = first.open()
        kept = []
        for site in sites:
            page.goto(site)
            kept.append(page.evaluate(LEAVE))
        other = first.open()
        other.goto(sites[0])
        left = other.evaluate(FIND)

    with profiles.lent(look) as again:
        cookies = again.context.cookies()
        page = again.open()
        found = []
        for site in sites:
            page.goto(f"{site}/again")
            found.append(page.evaluate(FIND))

    assert left == {
        "cookie": "left=1",
        "local": 1,
        "session": 0,
        "caches": 1,
        "databases": 1,
        "workers": 1,
        "location": "granted",
        "kept": kept[0],
    }
    empty = dict.fromkeys(("local", "session", "caches", "databases", "workers"), 0)
    assert [{**each, "kept": each["kept"] in kept} for each in found] == [
        {"cookie": "", **empty, "location": "prompt", "kept": False}
    ] * 2
    assert cookies == []
    assert again is first
    assert other.is_closed()


def test_two_pages_of_a_test_share_nothing(profiles: Profiles, sites: list[str]) -> None:
    with profiles.lent(Look()) as one, profiles.lent(Look()) as two:
        one.open().goto(sites[0])

        assert one.context.cookies() != []
        assert two.context.cookies() == []
