"""Every code block of the README and of docs/ is executed, or stands here with the reason."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pages import DOCS, ROOT, Block, blocks_of, pages

NOT_EXECUTED = {
    ("sh", "install"): "it needs a package index; the extras that it names are checked below",
    ("sh", "make"): "the demo runs until it is stopped, and `make test` is this suite; see below",
    ("sh", "portal"): "it asks for what Procore's developer portal shows",
    ("sh", "long"): "it takes half an hour",
    ("sh", "account"): "it asks a real Procore",
    ("csharp",): "there was no .NET here, as the page says",
    ("text", "usage"): "the whole page is compared with the commands: test_commands_page.py",
    ("mermaid",): "a drawing",
}
FOLLOWED = {
    *(DOCS / "how-to" / f"{name}.md" for name in ("fastapi", "flask", "django")),
    DOCS / "tutorial" / "index.md",
}
OF_A_FOLLOWED_PAGE = {
    ("sh", "run"),
    ("sh", "emulator"),
    ("sh", "serve"),
    ("sh", "after"),
    ("text", "output"),
    ("json", "result"),
}
BLOCKS = [block for page in pages() for block in blocks_of(page)]


def is_executed(block: Block) -> bool:
    if block.title or block.words in OF_A_FOLLOWED_PAGE:
        return block.page in FOLLOWED
    from_an_adapter = any(word.startswith("from=") for word in block.words)
    return block.words == ("python", "run") or bool(block.runner) or from_an_adapter


def test_every_block_is_executed_or_there_is_a_reason() -> None:
    left = [
        f"{block.page.relative_to(ROOT)}: {' '.join(block.words)}: {block.text.splitlines()[0]}"
        for block in BLOCKS
        if not is_executed(block) and block.words not in NOT_EXECUTED
    ]
    assert left == []


def test_every_reason_is_needed() -> None:
    assert {block.words for block in BLOCKS} >= NOT_EXECUTED.keys() - {("mermaid",)}


def test_a_test_executes_the_blocks_of_each_runner() -> None:
    named = {block.runner for block in BLOCKS} - {None}
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    asked_for = set(re.findall(r'run_by\("([a-z-]+)"', "\n".join(sources)))
    assert named == asked_for


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    contributing = blocks_of(Path(ROOT, "CONTRIBUTING.md"))
    shown = {
        target
        for block in (*BLOCKS, *contributing)
        for target in re.findall(r"^make ([a-z]+)", block.text, re.MULTILINE)
    }
    assert {"demo", "test"} <= shown <= targets


def test_every_extra_that_is_shown_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = re.findall(r"pip install .*?\[([a-z,]+)\]", "\n".join(block.text for block in BLOCKS))
    shown = {extra for names in lists for extra in names.split(",")}
    assert {"app"} < shown <= project["optional-dependencies"].keys()


@pytest.mark.parametrize("page", sorted(FOLLOWED), ids=lambda page: page.stem)
def test_a_page_that_is_followed_has_something_to_serve(page: Path) -> None:
    assert ("sh", "serve") in {block.words for block in blocks_of(page)}
