"""Which thread loads pyreqwest, and what becomes of the others when it ends (row T11)."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from own_process import run_script

# Each first use of the library by a new thread, on a stack that the system has used before.
PROGRAM = """
import sys, threading
from procore_signin._protocol.http_message import HttpRequest

def on_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

def load():
    import procore_signin._transport.pyreqwest

def ask():
    from procore_signin._transport.pyreqwest import PyreqwestTransport
    assert PyreqwestTransport().send(HttpRequest("GET", sys.argv[1], (), b"")).body == b"here"

on_a_thread(load)
"""


def hello(connection: Any) -> None:
    while connection.read_request():
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere")


def test_T11_threads_may_send_after_the_one_that_loaded_the_library_has_ended(serve: Any) -> None:
    server = serve(hello)
    ended = run_script(PROGRAM + "for _ in range(5): on_a_thread(ask)", server.url)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_T11_so_may_threads_of_a_child_which_has_not_got_the_thread_that_stays(serve: Any) -> None:
    server = serve(hello)
    fork = """
import os
child = os.fork()
if not child:
    for _ in range(5):
        on_a_thread(ask)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    ended = run_script(PROGRAM + fork, server.url)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_T11_a_program_that_loads_the_library_on_its_main_thread_gets_no_thread_for_it() -> None:
    count = "import threading, procore_signin._transport.pyreqwest; print(threading.active_count())"
    assert run_script(count).stdout == "1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the library may do without mimalloc")
def test_T11_the_library_still_has_the_fault() -> None:
    """Fails when the library no longer has the fault: `loading.py` can go then (decision 32)."""
    without = """
import resource, threading
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

def load():
    import pyreqwest.client

def build():
    from pyreqwest.client import SyncClientBuilder
    SyncClientBuilder().build()

for work in (load, *[build] * 20):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""
    assert run_script(without).returncode != 0
