"""What a forked child does with its parent's way to Procore: not use it, and find its own."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import httpcore2
import pytest
from forked import Child, in_child
from own_process import run_script

from procore_signin._protocol.http_message import HttpRequest
from procore_signin._transport import deadline, pyreqwest
from procore_signin._transport.deadline import DeadlineBackend, waits
from procore_signin._transport.httpcore import HttpcoreTransport
from procore_signin._transport.pyreqwest import AsyncPyreqwestTransport, PyreqwestTransport
from procore_signin.errors import ProcoreUnavailable

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
RUNTIME = ["sync", "async"]
ALL = [*RUNTIME, "sync, after a fork", "async, after a fork"]


def echo(connection: Any) -> None:
    """Answer each request with its body."""
    while request := connection.read_request():
        body = request.partition(b"\r\n\r\n")[2]
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


def post(url: str, body: str) -> HttpRequest:
    return HttpRequest("POST", url, (), body.encode())


def bodies(sender: Any, url: str, whose: str, times: int = 20) -> list[str]:
    """Send `times` requests; return the responses that are not one's own."""
    answers = [sender.send(post(url, f"{whose} {n}")).body.decode() for n in range(times)]
    return [each for n, each in enumerate(answers) if each != f"{whose} {n}"]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "TLS"])
def test_F1_F2_parent_and_children_each_get_their_own_answers(
    secure: bool,  # noqa: FBT001  # a parameter of the test
    new_transport: Any,
    serve: Any,
    authority: Any,
    loopback_tls: ssl.SSLContext,
) -> None:
    server = serve(echo, loopback_tls if secure else None)
    transport = new_transport(root_certificates=authority.cert_pem.bytes())
    assert bodies(transport, server.url, "parent before") == []
    children = [Child(_with_a_loop_of_its_own, transport, server.url, f"{n}") for n in range(3)]
    assert bodies(transport, server.url, "parent") == []
    assert [child.outcome() for child in children] == [[]] * 3
    assert bodies(transport, server.url, "parent after") == []


def _with_a_loop_of_its_own(sender: Any, url: str, whose: str) -> list[str]:
    if hasattr(sender, "_runner"):
        sender._runner = asyncio.Runner()  # an event loop is not for a child
    return bodies(sender, url, whose)


def test_F2_a_child_of_a_child_sends_as_well(serve: Any) -> None:
    server = serve(echo)
    transport = PyreqwestTransport()
    assert bodies(transport, server.url, "parent") == []

    def child() -> Any:
        wrong = bodies(transport, server.url, "child")
        return wrong + in_child(bodies, transport, server.url, "grandchild")

    assert in_child(child) == []
    transport.close()


