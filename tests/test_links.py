"""Links inside the repository lead somewhere, and so do names of pages in the source."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pages import DOCS, ROOT, pages

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
NAMED = re.compile(r"(?<![\w/.-])docs/[\w/-]+\.md\b")
OTHERS = [
    ROOT / name
    for name in (
        *("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"),
        *("bench/README.md", "bench/emulator/README.md"),
    )
]


@cache
def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub, and MyST after it, give to the headings of a page."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {slug.strip().replace(" ", "-") for slug in slugs}


def test_every_link_leads_to_a_file_and_to_a_heading_in_it() -> None:
    broken = []
    for page in (*pages(), *OTHERS):
        for link in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            missing = not target.exists() or (
                parts.fragment and parts.fragment not in anchors_of(target)
            )
            if missing:
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def test_every_page_that_the_source_names_exists() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.py", "*.yaml", "*.yml", "deploy", "Makefile", "*.md"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    broken = [
        f"{name}: {page}"
        for name in filter(None, tracked)
        if (path := ROOT / name).is_file() and not name.startswith("docs/decisions/")
        for page in NAMED.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / page).exists()
    ]
    assert broken == []


def test_every_page_can_be_reached_from_the_first() -> None:
    """What a reader on GitHub finds by following links; the site's menu knows every page anyway."""
    reached, left = set(), [DOCS / "index.md"]
    while left:
        page = left.pop()
        if page in reached or page.suffix != ".md" or DOCS not in page.parents:
            continue
        reached.add(page)
        text = page.read_text(encoding="utf-8")
        paths = [urlsplit(link).path for link in LINK.findall(text)]
        left += [(page.parent / path).resolve() for path in paths if path]
        listed = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        left += [
            found
            for line in "\n".join(listed).splitlines()
            if line and not line.startswith(":")
            for found in page.parent.glob(re.sub(r".*<(.+)>$", r"\1", line) + ".md")
        ]
    assert {path.resolve() for path in DOCS.rglob("*.md")} - reached == set()
