"""Emulators of one process: served until a signal, or in a thread while a block runs."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from procore_signin._emulator.errors import EmulatorRefused
from procore_signin._emulator.files.state_file import StateFile
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.wire.server import DEFAULT_HOST, DEFAULT_PORT, Log, Server
from procore_signin._emulator.world.options import EmulatorOptions


def serve(
    options: EmulatorOptions | None = None,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    announce: Callable[[str], None],
    log: Log | None = None,
) -> None:
    """Serve one emulator until SIGINT or SIGTERM: see `serve_all`.

    Args:
        options: How it behaves.
        host: See `server.bind`.
        port: See `server.bind`.
        announce: Called once with the emulator's origin, when it is ready.
        log: Takes one line for each request, or None for silence.

    Raises:
        EmulatorRefused: The host is not this machine, or the port cannot be had.
    """
    serve_all(
        {"emulator": LocalProcore(options)},
        host=host,
        port=port,
        announce=lambda urls: announce(urls["emulator"]),
        log=log,
    )


def serve_all(
    procores: Mapping[str, LocalProcore],
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    announce: Callable[[Mapping[str, str]], None],
    log: Log | None = None,
    state_file: Path | None = None,
) -> None:
    """Serve emulators until SIGINT or SIGTERM. To be called in a process's main thread.

    Args:
        procores: What to serve, by the names of their environments.
        host: See `server.bind`.
        port: Of the first; the others get the ports that follow. With 0 each finds a free one.
        announce: Called once with their origins by name, when all of them are ready.
        log: Takes one line for each request, or None for silence.
        state_file: Where their state outlives this process, or None: then it ends with it.

    Raises:
        EmulatorRefused: The host is not this machine, a port cannot be had, or the state file
            cannot be used.
    """
    kept = None if state_file is None else StateFile(state_file, procores)
    if kept is not None:
        kept.restore()
    servers = {
        name: Server(
            procore, host=host, port=port and port + place, log=_named(log, name, procores)
        )
        for place, (name, procore) in enumerate(procores.items())
    }
    urls = {name: server.url for name, server in servers.items()}

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, stop.set)
        keeping = None if kept is None else asyncio.create_task(kept.keep(log or _ignore))
        ready = _after(len(servers), lambda: announce(urls))
        await asyncio.gather(*(server.run(stop, ready) for server in servers.values()))
        if keeping is not None:
            keeping.cancel()

    _run(main())
    if kept is not None:
        kept.save()


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Serve in one thread of its own while the block runs.

    Raises:
        EmulatorRefused: The thread ended before the servers were ready; its own error says why.
    """
    ready = threading.Semaphore(0)
    stops: list[Callable[[], object]] = []

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        await asyncio.gather(*(server.run(stop, ready.release) for server in servers))

    def work() -> None:
        try:
            _run(main())
        finally:
            ready.release(len(servers))  # in every case, release the waiting thread

    thread = threading.Thread(target=work, name="procore-emulator", daemon=True)
    thread.start()
    for _ in servers:
        ready.acquire()
    if not thread.is_alive():
        raise EmulatorRefused("The emulator ended before it was ready")
    try:
        yield
    finally:
        stops[0]()
        thread.join()


def _run(main: Coroutine[None, None, None]) -> None:
    """Run until the end, on an event loop that can watch a listener, on every platform."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main)


def _named(log: Log | None, name: str, procores: Mapping[str, LocalProcore]) -> Log | None:
    """Return a log whose lines say which of several emulators they are of."""
    if log is None or len(procores) == 1:
        return log
    return lambda line: log(f"{name}: {line}")


def _after(times: int, then: Callable[[], None]) -> Callable[[], None]:
    """Return what calls `then` the last of so many times it is called."""
    left = times

    def called() -> None:
        nonlocal left
        left -= 1
        if not left:
            then()

    return called


def _ignore(_: str) -> None:
    """Say nothing."""
