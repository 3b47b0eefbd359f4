"""Draws docs/explanation/states.md and its pictures from the tables of `_store/states.py`.

Run it after a change of the tables: `.venv/bin/python scripts/draw_states.py`. A test fails while
what is committed is not what this writes. Nothing but the standard library is needed to draw, and
nothing at all to look: a picture is plain SVG.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from procore_signin._store import states
from procore_signin._store.states import (
    ATTEMPT,
    LEAVES,
    LEAVES_PREDECESSOR,
    PREDECESSOR,
    TOKEN_SET,
    WITHDRAWAL,
    AttemptState,
    Event,
    PredecessorState,
    TokenSetState,
    Transition,
    Who,
    WithdrawalState,
)

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = DOCS / "explanation" / "states.md"
PICTURES: Final = DOCS / "images"

COLUMN, LINE, TEXT = 92, 24, 390
"""The width of a state, the height of a line and the width of its words, in the picture."""

COLOURS: Final = {
    Who.SIGN_IN: ("#1f5fa8", "#7db4f0"),
    Who.SECOND_CALLBACK: ("#1f5fa8", "#7db4f0"),
    Who.REFRESHER: ("#1b7a3d", "#6fcf91"),
    Who.REVOKER: ("#8a3fa0", "#d39be6"),
    Who.OPERATOR: ("#b04a00", "#f2a766"),
    Who.JANITOR: ("#8f2f2f", "#ee9a9a"),
    Who.CHANGE: ("#0b7285", "#66d9e8"),
    Who.CLOCK: ("#666666", "#aaaaaa"),
}
"""For a light and a dark ground. The words say the same."""


class Arrow(NamedTuple):
    """One line of a picture: an event that leads from some states to one, or leaves them."""

    event: Event
    who: Who
    sources: tuple[Enum, ...]
    target: Enum | None


class Machine(NamedTuple):
    """One table, and how it is shown."""

    name: str
    title: str
    about: str
    states: type[Enum]
    table: tuple[Transition, ...]


MACHINES: Final = (
    Machine(
        "attempt",
        "A sign-in attempt",
        "A row of `sign_in_ledger`: how far the sign-in came that began with an authorization"
        " response.",
        AttemptState,
        ATTEMPT,
    ),
    Machine(
        "token-set",
        "A token set",
        "A row of `token_sets`: who may refresh it, and what is known of its refresh token.",
        TokenSetState,
        TOKEN_SET,
    ),
    Machine(
        "predecessor",
        "The pair before",
        "The column `predecessor` of the same row. It has two states, and goes by the same events.",
        PredecessorState,
        PREDECESSOR,
    ),
    Machine(
        "withdrawal",
        "A withdrawal",
        "The column `escrow` of a row of `sign_in_ledger`: a pair that is not wanted, and what is"
        " known of it.",
        WithdrawalState,
        WITHDRAWAL,
    ),
)


def arrows(machine: Machine) -> list[Arrow]:
    """Return the lines of a machine's picture: transitions that differ in their state are one."""
    found: dict[tuple[Event, Who, Enum | None], list[Enum]] = {}
    moving = {(event, to) for state, event, to, _ in machine.table if state is not to}
    for state, event, to, who in machine.table:
        stays = (event, to) not in moving
        found.setdefault((event, who, None if stays else to), []).append(state)
    return [
        Arrow(event, who, tuple(sources), target) for (event, who, target), sources in found.items()
    ]


def picture(machine: Machine) -> str:
    """Return a machine as SVG: a column for each state, and a line for each event.

    An arrow leads from the dots, which are the states where the event is accepted, to the state
    that follows. A ring is a state that the event changes nothing about.
    """
    columns = {state: TEXT + COLUMN * (place + 0.5) for place, state in enumerate(machine.states)}
    lines = arrows(machine)
    width, height = TEXT + COLUMN * len(columns) + 10, 60 + LINE * len(lines) + 10
    drawn = "".join(
        (
            *(_column(state, x, height) for state, x in columns.items()),
            *(_line(arrow, columns, 60 + LINE * place) for place, arrow in enumerate(lines)),
        )
    )
    light = "".join(f".{who.name}{{--c:{day}}}" for who, (day, _) in COLOURS.items())
    dark = "".join(f".{who.name}{{--c:{night}}}" for who, (_, night) in COLOURS.items())
    style = (
        ".ground{fill:#fff}text{font:12px system-ui,sans-serif;fill:#222}"
        ".state{font-weight:600}.who{fill:var(--c)}"
        ".lane{stroke:#ccc}.to{stroke:var(--c);stroke-width:1.6}.dot{fill:var(--c)}"
        f".ring{{fill:none;stroke:var(--c);stroke-width:1.6}}{light}"
        "@media(prefers-color-scheme:dark){.ground{fill:#16181c}text{fill:#eee}.lane{stroke:#444}"
        f".who{{fill:var(--c)}}{dark}}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">'
        f"<title>{escape(machine.title)}: its states, and the events between them</title>"
        f'<style>{style}</style><rect class="ground" width="100%" height="100%"/>'
        f"{drawn}</svg>\n"
    )


