"""Break the code on purpose, one break at a time, and see whether the tests of the row notice.

`make mutants` runs all of `tests/mutants/*.toml`; `make mutants ARGS="A3 C"` those of some rows. It
works on copies of the tree. A break is killed when a test that has its row in its name fails.
`docs/explanation/mutants.md` tells what came of it. The case that killed a break the last time goes
first; the others follow, the quick folders before the slow ones. All that kill are run on unbroken
code as well: only what is green there counts. Those that killed the last time are run on it before
anything else: that tells how long they take, and so for how long a break may keep them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import shutil
import sys
import sysconfig
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Final
from venv import EnvBuilder

import pytest
from warm_pytest import WarmPytest

from mutants import (
    PAGE,
    ROOT,
    ROW,
    ROWS,
    Mutant,
    broken_by,
    mutants,
    named_after_rows,
    shown_verdicts,
)

AT_ONCE: Final = 4
"""Copies: some tests wait, and two cores can do more meanwhile."""
TEST_SECONDS: Final = 60
"""The longest that one test may take."""
RUN_SECONDS: Final = 240
"""The longest that the tests of one folder may take for one break."""
LEAST_SECONDS: Final = 6
TIMES: Final = 4
"""The case that killed before may take this many times what it takes on unbroken code."""
BESIDE_A_TEST: Final = 30
"""Seconds that a run may take before its test, such as to start servers, and after it."""
TOGETHER: Final = 16
"""So many tests are run at a time on unbroken code: whichever copy is free takes the next."""
QUICK_FIRST: Final = (
    *("protocol", "flow", "store", "web", "transport", "api", "test_", "emulator"),
    *("proxies", "app", "cli", "operation", "browser", "reliability"),
)
PASSED: Final = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
"""The second where a module is skipped, as it lacks what it tests."""
MOST_CHARACTERS: Final = 240
COPIED: Final = (
    *("src", "tests", "docs", "deploy", "examples", "requirements", "scripts", ".ci"),
    *("pyproject.toml", "Makefile", "README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("LICENSE", ".env.example", ".gitignore"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one break.

    Attributes:
        mutant: The break.
        killer: The case of a test that failed, as pytest names it; None if none did.
        seconds: How long it took to find out.
        bound: If that test did not fail but did not end: after how many seconds.
        trouble: What went wrong otherwise.
    """

    mutant: Mutant
    killer: str | None
    seconds: float = 0.0
    bound: float | None = None
    trouble: str = ""


