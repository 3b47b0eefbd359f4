"""A success that cannot be requested again: the transport returns everything it received (T9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from procore_signin._protocol.http_message import LARGEST_KEPT, HttpRequest, HttpResponse

if TYPE_CHECKING:
    from pyreqwest.bytes import Bytes


def is_kept(request: HttpRequest, head: HttpResponse) -> bool:
    """Return whether the response that `head` begins is returned whatever is wrong with it."""
    return not request.repeatable and HTTPStatus.OK <= head.status < HTTPStatus.MULTIPLE_CHOICES


def keep(
    head: HttpResponse,
    read: Callable[[], bytes | Bytes | None],
    failures: type[Exception] | tuple[type[Exception], ...],
) -> HttpResponse:
    """Return the response with as much of its body as comes.

    Args:
        head: The response without its body.
        read: Returns the next part of the body; None at its end.
        failures: What `read` raises where the response breaks off.

    Raises:
        Exception: One of `failures`, before any of the body had come.
    """
    kept = _Kept(head)
    try:
        while kept.goes_on and (part := read()) is not None:
            kept.body += part
    except failures:
        if not kept.body:
            raise
        return kept.response(whole=False)
    return kept.response()


async def keep_async(
    head: HttpResponse,
    read: Callable[[], Awaitable[bytes | Bytes | None]],
    failures: type[Exception],
) -> HttpResponse:
    """As `keep`, where the parts are awaited."""
    kept = _Kept(head)
    try:
        while kept.goes_on and (part := await read()) is not None:
            kept.body += part
    except failures:
        if not kept.body:
            raise
        return kept.response(whole=False)
    return kept.response()


class _Kept:
    """The received part of the body of a success that cannot be requested again.

    Args:
        head: The response without its body.
    """

    def __init__(self, head: HttpResponse) -> None:
        length = head.headers.get("content-length", "")
        counts = length.isdecimal() and "transfer-encoding" not in head.headers
        self._head: Final = head
        self._most: Final = min(int(length), LARGEST_KEPT) if counts else LARGEST_KEPT
        self.body = bytearray()

    @property
    def goes_on(self) -> bool:
        """Whether more may come. A body of known length needs no extra read for its end."""
        return len(self.body) < self._most

    def response(self, *, whole: bool = True) -> HttpResponse:
        """Return the response; a body that reached the cap counts as incomplete."""
        body = bytes(self.body[:LARGEST_KEPT])
        whole = whole and len(self.body) < LARGEST_KEPT
        return HttpResponse(self._head.status, self._head.headers, body, whole)
