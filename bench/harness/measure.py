"""Each measurement: runs contenders under load and returns plain figures."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.cpu import memory_megabytes
from harness.database import database
from harness.load import Figures, Load, run_load
from harness.place import (
    APPLICATION_PYTHON,
    BENCH,
    MEASURED_CORE,
    OTHER_CORE,
    ROOT,
    on_core,
)
from harness.servers import CONTENDERS, Contender, Running, Setting, running
from harness.stub import slow_stub, stub

JSON: Final = "application/json"
HTML: Final = "text/html"
AFTER_A_PAUSE: Final = "sign-in after a pause"
SIGN_IN: Final = "sign-in"
SIGN_IN_ROW: Final = "sign-in, row"
PAGE: Final = "page"
ROW: Final = "row"
"""Home in HTML, unless the name says the row."""

SLOW_MILLISECONDS: Final = 200
UNDER_WAY: Final = 500
BUSY_FOR_MINUTES: Final = frozenset({"FastAPI + Authlib", "Django + allauth"})
"""Not measured with 500 sign-ins under way: at a dozen a second nothing else would come of it."""

CALLERS: Final = 1000
SIZES: Final = {
    "10³ users, 10³ sessions": (10**3, 10**3),
    "10⁵ users, 10⁵ sessions": (10**5, 10**5),
    "10⁷ users, 10⁶ sessions": (10**7, 10**6),
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure.

    Attributes:
        rounds: How often each contender has its turn; they alternate.
        seconds: Length of a turn.
        sizes: Names of the databases of the growth measurement.
        folder: For databases; it is emptied by whoever made it.
        say: Told what happens.
    """

    rounds: int
    seconds: float
    sizes: tuple[str, ...]
    folder: Path
    say: Say


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return the median, the smallest and the largest."""
    listed = sorted(values)
    return {"median": statistics.median(listed), "least": listed[0], "most": listed[-1]}


def present_of(
    candidates: Sequence[Contender],
) -> tuple[list[Contender], dict[str, str]]:
    """Return who can run here, and for the others what is missing."""
    missing = {each.name: each.missing() for each in candidates}
    absent = {name: need for name, need in missing.items() if need is not None}
    return [each for each in candidates if each.name not in absent], absent


def side_by_side(plan: Plan) -> dict[str, Any]:
    """Measure sign-ins and pages of every contender on SQLite, in alternating rounds.

    Each sign-in is measured twice: when the contender had nothing to do for the turns of all
    others, and warm. It makes a difference where a just-in-time compiler throws away what was not
    used for a while.
    """
    present, absent = present_of(CONTENDERS)
    with ExitStack() as stack:
        procore = stack.enter_context(stub(plan.folder))
        started = [
            stack.enter_context(running(each, Setting(procore.new, new_folder(plan, each.name))))
            for each in present
        ]
        return {"absent": absent, "contenders": in_turns(plan, started, after_a_pause=True)}


def in_turns(
    plan: Plan, started: Sequence[Running], *, after_a_pause: bool, database: int | None = None
) -> dict[str, Any]:
    """Give each contender its turn in each round; return memory and figures of each.

    Args:
        plan: How many rounds, and how long.
        started: Who takes part.
        after_a_pause: Whether a sign-in is measured before the contender is warm, too.
        database: First process of the database server, if its processor time is measured.
    """
    turns: dict[str, dict[str, list[Figures]]] = {}
    memory = {
        server.contender.name: {"at rest": memory_megabytes(server.pid)} for server in started
    }
    for number in range(plan.rounds + 1):
        plan.say(f"round {number} of {plan.rounds}" if number else "warm-up")
        for server in started:
            kinds = turns.setdefault(server.contender.name, {})
            loads = _turn(plan, server, after_a_pause=after_a_pause)
            for kind, load in loads if number else loads[:1]:
                figures = run_load(load, server.pid, database)
                if number and kind is not None:
                    kinds.setdefault(kind, []).append(figures)
    for server in started:
        memory[server.contender.name]["after the load"] = memory_megabytes(server.pid)
    return {
        name: {"memory": memory[name], **{kind: summary(each) for kind, each in kinds.items()}}
        for name, kinds in turns.items()
    }


def _turn(plan: Plan, each: Running, *, after_a_pause: bool) -> list[tuple[str | None, Load]]:
    """Return what a contender is asked to do in its turn; None is what only warms it."""
    contender, seconds = each.contender, plan.seconds

    def load(what: str, seconds: float, accept: str) -> Load:
        return Load(
            *(each.port, what, seconds),
            start=contender.start,
            callback=contender.callback,
            accept=accept,
        )

    turn: list[tuple[str | None, Load]] = [
        (AFTER_A_PAUSE if after_a_pause else None, load("sign-in", seconds, JSON)),
        (None, load("sign-in", seconds, JSON)),
        (SIGN_IN_ROW, load("sign-in", seconds, JSON)),
        (ROW, load("page", seconds / 2, JSON)),
    ]
    if contender.html:
        turn += [
            (SIGN_IN, load("sign-in", seconds, HTML)),
            (PAGE, load("page", seconds / 2, HTML)),
        ]
    return turn


def summary(figures: list[Figures]) -> dict[str, Any]:
    """Return the spread of each figure over the rounds."""
    return {
        "cpu_microseconds": spread(each.cpu_microseconds for each in figures),
        "per_second": spread(each.rate for each in figures),
        "p50_milliseconds": spread(each.milliseconds["p50"] for each in figures),
        "p99_milliseconds": spread(each.milliseconds["p99"] for each in figures),
        "database_microseconds": spread(each.database_microseconds for each in figures),
        "failures": sum(each.failures for each in figures),
    }


def slow_upstream(plan: Plan) -> dict[str, Any]:
    """Measure what is added to an upstream of 200 ms with 500 sign-ins under way."""
    present, _ = present_of(CONTENDERS)
    found: dict[str, Any] = {}
    with slow_stub(SLOW_MILLISECONDS) as upstream:
        for each in present:
            if each.name in BUSY_FOR_MINUTES:
                continue
            folder = new_folder(plan, f"slow-{each.name}")
            with running(each, Setting(upstream, folder, threads=UNDER_WAY)) as server:
                load = Load(
                    server.port,
                    "sign-in",
                    max(plan.seconds, 1.5),
                    browsers=UNDER_WAY,
                    start=each.start,
                    callback=each.callback,
                )
                run_load(load, server.pid)
                figures = run_load(load, server.pid)
            plan.say(f"{each.name}: {figures.rate:.0f} sign-ins/s with {UNDER_WAY} under way")
            waited = 2 * SLOW_MILLISECONDS
            found[each.name] = {
                "added_p50": figures.milliseconds["p50"] - waited,
                "added_p99": figures.milliseconds["p99"] - waited,
                "per_second": figures.rate,
                "failures": figures.failures,
            }
    return found


def starts(plan: Plan, times: int) -> dict[str, Any]:
    """Measure the time from a process's start to its first page; each database exists before."""
    present, _ = present_of(CONTENDERS)
    found: dict[str, list[float]] = {}
    with stub(plan.folder) as procore:
        for number in range(times + 1):
            for each in present:
                setting = Setting(procore.new, new_folder(plan, f"start-{each.name}"))
                with running(each, setting) as server:
                    if number:
                        found.setdefault(each.name, []).append(server.first_page_seconds)
    return {name: spread(values) for name, values in found.items()}


