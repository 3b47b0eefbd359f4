"""The server of the application: Granian, which handles HTTP in Rust."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server
from starlette.types import ASGIApp

from procore_signin._app import connections
from procore_signin._app.listeners import ServerAt
from procore_signin._app.metrics_folder import shared_folder

STOP_SECONDS: Final = 25
"""Seconds for running requests to finish once the server is asked to stop.

A callback may wait for two responses of Procore, each bounded by the transport's 10 seconds; a code
that was sent must not be lost (row C13)."""


def serve(
    *,
    host: str,
    port: int,
    workers: int = 1,
    stop_seconds: int = STOP_SECONDS,
    sockets: Sequence[socket.socket] = (),
) -> int:
    """Serve the application with the settings of the environment, until a signal.

    SIGTERM and SIGINT end it: new connections are refused at once, running requests finish. No
    access log is written, because its lines would hold codes and states (row O1).

    Args:
        host: The address to listen at, such as `127.0.0.1`.
        port: The port to listen at, above 0. The caller has checked that it is free: without
            `sockets`, workers share their port, so the system would not refuse a second server.
        workers: The number of processes. Use 1 with SQLite; otherwise up to one for each core.
        stop_seconds: After this many seconds of stopping, workers are killed.
        sockets: Sockets that already listen, from `listeners.listen`; if empty, the workers listen.

    Returns:
        The number of the signal that ended the server.

    Raises:
        SystemExit: A worker ended unexpectedly; its error is on standard error.
    """
    most = connections.most_connections()
    make = partial(ServerAt, sockets=sockets) if sockets else Server
    server = make(
        "procore_signin.app",  # for Granian's log only: `_load` finds the application
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        # In its other mode it waits forever for the first byte. No browser needs HTTP/2 here.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=connections.HEAD_SECONDS * 1000,
            max_buffer_size=connections.LONGEST_HEAD,
        ),
        backlog=connections.MOST,
        backpressure=most,
        websockets=False,
        log_access=False,
        log_level=LogLevels.error,
        log_dictconfig=_LOG,
        workers_kill_timeout=stop_seconds,
    )
    ended_by = signal.SIGTERM

    @server.on_startup
    def remember_the_signal() -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal ended_by
            ended_by = signal.Signals(number)
            server.signal_handler_interrupt(number, frame)  # type: ignore[no-untyped-call]  # so in Granian

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        if hasattr(signal, "SIGHUP") and sys.stdin is not None and sys.stdin.isatty():
            # Granian renews its workers on SIGHUP. A closed terminal means: stop.
            signal.signal(signal.SIGHUP, stop)

    with shared_folder(workers):
        _import_before_the_fork()
        load: Callable[[], ASGIApp] = partial(_load, stop_seconds, port, most)
        if isinstance(server, ServerAt):
            load = server.loading(load)
        server.serve(target_loader=load, wrap_loader=False)
    return ended_by


def _import_before_the_fork() -> None:
    """Import the application once, before the workers are forked (decision 22).

    The garbage collector would write to every object it visits, and so copy it in each worker.
    """
    if multiprocessing.get_start_method() == "fork":
        import_module("procore_signin._app.application")
        gc.collect()
        gc.freeze()


def _load(stop_seconds: int, port: int, most: int) -> ASGIApp:
    """Make the application, inside the worker that will run it."""
    from procore_signin._app.application import from_environment  # noqa: PLC0415  # each worker makes its own

    # Until Granian installs its own handler. The handler inherited from the server would swallow
    # the signal, and the worker would go on.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _leave_the_terminal()
    _stop_with_the_server(stop_seconds)
    app = from_environment()
    connections.bound_unread_answers()
    crowd = connections.Crowd(port, app.busy, app.trusted, most=most)
    connections.watch(crowd)
    # When the loop runs: Granian has installed its handlers by then.
    asyncio.get_event_loop().call_soon(_tell_of_the_stop, crowd)
    gc.freeze()  # these objects stay: the collector need not visit them again
    return app


def _tell_of_the_stop(crowd: connections.Crowd) -> None:
    """Notify `crowd` when this worker is asked to stop, then call the earlier handler."""
    granian = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        crowd.leave()
        if callable(granian):
            granian(number, frame)

    signal.signal(signal.SIGTERM, stop)


def _leave_the_terminal() -> None:
    """Make Ctrl-C reach only the server, which then stops its workers in order."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def _stop_with_the_server(stop_seconds: int) -> None:
    """Stop with the server, even if it is killed: otherwise the port would stay taken."""
    server = multiprocessing.parent_process()
    if server is None:
        return
    loop = asyncio.get_event_loop()  # Granian's loop, which runs later

    def watch() -> None:
        server.join()
        # Sent while the loop runs: between its two runs, at startup and for requests, uvloop loses
        # signals. Sent once: a third signal would block in Granian's handler.
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker is already ending
            loop.call_soon_threadsafe(os.kill, os.getpid(), signal.SIGTERM)
        time.sleep(stop_seconds)
        os._exit(1)

    threading.Thread(target=watch, name="server watch", daemon=True).start()


_LOG: Final = {
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "generic",
            "stream": "ext://sys.stderr",
        },
        "access": {"class": "logging.NullHandler"},
    },
}
