"""Break the code on purpose, one break at a time, and see whether the tests of the row notice.

`make mutants` runs all of `tests/mutants/*.toml`; `make mutants ARGS="A3 C"` those of some rows. It
works on copies of the tree. A break is killed when a test that has its row in its name fails.
`docs/explanation/mutants.md` tells what came of it. The test that killed a break the last time goes
first; the others follow, the quick folders before the slow ones. All that kill are run on unbroken
code as well: only what is green there counts.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Final
from venv import EnvBuilder

import pytest

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

AT_ONCE: Final = 2
TEST_SECONDS: Final = 60
"""The longest that one test may take."""
RUN_SECONDS: Final = 240
"""The longest that the tests of one folder may take for one break."""
QUICK_FIRST: Final = (
    *("protocol", "flow", "store", "web", "transport", "api", "test_", "emulator"),
    *("proxies", "app", "cli", "operation", "browser", "reliability"),
)
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (tests/[\w/]+\.py(?:::\w+)+)", re.MULTILINE)
PASSED: Final = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
"""The second where a module is skipped, as it lacks what it tests."""
COPIED: Final = (
    *("src", "tests", "docs", "deploy", "examples", "requirements", "scripts", ".ci"),
    *("pyproject.toml", "Makefile", "README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("LICENSE", ".env.example", ".gitignore"),
)
PYTEST: Final = (
    *("-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider"),
    f"--timeout={TEST_SECONDS}",
)
PLUGINS: Final = (
    *("pytest_asyncio.plugin", "_hypothesis_pytestplugin", "pytest_timeout"),
    "procore_signin.pytest_plugin",
)
"""What the tests need of what is installed; to load the rest takes longer than most tests."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one break.

    Attributes:
        mutant: The break.
        killer: The test that failed, as file and name; None if no test did.
        seconds: How long it took to find out.
        trouble: What went wrong otherwise.
    """

    mutant: Mutant
    killer: str | None
    seconds: float
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
    stale = [trouble for each in chosen if (trouble := each.trouble()) is not None]
    if stale:
        say("To be renewed:", *stale)
        return 1
    began = time.monotonic()
    known = shown_verdicts()
    verdicts = run(chosen, {key: test for key, (test, _) in known.items()})
    left = [each for each in verdicts if each.killer is None]
    for each in left:
        say(f"SURVIVED  {each.mutant.title}  {each.trouble}".rstrip())
    took = time.monotonic() - began
    say(f"{len(verdicts) - len(left)} of {len(verdicts)} breaks killed in {took:.0f} s")
    for each in verdicts:
        known.pop((each.mutant.row, each.mutant.name), None)
        if each.killer is not None:
            known[each.mutant.row, each.mutant.name] = each.killer, f"{each.seconds:.1f}"
    write_page(known, None if left or options.rows else took)
    return 1 if left else 0


def is_wanted(mutant: Mutant, words: Sequence[str]) -> bool:
    return any(word in {mutant.row, mutant.row[0], mutant.name} for word in words)


def say(*words: str) -> None:
    sys.stdout.write("\n".join(words) + "\n")
    sys.stdout.flush()


def run(chosen: Sequence[Mutant], known: dict[tuple[str, str], str]) -> list[Verdict]:
    """Put each break into a copy of the tree and run the tests of its row there."""
    with TemporaryDirectory(prefix="procore-signin-mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(AT_ONCE):
            copy = Path(folder) / str(number)
            make_copy(copy)
            copies.put(copy)

        def one(mutant: Mutant) -> Verdict:
            copy = copies.get()
            try:
                verdict = judged(mutant, known.get((mutant.row, mutant.name)), copy)
            finally:
                copies.put(copy)
            found = verdict.killer or f"SURVIVED {verdict.trouble}"
            say(f"{verdict.seconds:5.1f} s  {mutant.title}  <- {found}")
            return verdict

        with ThreadPoolExecutor(AT_ONCE) as threads:
            verdicts = list(threads.map(one, chosen))
            killers = sorted({each.killer for each in verdicts if each.killer is not None})
            parts = [killers[number::AT_ONCE] for number in range(AT_ONCE)]
            found = threads.map(red_of, parts, [copies.get() for _ in parts])
            red = {killer for part in found for killer in part}
    return [
        Verdict(each.mutant, None, each.seconds, f"{each.killer} fails on unbroken code too")
        if each.killer in red
        else each
        for each in verdicts
    ]


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


def judged(mutant: Mutant, known: str | None, copy: Path) -> Verdict:
    """Return what the tests of the row say of a break."""
    began, trouble = time.monotonic(), ""
    file = copy / mutant.place
    whole, of = file.read_text(encoding="utf-8"), file.stat()
    file.write_text(mutant.applied(whole), encoding="utf-8")
    try:
        for tests in portions(mutant.row, known):
            killer, trouble = failing(tests, copy)
            if killer is not None or trouble:
                return Verdict(mutant, killer, time.monotonic() - began, trouble)
    finally:
        file.write_text(whole, encoding="utf-8")
        # With its time, by which Python knows that what it compiled before fits.
        os.utime(file, ns=(of.st_atime_ns, of.st_mtime_ns))
    return Verdict(mutant, None, time.monotonic() - began)


def portions(row: str, known: str | None) -> Iterator[list[str]]:
    """Yield what to have pytest run: the test that killed before, then the row's, by folder."""
    tests = named_after_rows()[row]
    if known in tests:
        yield [known]
    files = dict.fromkeys(test.partition("::")[0] for test in tests)
    for folder in QUICK_FIRST:
        inside = [file for file in files if file.startswith(f"tests/{folder}")]
        if inside:
            yield [*inside, "-k", f"_{row}_"]