def _column(state: Enum, x: float, height: float) -> str:
    words = str(state.value).split(", ")
    name = "".join(
        f'<text class="state" x="{x:g}" y="{20 + 15 * place}" text-anchor="middle">'
        f"{escape(word)}</text>"
        for place, word in enumerate(words)
    )
    return f'{name}<line class="lane" x1="{x:g}" x2="{x:g}" y1="44" y2="{height - 6:g}"/>'


def _line(arrow: Arrow, columns: dict[Enum, float], y: float) -> str:
    middle = y + LINE / 2
    words = f'{escape(arrow.event.value)} <tspan class="who">{escape(arrow.who.value)}</tspan>'
    drawn = [f'<g class="{arrow.who.name}"><text x="8" y="{middle + 4:g}">{words}</text>']
    places = [columns[source] for source in arrow.sources]
    if arrow.target is None:
        drawn += [f'<circle class="ring" cx="{x:g}" cy="{middle:g}" r="5"/>' for x in places]
        return "".join((*drawn, "</g>"))
    end = columns[arrow.target]
    for x in (min(places), max(places)):
        near = end + (7 if x > end else -7)
        if x != end:
            drawn.append(
                f'<line class="to" x1="{x:g}" x2="{near:g}" y1="{middle:g}" y2="{middle:g}"/>'
            )
            back = near + (5 if x > end else -5)
            drawn.append(
                f'<path class="dot" d="M{end + (1 if x > end else -1):g} {middle:g}'
                f'L{back:g} {middle - 5:g}V{middle + 5:g}Z"/>'
            )
    drawn += [f'<circle class="dot" cx="{x:g}" cy="{middle:g}" r="3.5"/>' for x in places]
    return "".join((*drawn, "</g>"))


def _names(some: Iterable[Enum], every: Sequence[Enum]) -> str:
    chosen = list(some)
    rest = [each for each in every if each not in chosen]
    if not rest:
        return "any"
    if len(chosen) <= len(rest) + 1:
        return ", ".join(f"*{each.value}*".replace(", ", " and ") for each in chosen)
    return f"any but {_names(rest, every)}"


def table(machine: Machine) -> Iterator[str]:
    """Return the lines of a machine's table in Markdown."""
    every = list(machine.states)
    yield "| State | Event | Next | Who |"
    yield "|---|---|---|---|"
    for event, who, sources, target in arrows(machine):
        to = "the same" if target is None else _names([target], every)
        yield f"| {_names(sources, every)} | {event.value} | {to} | {who.value} |"


def leavings() -> Iterator[str]:
    """Return the lines of the table of what a token set leaves in the ledger, in Markdown."""
    begun = {event: to for state, event, to, _ in WITHDRAWAL if state is WithdrawalState.NOTHING}
    found: dict[tuple[Event, tuple[Event, ...]], list[Enum]] = {}
    for (state, event), begins in LEAVES.items():
        found.setdefault((event, begins), []).append(state)
    yield "| Token set | Event | In the ledger afterwards |"
    yield "|---|---|---|"
    for (event, begins), sources in found.items():
        left = _names((begun[each] for each in begins), list(WithdrawalState))
        yield f"| {_names(sources, list(TokenSetState))} | {event.value} | {left} |"
    also = ", ".join(sorted(event.value for event in LEAVES_PREDECESSOR))
    before = f"*{PredecessorState.KEPT.value}*"
    yield f"| the pair before {before} | {also} | *{begun[Event.PUT_AWAY].value}* too |"


def page() -> str:
    """Return the page."""
    opening = (states.__doc__ or "").partition("\n\n")[2].strip()
    lines = [
        "# States",
        "",
        "<!-- Written by scripts/draw_states.py from src/procore_signin/_store/states.py. -->",
        "",
        opening,
        "",
        "In the pictures each column is a state and each line an event. An arrow leads from the",
        "dots, the states where the event is accepted, to the state that follows. A ring is a",
        "state that stays the same. The colour is that of who does it.",
        "",
    ]
    for machine in MACHINES:
        words = " ".join((machine.states.__doc__ or "").split()).partition(". ")[2]
        lines += [f"## {machine.title}", "", machine.about, "", _meanings(machine, words), ""]
        lines += [f"![{machine.title}](../images/states-{machine.name}.svg)", ""]
        lines += [*table(machine), ""]
    lines += ["## What a token set leaves in the ledger", ""]
    lines += ["The three hang together here. Each line begins a withdrawal.", "", *leavings()]
    return "\n".join((*lines, ""))


def _meanings(machine: Machine, words: str) -> str:
    """Return what the docstring says of the states, with their names as the pictures have them."""
    for state in machine.states:
        words = words.replace(f"`{state.name}`", f"*{state.value}*")
    return words


def written() -> dict[Path, str]:
    """Return every file that is drawn, and what is in it."""
    pictures = {PICTURES / f"states-{each.name}.svg": picture(each) for each in MACHINES}
    return {PAGE: page(), **pictures}


def main() -> None:
    """Write them."""
    for path, text in written().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