def test_F2_a_child_of_a_child_that_began_the_runtime_sends_as_well(serve: Any) -> None:
    """The parent has never sent; its child has, and forks."""
    server = serve(echo)
    done = run_script(
        "import os, sys\n"
        "from procore_signin._protocol.http_message import HttpRequest\n"
        "from procore_signin._transport.pyreqwest import PyreqwestTransport\n"
        "transport = PyreqwestTransport()\n"
        "def send(): return transport.send(HttpRequest('POST', sys.argv[1], (), b'x')).status\n"
        "if os.fork():\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "assert send() == 200 and type(transport._client).__name__ == 'SyncClient'\n"
        "if os.fork():\n"
        "    assert send() == 200\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "assert send() == 200 and type(transport._client).__name__ == 'HttpcoreTransport'\n",
        server.url,
        options=("-W", "ignore"),
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_F2_a_child_of_a_process_that_never_sent_has_the_usual_transport(serve: Any) -> None:
    """Workers that fork before the first use, as those of `serve`, cost what they always cost."""
    done = run_script(
        "import os, sys\n"
        "from procore_signin._protocol.http_message import HttpRequest\n"
        "from procore_signin._transport.pyreqwest import PyreqwestTransport\n"
        "transport = PyreqwestTransport()\n"
        "if os.fork():\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "transport.send(HttpRequest('POST', sys.argv[1], (), b'x'))\n"
        "assert type(transport._client).__name__ == 'SyncClient'\n"
        "assert 'httpcore2' not in sys.modules\n",
        serve(echo).url,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_F2_a_runtime_that_another_part_of_the_program_began_harms_no_child(serve: Any) -> None:
    done = run_script(
        "import os, sys\n"
        "from pyreqwest.client import SyncClientBuilder\n"
        "from procore_signin._protocol.http_message import HttpRequest\n"
        "from procore_signin._transport.pyreqwest import PyreqwestTransport\n"
        "theirs = SyncClientBuilder().build()\n"
        "transport = PyreqwestTransport()\n"
        "if os.fork():\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "assert transport.send(HttpRequest('POST', sys.argv[1], (), b'x')).status == 200\n",
        serve(echo).url,
        options=("-W", "ignore"),
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", ALL)
def test_F1_F3_a_fork_while_requests_are_under_way_harms_neither_side(
    new_transport: Any, serve: Any
) -> None:
    silence = serve(lambda connection: (connection.read_request(), connection.stay_silent()))
    server = serve(echo)
    transport = new_transport()
    bodies(transport, server.url, "parent", 1)
    answers: list[Any] = []

    def wait_for_silence() -> None:
        other = PyreqwestTransport(deadline=5)
        try:
            other.send(post(silence.url, "x"))
        except ProcoreUnavailable as error:
            answers.append(error.ambiguous)

    threads = [threading.Thread(target=wait_for_silence) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert silence.request_seen.acquire(timeout=10)
    assert in_child(_with_a_loop_of_its_own, transport, server.url, "child") == []
    assert bodies(transport, server.url, "parent") == []
    silence.stop()
    for thread in threads:
        thread.join()
    assert answers == [True, True]


@pytest.mark.parametrize("kind", ALL)
def test_F3_a_transport_whose_lock_another_thread_holds_works_in_a_child(
    kind: str, new_transport: Any, serve: Any
) -> None:
    server = serve(echo)
    transport = new_transport()
    bodies(transport, server.url, "parent", 1)
    inner = transport._transport if kind.startswith("async") else transport
    lock = getattr(inner, "_inside", inner)._lock
    assert while_held(lock, lambda: in_child(_with_a_loop_of_its_own, transport, server.url, "c"))


def while_held(lock: Any, work: Callable[[], Any]) -> bool:
    """Do `work` while another thread holds `lock`; return whether it found nothing wrong."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        return bool(work() == [])
    finally:
        over.set()
        thread.join()


def test_F2_a_fork_in_a_thread_of_the_parent_is_as_good(serve: Any) -> None:
    server = serve(echo)
    transport = PyreqwestTransport()
    assert bodies(transport, server.url, "parent") == []
    outcomes: list[Any] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(in_child(bodies, transport, server.url, "child"))
    )
    thread.start()
    thread.join()
    assert outcomes == [[]]
    transport.close()


def test_F2_a_fork_in_the_middle_of_a_first_request_leaves_the_runtime_behind(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(echo)
    runtime = pyreqwest._Runtime()
    monkeypatch.setattr(pyreqwest, "_RUNTIME", runtime)
    wrong: list[Any] = []

    def forking() -> None:
        """Begin the runtime, as a build does that a fork interrupts."""
        transport = PyreqwestTransport()
        wrong.extend(in_child(bodies, transport, server.url, "child"))

    runtime.use(forking)
    assert wrong == []


def test_F2_a_child_may_end_as_programs_do_and_its_parent_goes_on(serve: Any) -> None:
    """`sys.exit` in a child takes everything down that it inherited; nothing of it may hang."""
    done = run_script(
        "import asyncio, os, sys\n"
        "from procore_signin._protocol.http_message import HttpRequest\n"
        "from procore_signin._transport.pyreqwest import *\n"
        "request = HttpRequest('POST', sys.argv[1], (), b'x')\n"
        "transport, concurrent = PyreqwestTransport(), AsyncPyreqwestTransport()\n"
        "assert transport.send(request).status == 200\n"
        "assert asyncio.run(concurrent.send(request)).status == 200\n"
        "child = os.fork()\n"
        "assert transport.send(request).status == 200\n"
        "assert asyncio.run(concurrent.send(request)).status == 200\n"
        "if child:\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n",
        serve(echo).url,
        options=("-W", "ignore"),
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("how", ["posix_spawn", "subprocess"])
def test_F2_another_program_starts_with_a_runtime_of_its_own(how: str, serve: Any) -> None:
    server = serve(echo)
    transport = PyreqwestTransport()
    assert bodies(transport, server.url, "parent") == []
    program = (
        "import sys\n"
        "from procore_signin._protocol.http_message import HttpRequest\n"
        "from procore_signin._transport.pyreqwest import PyreqwestTransport\n"
        "transport = PyreqwestTransport()\n"
        "assert transport.send(HttpRequest('POST', sys.argv[1], (), b'x')).status == 200\n"
        "assert type(transport._client).__name__ == 'SyncClient'\n"
    )
    command = [sys.executable, "-c", program, server.url]
    if how == "posix_spawn":
        child = os.posix_spawn(command[0], command, dict(os.environ))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    else:
        status = subprocess.run(command, check=False).returncode
    assert status == 0
    assert bodies(transport, server.url, "parent") == []
    transport.close()


def test_F1_an_inherited_connection_refuses_to_be_used_and_closes_nothing(serve: Any) -> None:
    server = serve(echo)
    stream = DeadlineBackend().connect_tcp("127.0.0.1", server.port)

    def child() -> list[str]:
        refused = []
        for use in (
            lambda: stream.read(1, 1.0),
            lambda: stream.write(b"x", 1.0),
            lambda: stream.start_tls(ssl.create_default_context(), "localhost", 1.0),
        ):
            try:
                use()
            except httpcore2.NetworkError as error:
                refused.append(str(error))
        stream.close()
        return refused

    assert in_child(child) == [deadline._INHERITED] * 3
    stream.write(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi")
    assert stream.read(100).endswith(b"hi")
    stream.close()


def test_T3_a_name_that_takes_too_long_to_resolve_ends_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30))
    transport = HttpcoreTransport(deadline=0.2)
    with pytest.raises(ProcoreUnavailable, match="was not sent: the time is up") as failure:
        transport.send(post("http://login.example/", "x"))
    over.set()
    assert failure.value.ambiguous is False


def test_T3_the_second_address_of_a_name_is_tried_within_the_same_deadline(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(echo)
    both = [(0, 0, 0, "", (address, server.port)) for address in ("127.0.0.2", "127.0.0.1")]
    look_up = socket.getaddrinfo

    def answers(host: str, *more: Any, **options: Any) -> Any:
        return both if host == "two.example" else look_up(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    transport = HttpcoreTransport()
    assert transport.send(post(server.url.replace("127.0.0.1", "two.example"), "x")).body == b"x"
    transport.close()


def test_T3_an_exchange_over_its_deadline_sends_nothing_more() -> None:
    times = iter([0.0, *[100.0] * 100])
    over = waits({}, 10.0, lambda: next(times))
    with pytest.raises(httpcore2.ConnectTimeout):
        DeadlineBackend().connect_tcp("127.0.0.1", 1, over["connect"])


def test_both_classes_start_anew_with_the_same_rules() -> None:
    for transport in (PyreqwestTransport(deadline=2, max_body=7, user_agent="a"),):
        inside = transport._without_runtime()
        assert (inside._deadline, inside._max_body, inside._user_agent) == (2, 7, "a")
    concurrent = AsyncPyreqwestTransport(deadline=3)._without_runtime()
    assert concurrent._inside._deadline == 3