def main() -> int:
    """Run the breaks that are asked for, print what comes of them, and write the pages."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("rows", nargs="*", help="ids of rows, their letters, names")
    parser.add_argument("--list", action="store_true", help="write the column of the rows alone")
    options = parser.parse_args()
    write_column()
    if options.list:
        return 0
    chosen = [each for each in mutants() if not options.rows or is_wanted(each, options.rows)]
    unknown = [word for word in options.rows if not any(is_wanted(each, [word]) for each in chosen)]
    if unknown:
        say("No row and no break is called so:", *unknown)
        return 1
    stale = [trouble for each in chosen if (trouble := each.trouble()) is not None]
    if stale:
        say("To be renewed:", *stale)
        return 1
    began = time.monotonic()
    known = shown_verdicts()
    with ExitStack() as stack:
        verdicts = Copies(known, stack).verdicts(chosen)
    left = [each for each in verdicts if each.killer is None]
    for each in left:
        say(f"SURVIVED  {each.mutant.title}  {each.trouble}".rstrip())
    took = time.monotonic() - began
    say(f"{len(verdicts) - len(left)} of {len(verdicts)} breaks killed in {took:.0f} s")
    for each in verdicts:
        known.pop((each.mutant.row, each.mutant.name), None)
        if each.killer is not None:
            known[each.mutant.row, each.mutant.name] = each.killer, f"{each.seconds:.1f}"
    write_page(known, None if options.rows else told_of(verdicts, took))
    return 1 if left else 0


def is_wanted(mutant: Mutant, words: Sequence[str]) -> bool:
    return any(word in {mutant.row, mutant.row[0], mutant.name} for word in words)


def say(*words: str) -> None:
    sys.stdout.write("\n".join(words) + "\n")
    sys.stdout.flush()


class Copies:
    """Copies of the tree, each with a process that runs tests there, and what is known of tests.

    Attributes:
        known: The case that killed before and its seconds, by row and name of the break.
        took: How long each case took on unbroken code, and each test with all of its cases.
        red: The cases that fail there.
    """

    def __init__(self, known: Mapping[tuple[str, str], tuple[str, str]], stack: ExitStack) -> None:
        folder = stack.enter_context(TemporaryDirectory(prefix="procore-signin-mutants-"))
        self.known: Final = known
        self.took: Final[dict[str, float]] = {}
        self.red: Final[set[str]] = set()
        self._free: Final[SimpleQueue[tuple[Path, WarmPytest]]] = SimpleQueue()
        for number in range(AT_ONCE):
            copy, notes = Path(folder) / str(number), Path(folder) / f"notes-{number}"
            make_copy(copy)
            notes.mkdir()
            there = stack.enter_context(WarmPytest(copy, notes))
            self._free.put((copy, there))
        self._cases: Final = {told_as(case): case for case in sorted(there.cases)}
        self._threads = stack.enter_context(ThreadPoolExecutor(AT_ONCE))

    def verdicts(self, chosen: Sequence[Mutant]) -> list[Verdict]:
        """Put each break into a copy and run the tests of its row there."""
        self.look_at({test for each in chosen if (test := self.killer(each)) is not None})
        # The longest first, so that all copies are busy to the end.
        order = sorted(chosen, key=lambda each: -self.seconds(each))
        found = list(self._threads.map(self._judged, order))
        self.look_at({each.killer for each in found if each.killer} - self.took.keys())
        return list(self._threads.map(self._confirmed, found))

    def killer(self, mutant: Mutant) -> str | None:
        """Return the case that killed a break before, if it is still there; else its test."""
        case, _ = self.known.get((mutant.row, mutant.name), ("", ""))
        test = case.partition("[")[0]
        if test not in named_after_rows()[mutant.row]:
            return None
        return self._cases.get(case, test)

    def seconds(self, mutant: Mutant) -> float:
        """Return how long a break took before."""
        return float(self.known.get((mutant.row, mutant.name), ("", RUN_SECONDS))[1])

    def look_at(self, tests: Collection[str]) -> None:
        """Run tests on unbroken code."""
        ordered = sorted(tests)
        parts = [ordered[first : first + TOGETHER] for first in range(0, len(ordered), TOGETHER)]
        for _ in self._threads.map(self._look_at, parts):
            pass

    def _look_at(self, tests: Sequence[str]) -> None:
        with self._copy() as (_, there):
            ran = there.run(*tests, f"--timeout={TEST_SECONDS}", seconds=3600)
            self.took.update(ran.seconds)
            if ran.status not in {*PASSED, pytest.ExitCode.TESTS_FAILED}:
                say(ran.output)
                self.red.update(tests)
            for test in ran.failed:
                # Once more, alone: what depends on time may fail where all is busy.
                again = there.run(test, f"--timeout={TEST_SECONDS}", seconds=RUN_SECONDS)
                self.took.update(again.seconds)
                if again.status not in PASSED:
                    self.red.update({test, test.partition("[")[0]})

    def _judged(self, mutant: Mutant) -> Verdict:
        with self._copy() as (copy, there), broken(mutant, copy):
            began = time.monotonic()
            verdict = self._verdict(mutant, there)
            verdict = replace(verdict, seconds=time.monotonic() - began)
        found = verdict.killer or f"SURVIVED {verdict.trouble}"
        slow = "" if verdict.bound is None else f" (did not end in {verdict.bound:.0f} s)"
        say(f"{verdict.seconds:5.1f} s  {mutant.title}  <- {found}{slow}")
        return verdict

    def _verdict(self, mutant: Mutant, there: WarmPytest) -> Verdict:
        known = self.killer(mutant)
        if known in self.took and known not in self.red:
            bound = max(LEAST_SECONDS, TIMES * self.took[known])
            verdict = tried(mutant, [known], there, bound, bound + BESIDE_A_TEST)
            if verdict.killer is not None:
                return verdict
        for tests in portions(mutant.row):
            verdict = tried(mutant, tests, there, TEST_SECONDS, RUN_SECONDS)
            if verdict.killer is not None or verdict.trouble:
                return verdict
        return Verdict(mutant, None)

    def _confirmed(self, verdict: Verdict) -> Verdict:
        """Let a verdict count only if its test is green on unbroken code, and ends in time."""
        killer, trouble = verdict.killer, ""
        if killer in self.red:
            trouble = f"{killer} fails on unbroken code too"
        elif killer is not None and verdict.bound is not None:
            well_within = verdict.bound / 2
            with self._copy() as (_, there):
                seconds = well_within + BESIDE_A_TEST
                ran = there.run(killer, f"--timeout={well_within}", seconds=seconds)
            if ran.status not in PASSED:
                trouble = f"{killer} needs more than {well_within:.0f} s on unbroken code too"
        return replace(verdict, killer=None, trouble=trouble) if trouble else verdict

    @contextmanager
    def _copy(self) -> Iterator[tuple[Path, WarmPytest]]:
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)


def make_copy(copy: Path) -> None:
    """Copy the tree, with a Python of its own: the programs that a test starts are broken too.

    It finds the copy's source first, and whatever else is installed where this Python has it.
    """
    for name in COPIED:
        if (ROOT / name).is_dir():
            whole = shutil.ignore_patterns("node_modules")
            shutil.copytree(ROOT / name, copy / name, ignore=whole)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, copy / name)
    EnvBuilder(symlinks=True).create(copy / ".venv")
    inside = Path(sysconfig.get_path("purelib", vars={"base": str(copy / ".venv")}))
    paths = f"{copy / 'src'}\n{sysconfig.get_path('purelib')}\n"
    (inside / "mutants.pth").write_text(paths, encoding="utf-8")


@contextmanager
def broken(mutant: Mutant, copy: Path) -> Iterator[None]:
    """Have a copy of the tree with a break in it."""
    file = copy / mutant.place
    whole, of = file.read_text(encoding="utf-8"), file.stat()
    file.write_text(mutant.applied(whole), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(whole, encoding="utf-8")
        # With its time, by which Python knows that what it compiled before fits.
        os.utime(file, ns=(of.st_atime_ns, of.st_mtime_ns))


def portions(row: str) -> Iterator[list[str]]:
    """Yield what to have pytest run for a row, by folder."""
    files = dict.fromkeys(test.partition("::")[0] for test in named_after_rows()[row])
    for folder in QUICK_FIRST:
        inside = [file for file in files if file.startswith(f"tests/{folder}")]
        if inside:
            yield [*inside, "-k", f"_{row}_"]


def tried(
    mutant: Mutant, tests: Sequence[str], there: WarmPytest, bound: float, seconds: float
) -> Verdict:
    """Run tests until one fails: each for as long as `bound`, all of them for so many seconds."""
    ran = there.run(*tests, "-x", f"--timeout={bound}", seconds=seconds)
    verdict = Verdict(mutant, None)
    if ran.late and len(tests) == 1:
        return replace(verdict, killer=tests[0], bound=bound)
    if ran.late:
        return replace(verdict, trouble=f"no end after {seconds:.0f} s: {' '.join(tests)}")
    if ran.status in PASSED:
        return verdict
    if ran.status != pytest.ExitCode.TESTS_FAILED or not ran.failed:
        return replace(verdict, trouble=f"the tests could not run:\n{ran.output[-2000:]}")
    [(killer, phase), *_] = ran.failed.items()
    if phase == "setup" and [*tests] != [killer]:
        # Before the test itself: perhaps it was a database that had no room, so once more, alone.
        return tried(mutant, [killer], there, bound, seconds)
    return replace(verdict, killer=killer, bound=bound if killer in ran.hung else None)


def write_column() -> None:
    """Write the names of the breaks into the page of the rows."""
    text = ROWS.read_text(encoding="utf-8")

    def line(found: re.Match[str]) -> str:
        row, must, state, note, _ = found.groups()
        cells = (row, must, state, note, broken_by(row))
        return f"| {' | '.join(cells)} |".replace("|  |", "| |")

    ROWS.write_text(ROW.sub(line, text), encoding="utf-8")


def told_as(case: str) -> str:
    """Return what a table can hold of a case: its test alone, where its values are long."""
    told = case.translate(dict.fromkeys(map(ord, "|`\\"), "'"))
    return told if len(told) < MOST_CHARACTERS else case.partition("[")[0]


def told_of(verdicts: Sequence[Verdict], took: float) -> str:
    """Return what the page says of a run of all breaks."""
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    left = [each.mutant.title for each in verdicts if each.killer is None]
    came = "all killed" if not left else f"not killed: {'; '.join(left)}"
    return f"{today}: {len(verdicts)} breaks in {took:.0f} seconds, {came}."


def write_page(known: dict[tuple[str, str], tuple[str, str]], run: str | None) -> None:
    """Write what came of the breaks, and of a run of all of them, unless it was one of some."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition("<!-- The last run of all breaks. -->\n")
    _, _, foot = rest.partition("<!-- End. -->\n")
    told = rest.partition("| Row |")[0].strip() if run is None else run
    lines = [
        f"| {each.row} | {each.name} | `{told_as(known[each.row, each.name][0])}`"
        f" | {known[each.row, each.name][1]} |"
        for each in mutants()
        if (each.row, each.name) in known
    ]
    table = "\n".join(("| Row | Break | Killed by | Seconds |", "|---|---|---|---|", *lines))
    PAGE.write_text(
        f"{head}<!-- The last run of all breaks. -->\n{told}\n\n{table}\n<!-- End. -->\n{foot}",
        encoding="utf-8",
    )


if __name__ == "__main__":
    sys.exit(main())