def failing(tests: Sequence[str], copy: Path) -> tuple[str | None, str]:
    """Run tests in a copy; return the first that fails, and what went wrong otherwise."""
    status, failed, output = ran([*tests, "-x"], copy, RUN_SECONDS)
    if status in PASSED:
        return None, ""
    if status is None:
        return None, f"the tests did not end in {RUN_SECONDS} s: {' '.join(tests)}"
    if status != pytest.ExitCode.TESTS_FAILED or not failed:
        return None, f"the tests could not run:\n{output[-2000:]}"
    if f"ERROR {failed[0]}" in output and list(tests) != failed:
        # Before the test itself: perhaps it was a database that had no room, so once more, alone.
        return failing(failed, copy)
    return failed[0], ""


def ran(
    arguments: Sequence[str], copy: Path, seconds: float | None
) -> tuple[int | None, list[str], str]:
    """Run pytest in a copy; return its status, or None out of time, what failed, and its output."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    plugins = [argument for name in PLUGINS for argument in ("-p", name)]
    process = subprocess.Popen(
        [str(copy / ".venv/bin/python"), *PYTEST, *plugins, *arguments],
        cwd=copy,
        env=outside | {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, [], ""
    return process.returncode, list(dict.fromkeys(FAILED.findall(output))), output


def red_of(killers: Sequence[str], copy: Path) -> Sequence[str]:
    """Run tests that killed on unbroken code; return those that fail there as well."""
    if not killers:
        return []
    status, red, output = ran(killers, copy, None)
    if status not in {*PASSED, pytest.ExitCode.TESTS_FAILED}:
        say(output)
        return killers
    # Once more, alone: what depends on time may fail where all is busy.
    return [killer for killer in red if failing([killer], copy) != (None, "")]


def write_column() -> None:
    """Write the names of the breaks into the page of the rows."""
    text = ROWS.read_text(encoding="utf-8")

    def line(found: re.Match[str]) -> str:
        row, must, state, note, _ = found.groups()
        cells = (row, must, state, note, broken_by(row))
        return f"| {' | '.join(cells)} |".replace("|  |", "| |")

    ROWS.write_text(ROW.sub(line, text), encoding="utf-8")


def write_page(known: dict[tuple[str, str], tuple[str, str]], took: float | None) -> None:
    """Write what came of the breaks, and of the last run that killed them all."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition("<!-- The last run of all breaks. -->\n")
    _, _, foot = rest.partition("<!-- End. -->\n")
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    told = (
        rest.splitlines()[0]
        if took is None
        else (f"{today}: {len(mutants())} breaks, all killed, in {took:.0f} seconds.")
    )
    lines = [
        "| {} | {} | `{}` | {} |".format(each.row, each.name, *known[each.row, each.name])
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
