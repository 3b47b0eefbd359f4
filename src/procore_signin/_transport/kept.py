"""What a transport brings back of a success that cannot be asked for again: all that came (T9)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from procore_signin._protocol.wire import LARGEST_KEPT, HttpRequest, HttpResponse


def is_kept(request: HttpRequest, head: HttpResponse) -> bool:
    """Whether the response, of which `head` has come, is brought back however odd it is."""
    return not request.repeatable and HTTPStatus.OK <= head.status < HTTPStatus.MULTIPLE_CHOICES


class Kept:
    """The body of a success that cannot be asked for again, as far as it came.

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
        """Whether more may come. To ask for the end of a body whose length is known is a detour."""
        return len(self.body) < self._most

    def response(self, *, broken_off: bool = False) -> HttpResponse:
        """Return the response; a body of the cap counts as one that went on."""
        whole = not broken_off and len(self.body) < LARGEST_KEPT
        body = bytes(self.body[:LARGEST_KEPT])
        return HttpResponse(self._head.status, self._head.headers, body, whole)
