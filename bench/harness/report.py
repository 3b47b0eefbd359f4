"""Writes the figures into `docs/explanation/performance.md`, between its marks, and the plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from harness.measure import AFTER_A_PAUSE
from harness.place import ROOT
from harness.plot import Bars, svg
from harness.servers import FLOOR, OURS

PAGE: Final = ROOT / "docs" / "explanation" / "performance.md"
PLOT: Final = ROOT / "docs" / "images" / "performance.svg"
BEGIN: Final = "<!-- figures: written by `make bench` -->\n"
END: Final = "<!-- end of the figures -->\n"

Figures = dict[str, Any]


def write(results: Figures) -> None:
    """Replace what is between the marks in the page, and the plot."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    figures = "\n".join(_sections(results))
    PAGE.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}")
    PLOT.write_text(_plot(results["side by side"]["figures"]["contenders"]))


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
        f"{plan['rounds']} alternating rounds, {plan['seconds']:g} seconds for each figure after "
        f"{3 * plan['seconds']:g} to warm up, 16 browsers. Load of the machine before each part: "
        f"{loads}.\n"
    )
    absent = results["side by side"]["figures"]["absent"]
    if absent:
        missing = "; ".join(f"{name} (needs {need})" for name, need in absent.items())
        yield f"Absent: {missing}.\n"
    yield from _targets(results)
    yield from _side_by_side(results["side by side"]["figures"]["contenders"])
    yield from _more(results)


def best_peer(contenders: Figures, kind: str) -> tuple[str, float]:
    """Return the peer that needs the least processor time for `kind`, and how much."""
    peers = {
        name: found[kind]["cpu_microseconds"]["median"]
        for name, found in contenders.items()
        if name not in {OURS, FLOOR}
    }
    name = min(peers, key=lambda each: peers[each])
    return name, peers[name]


def _targets(results: Figures) -> Iterator[str]:
    contenders = results["side by side"]["figures"]["contenders"]
    ours = contenders[OURS]
    page_peer, page_peers = best_peer(contenders, "page")
    rows: list[tuple[str, str, bool, str]] = []
    for words, kind, asked in (
        ("home as the row, warm", "sign-in, row", "sign-in"),
        ("home in HTML, warm", "sign-in", "sign-in"),
        ("home as the row, after a pause", AFTER_A_PAUSE, AFTER_A_PAUSE),
    ):
        sign_in = ours[kind]["cpu_microseconds"]["median"]
        floor = contenders[FLOOR][asked]["cpu_microseconds"]["median"]
        for other, cpu, most in ((*best_peer(contenders, asked), 0.5), ("the floor", floor, 2)):
            rows.append(
                (
                    f"CPU of a sign-in, {words}",
                    f"≤ {most} ×",
                    sign_in <= most * cpu,
                    f"{sign_in / cpu:.2f} × {other}",
                )
            )
    for words, kind in (("the row alone", "row"), ("the whole page in HTML", "page")):
        rate = page_peers / ours[kind]["cpu_microseconds"]["median"]
        rows.append(
            (
                f"Pages per core: {words}, against the best peer's row",
                "≥ 2",
                rate >= 2,
                f"{rate:.2f} × {page_peer}",
            )
        )
    rows += _own_targets(results, ours)
    yield "| target | wanted | reached | measured |\n| --- | --- | --- | --- |"
    for name, wanted, reached, measured in rows:
        yield f"| {name} | {wanted} | {'yes' if reached else '**no**'} | {measured} |"
    yield ""


