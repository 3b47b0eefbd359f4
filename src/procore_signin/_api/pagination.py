"""Lists of Procore's API, page after page, item by item.

Source: Procore's documentation, "Using Pagination". Its `Link` header contains absolute URLs, in
which other parameters than the page may be missing; some lists have no `Link`, some no pages.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import httpx2

from procore_signin._api.errors import UnexpectedAnswer
from procore_signin._api.failures import raise_for_procore

MAX_PAGES: Final = 10_000
ROOT: Final = b"/rest/"
VERSION_2_PER_PAGE: Final = 10
"""Items on a page of a v2.0 list by default."""

Value: TypeAlias = str | int | float | bool | None
Params: TypeAlias = Mapping[str, Value | Sequence[Value]]


def paginate(
    client: httpx2.Client,
    path: str,
    *,
    params: Params | None = None,
    per_page: int | None = None,
    max_pages: int = MAX_PAGES,
) -> Iterator[Any]:
    """Yield each item of a list, fetching the next page when it is needed.

    Args:
        client: From `client_for` or `service_client_for`.
        path: The list's path, such as `/rest/v1.0/projects`.
        params: Query parameters. They are sent with every page, whatever `Link` says.
        per_page: Items on each page, or Procore's default: 100 in most lists, 10 in those of v2.0.
        max_pages: The largest number of pages (row P2).

    Raises:
        UnexpectedAnswer: A page is not a list, leads elsewhere or back to an earlier page, or there
            are more than `max_pages`. Items that were already yielded are valid.
        ApiError: What `raise_for_procore` raises for a refused page.
        ProcoreSignInError: What a request of the client raises.
    """
    pages = Pages(path, params, per_page, max_pages)
    while pages.following is not None:
        url, query = pages.following
        yield from pages.take(raise_for_procore(client.get(url, params=query)))


async def apaginate(
    client: httpx2.AsyncClient,
    path: str,
    *,
    params: Params | None = None,
    per_page: int | None = None,
    max_pages: int = MAX_PAGES,
) -> AsyncIterator[Any]:
    """The async `paginate`."""
    pages = Pages(path, params, per_page, max_pages)
    while pages.following is not None:
        url, query = pages.following
        for item in pages.take(raise_for_procore(await client.get(url, params=query))):
            yield item


class Pages:
    """The position in a list, and its next page. It sends nothing itself.

    Attributes:
        following: Path and query of the next page, or None after the last.

    Raises:
        ValueError: `per_page` or `max_pages` is less than 1.
    """

    def __init__(
        self, path: str, params: Params | None, per_page: int | None, max_pages: int
    ) -> None:
        if max_pages < 1 or (per_page is not None and per_page < 1):
            raise ValueError("per_page and max_pages must be 1 or more")
        url = httpx2.URL(path)
        query = url.params.merge(httpx2.QueryParams(params))
        if per_page is not None:
            query = query.set("per_page", per_page)
        self._own = query
        self._max_pages = max_pages
        self._seen: set[bytes] = set()
        self._body: bytes | None = None
        self.following: tuple[httpx2.URL, httpx2.QueryParams] | None = None
        self._go_to(url.copy_with(query=None), query)

    def take(self, response: httpx2.Response) -> list[Any]:
        """Return the items of a page, and find the next page."""
        items, version_2 = _items(response)
        if "link" in response.headers:
            self._follow_link(response)
            return items
        size = _positive(response.headers.get("per-page"))
        size = size or _positive(response.url.params.get("per_page"))
        total = _positive(response.headers.get("total"))
        if total is not None and size is not None:
            more = self._page(response) * size < total
        else:
            size = size or (VERSION_2_PER_PAGE if version_2 else None)
            more = size is not None and len(items) >= size
            # Some lists have no pages, and return the whole list for each page number.
            body, before = _digest(response.content), self._body
            self._body = body
            if body == before:
                more, items = False, []
        self.following = None
        if more and items:
            query = self._own.set("page", self._page(response) + 1)
            self._go_to(response.url.copy_with(query=None), query, response)
        return items

    def _follow_link(self, response: httpx2.Response) -> None:
        link = response.links.get("next")
        if link is None:
            self.following = None
            return
        try:
            url = response.url.join(link["url"])
        except httpx2.InvalidURL:
            raise _unexpected(response, "has a Link that is not a URL") from None
        if url.is_relative_url or url.origin != response.url.origin or url.userinfo:
            raise _unexpected(response, "leads to another host than Procore's API")
        path = url.raw_path.partition(b"?")[0]
        here = response.url.raw_path.partition(b"?")[0]
        if path != here and (b"%" in path or not path.startswith(ROOT)):
            raise _unexpected(response, f"leads out of {ROOT.decode()}")
        # The caller's parameters win; the Link decides the page, and adds a cursor.
        query = url.params.merge(self._own.remove("page"))
        self._go_to(url.copy_with(query=None, fragment=None), query, response)

    def _page(self, response: httpx2.Response) -> int:
        return _positive(response.url.params.get("page")) or 1

    def _go_to(
        self, url: httpx2.URL, query: httpx2.QueryParams, after: httpx2.Response | None = None
    ) -> None:
        if after is not None and len(self._seen) >= self._max_pages:
            raise _unexpected(after, f"is page {self._max_pages}, and there are more")
        place = _digest(url.raw_path + b"?" + str(query).encode())
        if after is not None and place in self._seen:
            raise _unexpected(after, "leads back to a page that was read already")
        self._seen.add(place)
        self.following = url, query


def _items(response: httpx2.Response) -> tuple[list[Any], bool]:
    """Return the items of a page, and whether they came in the envelope of v2.0."""
    if response.status_code == HTTPStatus.NO_CONTENT:
        return [], False
    try:
        parsed = response.json()
    except (ValueError, RecursionError):
        raise _unexpected(response, "is not JSON") from None
    if isinstance(parsed, dict) and isinstance(parsed.get("data"), list):
        return parsed["data"], True
    if isinstance(parsed, list):
        return parsed, False
    raise _unexpected(response, "is not a list")


def _positive(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 12):  # noqa: PLR2004  # a list of 10**12
        return None
    return int(text) or None


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _unexpected(response: httpx2.Response, what: str) -> UnexpectedAnswer:
    method, path = response.request.method, response.url.path
    return UnexpectedAnswer(
        f"The response to {method} {path} {what}",
        status=response.status_code,
        method=method,
        path=path,
        hint="Nothing was sent there. Report it if it was not a mistake in the path.",
    )
