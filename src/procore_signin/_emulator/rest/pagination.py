"""Pages of a list, and the headers that Procore documents for them ("Using Pagination")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from procore_signin._emulator.wire.messages import Reply, json_reply

DEFAULT_PER_PAGE: Final = 100
MAX_PER_PAGE: Final = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for.

    Attributes:
        number: 1 for the first.
        per_page: How many items on each.
    """

    number: int
    per_page: int


def read_page(parameters: Mapping[str, str]) -> Page | str:
    """Return the page asked for, or the name of the parameter that is not a positive number."""
    numbers = {"page": 1, "per_page": DEFAULT_PER_PAGE}
    for name in numbers:
        text = parameters.get(name)
        if text is None:
            continue
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):  # noqa: PLR2004 - nine digits are plenty
            return name
        numbers[name] = int(text)
    return Page(numbers["page"], min(numbers["per_page"], MAX_PER_PAGE))


def page_reply(
    items: Sequence[Any], page: Page, *, url: str, parameters: Mapping[str, str]
) -> Reply:
    """Return one page of `items` with `Total`, `Per-Page` and, beyond one page, `Link`.

    Args:
        items: The whole list.
        page: The part to return.
        url: Absolute address of the list, without a query.
        parameters: Query parameters to repeat in the links.
    """
    start = (page.number - 1) * page.per_page
    headers = [("total", str(len(items))), ("per-page", str(page.per_page))]
    last = max(1, -(-len(items) // page.per_page))
    links = _links(page, last)
    if links:
        joined = ", ".join(
            f"<{url}?{urlencode({**parameters, 'page': number, 'per_page': page.per_page})}>; "
            f'rel="{relation}"'
            for relation, number in links
        )
        headers.insert(0, ("link", joined))
    return json_reply(200, list(items[start : start + page.per_page]), *headers)


def _links(page: Page, last: int) -> list[tuple[str, int]]:
    """Return the relations as documented: page 1 has next and last, page 2 has no prev."""
    if last == 1:
        return []
    links = []
    if page.number >= 2:  # noqa: PLR2004 - page numbers of the documentation
        links.append(("first", 1))
    if page.number >= 3:  # noqa: PLR2004 - as above
        links.append(("prev", page.number - 1))
    links.append(("last", last))
    if page.number < last:
        links.append(("next", page.number + 1))
    return links
