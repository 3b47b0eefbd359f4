"""The pages of the documentation, and their code blocks.

The words after a fence say who executes the block; no reader sees them:

* `title=<file>` is a file to write (with `append`, lines to add to it), `sh run` commands to type,
  `sh emulator` and `sh serve` what goes on running, `python run` a snippet that follows on the
  files, `sh after` commands while the servers run, and `text output` what they print
  (`test_docs.py`, `test_tutorial.py`);
* `from=<adapter>` repeats what an adapter's page has executed (`test_docs.py`);
* `run=<name>` is executed by the test that asks for `run_by("<name>")`.

`test_blocks.py` lists the blocks that nothing executes, with the reasons.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block: the words after its fence, and what is in it."""

    page: Path
    words: tuple[str, ...]
    text: str

    @property
    def title(self) -> str | None:
        """The file that it is."""
        titles = [word.removeprefix("title=") for word in self.words if "title=" in word]
        return titles[0] if titles else None

    @property
    def runner(self) -> str | None:
        """The name of what executes it."""
        names = [word.removeprefix("run=") for word in self.words if word.startswith("run=")]
        return names[0] if names else None


@cache
def pages() -> tuple[Path, ...]:
    """Return the README and every page of docs/."""
    return (
        ROOT / "README.md",
        *sorted(path for path in DOCS.rglob("*.md") if not path.is_symlink()),
    )


@cache
def blocks_of(page: Path) -> tuple[Block, ...]:
    """Return the code blocks of a page in their order. What Sphinx itself reads is none."""
    return tuple(
        Block(page, tuple(words.split()), re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))
        for indent, words, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        if not words.startswith("{")
    )


def run_by(name: str, *of: str) -> list[Block]:
    """Return the blocks that `name` executes, of these pages in this order, else of all pages."""
    chosen = [DOCS / each for each in of] or pages()
    found = [block for page in chosen for block in blocks_of(page) if block.runner == name]
    everywhere = [block for page in pages() for block in blocks_of(page) if block.runner == name]
    assert found, f"no page has a block with run={name}"
    assert len(found) == len(everywhere), f"another page has a block with run={name}"
    return found


@dataclass(frozen=True)
class Follower:
    """Someone who follows a page literally, in an empty directory."""

    blocks: tuple[Block, ...]
    folder: Path
    environment: dict[str, str]
    ports: dict[str, int]

    def text_of(self, block: Block) -> str:
        """Return a block with the ports that are free here."""
        text = block.text
        for written, free in self.ports.items():
            text = text.replace(written, str(free))
        return text

    def run(self, block: Block) -> str:
        """Do what a block of commands says, up to the files that they are about."""
        printed = ""
        for command in self.text_of(block).splitlines():
            printed += self.do(shlex.split(command, comments=True))
            if "startproject" in command:
                self.write_files()
        return printed

    def do(self, words: list[str]) -> str:
        """Run one command, which has to succeed; return what it prints."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}"
        return done.stdout

    def write_files(self) -> None:
        """Write each file that the page shows."""
        for block in self.blocks:
            if block.title is not None:
                path = self.folder / block.title
                before = path.read_text() if "append" in block.words else ""
                path.write_text(before + self.text_of(block))

    def all(self, *words: str) -> Iterator[Block]:
        """Return the blocks with exactly these words."""
        return (block for block in self.blocks if block.words == words)

    def only(self, *words: str) -> Block:
        """Return the one block with exactly these words."""
        [block] = self.all(*words)
        return block


def path_of(python: str) -> str:
    """Return a PATH on which the commands of a Python's environment come first."""
    return f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
