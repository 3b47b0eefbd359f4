"""The rows of the table of browsers that say "Chromium" are what Chromium sends.

Three names of this machine stand for our origin, for another one of the same site and for another
site. A server that answers all of them notes what arrives at the address in question.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from queue import Queue
from urllib.parse import urlsplit

import pytest
from browsers import HEADERS, TABLES, Act, Sent
from playwright.sync_api import Browser, BrowserContext, Page
from profiles import PATIENCE

TARGET = "/target"
WORKERS = {
    "passes": "event.respondWith(fetch(event.request))",
    "changes": "event.respondWith(fetch(event.request, {cache: 'no-store'}))",
    "remakes": "event.respondWith(fetch(event.request.url, {redirect: 'manual'}))",
    "preloads": "event.respondWith((async () => "
    "(await event.preloadResponse) || fetch(event.request))())",
}
WORKER = """
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil((async () => {
  if (location.search === "?preloads") await registration.navigationPreload.enable();
  await clients.claim();
})()));
addEventListener("fetch", (event) => { %s });
"""
WITH_WORKER = """<!doctype html><script>
navigator.serviceWorker.register("/worker.js" + location.search);
</script>"""

# What a page does for each act; `to` is the address in question, `by` a redirect of another site.
ACTS = {
    "link": "follow(to)",
    "link that is redirected": "follow(by + '/303?' + to)",
    "form": "post(to)",
    "form without referrer": "post(to)",
    "form that is redirected": "post('/303?' + to)",
    "form that is sent on": "post(by + '/307?' + to)",
    "form in a frame": "framed({name: 'frame'}); post(to, 'frame')",
    "form in a sandbox": "framed({sandbox: 'allow-forms allow-scripts', srcdoc: "
    "`<form method=post action=${to}></form><script>document.forms[0].submit()</`"
    " + 'script>'})",
    "frame": "framed({src: to})",
    "image": "new Image().src = to",
    "script": "document.body.append(Object.assign(document.createElement('script'), {src: to}))",
    "fetch": "fetch(to, {mode: 'no-cors', credentials: 'include'}).catch(() => 0)",
    "fetch with CORS": "fetch(to, {credentials: 'include'}).catch(() => 0)",
    "fetch that posts": "fetch(to, {mode: 'no-cors', credentials: 'include', method: 'POST'})"
    ".catch(() => 0)",
    "script that posts": "fetch(to, {method: 'POST'})",
}
TOOLS = """
const framed = (more) => {
  const frame = Object.assign(document.createElement("iframe"), more);
  document.body.append(frame);
};
const follow = (address) => Object.assign(document.createElement("a"), {href: address}).click();
const post = (address, target) => {
  const form = document.createElement("form");
  Object.assign(form, {method: "post", action: address, target: target || ""});
  document.body.append(form);
  form.submit();
};
"""


@dataclass(frozen=True)
class Site:
    """The server, by the names that a browser knows it under, and what has arrived at the target.

    Attributes:
        own: Our origin.
        sibling: Another origin of the same site.
        foreign: Of another site.
        arrived: Query, method and headers of each request for the target.
    """

    own: str
    sibling: str
    foreign: str
    arrived: Queue[tuple[str, str, dict[str, str]]]

    def arrival(self, number: str) -> tuple[str, dict[str, str]]:
        """Return the request with this query. A page before may still send its own."""
        while True:
            query, method, headers = self.arrived.get(timeout=20)
            if query == number:
                return method, headers

    def of(self, whose: str) -> str:
        return {"own": self.own, "sibling": self.sibling, "foreign": self.foreign}[whose]

    def filled(self, value: str) -> str:
        for name, origin in (
            ("{origin}", self.own),
            ("{sibling}", self.sibling),
            ("{foreign}", self.foreign),
        ):
            value = value.replace(name, origin)
        return value


def answer_to(path: str, query: str) -> tuple[int, dict[str, str], str]:
    if path in {"/303", "/307"}:
        return int(path[1:]), {"location": query}, ""
    if path == "/worker.js":
        return 200, {"content-type": "text/javascript"}, WORKER % WORKERS[query]
    if path == "/with-worker":
        return 200, {}, WITH_WORKER
    policy = {"/ours": "same-origin", "/without-referrer": "no-referrer"}.get(path)
    told = {} if policy is None else {"referrer-policy": policy}
    return 200, told, "<!doctype html><title>A page</title>"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    arrived: Queue[tuple[str, str, dict[str, str]]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self.rfile.read(int(self.headers.get("content-length") or 0))
            if parts.path == TARGET:
                told = {name.lower(): value for name, value in self.headers.items()}
                arrived.put((parts.query, self.command, told))
            status, headers, body = answer_to(parts.path, parts.query)
            self.send_response(status)
            for name, value in ({"content-type": "text/html"} | headers).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815  # its name there

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Say nothing: the tests look at what has arrived."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, name="site")
    thread.start()
    names = ("app.example.localhost", "evil.example.localhost", "other.localhost")
    own, sibling, foreign = (f"http://{name}:{listening.server_port}" for name in names)
    yield Site(own, sibling, foreign, arrived)
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture(scope="module")
def contexts(real_browser: Browser, site: Site) -> Iterator[dict[str | None, BrowserContext]]:
    """A browser for each kind of worker that is active in it, and one without."""
    with ExitStack() as stack:
        found: dict[str | None, BrowserContext] = {}
        for worker in (None, *WORKERS):
            context = found[worker] = stack.enter_context(real_browser.new_context())
            context.set_default_timeout(PATIENCE)
            if worker is not None:
                page = context.new_page()
                page.goto(f"{site.own}/with-worker?{worker}")
                page.wait_for_function("navigator.serviceWorker.controller !== null")
        yield found


def do(page: Page, site: Site, act: Act, to: str) -> None:
    """Do something in `page` that makes the browser ask for `to`."""
    if act.name == "address":
        page.goto(to)
        return
    where = "/ours" if act.by == "own" else "/theirs"
    page.goto(site.of(act.by) + ("/without-referrer" if "without" in act.name else where))
    # Later, so that nothing here waits for a page that is being left.
    page.evaluate(
        f"([to, by]) => {{ setTimeout(() => {{ {TOOLS} {ACTS[act.name]} }}) }}", [to, site.foreign]
    )


# One test for each act: the tables share some. A second row must say the same, or it fails as well.
ROWS = {
    (row.act, row.method, *row.headers.items()): pytest.param(row, id=f"{table}: {row.what}")
    for table, rows in TABLES.items()
    for row in rows
    if row.act
}
NUMBERS = count()


@pytest.mark.parametrize("row", ROWS.values())
def test_K10_chromium_sends_what_the_table_says(
    contexts: dict[str | None, BrowserContext], site: Site, row: Sent
) -> None:
    assert row.act is not None
    number = str(next(NUMBERS))
    with contexts[row.act.worker].new_page() as page:
        do(page, site, row.act, f"{site.own}{TARGET}?{number}")
        method, headers = site.arrival(number)
        if row.act.name.startswith(("link", "form")) and " in a " not in row.act.name:
            page.wait_for_url(f"**{TARGET}?{number}")  # closed before that, it might never end
    told = {name: headers[name] for name in HEADERS if name in headers}
    assert (method, told) == (
        row.method,
        {name: site.filled(value) for name, value in row.headers.items()},
    )


def test_K10_every_act_of_the_table_is_known() -> None:
    acts = {row.act.name for rows in TABLES.values() for row in rows if row.act}
    assert acts == {"address", *ACTS}
