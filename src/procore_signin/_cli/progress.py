"""The progress of long work: a bar at a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self

import typer

from procore_signin._store import Store

LINE_SECONDS: Final = 1.0
"""The least seconds between two lines, without a terminal."""


class Progress:
    """Counts on standard error, so that standard output stays for the result.

    Args:
        words: What is being done, such as `Sealing anew`.
        total: The total, or None if unknown.
    """

    def __init__(self, words: str, total: int | None = None) -> None:
        self._words = words
        self._total = total
        self._done = 0
        self._told_at: float | None = None
        self._bar = _Bar(words, total) if sys.stderr.isatty() else None

    def advance(self, count: int) -> None:
        """Count `count` more, and show the progress."""
        self._done += count
        if self._bar is not None:
            self._bar.move_to(self._done)
            return
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= LINE_SECONDS:
            self._told_at = now
            of_total = "" if self._total is None else f" of {self._total}"
            typer.echo(f"{self._words}: {self._done}{of_total}", err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class _Bar:
    """A bar, if standard error is a terminal."""

    def __init__(self, words: str, total: int | None) -> None:
        from rich import progress  # noqa: PLC0415  # only where there is a terminal
        from rich.console import Console  # noqa: PLC0415  # as above

        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bars.start()
        self._task = self._bars.add_task(words, total=total)

    def move_to(self, done: int) -> None:
        self._bars.update(self._task, completed=done)

    def stop(self) -> None:
        self._bars.stop()


def give_way(store: Store, seconds: float) -> None:
    """With SQLite, wait as long as the previous batch took, so that other writers get a turn.

    SQLite's writers do not queue: a waiting one retries now and then, and must find a gap.
    """
    if store.single_writer:
        time.sleep(seconds)
