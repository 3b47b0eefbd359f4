"""The contract of a transport, so that flows run on any of them and tests can bring their own."""

from __future__ import annotations

from typing import Protocol

from procore_signin._protocol.http_message import HttpRequest, HttpResponse


class Transport(Protocol):
    """Sends one request at a time for each calling thread, and blocks.

    A transport decides nothing: it never retries, follows a redirect or interprets a body. A header
    that is not ASCII is left out, and does not fail the response.

    The success (2xx) of a request that is not `repeatable` is never refused: the received part is
    returned, in any encoding, cut at `LARGEST_KEPT`, with `whole` false if something is missing
    (row T9).
    """

    def send(self, request: HttpRequest) -> HttpResponse:
        """Return the response to `request`, whatever its status.

        Raises:
            ProcoreUnavailable: No complete response came before the deadline. `ambiguous` is false
                only if it is certain that nothing was sent.
            UnexpectedResponse: The response is not HTTP, is too large, or is encoded.
        """

    def close(self) -> None:
        """Close the connections. Requests under way end with `ProcoreUnavailable`."""


class AsyncTransport(Protocol):
    """The async `Transport`.

    Cancelling the task stops the wait, not the request, which may continue until its deadline.

    One that can be used from several event loops at once says so: `for_any_loop = True`. Refreshes
    are then sent on an event loop of our own, which nothing that happens to the caller's meets
    (row R13).
    """

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `Transport.send`."""

    async def aclose(self) -> None:
        """As `Transport.close`."""
