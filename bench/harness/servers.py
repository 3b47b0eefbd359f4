"""The measured servers: ours, the floor and the peers, each started as its documentation tells."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from harness.place import (
    APPLICATION_PYTHON,
    BENCH,
    MEASURED_CORE,
    PEER_PYTHON,
    ROOT,
    free_port,
    on_core,
)
from harness.stub import wait_for

KEYS: Final = "k1:" + "A" * 43
OURS: Final = "procore-signin"
OURS_ON_POSTGRESQL: Final = f"{OURS} on PostgreSQL"
OURS_ON_SQLITE: Final = f"{OURS} on SQLite"
FLOOR: Final = "floor"
FLOOR_WITH_DUTIES: Final = "floor with our duties"
FLOORS: Final = {FLOOR, FLOOR_WITH_DUTIES}
_GUNICORN: Final = ("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--worker-class", "gthread")


@dataclass(frozen=True, slots=True)
class Contender:
    """A program to measure.

    Attributes:
        name: As tables show it.
        command: Its words; `{port}` and `{threads}` are filled in.
        folder: Where it runs.
        start: The page that begins a sign-in.
        callback: Where Procore sends the browser back to.
        html: Whether home is a page when a browser asks for it; else it is the row in any case.
        ours: Whether it is this project.
        needs: What must be there for it to run; the report names contenders whose need is not met.
        threaded: Whether one thread serves one request, so that many at once need many threads.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    start: str = "/login"
    callback: str = "/callback"
    html: bool = True
    ours: bool = False
    needs: tuple[str, ...] = ()
    threaded: bool = False

    def missing(self) -> str | None:
        """Return what is missing for it to run, or None."""
        return next((need for need in self.needs if not _is_there(need)), None)


def _is_there(need: str) -> bool:
    if need.startswith("gem:"):
        ruby = shutil.which("ruby")
        asked = [ruby or "", "-e", f"require '{need[4:]}'"]
        return ruby is not None and subprocess.run(asked, check=False, stderr=-3).returncode == 0
    return shutil.which(need) is not None or (BENCH / need).exists()


_SERVE: Final = (APPLICATION_PYTHON, "-m", "procore_signin", "serve", "--migrate")


def _ours(name: str) -> Contender:
    return Contender(name, (*_SERVE, "--port", "{port}"), ROOT, start="/", ours=True)


def _floor(name: str, program: str, python: str = APPLICATION_PYTHON) -> Contender:
    words = (python, program, "{port}")
    return Contender(name, words, BENCH / "peers", html=False)


def _node(name: str, program: str, package: str) -> Contender:
    needs = ("node", f"node/node_modules/{package}")
    return Contender(name, ("node", program), BENCH / "node", needs=needs)


def _django() -> Contender:
    return Contender(
        "Django + allauth",
        (PEER_PYTHON, *_GUNICORN, "--threads", "{threads}", "django_allauth:app"),
        BENCH / "peers",
        threaded=True,
    )


def _uvicorn(name: str, module: str) -> Contender:
    quiet = ("--no-access-log", "--log-level", "error")
    words = (PEER_PYTHON, "-m", "uvicorn", f"{module}:app", "--port", "{port}", *quiet)
    return Contender(name, words, BENCH / "peers")


CONTENDERS: Final = (
    _ours(OURS),
    _floor(FLOOR, "floor.py"),
    _floor(FLOOR_WITH_DUTIES, "floor_with_duties.py"),
    _uvicorn("FastAPI + Authlib", "fastapi_authlib"),
    Contender(
        "Flask + Authlib",
        (PEER_PYTHON, *_GUNICORN, "--threads", "{threads}", "flask_authlib:app"),
        BENCH / "peers",
        threaded=True,
    ),
    _django(),
    _node("Express + passport-oauth2", "passport.js", "passport-oauth2"),
    _node("Express + openid-client", "openid.js", "openid-client"),
    Contender(
        "Sinatra on Puma",
        ("puma", "--quiet", "--bind", "tcp://127.0.0.1:{port}", "--threads", "1:{threads}"),
        BENCH / "ruby",
        needs=("puma", "gem:sinatra/base", "gem:sqlite3"),
        threaded=True,
    ),
)


