"""What pages say of a time, a browser, an environment and a user, in the language of the page."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from markupsafe import Markup

from procore_signin._web.look.languages import Language, spoken

MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
MOMENT: Final = "%(day)s %(month)s %(year)s, %(time)s UTC"
UNKNOWN_BROWSER: Final = "Unknown browser"
BROWSER_ON_SYSTEM: Final = "%(browser)s on %(system)s"
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
ENVIRONMENTS: Final = {
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


def when(seconds: int) -> Markup:
    """Return UTC unix `seconds` as a `<time>` element that reads `3 May 2026, 14:02 UTC`."""
    return _when(seconds, spoken())


@lru_cache(maxsize=1024)  # pages often show the same second several times
def _when(seconds: int, language: Language) -> Markup:
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    clock = moment.isoformat()
    words = language.html(
        MOMENT,
        day=str(moment.day),
        month=language.plain(MONTHS[moment.month - 1]),
        year=str(moment.year),
        time=clock[11:16],
    )
    return Markup('<time datetime="{}Z">{}</time>').format(clock[:19], words)


def browser_words(user_agent: str | None) -> str:
    """Return a short name for a `User-Agent`, such as `Chrome on Linux`, in our own words."""
    text = user_agent or ""
    browser = next((name for mark, name in _BROWSERS if mark in text), None)
    system = next((name for mark, name in _SYSTEMS if mark in text), None)
    named = browser or spoken().plain(UNKNOWN_BROWSER)
    return spoken().plain(BROWSER_ON_SYSTEM, browser=named, system=system) if system else named


def environment_words(name: str) -> str:
    """Return the display name of the environment `name`: `Local emulator` for `emulator`."""
    return spoken().plain(ENVIRONMENTS.get(name, name))


def name_words(user: Any) -> str:
    """Return what a page calls a user: the name, or the e-mail where there is none."""
    name: str = user.name or user.email
    return name


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


FILTERS: Final[dict[str, Callable[[Any], str]]] = {
    "procore_time": when,
    "procore_browser": browser_words,
    "procore_environment": environment_words,
    "procore_name": name_words,
    "procore_json": pretty_json,
    "procore_marks": show_marks,
}
"""The filters of templates, the same in Jinja2 and in Django."""
