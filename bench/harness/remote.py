"""What is measured on PostgreSQL: contenders side by side, and pages with the database far away."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Final

from harness.cpu import cpu_seconds
from harness.database import database, first_process, on_the_other_core
from harness.delay import far_away
from harness.load import Figures, Load, run_load
from harness.measure import HTML, JSON, Plan, in_turns, new_folder, present_of, spread
from harness.servers import (
    FLOOR,
    ON_POSTGRESQL,
    OURS_ON_POSTGRESQL,
    OURS_ON_SQLITE,
    Contender,
    Running,
    Setting,
    running,
)
from harness.stub import stub

MILLISECONDS_AWAY: Final = 2
UNDER_WAY: Final = 200
THREADS: Final = 16
"""Of a threaded peer: as many as there are browsers, each with a connection to the database."""


def postgresql(plan: Plan) -> dict[str, Any] | None:
    """Measure contenders that keep their sessions in PostgreSQL, and ours on SQLite beside them.

    Returns:
        None where there is no PostgreSQL.
    """
    present, absent = present_of(ON_POSTGRESQL)
    server = first_process()
    with ExitStack() as stack:
        pinned = stack.enter_context(on_the_other_core(server))
        procore = stack.enter_context(stub(plan.folder))
        started = []
        for number, each in enumerate(present):
            url = None
            if each.name != OURS_ON_SQLITE:
                url = stack.enter_context(database(str(number)))
                if url is None:
                    return None
            folder = new_folder(plan, f"postgresql-{each.name}")
            setting = Setting(procore.new, folder, database_url=url, threads=THREADS)
            started.append(stack.enter_context(running(each, setting)))
        figures = in_turns(plan, started, after_a_pause=False, database=server)
    return {"absent": absent, "pinned": pinned, "contenders": figures}


def distance(plan: Plan) -> dict[str, Any] | None:
    """Measure pages with 200 requests under way and the database 2 ms away, and at hand.

    Returns:
        None where there is no PostgreSQL.
    """
    asked = [
        ("floor: one look-up", _named(FLOOR), JSON),
        ("procore-signin: the row", _named(OURS_ON_POSTGRESQL), JSON),
        ("procore-signin: the page in HTML", _named(OURS_ON_POSTGRESQL), HTML),
    ]
    with ExitStack() as stack:
        pinned = stack.enter_context(on_the_other_core(first_process()))
        procore = stack.enter_context(stub(plan.folder))
        servers: dict[tuple[str, bool], Running] = {}
        delays: dict[str, int] = {}
        for number, name in enumerate((FLOOR, OURS_ON_POSTGRESQL)):
            for far in (False, True):
                url = stack.enter_context(database(f"{number}_{'far' if far else 'near'}"))
                if url is None:
                    return None
                if far:
                    url, delays[name] = stack.enter_context(far_away(url, MILLISECONDS_AWAY))
                folder = new_folder(plan, f"distance-{name}-{far}")
                setting = Setting(procore.new, folder, database_url=url)
                server = stack.enter_context(running(_named(name), setting))
                servers[name, far] = server
        turns: dict[tuple[str, bool], list[Figures]] = {}
        busy: dict[str, list[float]] = {}
        for number in range(plan.rounds + 1):
            for name, contender, accept in asked:
                for far in (False, True):
                    server = servers[contender.name, far]
                    load = Load(
                        *(server.port, "page", plan.seconds),
                        browsers=UNDER_WAY,
                        start=contender.start,
                        accept=accept,
                    )
                    before = cpu_seconds(delays[contender.name])
                    figures = run_load(load, server.pid)
                    delay = cpu_seconds(delays[contender.name]) - before
                    if number:
                        turns.setdefault((name, far), []).append(figures)
                        if far:
                            busy.setdefault(name, []).append(delay / figures.seconds)
    return {
        "milliseconds_away": MILLISECONDS_AWAY,
        "under_way": UNDER_WAY,
        "pinned": pinned,
        "pages": {
            name: {
                **{"far" if far else "near": _latency(turns[name, far]) for far in (False, True)},
                "delay_busy": spread(busy[name]),
            }
            for name, _, _ in asked
        },
    }


def _named(name: str) -> Contender:
    return next(each for each in ON_POSTGRESQL if each.name == name)


def _latency(figures: list[Figures]) -> dict[str, Any]:
    return {
        "p50_milliseconds": spread(each.milliseconds["p50"] for each in figures),
        "p99_milliseconds": spread(each.milliseconds["p99"] for each in figures),
        "per_second": spread(each.rate for each in figures),
        "cpu_microseconds": spread(each.cpu_microseconds for each in figures),
        "generator_busy": spread(each.busy for each in figures),
        "failures": sum(each.failures for each in figures),
    }