def imports(times: int) -> dict[str, Any]:
    """Measure `import procore_signin`, and with it the asynchronous front door, in seconds."""
    asked = {
        "import procore_signin": "import procore_signin",
        "from procore_signin import AsyncProcoreSignIn": "import procore_signin;"
        "procore_signin.AsyncProcoreSignIn",
    }
    timed = "import time; t=time.perf_counter(); {}; print(time.perf_counter() - t)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    found = {}
    for name, statement in asked.items():
        command = [*on_core(MEASURED_CORE), APPLICATION_PYTHON, "-c", timed.format(statement)]
        values = [
            float(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
            for _ in range(times + 1)
        ]
        found[name] = spread(values[1:])
    return found


def storm(plan: Plan, times: int) -> dict[str, Any]:
    """Have 1,000 callers ask for one expired token, several times over."""
    runs = []
    with slow_stub(SLOW_MILLISECONDS) as upstream:
        for number in range(times):
            database = plan.folder / f"storm-{number}.db"
            runs.append(json.loads(ours("storm", upstream, str(database), str(CALLERS))))
    return {
        "callers": CALLERS,
        "upstream_milliseconds": SLOW_MILLISECONDS,
        "refreshes": [run["refreshes"] for run in runs],
        "p99_milliseconds": spread(run["p99"] for run in runs),
    }


def growth(plan: Plan) -> dict[str, Any]:
    """Measure sign-ins of new people and pages of random sessions in ever larger databases."""
    turns: dict[str, dict[str, list[Figures]]] = {}
    with ExitStack() as stack:
        procore = stack.enter_context(stub(plan.folder))
        application = CONTENDERS[0]
        started: list[tuple[str, int, Running]] = []
        for name in plan.sizes:
            people, sessions = SIZES[name]
            folder = new_folder(plan, f"growth-{people}")
            began = time.monotonic()
            ours("fill", str(folder / "bench.db"), str(people), str(sessions))
            plan.say(f"filled {name} in {time.monotonic() - began:.0f} s")
            server = stack.enter_context(running(application, Setting(procore.new, folder)))
            started.append((name, sessions, server))
        for number in range(plan.rounds + 1):
            for name, sessions, server in started:
                loads = {
                    "sign-in": Load(server.port, "sign-in", plan.seconds, start="/"),
                    "page": Load(server.port, "seeded-page", plan.seconds / 2, seeded=sessions),
                }
                for kind, load in loads.items():
                    figures = run_load(load, server.pid)
                    if number:
                        turns.setdefault(name, {}).setdefault(kind, []).append(figures)
    return {
        name: {kind: summary(figures) for kind, figures in kinds.items()}
        for name, kinds in turns.items()
    }


def workers(plan: Plan) -> dict[str, Any] | None:
    """Measure one worker and two on PostgreSQL; None where there is no PostgreSQL.

    Two workers need two cores, and on a machine that has no more the load generator, the stub and
    the database share them: the figures tell of the whole machine.
    """
    with database() as url:
        if url is None:
            return None
        application = CONTENDERS[0]
        found: dict[str, Any] = {}
        with ExitStack() as stack:
            procore = stack.enter_context(stub(plan.folder))
            turns: dict[int, list[Figures]] = {}
            pages: dict[int, list[Figures]] = {}
            started = {
                count: stack.enter_context(
                    running(
                        application,
                        Setting(
                            procore.new,
                            new_folder(plan, f"workers-{count}"),
                            database_url=url,
                            workers=count,
                            cores=(MEASURED_CORE, OTHER_CORE),
                        ),
                    )
                )
                for count in (1, 2)
            }
            for number in range(min(plan.rounds, 3) + 1):
                for count, server in started.items():
                    load = Load(server.port, "sign-in", plan.seconds, start="/", browsers=32)
                    page = Load(server.port, "page", plan.seconds / 2, start="/", browsers=32)
                    for kind, each in ((turns, load), (pages, page)):
                        figures = run_load(each, server.pid)
                        if number:
                            kind.setdefault(count, []).append(figures)
            for count in started:
                found[str(count)] = {
                    "sign-in": summary(turns[count]),
                    "page": summary(pages[count]),
                }
        return found


def calls(plan: Plan) -> dict[str, Any]:
    """Count what needs no quiet machine; the round trips only where PostgreSQL is."""
    with stub(plan.folder) as procore, database("calls") as url:
        given = [] if url is None else [url]
        found: dict[str, Any] = json.loads(
            ours("calls", procore.new, str(new_folder(plan, "calls")), *given)
        )
    return found


def ours(program: str, *arguments: str) -> str:
    """Run one of the harness's programs with the application's Python and return its output."""
    command = [*on_core(MEASURED_CORE), APPLICATION_PYTHON, "-m", f"harness.{program}", *arguments]
    return subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=BENCH,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    ).stdout


def new_folder(plan: Plan, name: str) -> Path:
    """Return a folder for the database of a contender."""
    folder = plan.folder / name.replace(" ", "-")
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    return folder
