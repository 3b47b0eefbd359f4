"""What browsers send, and what we answer: the table of docs/explanation/browsers.md (row K10).

What Chromium sends is measured (`tests/browser/test_what_chromium_sends.py`), what others send
follows from the standards of Fetch, Fetch Metadata and Referrer Policy. The verdicts are those of
every framework (`tests/web/test_what_browsers_send.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MEASURED: Final = "Chromium, measured"
OLDER: Final = "Safari before 16.4, older WebViews"
SCANNER: Final = "link scanners, previews"
STANDARD: Final = "the standards"

HEADERS: Final = ("sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "origin")

# What happens to someone who has an attempt under way, or a session.
FINISHES: Final = "finishes the sign-in"
BEGINS: Final = "shows the button, begins an attempt"
BEGINS_NOTHING: Final = "begins nothing"
SIGNS_OUT: Final = "signs out"
REFUSED: Final = "refused, nothing is used up"


@dataclass(frozen=True)
class Act:
    """Something that is done in a browser, for Chromium to be measured at.

    Attributes:
        name: Of the act.
        by: Whose page does it: `own`, a `sibling` (another origin of the same site) or a `foreign`
            one.
        worker: How a service worker of our origin hands requests on, or None.
    """

    name: str
    by: str = "own"
    worker: str | None = None


@dataclass(frozen=True)
class Sent:
    """A request of a browser, and what becomes of it.

    Attributes:
        what: What someone did, in words.
        verdict: What we do.
        headers: Values by name in lower case. `{origin}`, `{sibling}` and `{foreign}` stand for
            origins.
        act: How Chromium is made to send that, or None.
        browser: Whose request it is, where there is no act.
        method: Of the request, in capitals.
        cookies: Whether the browser has cookies of ours to send.
    """

    what: str
    verdict: str
    headers: Mapping[str, str] = field(default_factory=dict)
    act: Act | None = None
    browser: str = MEASURED
    method: str = "GET"
    cookies: bool = True


def fetch(site: str, mode: str, dest: str, origin: str | None = None) -> dict[str, str]:
    """Return the headers of a browser that says where a request comes from."""
    told = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    return told if origin is None else told | {"origin": origin}


CALLBACK: Final = (
    Sent(
        "Procore's page redirects back",
        FINISHES,
        fetch("cross-site", "navigate", "document"),
        Act("form that is redirected", "foreign"),
    ),
    Sent(
        "the same, where Procore asks nothing",
        FINISHES,
        fetch("cross-site", "navigate", "document"),
        Act("link that is redirected"),
    ),
    Sent(
        "the address is typed, pasted or reopened",
        FINISHES,
        fetch("none", "navigate", "document"),
        Act("address"),
    ),
    Sent(
        "a link of another site, or of a mail program",
        FINISHES,
        fetch("cross-site", "navigate", "document"),
        Act("link", "foreign"),
    ),
    Sent(
        "Procore redirects back, a worker answers with `fetch(event.request)`",
        FINISHES,
        fetch("cross-site", "navigate", "empty"),
        Act("form that is redirected", "foreign", "passes"),
    ),
    Sent(
        "the address is typed, the same worker",
        FINISHES,
        fetch("same-origin", "navigate", "empty"),
        Act("address", worker="passes"),
    ),
    Sent(
        "Procore redirects back, a worker uses the navigation preload",
        FINISHES,
        fetch("cross-site", "navigate", "document"),
        Act("form that is redirected", "foreign", "preloads"),
    ),
    Sent(
        "Procore redirects back, a worker adds headers or options",
        FINISHES,
        fetch("same-origin", "same-origin", "empty"),
        Act("form that is redirected", "foreign", "changes"),
    ),
    Sent(
        "Procore redirects back, a worker asks for the address anew",
        FINISHES,
        fetch("same-origin", "cors", "empty"),
        Act("form that is redirected", "foreign", "remakes"),
    ),
    Sent(
        "a frame of another site",
        REFUSED,
        fetch("cross-site", "navigate", "iframe"),
        Act("frame", "foreign"),
    ),
    Sent(
        "a frame of a sibling",
        REFUSED,
        fetch("same-site", "navigate", "iframe"),
        Act("frame", "sibling"),
    ),
    Sent("a frame of our own", REFUSED, fetch("same-origin", "navigate", "iframe"), Act("frame")),
    Sent(
        "a frame of another site, where our worker is active",
        REFUSED,
        fetch("cross-site", "navigate", "iframe"),
        Act("frame", "foreign", "passes"),
    ),
    Sent(
        "an image of another site",
        REFUSED,
        fetch("cross-site", "no-cors", "image"),
        Act("image", "foreign"),
    ),
    Sent("an image of our own", REFUSED, fetch("same-origin", "no-cors", "image"), Act("image")),
    Sent(
        "an image of our own through a worker",
        REFUSED,
        fetch("same-origin", "no-cors", "empty"),
        Act("image", worker="passes"),
    ),
    Sent(
        "a script's address on another site",
        REFUSED,
        fetch("cross-site", "no-cors", "script"),
        Act("script", "foreign"),
    ),
    Sent(
        "another site's `fetch`",
        REFUSED,
        fetch("cross-site", "no-cors", "empty"),
        Act("fetch", "foreign"),
    ),
    Sent(
        "a sibling's `fetch`",
        REFUSED,
        fetch("same-site", "no-cors", "empty"),
        Act("fetch", "sibling"),
    ),
    Sent(
        "another site's `fetch` with CORS",
        REFUSED,
        fetch("cross-site", "cors", "empty", "{foreign}"),
        Act("fetch with CORS", "foreign"),
    ),
    Sent("any of these", FINISHES, browser=OLDER),
    Sent(
        "a prefetch",
        REFUSED,
        fetch("cross-site", "navigate", "document") | {"sec-purpose": "prefetch"},
        browser=STANDARD,
    ),
    Sent("HEAD", REFUSED, browser=SCANNER, method="HEAD"),
    Sent("OPTIONS", REFUSED, browser=SCANNER, method="OPTIONS"),
    Sent("GET, without cookies", REFUSED, browser=SCANNER, cookies=False),
)

SIGN_IN: Final = (
    Sent(
        "the address is typed, or a bookmark opened",
        BEGINS,
        fetch("none", "navigate", "document"),
        Act("address"),
    ),
    Sent("a link of our own", BEGINS, fetch("same-origin", "navigate", "document"), Act("link")),
    Sent(
        "a link of a sibling",
        BEGINS,
        fetch("same-site", "navigate", "document"),
        Act("link", "sibling"),
    ),
    Sent(
        "a link of another site",
        BEGINS,
        fetch("cross-site", "navigate", "document"),
        Act("link", "foreign"),
    ),
    Sent(
        "a PWA starts there, its worker answers with `fetch(event.request)`",
        BEGINS,
        fetch("same-origin", "navigate", "empty"),
        Act("address", worker="passes"),
    ),
    Sent(
        "a link of another site, the same worker",
        BEGINS,
        fetch("cross-site", "navigate", "empty"),
        Act("link", "foreign", "passes"),
    ),
    Sent(
        "a link of a sibling, the same worker",
        BEGINS,
        fetch("same-site", "navigate", "empty"),
        Act("link", "sibling", "passes"),
    ),
    Sent(
        "a link of another site, a worker uses the navigation preload",
        BEGINS,
        fetch("cross-site", "navigate", "document"),
        Act("link", "foreign", "preloads"),
    ),
    Sent(
        "a link of another site, a worker adds headers or options",
        BEGINS,
        fetch("same-origin", "same-origin", "empty"),
        Act("link", "foreign", "changes"),
    ),
    Sent(
        "a frame of a sibling, where our worker is active: it looks like a link",
        BEGINS,
        fetch("same-site", "navigate", "empty"),
        Act("frame", "sibling", "passes"),
    ),
    Sent(
        "a frame of another site",
        BEGINS_NOTHING,
        fetch("cross-site", "navigate", "iframe"),
        Act("frame", "foreign"),
    ),
    Sent(
        "a frame of another site, where our worker is active",
        BEGINS_NOTHING,
        fetch("cross-site", "navigate", "iframe"),
        Act("frame", "foreign", "passes"),
    ),
    Sent(
        "a frame of a sibling",
        BEGINS_NOTHING,
        fetch("same-site", "navigate", "iframe"),
        Act("frame", "sibling"),
    ),
    Sent(
        "an image of another site",
        BEGINS_NOTHING,
        fetch("cross-site", "no-cors", "image"),
        Act("image", "foreign"),
    ),
    Sent(
        "a script's address on another site",
        BEGINS_NOTHING,
        fetch("cross-site", "no-cors", "script"),
        Act("script", "foreign"),
    ),
    Sent(
        "another site's `fetch`",
        BEGINS_NOTHING,
        fetch("cross-site", "no-cors", "empty"),
        Act("fetch", "foreign"),
    ),
    Sent(
        "another site's `fetch` with CORS",
        BEGINS_NOTHING,
        fetch("cross-site", "cors", "empty", "{foreign}"),
        Act("fetch with CORS", "foreign"),
    ),
    Sent("any of these", BEGINS, browser=OLDER),
    Sent("GET", BEGINS, browser=SCANNER, cookies=False),
    Sent("HEAD", BEGINS_NOTHING, browser=SCANNER, method="HEAD"),
    Sent("OPTIONS", BEGINS_NOTHING, browser=SCANNER, method="OPTIONS"),
)

SIGN_OUT: Final = (
    Sent(
        "a form of our own",
        SIGNS_OUT,
        fetch("same-origin", "navigate", "document", "{origin}"),
        Act("form"),
        method="POST",
    ),
    Sent(
        "a form of our own, on a page of the application with `no-referrer`",
        SIGNS_OUT,
        fetch("same-origin", "navigate", "document", "null"),
        Act("form without referrer"),
        method="POST",
    ),
    Sent(
        "a form of our own, a worker answers with `fetch(event.request)`",
        SIGNS_OUT,
        fetch("same-origin", "navigate", "empty", "{origin}"),
        Act("form", worker="passes"),
        method="POST",
    ),
    Sent(
        "a form of our own, a worker adds headers or options",
        SIGNS_OUT,
        fetch("same-origin", "same-origin", "empty", "{origin}"),
        Act("form", worker="changes"),
        method="POST",
    ),
    Sent(
        "a script of our own",
        SIGNS_OUT,
        fetch("same-origin", "cors", "empty", "{origin}"),
        Act("script that posts"),
        method="POST",
    ),
    Sent(
        "a form of another site",
        REFUSED,
        fetch("cross-site", "navigate", "document", "{foreign}"),
        Act("form", "foreign"),
        method="POST",
    ),
    Sent(
        "a form of another site, with `no-referrer`",
        REFUSED,
        fetch("cross-site", "navigate", "document", "null"),
        Act("form without referrer", "foreign"),
        method="POST",
    ),
    Sent(
        "a form of a sibling",
        REFUSED,
        fetch("same-site", "navigate", "document", "{sibling}"),
        Act("form", "sibling"),
        method="POST",
    ),
    Sent(
        "a form of a sibling, with `no-referrer`",
        REFUSED,
        fetch("same-site", "navigate", "document", "null"),
        Act("form without referrer", "sibling"),
        method="POST",
    ),
    Sent(
        "a form of another site, which our worker passes on",
        REFUSED,
        fetch("cross-site", "navigate", "empty", "{foreign}"),
        Act("form", "foreign", "passes"),
        method="POST",
    ),
    Sent(
        "a form of a sibling, which our worker passes on",
        REFUSED,
        fetch("same-site", "navigate", "empty", "{sibling}"),
        Act("form", "sibling", "passes"),
        method="POST",
    ),
    Sent(
        "a form of another site that our worker turns into a new request (see below)",
        SIGNS_OUT,
        fetch("same-origin", "same-origin", "empty", "{origin}"),
        Act("form", "foreign", "changes"),
        method="POST",
    ),
    Sent(
        "a form of ours that another site redirects to us (307)",
        REFUSED,
        fetch("cross-site", "navigate", "document", "null"),
        Act("form that is sent on"),
        method="POST",
    ),
    Sent(
        "a form of another site in a sandboxed frame",
        REFUSED,
        fetch("cross-site", "navigate", "iframe", "null"),
        Act("form in a sandbox", "foreign"),
        method="POST",
    ),
    Sent(
        "a form of our own in a sandboxed frame",
        REFUSED,
        fetch("cross-site", "navigate", "iframe", "null"),
        Act("form in a sandbox"),
        method="POST",
    ),
    Sent(
        "a form of another site in a frame of its own",
        REFUSED,
        fetch("cross-site", "navigate", "iframe", "{foreign}"),
        Act("form in a frame", "foreign"),
        method="POST",
    ),
    Sent(
        "another site's `fetch`",
        REFUSED,
        fetch("cross-site", "no-cors", "empty", "{foreign}"),
        Act("fetch that posts", "foreign"),
        method="POST",
    ),
    Sent(
        "a request that no page sends",
        REFUSED,
        fetch("none", "navigate", "document"),
        browser=STANDARD,
        method="POST",
    ),
    Sent("a form of our own", SIGNS_OUT, {"origin": "{origin}"}, browser=OLDER, method="POST"),
    Sent(
        "a form on a page with `no-referrer`, in a sandbox, of a `data:` address, or redirected "
        "by another site",
        REFUSED,
        {"origin": "null"},
        browser=OLDER,
        method="POST",
    ),
    Sent("a form of another site", REFUSED, {"origin": "{foreign}"}, browser=OLDER, method="POST"),
    Sent("a form of a sibling", REFUSED, {"origin": "{sibling}"}, browser=OLDER, method="POST"),
    Sent(
        "a form of another port",
        REFUSED,
        {"origin": "http://localhost:1"},
        browser=OLDER,
        method="POST",
    ),
    Sent(
        "a form of another scheme",
        REFUSED,
        {"origin": "https://localhost"},
        browser=OLDER,
        method="POST",
    ),
    Sent("a program that says nothing", REFUSED, browser=SCANNER, method="POST"),
    Sent("GET", REFUSED, browser=SCANNER),
    Sent("HEAD", REFUSED, browser=SCANNER, method="HEAD"),
    Sent("OPTIONS", REFUSED, browser=SCANNER, method="OPTIONS"),
)

TABLES: Final = {"callback": CALLBACK, "sign-in": SIGN_IN, "sign-out": SIGN_OUT}


@dataclass(frozen=True)
class Named:
    """A `Host` header, for an application at `https://app.example.com`.

    Attributes:
        what: What is with it.
        lines: The lines of the request that say it.
        served: Whether the page is served.
        version: Of HTTP.
    """

    what: str
    lines: tuple[str, ...]
    served: bool
    version: str = "HTTP/1.1"


HOSTS: Final = (
    Named("as browsers send it", ("app.example.com",), served=True),
    Named("the default port named, as some proxies do", ("app.example.com:443",), served=True),
    Named("capitals", ("APP.Example.COM",), served=True),
    Named("capitals and the default port", ("App.Example.Com:443",), served=True),
    Named("HTTP/1.0 with a name", ("app.example.com",), served=True, version="HTTP/1.0"),
    Named("HTTP/1.0 without a name", (), served=False, version="HTTP/1.0"),
    Named("no name", (), served=False),
    Named("an empty name", ("",), served=False),
    Named("another port", ("app.example.com:8443",), served=False),
    Named("the default port of the other scheme", ("app.example.com:80",), served=False),
    Named("a port that begins like ours", ("app.example.com:4433",), served=False),
    Named("a colon without a port", ("app.example.com:",), served=False),
    Named("a final dot, another origin to browsers", ("app.example.com.",), served=False),
    Named("a final dot and the port", ("app.example.com.:443",), served=False),
    Named("a longer name", ("app.example.com.evil.example",), served=False),
    Named("a sibling", ("evil.example.com",), served=False),
    Named("the site itself", ("example.com",), served=False),
    Named("an address", ("127.0.0.1",), served=False),
    Named("an IPv6 address", ("[::1]:443",), served=False),
    Named("loopback by name", ("localhost",), served=False),
    Named("a user before it", ("evil@app.example.com",), served=False),
    Named("a path after it", ("app.example.com/?x=",), served=False),
    Named("two, one of them ours", ("app.example.com", "evil.example"), served=False),
    Named("two that are the same", ("app.example.com", "app.example.com"), served=False),
    Named("two with a comma", ("app.example.com,app.example.com",), served=False),
)


def as_markdown(rows: tuple[Sent, ...]) -> str:
    """Return one table as docs/explanation/browsers.md has it."""
    lines = ["| What happens | Who | What is sent | Response |", "|---|---|---|---|"]
    for row in rows:
        told = [f"{name}: {row.headers[name]}" for name in sorted(row.headers, key=_place)]
        sent = [_shown(each) for each in told] or ["nothing of the kind"]
        if row.method != "GET":
            sent.insert(0, row.method)
        who = "Chromium" if row.act else row.browser
        lines.append(f"| {row.what} | {who} | {', '.join(sent)} | {row.verdict} |")
    return "\n".join(lines)


def hosts_as_markdown() -> str:
    """Return the table of names as docs/explanation/browsers.md has it."""
    lines = ["| `Host` | | Response |", "|---|---|---|"]
    for row in HOSTS:
        sent = " and ".join(f"`{line}`" if line else "empty" for line in row.lines) or "none"
        lines.append(f"| {sent} | {row.what} | {'served' if row.served else 'refused'} |")
    return "\n".join(lines)


def _place(name: str) -> int:
    return HEADERS.index(name) if name in HEADERS else len(HEADERS)


def _shown(told: str) -> str:
    name, _, value = told.partition(": ")
    value = {"{origin}": "ours", "{sibling}": "the sibling's", "{foreign}": "theirs"}.get(
        value, f"`{value}`"
    )
    return f"{name.removeprefix('sec-fetch-').capitalize()} {value}"
