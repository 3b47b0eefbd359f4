"""Renews the catalogues of the pages' texts, and the template for a new one.

`.venv/bin/python scripts/catalogues.py` keeps what is translated, adds what is new and drops what
is gone. A test fails while a catalogue is not what this writes, or not whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from procore_signin._web import api_problems, problems, router
from procore_signin._web.embedded import buttons
from procore_signin._web.look import words
from procore_signin._web.look.po import translations_in

ROOT = Path(__file__).parents[1]
WEB = ROOT / "src/procore_signin/_web"
LOCALE = WEB / "locale"
TEMPLATES = (
    *sorted((ROOT / "src/procore_signin/web/django/templates/procore_signin").glob("*.html")),
    WEB / "templates/frame.html",
)
NAMES = {"es": "Spanish", "fr": "French", "new": "a new language"}
_TEXT = re.compile(r'\{% procore_text "([^"]*)"')


def texts() -> dict[str, list[str]]:
    """Return every text of the pages, each with the places where it stands."""
    found: dict[str, list[str]] = {}
    for place, text in _all():
        places = found.setdefault(text, [])
        if place not in places:
            places.append(place)
    return found


def _all() -> Iterator[tuple[str, str]]:
    for path in TEMPLATES:
        yield from ((path.name, text) for text in _TEXT.findall(path.read_text(encoding="utf-8")))
    for module in (problems, api_problems):
        for each in vars(module).values():
            if isinstance(each, problems.Problem):
                parts = (each.title, each.what, each.why, each.cure)
                yield from (("problems.py", part) for part in parts if part)
    yield from (("router.py", text) for text in (router.SIGN_IN, router.GO_TO_FIRST_PAGE))
    for text in (buttons.SIGN_IN, buttons.CONNECT, buttons.SIGN_OUT):
        yield "buttons.py", text
    for text in (*words.MONTHS, words.MOMENT, words.UNKNOWN_BROWSER, words.BROWSER_ON_SYSTEM):
        yield "words.py", text
    yield from (("words.py", text) for text in words.ENVIRONMENTS.values())


def catalogue(tag: str, translations: dict[str, str]) -> str:
    """Return a catalogue as it has to be."""
    head = (
        f"# The texts of the sign-in's pages in {NAMES[tag]}. `scripts/catalogues.py` keeps this "
        "file in order.\n"
        'msgid ""\nmsgstr ""\n'
        + "".join(
            f'"{line}\\n"\n'
            for line in (
                f"Language: {'' if tag == 'new' else tag}",
                "MIME-Version: 1.0",
                "Content-Type: text/plain; charset=UTF-8",
                "Content-Transfer-Encoding: 8bit",
            )
        )
    )
    entries = (
        f'\n#: {" ".join(places)}\nmsgid "{text}"\nmsgstr "{translations.get(text, "")}"\n'
        for text, places in texts().items()
    )
    return head + "".join(entries)


def files() -> dict[Path, str]:
    """Return each file with what has to stand in it."""
    found = {LOCALE / "new.pot": catalogue("new", {})}
    for path in sorted(LOCALE.glob("*.po")):
        kept = translations_in(path.read_text(encoding="utf-8"))
        found[path] = catalogue(path.stem, kept)
    return found


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
