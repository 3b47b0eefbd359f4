"""A success that cannot be requested again: the transport returns everything it received (T9)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from procore_signin._protocol.http_message import LARGEST_KEPT, HttpRequest, HttpResponse


def is_kept(request: HttpRequest, head: HttpResponse) -> bool:
    """Return whether the response that `head` begins is returned whatever is wrong with it."""
    return not request.repeatable and HTTPStatus.OK <= head.status < HTTPStatus.MULTIPLE_CHOICES


class Kept:
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

    def response(self, *, broken_off: bool = False) -> HttpResponse:
        """Return the response; a body that reached the cap counts as incomplete."""
        whole = not broken_off and len(self.body) < LARGEST_KEPT
        body = bytes(self.body[:LARGEST_KEPT])
        return HttpResponse(self._head.status, self._head.headers, body, whole)
