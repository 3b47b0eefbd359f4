"""Plain words, wherever a reader looks: comments, docstrings, messages and pages.

The words that are used instead are in docs/reference/vocabulary.md.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "docs/**/*.md")
TEMPLATES = "src/**/*.html"

# What not to write, and what to write instead.
INSTEAD = {
    r"\bwhoever\b": "the caller, the user, the process that …",
    r"\bnobody\b": "no one",
    r"\bsomebody\b": "someone, a user",
    r"(?<!-)\beverybody\b": "everyone, all users",  # --everybody is an option
    r"\banybody\b": "anyone, any user",
    r"\bfor ever\b": "forever",
    r"\b(?:the|a) (?:front door|one|runner|side) that (?:waits|awaits)\b": "sync, async",
    r"\b(?:an|the|its|each|every|whose|no) answer\b": "response",
}
WORDS = [(re.compile(pattern, re.IGNORECASE), cure) for pattern, cure in INSTEAD.items()]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line that a reader sees as prose, with its number."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), start=1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.STRING, tokenize.COMMENT} and " " in token.string:
            yield from enumerate(token.string.splitlines(), start=token.start[0])


def offences(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {found[0]!r}, say: {cure}"
        for number, line in prose(path)
        for pattern, cure in WORDS
        if (found := pattern.search(line))
    ]


def test_one_word_stands_for_one_thing() -> None:
    places = [path for glob in (*PAGES, TEMPLATES, "src/**/*.py") for path in ROOT.glob(glob)]

    assert len(places) > 200
    assert [offence for path in places for offence in offences(path)] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.md", "Whoever reads this"),
        ("code.py", "# nobody knows\n"),
        ("code.py", '"""Return the answer."""\n'),
        ("code.py", 'raise ValueError("somebody came")\n'),
    ],
)
def test_a_private_word_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setattr("tests.test_words.ROOT", tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert len(offences(tmp_path / name)) == 1
