"""Bodies of responses, decompressed here, so that the size limit applies to the result."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Final

import httpx2

from procore_signin._api.errors import UnexpectedAnswer

ENCODING: Final = "gzip"
"""The only encoding that is accepted. Lists shrink to a tenth; one format keeps the limit
simple."""

_PIECE: Final = 1024 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS


class Gunzip:
    """Decompresses a body in pieces of at most a megabyte, whatever the input."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(_GZIP)
        self._began = False

    def take(self, data: bytes) -> Iterator[bytes]:
        """Decompress `data`, the next part of the body. Raises `zlib.error`."""
        self._began = True
        while data:
            if self._inflater.eof:  # RFC 1952 §2.2: several members are one body
                self._inflater = zlib.decompressobj(_GZIP)
            piece = self._inflater.decompress(data, _PIECE)
            data = self._inflater.unconsumed_tail or self._inflater.unused_data
            yield piece

    @property
    def whole(self) -> bool:
        """Whether the body is complete. No body at all, as after HEAD, is complete."""
        return self._inflater.eof or not self._began


class Inflow:
    """Decompresses the parts of one body, and limits its size (row P5).

    Args:
        response: The response, with its body unread.
        request: The request.
        limit: The largest body, in bytes, after decompression.

    Raises:
        UnexpectedAnswer: The headers say that the body is too large, or has another encoding.
    """

    def __init__(self, response: httpx2.Response, request: httpx2.Request, limit: int) -> None:
        self._call: dict[str, Any] = {
            "method": request.method,
            "path": request.url.path,
            "status": response.status_code,
        }
        self._named = f"The response to {request.method} {request.url.path}"
        self._limit = limit
        self._count = 0
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", ENCODING}:
            raise UnexpectedAnswer(
                f"{self._named} has an encoding that was not asked for", **self._call
            )
        self._gunzip = Gunzip() if encoding == ENCODING else None
        length = response.headers.get("content-length", "")
        if request.method != "HEAD" and length.isdecimal() and int(length[:20]) > limit:
            raise self._too_large()

    def take(self, data: bytes) -> Iterator[bytes]:
        """Decompress `data`, the next part from the network.

        Raises:
            UnexpectedAnswer: The body is too large, or is not gzip.
        """
        try:
            for piece in (data,) if self._gunzip is None else self._gunzip.take(data):
                self._count += len(piece)
                if self._count > self._limit:
                    raise self._too_large()
                yield piece
        except zlib.error:
            raise UnexpectedAnswer(f"{self._named} is not gzip", **self._call) from None

    def end(self) -> None:
        """Signal the end of the body.

        Raises:
            UnexpectedAnswer: The compressed body is incomplete.
        """
        if self._gunzip is not None and not self._gunzip.whole:
            raise UnexpectedAnswer(f"{self._named} is cut off", **self._call)

    def _too_large(self) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"{self._named} is larger than {self._limit} bytes",
            hint="Ask for smaller pages, or raise max_body.",
            **self._call,
        )


class BoundedStream(httpx2.SyncByteStream):
    """A body that is read through an `Inflow`."""

    def __init__(self, stream: Iterable[bytes], inflow: Inflow) -> None:
        self._stream = stream
        self._inflow = inflow

    def __iter__(self) -> Iterator[bytes]:
        for data in self._stream:
            yield from self._inflow.take(data)
        self._inflow.end()

    def close(self) -> None:
        """Release the connection, or close it if the body was not read to its end."""
        if isinstance(self._stream, httpx2.SyncByteStream):
            self._stream.close()


class AsyncBoundedStream(httpx2.AsyncByteStream):
    """The async `BoundedStream`."""

    def __init__(self, stream: AsyncIterable[bytes], inflow: Inflow) -> None:
        self._stream = stream
        self._inflow = inflow

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            for piece in self._inflow.take(data):
                yield piece
        self._inflow.end()

    async def aclose(self) -> None:
        """As `BoundedStream.close`."""
        if isinstance(self._stream, httpx2.AsyncByteStream):
            await self._stream.aclose()


def bounded(
    response: httpx2.Response, stream: BoundedStream | AsyncBoundedStream
) -> httpx2.Response:
    """Return `response` with `stream`, which is decompressed, as its body."""
    headers = response.headers.copy()
    if headers.pop("content-encoding", None) is not None:
        headers.pop("content-length", None)  # it counts compressed bytes
    return httpx2.Response(
        response.status_code, headers=headers, stream=stream, extensions=response.extensions
    )
