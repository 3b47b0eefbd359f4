"""Starts workers quickly: everything is imported once, and each worker is a fork of this process.

Run as a program with the path of the socket to listen on. A client that
connects talks to a worker of its own. It ends when its standard input does.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import sys
from typing import Final

from tests.reliability.settings import KEYS
from tests.reliability.worker import work

from procore_signin._store import KeyRing, Store

LIKE_THESE: Final = ("sqlite:///none.db", "postgresql://127.0.0.1/none", "mariadb://127.0.0.1/none")


def main(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        _import_everything()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            _forget_the_dead()
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _leave_the_pipes_alone()
                work(connection)
                os._exit(0)
            connection.close()


def _import_everything() -> None:
    """Make what every worker will need; opening a store connects to nothing."""
    for url in LIKE_THESE:
        Store(url, KeyRing.parse(KEYS)).close()
    gc.freeze()


def _leave_the_pipes_alone() -> None:
    """Let go of the parent's pipes: who reads them waits for the last holder."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)


def _forget_the_dead() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:  # there are none
        return


if __name__ == "__main__":
    main(sys.argv[1])
