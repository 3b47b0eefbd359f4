"""Applications of each framework as real processes, each on the kind of server it is used with."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from ports import free_port
from running import settings_for

from procore_signin._store.migrate import upgrade
from procore_signin.emulator import Emulator

FOLDER = Path(__file__).parents[1] / "web" / "hosts"
PREFIX = "/procore"
READY_SECONDS = 60

# gunicorn itself answers 414 to a request line over 4,094 bytes; here our own limit is to be seen.
GUNICORN = "gunicorn --no-control-socket --limit-request-line 0 --bind 127.0.0.1:{port}"
# Its own reading of X-Forwarded-For is switched off: here ours is to be seen.
UVICORN = "uvicorn --no-proxy-headers --host 127.0.0.1 --port {port} --log-level error"
EVERYWHERE = ("starlette", "fastapi", "flask", "flask-gevent", "django", "django-asgi")
COMMANDS = {
    "starlette": f"{UVICORN} starlette_host:app",
    "fastapi": "granian --interface asgi --host 127.0.0.1 --port {port} --no-ws fastapi_host:app",
    "flask": f"{GUNICORN} --worker-class gthread --threads 8 flask_host:create_app()",
    "flask-gevent": f"{GUNICORN} --worker-class gevent flask_host:create_app()",
    "flask-gevent-preloaded": f"{GUNICORN} --worker-class gevent --preload flask_host:create_app()",
    "pwa": f"{UVICORN} pwa_host:app",
    "strict": f"{UVICORN} strict_host:app",
    "talisman": f"{GUNICORN} --worker-class gthread --threads 8 talisman_host:create_app()",
    "django-csp": f"{GUNICORN} --worker-class gthread --threads 8 csp_django_host:wsgi",
    "django": f"{GUNICORN} --worker-class gthread --threads 8 django_host:wsgi",
    "django-asgi": f"{UVICORN} --lifespan off django_host:asgi",
}


@dataclass(frozen=True)
class Host:
    """A running application.

    Attributes:
        url: Its origin.
        folder: Where it runs, with its databases and what it printed.
        process: The server.
    """

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def said(self) -> str:
        """What it has printed."""
        return (self.folder / "output").read_text(errors="replace")

    def raw(self, request: bytes) -> bytes:
        """Send these bytes as they are and return the whole response."""
        parts = urlsplit(self.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as peer:
            peer.sendall(request)
            answer = b""
            with contextlib.suppress(ConnectionResetError):  # a server that had enough of it
                while chunk := peer.recv(65536):
                    answer += chunk
        return answer


@contextlib.contextmanager
def running(
    command: str, port: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[Host]:
    """Run a Python server's command line until the block ends. It may not be ready yet."""
    words = [sys.executable, "-m", *command.format(port=port).split()]
    with serving(words, port, folder, environment) as host:
        yield host


def as_shown(command: str) -> list[str]:
    """Return the words of a page's command that serves an application, in one process."""
    words = shlex.split(command)
    return [*words, "--noreload"] if "runserver" in words else words


@contextlib.contextmanager
def serving(
    words: Sequence[str], port: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[Host]:
    """Run a server until the block ends. It may not be ready yet."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Host(f"http://localhost:{port}", folder, process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def hosts(emulator: Emulator, folder: Path, *names: str, **more: str) -> Iterator[dict[str, Host]]:
    """Run these of `COMMANDS`, each with a database of its own, and wait until all are ready."""
    with ExitStack() as stack:
        started = {}
        for name in names:
            port, own = free_port(), folder / name
            own.mkdir()
            redirect_uri = f"http://localhost:{port}{PREFIX}/callback"
            emulator.client(
                f"client-of-{name}", "fake-secret-of-a-host", redirect_uri, name=name.title()
            )
            environment = settings_for(
                emulator.url,
                port,
                own,
                PROCORE_REDIRECT_URI=redirect_uri,
                PROCORE_CLIENT_ID=f"client-of-{name}",
                PROCORE_CLIENT_SECRET="fake-secret-of-a-host",
                PYTHONPATH=str(FOLDER),
                **more,
            )
            upgrade(environment["PROCORE_DATABASE_URL"])
            started[name] = stack.enter_context(running(COMMANDS[name], port, own, environment))
        for host in started.values():
            wait_until_ready(host)
        yield started
        for host in started.values():
            host.process.terminate()  # all at once, before each is waited for


def wait_until_ready(host: Host, path: str = "/") -> None:
    """Wait until the first page answers with 200."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and host.process.poll() is None:
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{host.url}{path}").status_code == httpx2.codes.OK:
                return
        time.sleep(0.05)
    raise AssertionError(f"{host.folder.name} did not start:\n{host.said}")
