"""What every transport promises, so that flows can run on any of them and tests bring their own."""

from __future__ import annotations

from typing import Protocol

from procore_signin._protocol.wire import HttpRequest, HttpResponse


class Transport(Protocol):
    """Sends one request at a time for each calling thread, and waits.

    A transport decides nothing: it never retries, follows a redirect or reads a body's meaning.
    A header that is not ASCII is left out, and harms no response.

    Of a request that is not `repeatable`, a success (2xx) is never refused: its response is brought
    back as far as it came, encoded as it may be, cut at `LARGEST_KEPT`, with `whole` false where
    something is missing (row T9).
    """

    def send(self, request: HttpRequest) -> HttpResponse:
        """Return the response to `request`, whatever its status.

        Raises:
            ProcoreUnavailable: No response came, or not whole, before the deadline. `ambiguous` is
                false only when it is certain that nothing was sent.
            UnexpectedResponse: What came is not an HTTP response, too large or encoded.
        """

    def close(self) -> None:
        """Close the connections. Requests under way end with `ProcoreUnavailable`."""


class AsyncTransport(Protocol):
    """As `Transport`, for tasks of an event loop.

    Cancelling the task ends the waiting, not the request: it may go on until its deadline.
    """

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `Transport.send`."""

    async def aclose(self) -> None:
        """As `Transport.close`."""
