"""How far long work has come: a bar at a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self

import typer

from procore_signin._store import Store

LINE_SECONDS: Final = 1.0
"""How often a line is written at most where there is no terminal."""


class Progress:
    """Counts on standard error, so that standard output stays for the result.

    Args:
        words: What is being done, such as `Sealing anew`.
        total: How many there will be, or None where no one knows.
    """

    def __init__(self, words: str, total: int | None = None) -> None:
        self._words = words
        self._total = total
        self._done = 0
        self._told_at: float | None = None
        self._bar = _Bar(words, total) if sys.stderr.isatty() else None

    def advance(self, count: int) -> None:
        """Note that `count` more are done, and tell."""
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
    """A bar on the terminal that standard error is."""

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
    """Wait as long as the batch before took, where writers have to take turns: SQLite.

    Its writers do not queue: one that waits looks again every now and then, and must find a gap.
    """
    if store.single_writer:
        time.sleep(seconds)
