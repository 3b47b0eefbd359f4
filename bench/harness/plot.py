"""Bars as an SVG that reads on light and on dark ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH: Final = 840
_LABEL: Final = 320
_ROW: Final = 26
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#222}.bar{fill:#8a8f98}.ours{fill:#c2500a}"
    ".title{font-weight:600;font-size:15px}line{stroke:#222;stroke-width:1}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}line{stroke:#eee}}"
)


@dataclass(frozen=True, slots=True)
class Bars:
    """One group of bars.

    Attributes:
        title: Above it, with the unit.
        values: For each name the median, the least and the most.
    """

    title: str
    values: Mapping[str, tuple[float, float, float]]


def svg(groups: Sequence[Bars], ours: str, description: str) -> str:
    """Return the groups below one another; a thin line on each bar shows its spread.

    A bar longer than four times the median of its group is cut, and says its value all the same.
    """
    drawn, top = [], 10
    for group in groups:
        top += 20
        drawn.append(f'<text class="title" x="10" y="{top}">{escape(group.title)}</text>')
        top += 10
        medians = sorted(median for median, _, _ in group.values.values())
        longest = min(medians[-1], 4 * medians[len(medians) // 2]) or 1.0
        scale = (_WIDTH - _LABEL - 100) / longest
        for name, (median, least, most) in group.values.items():
            length = min(median, longest) * scale
            ends = [_LABEL + min(value, longest) * scale for value in (least, most)]
            kind = "ours" if name.startswith(ours) else "bar"
            cut = " …" if median > longest else ""
            middle = top + _ROW / 2
            after = max(_LABEL + length, ends[1]) + 6
            drawn.append(
                f'<text x="{_LABEL - 8}" y="{middle + 4:.1f}" text-anchor="end">'
                f"{escape(name)}</text>"
                f'<rect class="{kind}" x="{_LABEL}" y="{top + 4}" height="18"'
                f' width="{length:.1f}"/>'
                f'<line x1="{ends[0]:.1f}" x2="{ends[1]:.1f}"'
                f' y1="{middle:.1f}" y2="{middle:.1f}"/>'
                f'<text x="{after:.1f}" y="{middle + 4:.1f}">{median:,.0f}{cut}</text>'
            )
            top += _ROW
        top += 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img">'
        f"<title>{escape(description)}</title><style>{_STYLE}</style>{''.join(drawn)}</svg>\n"
    )
