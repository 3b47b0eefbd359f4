"""The site that `make docs` builds: whole, and without a network.

It is built beforehand, because Sphinx has an environment of its own; without it these tests are
skipped, or fail where PROCORE_SIGNIN_REQUIRE_SITE=1 says that it has to be there.
"""

from __future__ import annotations

import os
import re
import zlib
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import DOCS, ROOT

SITE = ROOT / "site"
LOADED = {"img": "src", "script": "src", "source": "src", "iframe": "src"}
LOADED_BY_LINK = {"stylesheet", "preload", "icon", "manifest"}
MODULES = [path.stem for path in (DOCS / "reference" / "api").glob("procore_signin*.md")]


@pytest.fixture(scope="module", autouse=True)
def _site() -> None:
    if (SITE / "objects.inv").exists():
        return
    if os.environ.get("PROCORE_SIGNIN_REQUIRE_SITE") == "1":
        pytest.fail("site/ is not there and the suite requires it: make docs", pytrace=False)
    pytest.skip("site/ is not there: make docs")


class Addresses(HTMLParser):
    """What a page loads, and where it leads to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in LOADED and LOADED[tag] in found:
            self.loaded.append(found[LOADED[tag]])
        if tag == "link" and LOADED_BY_LINK & set(found.get("rel", "").split()):
            self.loaded.append(found["href"])


def test_every_page_is_in_the_site() -> None:
    pages = {path.resolve().relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert pages - {path.relative_to(SITE) for path in SITE.rglob("*.html")} == set()


def test_no_page_loads_anything_from_elsewhere() -> None:
    loaded = {
        address
        for page in SITE.rglob("*.html")
        for address in Addresses(page).loaded
        if urlsplit(address).scheme not in {"", "data"} or urlsplit(address).netloc
    }
    styles = "\n".join(path.read_text("utf-8") for path in SITE.rglob("*.css"))
    loaded |= set(re.findall(r"url\([\"']?((?:https?:)?//[^)\"']+)|@import", styles))
    assert loaded == set()


def test_every_link_of_a_page_leads_to_a_file() -> None:
    broken = [
        f"{page.relative_to(SITE)}: {link}"
        for page in SITE.rglob("*.html")
        for link in Addresses(page).links
        if not (parts := urlsplit(link)).scheme
        and parts.path
        and not (page.parent / unquote(parts.path)).exists()
    ]
    assert broken == []


def test_every_public_name_is_in_the_reference() -> None:
    inventory = (SITE / "objects.inv").read_bytes().split(b"\n", 4)[4]
    described = {
        line.split(" ", 1)[0].rpartition(".")[2]
        for line in zlib.decompress(inventory).decode().splitlines()
        if " py:" in line
    }
    wanted = {
        f"{module}.{name}"
        for module in MODULES
        for name in getattr(import_module(module), "__all__", ())
    }
    assert [name for name in sorted(wanted) if name.rpartition(".")[2] not in described] == []


def test_the_search_knows_the_words_of_the_pages() -> None:
    index = (SITE / "searchindex.js").read_text(encoding="utf-8")
    assert all(f'"{page}"' in index for page in ("tutorial/index", "reference/events"))
    assert "emul" in index  # stemmed
