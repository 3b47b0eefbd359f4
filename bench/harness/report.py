"""Writes the figures into `docs/explanation/performance.md`, between its marks, and the plot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from harness.measure import AFTER_A_PAUSE, PAGE, ROW, SIGN_IN, SIGN_IN_ROW
from harness.place import ROOT
from harness.plot import Bars, svg
from harness.servers import OURS, OURS_ON_SQLITE
from harness.targets import added, targets

DOCUMENT: Final = ROOT / "docs" / "explanation" / "performance.md"
PLOT: Final = ROOT / "docs" / "images" / "performance.svg"
BEGIN: Final = "<!-- figures: written by `make bench` -->\n"
END: Final = "<!-- end of the figures -->\n"

Figures = dict[str, Any]


def write(results: Figures) -> None:
    """Replace what is between the marks in the page, and the plot."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    figures = "\n".join(_sections(results))
    DOCUMENT.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}")
    parts = {"SQLite": "side by side", "PostgreSQL": "postgresql"}
    shown = [(where, _figures(results, part)) for where, part in parts.items()]
    PLOT.write_text(_plot([(where, found["contenders"]) for where, found in shown if found]))


def _sections(results: Figures) -> Iterator[str]:
    machine, plan = results["machine"], results["plan"]
    loads = ", ".join(
        f"{part['load_before']:.1f} ({name})"
        for name, part in results.items()
        if "load_before" in part
    )
    yield (
        f"Measured {machine['when']} on {machine['processor']}, {machine['cores']} cores, "
        f"{machine['system']}, Python {machine['python']}, Node {machine['versions']['node']}, "
        f"Ruby {machine['versions']['ruby']}, nginx {machine['versions']['nginx']}: "
        f"{plan['rounds']} alternating rounds, {plan['seconds']:g} seconds for each sign-in after "
        f"{2 * plan['seconds']:g} to warm up, {plan['seconds'] / 2:g} for each page, 16 browsers. "
        f"Load of the machine before each part: {loads}.\n"
    )
    absent = {
        name: need
        for part in ("side by side", "postgresql")
        for name, need in (_figures(results, part) or {}).get("absent", {}).items()
    }
    if absent:
        missing = "; ".join(f"{name} (needs {need})" for name, need in absent.items())
        yield f"Absent: {missing}.\n"
    yield "| target | wanted | reached | measured |\n| --- | --- | --- | --- |"
    for each in targets(results):
        reached = "yes" if each.reached else "**no**"
        yield _row([each.name, each.wanted, reached, each.measured])
    yield "\n![CPU time of a sign-in and of a page](../images/performance.svg)\n"
    yield "## Side by side on SQLite\n"
    yield from _side_by_side(results["side by side"]["figures"]["contenders"])
    yield "\nEach cell: median (least to most). A pause is the turns of all the others.\n"
    yield from _on_postgresql(results)
    yield from _distance(results)
    yield from _more(results)
    yield from _calls(results)


def _figures(results: Figures, part: str) -> Any:
    return results.get(part, {}).get("figures")


def _side_by_side(contenders: Figures) -> Iterator[str]:
    """Yield a table of sign-ins and pages; a cell is empty where nothing was measured."""
    first = next(iter(contenders.values()))
    kinds = {SIGN_IN_ROW: "sign-in, row", SIGN_IN: "sign-in, HTML"}
    if AFTER_A_PAUSE in first:
        kinds[AFTER_A_PAUSE] = "sign-in, row, after a pause"
    kinds |= {ROW: "row", PAGE: "page in HTML"}
    yield from _head(["CPU in µs", *kinds.values(), "sign-ins/s", "rows/s", "MB at rest", "then"])
    for name, found in contenders.items():
        cells = _of_kinds(found, kinds, "cpu_microseconds")
        cells += [f"{found[kind]['per_second']['median']:,.0f}" for kind in (SIGN_IN_ROW, ROW)]
        cells += [f"{megabytes:.0f}" for megabytes in found["memory"].values()]
        yield _row([name, *cells])
    failed = [
        f"{name}, {words}: {found[kind]['failures']}"
        for name, found in contenders.items()
        for kind, words in kinds.items()
        if kind in found and found[kind]["failures"]
    ]
    if failed:
        yield f"\nWhat failed is not counted as done: {'; '.join(failed)}.\n"


def _on_postgresql(results: Figures) -> Iterator[str]:
    if "postgresql" not in results:
        return
    yield "## Side by side on PostgreSQL\n"
    found = _figures(results, "postgresql")
    if found is None:
        yield "PostgreSQL was absent.\n"
        return
    held = "held to" if found["pinned"] else "not held to"
    yield (
        "Every peer keeps its sessions in the database, as procore-signin does. The database "
        f"server was {held} the core of the load generator.\n"
    )
    contenders = found["contenders"]
    yield from _side_by_side(contenders)
    yield "\nProcessor time of the database server for each, in µs:\n"
    kinds = {SIGN_IN_ROW: "sign-in, row", ROW: "row", PAGE: "page in HTML"}
    yield from _head(["", *kinds.values()])
    for name, figures in contenders.items():
        if name != OURS_ON_SQLITE:
            yield _row([name, *_of_kinds(figures, kinds, "database_microseconds")])
    yield ""


