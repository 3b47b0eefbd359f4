"""The application's pages, rendered as HTML from values.

`render` knows nothing about HTTP, and its values contain no HTML. Everything is escaped (row I6), a
missing value is an error, and pages have no inline code and load nothing from elsewhere, so that
the strictest Content-Security-Policy works (rows C7, K6).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.runtime import Context
from markupsafe import Markup

PageName = Literal[
    "landing",
    "signin",
    "fragment",
    "home",
    "sessions",
    "signed_out",
    "disconnected",
    "problem",
    "company",
]

_MEDIA_TYPES: Final = {
    "app.css": "text/css; charset=utf-8",
    "callback-fragment.js": "text/javascript; charset=utf-8",
    "favicon.svg": "image/svg+xml",
}
STATIC_NAMES: Final = tuple(_MEDIA_TYPES)
_STATIC: Final = {
    name: (files("procore_signin._web").joinpath("static", name).read_bytes(), media_type)
    for name, media_type in _MEDIA_TYPES.items()
}
_VERSIONS: Final = {
    name: hashlib.sha256(content).hexdigest()[:8] for name, (content, _) in _STATIC.items()
}
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
# The first match names the browser: most of them also claim to be Chrome or Safari.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_ENVIRONMENTS: Final = {
    "production": "Production",
    "sandbox": "Sandbox",
    "monthly": "Monthly sandbox",
    "federal": "Federal zone",
    "emulator": "Local emulator",
}
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False).encode
# Marks that change the direction of everything after them: inside <pre> they would reorder the
# JSON around the string that they sit in, so they are shown as JSON escapes instead.
_DIRECTION_MARKS: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@lru_cache(maxsize=1024)  # pages often show the same second several times
def when(seconds: int) -> Markup:
    """Return UTC unix `seconds` as a `<time>` element that reads `3 May 2026, 14:02 UTC`."""
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    clock = moment.isoformat()
    words = f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {clock[11:16]} UTC"
    return Markup(f'<time datetime="{clock[:19]}Z">{words}</time>')  # noqa: S704  # digits alone


def browser_words(user_agent: str | None) -> str:
    """Return a short name for a `User-Agent`, such as `Chrome on Linux`, in our own words."""
    text = user_agent or ""
    browser = next((name for mark, name in _BROWSERS if mark in text), "Unknown browser")
    system = next((name for mark, name in _SYSTEMS if mark in text), None)
    return f"{browser} on {system}" if system else browser


def environment_words(name: str) -> str:
    """Return the display name of the environment `name`: `Local emulator` for `emulator`."""
    return _ENVIRONMENTS.get(name, name)


def pretty_json(text: str) -> str:
    """Return the JSON `text` with a line for each member, its direction marks escaped."""
    value = json.loads(text)
    if isinstance(value, dict) and value:
        members = [f"  {_ENCODE(name)}: {_ENCODE(member)}" for name, member in value.items()]
        return show_marks("{\n" + ",\n".join(members) + "\n}")
    return show_marks(_ENCODE(value))


def show_marks(text: str) -> str:
    r"""Return `text` with each direction mark spelled as its JSON escape, such as `\u202e`."""
    if text.isascii():
        return text
    return _DIRECTION_MARKS.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("procore_signin._web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,  # no limit: a bounded cache would cost bookkeeping
    )
    environment.filters |= {
        "when": when,
        "browser_words": browser_words,
        "environment_words": environment_words,
        "pretty_json": pretty_json,
        "show_marks": show_marks,
    }
    environment.globals.clear()  # Jinja's own globals, which no page uses
    return environment


_JINJA: Final = _environment()


def render(page_name: str, values: Mapping[str, object]) -> str:
    """Return a page as HTML.

    Args:
        page_name: One of `PageName`.
        values: The page's values (see its template's first lines), and for every page `paths` (the
            application's absolute paths by name), `app_name`, `environment` (its name) and
            `signed_in` (None, or the user who is signed in, with `email` and `name`). Times are UTC
            unix seconds.

    Raises:
        jinja2.TemplateNotFound: There is no page of that name.
        jinja2.UndefinedError, KeyError, TypeError: A value that the page needs is missing.
    """
    paths = values["paths"]
    frame = _frame(
        values["app_name"],
        _JINJA.getattr(paths, "static"),
        _JINJA.getattr(paths, "landing"),
        values["environment"],
    )
    template = _JINJA.get_template(f"{page_name}.html")
    # As `template.render`, without the merging of globals, because there are none.
    context = Context(_JINJA, {**values, **frame}, page_name, template.blocks)
    return "".join(template.root_render_func(context))


@lru_cache(maxsize=16)  # a process has one application
def _frame(app_name: str, static: str, landing: str, environment: str) -> Mapping[str, object]:
    """Return the parts that all pages of an application share."""
    frame: Any = _JINJA.get_template("frame.html").make_module(
        {
            "app_name": app_name,
            "static": static,
            "landing": landing,
            "environment": environment,
            "versions": _VERSIONS,
        }
    )
    return {
        "head": frame.head().rstrip("\n"),
        "brand": frame.brand().rstrip("\n"),
        "footer": frame.footer().rstrip("\n"),
        "versions": _VERSIONS,
    }


def static_file(name: str) -> tuple[bytes, str] | None:
    """Return the content and media type of the static file `name`, or None if there is none.

    Only a fixed list of names exists. Pages request them with a hash of the content in the query,
    so these responses can be cached forever.
    """
    return _STATIC.get(name)
