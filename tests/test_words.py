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
PAGES = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md")
FROM_SOURCE = {"commands.md", "errors.md", "settings.md", "states.md"}  # drawn from src/
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

# Turns of phrase that a page does without: what not to write, what to write instead, an example.
TURNS = (
    (
        r"(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b|one\b|doubt\b)\w",
        "is not a …",
        "It fails at a page that is no list.",
    ),
    (r"\b(?:person|people)'s\b", "user's, users'", "A person's tokens are sealed."),
    (
        r"\b(?:person|people|(?:some|no )one) (?:who )?(?:is|are) (?:signed|disabled|let in)\b",
        "a user, users, no user",
        "The page is read by someone who is signed in.",
    ),
    (r"\b(?:person|people|someone) signs?\b", "a user signs, users sign", "People sign in there."),
    (
        r"\b(?:disabl|delet|sign)(?:e|es|ed|ing|s)? (?:the person|a person|someone|people)\b",
        "the user, a user, users",
        "Disabling someone ends all sessions.",
    ),
    (
        r"\b(?:one|same|each|another|every) person\b",
        "user",
        "One refresh for each person at a time.",
    ),
    (r"\bof which (?:there|one|each)\b", "one of them, each of them", "Two, of which one is ours."),
    (r"\bwhom\b", "name the user or the client", "The user whom it concerns is signed out."),
    (
        r"\b(?:who|one that) (?:comes|asks) (?:first|second|last)\b",
        "the first …, the second …",
        "It proves nothing about who comes second.",
    ),
    (
        r"(?:^|[.|*-] )Who (?:has|wants|adds|ends|does|asks|comes)\b[^?]*$",
        "if you have …, an application that …",
        "Who has a database server needs a driver.",
    ),
    (r"\b(?:what|that) is not known\b", "what we do not know", "It says what is not known."),
    (
        r"\b(?:unread|late|lost|odd|wrong|fixed|two|any|these|such an) answers?\b",
        "response",
        "A server may send two answers.",
    ),
    (
        r"\banswers? (?:that|which|of|from|is|are|was|were)\b|^(?:- )?Answers\b|\| Answers? \|",
        "response",
        "| The cookie | Answer |",
    ),
    (r"\b(?:both|two) colours\b", "sync and async", "One body of code serves both colours."),
)
# In these rooms everyone who has a row is a user.
OF_USERS = ("_flow", "_store")
USERS = [(re.compile(r"\b(?:person|people)\b", re.IGNORECASE), "user, users")]
TURNED = [(re.compile(pattern, re.IGNORECASE), cure) for pattern, cure, _ in TURNS]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line that a reader sees as prose, with its number."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), start=1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.STRING, tokenize.COMMENT} and " " in token.string:
            yield from enumerate(token.string.splitlines(), start=token.start[0])


def rules(path: Path) -> list[tuple[re.Pattern[str], str]]:
    """Return what the prose of a file is held to: pages that are written by hand, to more."""
    by_hand = path.suffix == ".md" and path.name not in FROM_SOURCE
    if by_hand:
        return [*WORDS, *TURNED]
    return [*WORDS, *USERS] if any(room in path.parts for room in OF_USERS) else WORDS


def offences(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {found[0]!r}, say: {cure}"
        for number, line in prose(path)
        for pattern, cure in rules(path)
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
        ("_store/code.py", '"""The tokens of a person."""\n'),
    ],
)
def test_a_private_word_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setattr("tests.test_words.ROOT", tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert len(offences(tmp_path / name)) == 1


@pytest.mark.parametrize(("cure", "example"), [(cure, example) for _, cure, example in TURNS])
def test_a_literary_turn_is_seen_in_a_page_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cure: str, example: str
) -> None:
    monkeypatch.setattr("tests.test_words.ROOT", tmp_path)
    for name in ("page.md", "states.md"):
        (tmp_path / name).write_text(example, encoding="utf-8")
    (tmp_path / "code.py").write_text(f"# {example}\n", encoding="utf-8")

    assert [line.endswith(cure) for line in offences(tmp_path / "page.md")] == [True]
    assert offences(tmp_path / "states.md") == offences(tmp_path / "code.py") == []
