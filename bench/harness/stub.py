"""A Procore that costs next to nothing: nginx with fixed answers, on the other core.

It says a new person each time, on a second port the same one again and again. The slow one, which
answers after a delay, is a few lines of asyncio: nginx alone cannot wait.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.place import BENCH, OTHER_CORE, free_port, on_core, program

_NGINX: Final = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type application/json;
  map $msec $second {{ "~^(?<s>[0-9]+)" $s; }}
  # Unique: which connection, and which request on it. Fifteen digits: JavaScript still holds them.
  map "000000$connection-00000000$connection_requests" $person {{
    "~([0-9]{{6}})-[0-9]*([0-9]{{8}})$" "1$1$2";
  }}
  server {{ listen 127.0.0.1:{new}; set $who $person; include {folder}/answers.conf; }}
  server {{ listen 127.0.0.1:{same}; set $who 11111; include {folder}/answers.conf; }}
}}
"""
_ANSWERS: Final = """
location = /oauth/token {
  return 200 '{"access_token":"$request_id$request_id","token_type":"Bearer","expires_in":5400,"refresh_token":"$request_id","created_at":$second}';
}
location = /oauth/revoke { return 200 '{}'; }
location = /rest/v1.0/me {
  return 200 '{"id":$who,"login":"person-$who@example.com","name":"Person $who"}';
}
"""  # noqa: E501  # nginx has no way to break a text


@dataclass(frozen=True, slots=True)
class Stub:
    """Origins of a running stub: one that says a new person each time, and one the same."""

    new: str
    same: str


@contextmanager
def stub(folder: Path) -> Iterator[Stub]:
    """Run nginx until the block ends."""
    new, same = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, new=new, same=same))
    (folder / "answers.conf").write_text(_ANSWERS)
    command = [*on_core(OTHER_CORE), program("nginx"), "-e", "stderr", "-c", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(new, process)
        yield Stub(f"http://127.0.0.1:{new}", f"http://127.0.0.1:{same}")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def slow_stub(milliseconds: int) -> Iterator[str]:
    """Run a stub that answers each request after `milliseconds`; yields its origin."""
    port = free_port()
    command = [*on_core(OTHER_CORE), sys.executable, "-m", "harness.stub"]
    process = subprocess.Popen([*command, str(port), str(milliseconds)], cwd=BENCH)
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Return once something listens at `port`.

    Raises:
        SystemExit: The process ended, or took too long.
    """
    import socket  # noqa: PLC0415  # the slow stub's process has no use for it

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"{process.args!r} did not begin to listen at port {port}")


class Answers(asyncio.Protocol):
    """Answers each request of a connection, after a while where that is wanted."""

    people = 10**12

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # tells the type
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what is whole by now."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not end or len(body) < int(length or 0):
            return
        self._received = body[int(length or 0) :]
        asyncio.get_running_loop().call_later(self._seconds, self._answer, head)

    def _answer(self, head: bytes) -> None:
        Answers.people += 1
        who = Answers.people
        if b"/oauth/" in head.partition(b"\r\n")[0]:
            content = (
                f'{{"access_token":"access-{who}","token_type":"Bearer","expires_in":5400,'
                f'"refresh_token":"refresh-{who}","created_at":{int(time.time())}}}'
            )
        else:
            content = f'{{"id":{who},"login":"person-{who}@example.com","name":"Person {who}"}}'
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
            + f"{len(content)}\r\n\r\n{content}".encode()
        )


async def _serve(port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answers(seconds), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]) / 1000))