ON_POSTGRESQL: Final = (
    _ours(OURS_ON_POSTGRESQL),
    _ours(OURS_ON_SQLITE),
    _floor(FLOOR, "floor.py", PEER_PYTHON),
    _uvicorn("FastAPI + Authlib + SQLAlchemy", "fastapi_sqlalchemy"),
    _django(),
    _node(
        "Express + passport-oauth2 + connect-pg-simple",
        "passport_postgresql.js",
        "connect-pg-simple",
    ),
    replace(
        _node("Better Auth", "better_auth.mjs", "better-auth"),
        callback="/api/auth/callback/procore",
    ),
)
"""Sessions of each are rows of its database. Ours on SQLite is there to be compared with."""


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that runs.

    Attributes:
        contender: Which.
        port: Where it listens.
        pid: Its first process.
        first_page_seconds: From the start of the process to its first whole page.
    """

    contender: Contender
    port: int
    pid: int
    first_page_seconds: float


@dataclass(frozen=True, slots=True)
class Setting:
    """How a contender is run.

    Attributes:
        upstream: Origin of the stub Procore.
        folder: An empty one, for its database.
        database_url: Of the PostgreSQL database, when it is not the SQLite file in `folder`.
        workers: Processes of ours.
        threads: Of a threaded peer.
        cores: Where it may run.
    """

    upstream: str
    folder: Path
    database_url: str | None = None
    workers: int = 1
    threads: int = 32
    cores: tuple[int, ...] = field(default=(MEASURED_CORE,))


@contextmanager
def running(contender: Contender, setting: Setting) -> Iterator[Running]:
    """Run a contender until the block ends."""
    port = free_port()
    words = [word.format(port=port, threads=setting.threads) for word in contender.command]
    if contender.ours and setting.workers > 1:
        words += ["--workers", str(setting.workers)]
    log = (setting.folder / "server.log").open("wb")
    began = time.perf_counter()
    process = subprocess.Popen(
        [*on_core(*setting.cores), *words],
        cwd=contender.folder,
        env=_environment(contender, setting, port),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    log.close()
    try:
        wait_for(port, process)
        _await_page(port, contender.start)
        yield Running(contender, port, process.pid, time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(contender: Contender, setting: Setting, port: int) -> dict[str, str]:
    found = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    database = setting.folder / "bench.db"
    origin = f"http://localhost:{port}"
    redirect_uri = f"{origin}{contender.callback}"
    found |= {
        "BENCH_UPSTREAM": setting.upstream,
        "BENCH_PORT": str(port),
        "BENCH_ORIGIN": origin,
        "BENCH_REDIRECT_URI": redirect_uri,
        "BENCH_DATABASE": str(database),
    }
    if setting.database_url is not None:
        found["BENCH_POSTGRESQL"] = setting.database_url
    if not contender.ours:
        others = {"AUTHLIB_INSECURE_TRANSPORT": "1", "NODE_ENV": "production"}
        return found | others | {"RACK_ENV": "production"}
    return found | {
        "PYTHONPATH": str(ROOT / "src"),
        "PROCORE_ENVIRONMENT": "emulator",
        "PROCORE_EMULATOR_URL": setting.upstream,
        "PROCORE_REDIRECT_URI": redirect_uri,
        "PROCORE_DATABASE_URL": setting.database_url or f"sqlite:///{database}",
        "PROCORE_KEYS": KEYS,
        "PROCORE_RATE_LIMIT": "0",
        "PROCORE_LOG_LEVEL": "warning",
    }


def _await_page(port: int, path: str) -> None:
    import http.client  # noqa: PLC0415  # used at starts alone

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path, headers={"host": f"localhost:{port}"})
            status = connection.getresponse().status
            connection.close()
            if status in {200, 302}:
                return
        time.sleep(0.02)
    raise SystemExit(f"Nothing answered at http://localhost:{port}{path}")
