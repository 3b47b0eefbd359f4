"""A Procore that keeps nothing: each token tells whose it is, so each response can be checked.

python -m tests.reliability.stub          prints its port, and answers until its input ends
python -m tests.reliability.stub cert.pem the same under TLS
"""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import sys
from typing import Final
from urllib.parse import parse_qs

THINKING_SECONDS: Final = 0.02
"""How long a token request takes, so that forks happen in the middle of some."""

READING_SECONDS: Final = 0.002
"""How long any other takes: processes that share a connection then have requests on it at once."""

_numbers = itertools.count(1)


def answer(method: str, path: str, bearer: str, body: str) -> tuple[int, object]:
    """Return status and members of the response."""
    if (method, path) == ("POST", "/oauth/token"):
        form = {name: values[0] for name, values in parse_qs(body).items()}
        whose = form.get("code", form.get("refresh_token", "?-0")).split("-")[1]
        number = next(_numbers)
        return 200, {
            "access_token": f"access-{whose}-{number}",
            "token_type": "Bearer",
            "expires_in": 5400,
            "refresh_token": f"refresh-{whose}-{number}",
            "created_at": 1_700_000_000,
        }
    if path == "/oauth/revoke":
        return 200, {}
    person = int(bearer.split("-")[1])
    return 200, {"id": person, "login": f"person{person}@example.invalid", "name": None}


class Connection(asyncio.Protocol):
    """One connection: requests come one after the other."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, rest = self._received.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            body, self._received = rest[:length].decode(), rest[length:]
            method, target, _ = first.split(" ")
            bearer = headers.get("authorization", "").removeprefix("Bearer ")
            status, members = answer(method, target.partition("?")[0], bearer, body)
            content = json.dumps(members).encode()
            whole = (
                f"HTTP/1.1 {status} Fake\r\ncontent-type: application/json\r\n"
                f"content-length: {len(content)}\r\n\r\n"
            ).encode() + content
            token = target.startswith("/oauth/token")
            asyncio.get_running_loop().call_later(
                THINKING_SECONDS if token else READING_SECONDS, self._write, whole
            )

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def main(certificate: str | None) -> None:
    """Answer until the standard input ends."""
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  # the caller waits for it
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
