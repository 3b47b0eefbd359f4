"""What must be reached, and what was: a row of the report for each target that was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.measure import AFTER_A_PAUSE, PAGE, ROW, SIGN_IN, SIGN_IN_ROW
from harness.servers import FLOOR, FLOORS, OURS, OURS_ON_POSTGRESQL, OURS_ON_SQLITE

Figures = dict[str, Any]
ROUND_TRIPS: Final = {
    "page as JSON": 1,
    "page in HTML": 1,
    "page as JSON that touches the session": 1,
    "callback with home": 6,
    "valid `fresh_tokens`": 1,
    "refresh": 3,
}


@dataclass(frozen=True, slots=True)
class Target:
    """One of them.

    Attributes:
        name: Of what.
        wanted: In words.
        reached: Whether it was.
        measured: In words.
    """

    name: str
    wanted: str
    reached: bool
    measured: str


def targets(results: Figures) -> Iterator[Target]:
    """Yield those for which there are figures."""
    figures = {
        name: part["figures"]
        for name, part in results.items()
        if isinstance(part, dict) and part.get("figures") is not None
    }
    yield from _on_sqlite(figures["side by side"]["contenders"])
    if "postgresql" in figures:
        yield from _on_postgresql(figures["postgresql"]["contenders"])
    if "distance" in figures:
        yield from _distance(figures["distance"])
    if "calls" in figures:
        yield from _calls(figures["calls"])
    if "growth" in figures:
        yield from _growth(figures["growth"])
    yield from _alone(figures)


def best_peer(contenders: Figures, kind: str) -> tuple[str, float] | None:
    """Return the peer that needs the least processor time for `kind`, and how much."""
    peers = {
        name: cpu(found, kind)
        for name, found in contenders.items()
        if not name.startswith(OURS) and name not in FLOORS and kind in found
    }
    return min(peers.items(), key=lambda each: each[1]) if peers else None


def cpu(found: Figures, kind: str) -> float:
    """Return the median of the processor time, in µs."""
    return float(found[kind]["cpu_microseconds"]["median"])


def _at_most(name: str, most: float, value: float, other: str) -> Target:
    return Target(name, f"≤ {most:g} ×", value <= most, f"{value:.2f} × {other}")


def _against_peers(
    contenders: Figures, ours: Figures, where: str, kinds: Mapping[str, tuple[str, float]]
) -> Iterator[Target]:
    """Yield sign-ins (at most so much of the best) and pages (at least so many for one of his)."""
    for words, (kind, factor) in kinds.items():
        best = best_peer(contenders, kind)
        if best is None:
            continue
        name, microseconds = best
        if kind in {PAGE, ROW}:
            rate = microseconds / cpu(ours, kind)
            title = f"{where}, pages per core: {words}"
            yield Target(title, f"≥ {factor:g}", rate >= factor, f"{rate:.2f} × {name}")
        else:
            title = f"{where}, CPU of a sign-in, {words}"
            yield _at_most(title, factor, cpu(ours, kind) / microseconds, name)


def _on_sqlite(contenders: Figures) -> Iterator[Target]:
    ours, floor = contenders[OURS], contenders[FLOOR]
    yield from _against_peers(
        contenders,
        ours,
        "SQLite",
        {
            "home as the row, warm": (SIGN_IN_ROW, 0.5),
            "home in HTML, warm": (SIGN_IN, 0.5),
            "home as the row, after a pause": (AFTER_A_PAUSE, 0.5),
            "the row": (ROW, 2),
            "the page in HTML": (PAGE, 2),
        },
    )
    for words, kind, asked, most in (
        ("home as the row, warm", SIGN_IN_ROW, SIGN_IN_ROW, 1.6),
        ("home in HTML, warm", SIGN_IN, SIGN_IN_ROW, 2),
        ("home as the row, after a pause", AFTER_A_PAUSE, AFTER_A_PAUSE, 2),
    ):
        times = cpu(ours, kind) / cpu(floor, asked)
        yield _at_most(f"SQLite, CPU of a sign-in, {words}", most, times, "the floor")


def _on_postgresql(contenders: Figures) -> Iterator[Target]:
    ours, beside = contenders[OURS_ON_POSTGRESQL], contenders[OURS_ON_SQLITE]
    for words, kind, most in (
        ("a page: the row", ROW, 1.25),
        ("a page in HTML", PAGE, 1.25),
        ("a sign-in, home as the row", SIGN_IN_ROW, 1.5),
        ("a sign-in, home in HTML", SIGN_IN, 1.5),
    ):
        times = cpu(ours, kind) / cpu(beside, kind)
        yield _at_most(f"PostgreSQL, CPU of {words}", most, times, "the same on SQLite")
    yield from _against_peers(
        contenders,
        ours,
        "PostgreSQL",
        {
            "home as the row": (SIGN_IN_ROW, 0.75),
            "home in HTML": (SIGN_IN, 0.75),
            "the row": (ROW, 2),
            "the page in HTML": (PAGE, 2),
        },
    )


def added(distance: Figures) -> Iterator[tuple[str, float]]:
    """Yield what each page adds to the p99 of the floor, in ms."""
    (_, floor), *pages = distance["pages"].items()
    least = floor["far"]["p99_milliseconds"]["median"]
    for name, found in pages:
        yield name, found["far"]["p99_milliseconds"]["median"] - least


def _distance(distance: Figures) -> Iterator[Target]:
    away, under_way = distance["milliseconds_away"], distance["under_way"]
    for name, milliseconds in added(distance):
        words = name.rpartition(": ")[2]
        title = f"p99 of a page, {under_way} under way, PostgreSQL {away} ms away: {words}"
        measured = f"{milliseconds:.1f} ms added to the floor"
        yield Target(title, "≤ 10 ms", milliseconds <= 10, measured)


def _calls(calls: Figures) -> Iterator[Target]:
    for name, most in ROUND_TRIPS.items() if calls["round_trips"] else ():
        found = calls["round_trips"][name]
        measured = f"{found['waited']}"
        if found["altogether"] != found["waited"]:
            measured += f", and {found['altogether'] - found['waited']} beside"
        title = f"Round trips to PostgreSQL: {name}"
        yield Target(title, f"≤ {most}", found["waited"] <= most, measured)
    changes = statistics.median(calls["callback"]["changes_of_file"])
    some = statistics.median(calls["callback"]["calls"])
    measured = f"{changes:.0f} in {some:.0f} calls, {calls['callback']['files']} files"
    yield Target("Changes of file during a warm callback", "≤ 150", changes <= 150, measured)
    some, files = calls["write"]["calls"], calls["write"]["files"]
    yield Target(
        "Calls from a flow that wants a row written to the driver",
        "≤ 8 in ≤ 4 files",
        some <= 8 and files <= 4,
        f"{some} in {files} files",
    )
    fresh = calls["fresh_tokens"]
    microseconds = fresh["microseconds"]["median"]
    name = "Valid `fresh_tokens` on SQLite"
    yield Target(name, "≤ 15 µs", microseconds <= 15, f"{microseconds:.1f} µs")
    count = fresh["decryptions"]
    yield Target(f"{name}: decryptions", "1", count == 1, str(count))


def _growth(growth: Figures) -> Iterator[Target]:
    first, *_, last = growth.values()
    for kind, most in (("sign-in", 1.2), ("page", 1.15)):
        times = cpu(last, kind) / cpu(first, kind)
        name = f"Growth to {list(growth)[-1]}, {kind}"
        yield Target(name, f"≤ {most} ×", times <= most, f"{times:.2f} ×")


def _alone(figures: Figures) -> Iterator[Target]:
    storm = figures["storm"]
    p99 = storm["p99_milliseconds"]["median"]
    upstream = storm["upstream_milliseconds"]
    yield Target(
        f"Refreshes when {storm['callers']:,} callers want one expired token",
        "1",
        set(storm["refreshes"]) == {1},
        ", ".join(str(each) for each in storm["refreshes"]),
    )
    yield Target(
        "Their p99, against the upstream's latency",
        "≤ 1.5 ×",
        p99 <= 1.5 * upstream,
        f"{p99 / upstream:.2f} × ({p99:.0f} ms)",
    )
    start = figures["starts"][OURS]["median"]
    yield Target("First page after the start", "≤ 1.0 s", start <= 1.0, f"{start:.2f} s")
    for name, found in figures["imports"].items():
        milliseconds = found["median"] * 1000
        yield Target(f"`{name}`", "≤ 250 ms", milliseconds <= 250, f"{milliseconds:.0f} ms")
    for when, megabytes in figures["side by side"]["contenders"][OURS]["memory"].items():
        yield Target(f"Memory {when}", "≤ 120 MB", megabytes <= 120, f"{megabytes:.0f} MB")