def _own_targets(results: Figures, ours: Figures) -> list[tuple[str, str, bool, str]]:
    rows = []
    growth = results.get("growth", {}).get("figures", {})
    if growth:
        first, *_, last = growth.values()
        last_name = list(growth)[-1]
        for kind in ("sign-in", "page"):
            times = (
                last[kind]["cpu_microseconds"]["median"] / first[kind]["cpu_microseconds"]["median"]
            )
            name = f"Growth to {last_name}, {kind}"
            rows.append((name, "≤ 1.2 ×", times <= 1.2, f"{times:.2f} ×"))
    storm = results["storm"]["figures"]
    p99 = storm["p99_milliseconds"]["median"]
    upstream = storm["upstream_milliseconds"]
    rows += [
        (
            f"Refreshes when {storm['callers']:,} callers want one expired token",
            "1",
            set(storm["refreshes"]) == {1},
            ", ".join(str(each) for each in storm["refreshes"]),
        ),
        (
            "Their p99, against the upstream's latency",
            "≤ 1.5 ×",
            p99 <= 1.5 * upstream,
            f"{p99 / upstream:.2f} × ({p99:.0f} ms)",
        ),
    ]
    start = results["starts"]["figures"][OURS]["median"]
    rows.append(("First page after the start", "≤ 1.0 s", start <= 1.0, f"{start:.2f} s"))
    for name, found in results["imports"]["figures"].items():
        milliseconds = found["median"] * 1000
        rows.append((f"`{name}`", "≤ 250 ms", milliseconds <= 250, f"{milliseconds:.0f} ms"))
    for when, megabytes in ours["memory"].items():
        rows.append((f"Memory {when}", "≤ 120 MB", megabytes <= 120, f"{megabytes:.0f} MB"))
    return rows


def _side_by_side(contenders: Figures) -> Iterator[str]:
    yield "![CPU time of a sign-in and of a page](../images/performance.svg)\n"
    yield (
        "| | CPU of a sign-in, µs | after a pause | sign-ins/s | CPU of a page, µs | pages/s"
        " | MB at rest | MB after the load |"
        "\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for name, found in contenders.items():
        pause = "" if name == OURS else _spread(found[AFTER_A_PAUSE]["cpu_microseconds"])
        cells = _cpu_and_rate(found["sign-in"], found["page"])
        memory = [f"{megabytes:.0f}" for megabytes in found["memory"].values()]
        yield _row([name, cells[0], pause, *cells[1:], *memory])
    ours = contenders[OURS]
    pause = _spread(ours[AFTER_A_PAUSE]["cpu_microseconds"])
    cells = _cpu_and_rate(ours["sign-in, row"], ours["row"])
    yield _row([f"{OURS}, home as the row", cells[0], pause, *cells[1:], "", ""])
    yield "\nEach cell: median (least to most). A pause is the turns of all the others.\n"


def _more(results: Figures) -> Iterator[str]:
    slow = results["slow upstream"]["figures"]
    yield "## 500 sign-ins under way, an upstream of 200 ms\n"
    yield (
        "Added to the two responses of Procore (400 ms), in milliseconds. All 500 begin again at "
        "once, so each core is full: this is how long a sign-in queues then.\n"
    )
    yield "| | p50 | p99 | sign-ins/s | failures |\n| --- | ---: | ---: | ---: | ---: |"
    for name, found in slow.items():
        figures = [f"{found[key]:.0f}" for key in ("added_p50", "added_p99", "per_second")]
        yield _row([name, *figures, str(found["failures"])])
    yield "\n## From the start of the process to the first page, in seconds\n"
    yield "| | median (least to most) |\n| --- | ---: |"
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


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(found: Figures, digits: int = 0) -> str:
    median, least, most = (f"{found[key]:,.{digits}f}" for key in ("median", "least", "most"))
    return f"{median} ({least} to {most})"


def _plot(contenders: Figures) -> str:
    def bars(kind: str, title: str) -> Bars:
        values = {name: _three(found[kind]) for name, found in contenders.items()}
        alone = "row" if kind == "page" else "sign-in, row"
        values[f"{OURS}, home as the row"] = _three(contenders[OURS][alone])
        return Bars(title, values)

    return svg(
        (
            bars("sign-in", "A whole sign-in: processor time, µs"),
            bars("page", "A page of someone signed in: processor time, µs"),
        ),
        OURS,
        "Processor time of a sign-in and of a page, beside peers",
    )


def _three(found: Figures) -> tuple[float, float, float]:
    cpu = found["cpu_microseconds"]
    return cpu["median"], cpu["least"], cpu["most"]