def _distance(results: Figures) -> Iterator[str]:
    found = _figures(results, "distance")
    if found is None:
        return
    away, under_way = found["milliseconds_away"], found["under_way"]
    yield f"## A page with PostgreSQL {away} ms away\n"
    yield (
        f"{under_way} pages under way, each begun when the one before it came: a core is full. A "
        f"round trip to the database takes {away} ms longer than on one machine. The floor looks "
        "the session up and does nothing else; look-ups that meet go as one statement.\n"
    )
    yield from _head(["ms", "p50", "p99", "added to the floor's", "pages/s", "p99 near", "busy"])
    more = dict(added(found))
    for name, figures in found["pages"].items():
        far, near = figures["far"], figures["near"]
        cells = [_spread(far["p50_milliseconds"], 1), _spread(far["p99_milliseconds"], 1)]
        cells += [f"{more[name]:.1f}" if name in more else "", _spread(far["per_second"])]
        cells += [_spread(near["p99_milliseconds"], 1)]
        cells += [f"{far['generator_busy']['median']:.0%}, {figures['delay_busy']['median']:.0%}"]
        yield _row([name, *cells])
    yield (
        "\nNear is the same without the distance. The last column is how much of their core the "
        "load generator and the process that delays the answers took, beside the database: where "
        "they have no time left, they are part of what is measured.\n"
    )


def _calls(results: Figures) -> Iterator[str]:
    found = _figures(results, "calls")
    if found is None:
        return
    yield "\n## What was counted\n"
    yield "Round trips to PostgreSQL are Query and Sync messages on the wire.\n"
    yield from _head(["round trips", "until the response", "altogether"])
    for name, counts in (found["round_trips"] or {}).items():
        yield _row([name, str(counts["waited"]), str(counts["altogether"])])
    walk = found["callback"]
    fresh = found["fresh_tokens"]
    calls, changes = _range(walk["calls"]), _range(walk["changes_of_file"])
    yield (
        f"\nOne warm callback on SQLite makes {calls} calls in {walk['files']} files of the "
        f"product; {changes} times the next one is in another file than the last. A valid "
        f"`fresh_tokens` on SQLite takes {_spread(fresh['microseconds'], 1)} µs, with "
        f"{fresh['decryptions']} decryption{'s' * (fresh['decryptions'] != 1)}."
    )


def _more(results: Figures) -> Iterator[str]:
    slow = results["slow upstream"]["figures"]
    yield "## 500 sign-ins under way, an upstream of 200 ms\n"
    yield (
        "Added to the two responses of Procore (400 ms), in milliseconds. All 500 begin again at "
        "once, so each core is full: this is how long a sign-in queues then.\n"
    )
    yield from _head(["", "p50", "p99", "sign-ins/s", "failures"])
    for name, found in slow.items():
        figures = [f"{found[key]:.0f}" for key in ("added_p50", "added_p99", "per_second")]
        yield _row([name, *figures, str(found["failures"])])
    yield "\n## From the start of the process to the first page, in seconds\n"
    yield from _head(["", "median (least to most)"])
    for name, found in results["starts"]["figures"].items():
        yield _row([name, _spread(found, digits=2)])
    if "growth" in results:
        yield from _table_of(
            "Growth",
            "SQLite, filled before. Pages of random sessions; new users sign in.",
            results["growth"],
        )
    workers = results.get("workers", {}).get("figures")
    if workers is None:
        yield "\nPostgreSQL was absent: one worker and two were not compared.\n"
        return
    named = {f"{count} worker{'s' * (count != '1')}": found for count, found in workers.items()}
    yield from _table_of(
        "Workers on PostgreSQL",
        "On both cores, which the load generator, the stub and the database share.",
        {"figures": named},
    )


def _table_of(title: str, words: str, part: Figures) -> Iterator[str]:
    yield f"\n## {title}\n\n{words}\n"
    yield (
        "| | CPU of a sign-in, µs | sign-ins/s | CPU of a page, µs | pages/s |\n"
        "| --- | ---: | ---: | ---: | ---: |"
    )
    for name, found in part["figures"].items():
        yield _row([name, *_cpu_and_rate(found["sign-in"], found["page"])])


def _cpu_and_rate(*kinds: Figures) -> list[str]:
    return [_spread(each[key]) for each in kinds for key in ("cpu_microseconds", "per_second")]


def _range(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _row(cells)
    yield _row(["---", *["---:"] * (len(cells) - 1)])


def _of_kinds(found: Figures, kinds: Iterable[str], key: str) -> list[str]:
    return [_spread(found[kind][key]) if kind in found else "" for kind in kinds]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(found: Figures, digits: int = 0) -> str:
    median, least, most = (f"{found[key]:,.{digits}f}" for key in ("median", "least", "most"))
    return f"{median} ({least} to {most})"


def _plot(parts: Sequence[tuple[str, Figures]]) -> str:
    def bars(contenders: Figures, kind: str, title: str) -> Bars:
        return Bars(
            title,
            {name: _three(found[kind]) for name, found in contenders.items() if kind in found},
        )

    kinds = {
        SIGN_IN_ROW: "A sign-in, home as the row",
        ROW: "A page: the row",
        PAGE: "A page in HTML",
    }
    return svg(
        [
            bars(contenders, kind, f"{title}, on {where}: processor time, µs")
            for where, contenders in parts
            for kind, title in kinds.items()
        ],
        OURS,
        "Processor time of a sign-in and of a page, beside peers",
    )


def _three(found: Figures) -> tuple[float, float, float]:
    cpu = found["cpu_microseconds"]
    return cpu["median"], cpu["least"], cpu["most"]
