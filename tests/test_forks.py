"""The place that tells everyone of a fork, and whether everyone is told (rows F3, F4)."""

from __future__ import annotations

import ast
import gc
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from forked import Child, in_child
from interrupting import ends_on_another_thread, interrupted_everywhere
from own_process import run_script

from procore_signin import _forks as forks
from procore_signin._forks import Event, Lock, Made, Owned, Undivided, abandon, look_after

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


class Told:
    """Writes down what it is told."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        look_after(self)

    def before_fork(self) -> None:
        self.log.append(f"{self.name} before")

    def after_fork_in_parent(self) -> None:
        self.log.append(f"{self.name} parent")

    def after_fork(self) -> None:
        self.log.append(f"{self.name} child")


@needs_fork
def test_F3_everybody_is_told_in_the_order_of_their_coming_and_before_in_the_opposite() -> None:
    log: list[str] = []
    known = [Told("a", log), Told("b", log)]
    assert in_child(lambda: log) == ["b before", "a before", "a child", "b child"]
    assert log == ["b before", "a before", "a parent", "b parent"]
    assert len(known) == 2


@needs_fork
def test_F3_what_one_raises_keeps_no_other_from_being_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", shown.append)
    log: list[str] = []
    first, bad, last = Told("a", log), Told("bad", log), Told("z", log)

    def refuse() -> None:
        raise KeyboardInterrupt("bad")

    monkeypatch.setattr(bad, "before_fork", refuse)
    monkeypatch.setattr(bad, "after_fork", refuse)
    monkeypatch.setattr(bad, "after_fork_in_parent", refuse)
    assert in_child(lambda: log) == ["z before", "a before", "a child", "z child"]
    assert log == ["z before", "a before", "a parent", "z parent"]
    assert [str(each.exc_value) for each in shown] == ["bad", "bad"]
    assert first is not last


@needs_fork
@pytest.mark.parametrize("moment", ["before_fork", "after_fork", "after_fork_in_parent"])
def test_F3_a_fork_in_the_middle_of_a_fork_leaves_nobody_at_rest(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    first, forking, last = Told("a", log), Told("f", log), Told("z", log)
    inner: list[Any] = []

    def fork_once() -> None:
        if not inner:
            inner.append(None)
            inner[0] = in_child(lambda: list(log))

    monkeypatch.setattr(forking, moment, fork_once)
    [seen] = in_child(lambda: inner) or inner
    # Of a child that forks when it is told, the child has been told as well.
    assert seen.count("a child") == (2 if moment == "after_fork" else 1)
    for name in "az":
        ours = [each for each in log if each.startswith(name)]
        assert ours in ([f"{name} before", f"{name} parent"] * times for times in (1, 2))
    assert in_child(lambda: True)  # and the next one is as good
    assert first is not last


@needs_fork
def test_F3_who_comes_while_another_thread_forks_is_looked_after_from_then_on() -> None:
    log: list[str] = []
    forking, added = threading.Event(), threading.Event()
    known: list[Told] = []

    class Slow(Told):
        def before_fork(self) -> None:
            if not forking.is_set():
                forking.set()
                assert not added.wait(0.1), "it was added in the middle of a fork"

    slow = Slow("slow", [])

    def add() -> None:
        forking.wait()
        known.append(Told("new", log))
        added.set()

    thread = threading.Thread(target=add)
    thread.start()
    assert in_child(lambda: len(known)) == 0
    thread.join()
    assert in_child(lambda: log) == ["new before", "new child"]
    assert slow.log == ["slow parent"] * 2


@needs_fork
def test_F3_many_threads_may_come_and_go_while_others_fork() -> None:
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            Told("x", [])

    threads = [threading.Thread(target=come_and_go) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            assert in_child(lambda: bool(Told("x", []))) is True
    finally:
        over.set()
        for thread in threads:
            thread.join()


@needs_fork
def test_F3_one_that_dies_meanwhile_is_told_to_its_end() -> None:
    log: list[str] = []
    dying: list[Any] = []

    class Killer(Told):
        def before_fork(self) -> None:
            dying.clear()
            gc.collect()

    dying.append(Told("d", log))
    killer = Killer("k", [])
    dying.append(Told("e", log))  # told before the killer, and held by no one when it goes on
    in_child(lambda: None)
    assert log == ["e before", "d before", "d parent", "e parent"]
    in_child(lambda: None)
    assert len(log) == 4
    assert killer.log == ["k parent"] * 2


@needs_fork
def test_F3_a_server_that_tells_the_child_alone_is_understood() -> None:
    """uWSGI forks by itself, and calls what is to be called in the child."""
    log: list[str] = []
    known = Told("a", log)

    def as_uwsgi() -> list[str]:
        log.clear()
        forks.FORKS.in_child()
        good = in_child(lambda: True)
        return [*log, str(good)]

    assert in_child(as_uwsgi) == ["a child", "a before", "a parent", "True"]
    assert known.log


@needs_fork
def test_F3_a_lock_of_another_thread_is_free_in_the_child() -> None:
    lock = Lock()
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def take() -> bool:
        with lock:
            return True

    assert in_child(take)
    over.set()
    thread.join()
    assert take()


@needs_fork
def test_R13_no_interrupt_leaves_a_lock_held() -> None:
    lock = Lock()

    def take() -> None:
        with lock:
            pass

    places = [
        place
        for place in interrupted_everywhere(take, most=50)
        if not ends_on_another_thread(take, seconds=5)
    ]
    assert places == []


def test_F3_a_lock_of_the_thread_that_forks_stays_its_own_and_can_be_released() -> None:
    lock = Lock()

    def another_thread_gets_it() -> bool:
        got: list[bool] = []
        thread = threading.Thread(target=lambda: got.append(lock._lock.acquire(blocking=False)))
        thread.start()
        thread.join()
        return got[0]

    def released_and_seen() -> tuple[bool, bool]:
        before = another_thread_gets_it()
        lock.__exit__(None, None, None)  # as the `with` does that the child is in the middle of
        return before, another_thread_gets_it()

    with lock:
        child = Child(released_and_seen)
    assert child.outcome() == (False, True)
    assert another_thread_gets_it()


@needs_fork
def test_F3_what_another_thread_makes_at_the_fork_is_made_anew_in_the_child() -> None:
    busy, over = threading.Event(), threading.Event()

    class Holder:
        @Made
        def made(self) -> int:
            if threading.current_thread() is thread:
                busy.set()
                over.wait()
            return os.getpid()

    holder = Holder()
    thread = threading.Thread(target=lambda: holder.made)
    thread.start()
    busy.wait()
    child = Child(lambda: (holder.made == os.getpid(), Holder().made == os.getpid()))
    assert child.outcome() == (True, True)
    over.set()
    thread.join()
    assert holder.made == os.getpid()


@needs_fork
def test_F3_a_fork_waits_for_work_that_it_must_not_divide_and_lets_none_begin() -> None:
    work, inside, log = Undivided(), threading.Event(), list[str]()

    def connect() -> None:
        with work.block():
            inside.set()
            time.sleep(0.1)
            log.append("connected")

    thread = threading.Thread(target=connect)
    thread.start()
    assert inside.wait(10)
    assert in_child(lambda: list(log)) == ["connected"]
    thread.join(10)
    with work.block():  # free again, also in a child, and for the one who forks inside
        assert in_child(lambda: work.block().__enter__()) is True
    work.before_fork()
    begun = [threading.Thread(target=connect) for _ in range(2)]
    for each in begun:
        each.start()
    begun[0].join(0.1)
    assert log == ["connected"]
    work.after_fork_in_parent()
    for each in begun:
        each.join(10)
    assert log == ["connected"] * 3


@needs_fork
def test_F3_a_fork_waits_no_longer_than_a_moment_for_work_that_waits_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Undivided, "LONGEST_WAIT", 0.05)
    work, inside, over = Undivided(), threading.Barrier(4), threading.Event()

    def connect() -> None:
        with work.block():
            inside.wait(10)
            over.wait(20)

    threads = [threading.Thread(target=connect) for _ in range(3)]
    for each in threads:
        each.start()
    inside.wait(10)
    assert in_child(lambda: "forked") == "forked"
    over.set()
    for each in threads:
        each.join(10)
    work.before_fork()  # and again it waits for no one
    work.after_fork_in_parent()


def test_F3_an_interrupt_at_any_point_leaves_no_work_for_a_fork_to_wait_for() -> None:
    work = Undivided()

    def connect() -> None:
        with work.block():
            pass

    for place in interrupted_everywhere(connect, most=100):
        assert ends_on_another_thread(partial(take_all, work)), place


def take_all(work: Undivided) -> None:
    for each in (work._admission, *work._blocks.values()):
        with each:
            pass


@needs_fork
def test_F3_nested_children_find_locks_free() -> None:
    lock = Lock()

    def take(depth: int) -> int:
        with lock:
            pass
        return 1 + in_child(take, depth - 1) if depth else 1

    assert in_child(take, 3) == 4


@needs_fork
@pytest.mark.parametrize("was_set", [False, True])
def test_F3_an_event_that_another_thread_waits_for_can_be_set_in_the_child(
    was_set: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    event = Event()
    if was_set:
        event.set()
    busy, over = threading.Event(), threading.Event()

    def in_the_middle() -> None:
        with event._event._cond:  # type: ignore[attr-defined]  # as `wait` and `set` do, for moments
            busy.set()
            over.wait()

    thread = threading.Thread(target=in_the_middle)
    thread.start()
    busy.wait()

    def use() -> tuple[bool, bool]:
        before = event.is_set()
        event.set()
        return before, event.wait(0)

    assert in_child(use) == (was_set, True)
    over.set()
    thread.join()
    assert event.is_set() is was_set


@needs_fork
def test_F1_what_belongs_to_a_process_is_inherited_by_all_that_come_after() -> None:
    mine = Owned()

    def child() -> tuple[bool, bool, bool]:
        own = Owned()
        return mine.inherited(), own.inherited(), in_child(own.inherited)

    assert in_child(child) == (True, False, True)
    assert not mine.inherited()


def test_F1_what_is_abandoned_is_kept() -> None:
    class Kept:
        pass

    kept = Kept()
    holders = len(gc.get_referrers(kept))
    abandon(kept, None)
    assert len(gc.get_referrers(kept)) == holders + 1
    assert None not in forks._abandoned
    forks._abandoned.remove(kept)


@needs_fork
def test_F3_a_fork_costs_little() -> None:
    """A hundred front doors are told of a fork within a few milliseconds of processor time."""
    done = run_script(
        "import os, time\n"
        "from procore_signin._forks import FORKS, Lock\n"
        "kept = [Lock() for _ in range(1000)]\n"
        "began = time.process_time()\n"
        "FORKS.before(); FORKS.in_parent()\n"
        "print(time.process_time() - began)\n"
    )
    assert float(done.stdout) < 0.1


LOADED_LATE = """
import sys, threading

def load():
    threading.main_thread().join()
    try:
        from procore_signin import ProcoreSignIn
    except RuntimeError as error:
        print(error)

threading.Thread(target=load).start()
"""


def test_loading_it_after_the_main_thread_has_ended_says_what_to_do() -> None:
    assert "`from procore_signin import …` at the top" in run_script(LOADED_LATE).stdout


# What has to be looked after, found in the source (row F4).

SOURCE = Path(__file__).parents[1] / "src" / "procore_signin"
KEPT = re.compile(
    r"""threading\.(Lock|RLock|Condition|Event|Semaphore|BoundedSemaphore|Barrier|Thread|Timer|local)
    |_thread\.(allocate_lock|start_new_thread)
    |asyncio\.(Lock|Condition|Event|Semaphore|BoundedSemaphore|Queue|Runner|Task|Future
              |new_event_loop|AbstractEventLoop|create_task|Barrier)
    |concurrent\.futures\.(Future|Executor|ThreadPoolExecutor|ProcessPoolExecutor)(\.thread)?
    |multiprocessing\.\w+
    |queue\.\w*Queue
    |socket\.(socket|create_connection|create_server|socketpair|fromfd)
    |ssl\.(SSLContext|SSLSocket|create_default_context)
    |select\.(epoll|poll|kqueue|select)|selectors\.\w+Selector
    |weakref\.(WeakKeyDictionary|WeakValueDictionary|WeakSet)
    |subprocess\.Popen
    |sqlite3\.(connect|Connection)
    |sqlalchemy\.(create_engine|Engine)(\.\w+)?
    |httpcore2\.\w*(Pool|Connection|Backend|NetworkStream)
    |httpx2\.(Client|AsyncClient|HTTPTransport|AsyncHTTPTransport)
    |pyreqwest\.client\.\w+
    |contextvars\.ContextVar
    |gevent\.\w+(\.\w+)*
    """,
    re.VERBOSE,
)
"""Names of what a child cannot share with its parent, or use after it."""

ONE_PROCESS = "lives in a process that nothing of ours forks, and ends with it"
ALLOWED = {
    "_emulator": "a test's or a demo's own Procore: " + ONE_PROCESS,
    "_testing": "an application's tests: " + ONE_PROCESS,
    "_cli": "a command: " + ONE_PROCESS,
    "_app/server.py": "the command `serve`, before and beside its workers: " + ONE_PROCESS,
    "_app/connections.py": "begun in each worker of `serve`, which watches its own connections: "
    + ONE_PROCESS,
    "_app/listeners.py": "listens for the workers of `serve`, which share it on purpose",
    "events.py::_on_a_thread": "makes the timer of a Ration, which drops it after a fork",
    "_flow/running/background.py::<module>": "lists what begins anew by itself",
    "_flow/running/background.py::Asked": "of a flow under way, which Runner drops",
    "_flow/running/async_runner.py::_Carried": "a flow under way, which AsyncRunner drops",
    "_flow/running/own_loop.py::Waiter": "of one caller, who sees by itself that it is in a child",
    "_forks.py": "the place itself, which is tested above",
    "_store/engine/shared_outcome.py::Threads": "kept by an AsyncRunner or a Probing, which"
    " drops it",
    "_store/engine/shared_outcome.py::on_a_thread": "of one caller, who stays behind too",
    "_store/sqlite/group_commit.py::GroupCommit": "kept by an AsyncRunner, which drops it",
    "_store/sqlite/group_commit.py::_Batch": "of a GroupCommit: see there",
    "_transport/deadline.py::DeadlineBackend": "keeps nothing itself; a pool has one",
    "_transport/deadline.py::AsyncDeadlineBackend": "keeps nothing itself; a pool has one",
    "_transport/deadline.py::_addresses": "a thread for one look-up, whose caller stays behind too",
    "_transport/httpcore.py::AsyncHttpcoreTransport": "a thread and a future for one request, whose"
    " caller stays behind too; the connections are those of a HttpcoreTransport",
    "_transport/tls.py": "a part of the connections in `deadline.py`, which no child uses",
    "_transport/loading.py::_load": "waits once for a thread that touches nothing, and that a child"
    " does without",
    "_transport/loading.py::_load_and_stay": "that thread",
    "_transport/httpcore.py::_trust": "makes what a pool keeps",
    "_store/migrate.py::upgrade_in_memory": "an engine for one upgrade, on the caller's connection",
    "web/django/database.py::<module>": "a value for the call under way; its caller sets it",
    "_store/engine/migrating.py::_engine": "of one migration or check, on the stack of its caller",
    "_web/look/languages.py::<module>": "a language, which never changes; its caller sets"
    " it for the page being rendered",
    "_store/engine/deadline.py::<module>": "a moment, which a child may keep to as well",
    "_store/postgresql/connection.py::LimitedConnection": "a thread for one connection that was"
    " given up, and which the parent closes",
    "_store/postgresql/callbacks.py::Callbacks": "of a LoopDatabase: see there",
    "_store/postgresql/on_loop.py::LoopDatabase": "kept by an AsyncRunner, which drops it",
    "_store/postgresql/reading.py::Asked": "of a Reader: see there",
    "_store/sqlite/database.py::connect": "makes what a SqliteDatabase keeps",
    "_store/engine/capacity_limiter.py::Place": "kept by a limiter, which a child makes anew",
    "_store/sqlite/group_commit.py::SqliteGroup": "kept by a SqliteDatabase, which drops it",
    "_api/clients.py::ApiClient": "sends over a Wire, which begins anew, and keeps nothing itself",
    "_api/clients.py::AsyncApiClient": "as ApiClient",
    "_api/shared.py::<module>": "what it lists begins anew, each by itself; its lock does so too",
    "_transport/pyreqwest.py::<module>": "names types",
    "_web/janitor.py::sweeping": "a task on the stack of its caller, of an event loop that no child"
    " has",
    "_store/migrate.py::_engine": "of one migration, on the stack of its caller",
}


def aliases(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for, in full."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                found[each.asname or each.name.split(".")[0]] = (
                    each.name if each.asname else each.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                found[each.asname or each.name] = f"{node.module}.{each.name}"
    return found


def dotted(node: ast.expr, known: dict[str, str]) -> str:
    """Return the full name that `node` is, or ""."""
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    if isinstance(node, ast.Attribute) and (base := dotted(node.value, known)):
        return f"{base}.{node.attr}"
    return ""


def kept_by(scope: ast.AST, known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what `scope` makes, or says it keeps, of what a child cannot share.

    Each with the attribute of `self` that it is assigned to, or "".
    """
    attributes: dict[int, str] = {}
    for node in ast.walk(scope):
        names: list[str] = []
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for each in ast.walk(node.value) if node.value else ():
                attributes[id(each)] = _attribute(targets[0])
        if isinstance(node, ast.Call):
            names = [dotted(node.func, known)]
            names += [dotted(option.value, known) for option in node.keywords]  # default_factory=
        elif isinstance(node, ast.AnnAssign):
            names = list(_named_in(node.annotation, known))
            attributes[id(node)] = _attribute(node.target)
            if isinstance(node.target, ast.Name) and node not in getattr(scope, "body", []):
                names = []  # a local variable
        elif isinstance(node, ast.ClassDef):
            names = [dotted(each, known) for each in node.bases]
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                names += _named_in(argument.annotation, known) if argument.annotation else ()
        yield from ((name, attributes.get(id(node), "")) for name in names if KEPT.fullmatch(name))


def _named_in(annotation: ast.expr, known: dict[str, str]) -> Iterator[str]:
    for each in ast.walk(annotation):
        if isinstance(each, ast.Name | ast.Attribute):
            yield dotted(each, known)


def _attribute(target: ast.expr) -> str:
    whole = ast.unparse(target)
    return whole.removeprefix("self.") if whole.startswith("self.") else ""


def begins_anew(scope: ast.ClassDef) -> set[str]:
    """Return the attributes that `after_fork` of a class makes anew, by itself or by a method."""
    methods = {each.name: each for each in scope.body if isinstance(each, ast.FunctionDef)}
    reached, found = ["after_fork"], set[str]()
    for name in reached:
        for node in ast.walk(methods[name]):
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    each = target.elts if isinstance(target, ast.Tuple) else [target]
                    found |= {_attribute(one) for one in each}
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func).removeprefix("self.")
                if called in methods and called not in reached:
                    reached.append(called)
    return found


def is_looked_after(scope: ast.AST, known: dict[str, str], kept: set[str]) -> bool:
    """Return whether `scope` is told of a fork, and then replaces each attribute in `kept`."""
    if not isinstance(scope, ast.ClassDef):
        return False
    if any(dotted(base, known).endswith("forks.Owned") for base in scope.bases):
        return True  # it asks by itself, each time
    if not any(getattr(each, "name", "") == "after_fork" for each in scope.body):
        return False
    calls = {ast.unparse(each) for each in ast.walk(scope) if isinstance(each, ast.Call)}
    if not {"look_after(self)", "forks.look_after(self)"} & calls:
        return False
    return kept - {""} <= begins_anew(scope)


def forgotten(source: str, place: str) -> dict[str, set[str]]:
    """Return what is kept at `place` by something that does not begin anew after a fork."""
    tree = ast.parse(source)
    known = aliases(tree)
    found: dict[str, set[str]] = {}
    for scope in tree.body:
        kept = list(kept_by(scope, known))
        if kept and not is_looked_after(scope, known, {attribute for _, attribute in kept}):
            name = getattr(scope, "name", "<module>")
            found.setdefault(f"{place}::{name}", set()).update(name for name, _ in kept)
    return found


def is_allowed(keeper: str) -> str | None:
    return next(
        (each for each in ALLOWED if f"{keeper}/".startswith((f"{each}/", f"{each}::"))), None
    )


def all_forgotten() -> dict[str, set[str]]:
    return {
        keeper: kept
        for path in sorted(SOURCE.rglob("*.py"))
        for keeper, kept in forgotten(
            path.read_text(encoding="utf-8"), path.relative_to(SOURCE).as_posix()
        ).items()
    }


def test_F4_whatever_a_child_cannot_share_is_looked_after() -> None:
    assert {} == {name: kept for name, kept in all_forgotten().items() if not is_allowed(name)}


def test_F4_no_exception_is_made_for_what_is_not_there() -> None:
    used = {is_allowed(keeper) for keeper in all_forgotten()}
    assert set() == ALLOWED.keys() - used


def in_a_class(imported: str, made: str) -> str:
    return f"{imported}\nclass A:\n def __init__(self): self.x = {made}"


FORGETFUL: dict[str, str] = {
    "a lock of a class": in_a_class("import threading", "threading.Lock()"),
    "by another name": in_a_class("from threading import Lock as L", "L()"),
    "a lock of a module": "import threading\nLOCK = threading.RLock()",
    "a default": "import threading\nclass A:\n x: int = field(default_factory=threading.Event)",
    "a class attribute": "import threading\nclass A:\n lock = threading.Condition()",
    "a field": "from threading import Lock\nclass A:\n lock: Lock",
    "an argument that is kept": "import sqlite3\nclass A:\n"
    " def __init__(self, x: sqlite3.Connection): self.x = x",
    "a thread": "from threading import Thread\ndef start(): Thread(target=print).start()",
    "threads": "from concurrent.futures import ThreadPoolExecutor\nX = ThreadPoolExecutor(1)",
    "a pool": in_a_class("import httpcore2", "httpcore2.ConnectionPool()"),
    "a client": in_a_class("from pyreqwest.client import SyncClientBuilder as B", "B().build()"),
    "a client of httpx2": "import httpx2\nCLIENT = httpx2.Client()",
    "a socket": in_a_class("import socket", "socket.create_connection(('', 1))"),
    "TLS": "import ssl\nCONTEXT = ssl.create_default_context()",
    "an engine": in_a_class("from sqlalchemy import create_engine", "create_engine('')"),
    "an event loop's": in_a_class("import asyncio", "asyncio.Event()"),
    "work under way": "import asyncio\nclass A:\n def f(self):\n"
    "  self.x: dict[str, asyncio.Task[int]] = {}",
    "futures": "from concurrent.futures import Future\nclass A:\n def f(self):\n"
    "  self.x: list[Future[int]] = []",
    "a weak registry": "from weakref import WeakKeyDictionary\nKNOWN = WeakKeyDictionary()",
    "registered without knowing what to do": "import threading\nclass A:\n def __init__(self):\n"
    "  self.x = threading.Lock()\n  look_after(self)",
    "knowing what to do without being registered": "import threading\nclass A:\n"
    " def __init__(self): self.x = threading.Lock()\n def after_fork(self): self.x = None",
    "one of two forgotten": "import threading\nclass A:\n def __init__(self):\n"
    "  self.x = threading.Lock()\n  self.y = threading.Lock()\n  look_after(self)\n"
    " def after_fork(self): self.x = threading.Lock()",
}


@pytest.mark.parametrize("case", FORGETFUL)
def test_F4_what_is_forgotten_is_found_however_it_is_written(case: str) -> None:
    assert len(forgotten(FORGETFUL[case], "api/new.py")) == 1


def test_F4_what_is_looked_after_is_not_found() -> None:
    assert {} == forgotten(
        "import threading\nfrom procore_signin._forks import Lock, look_after\nLOCK = Lock()\n"
        "class A:\n def __init__(self):\n  self.x = threading.Lock()\n  look_after(self)\n"
        " def after_fork(self): self.x = threading.Lock()",
        "api/new.py",
    )


MUTANTS: list[tuple[str, Callable[[str], str]]] = [
    (place, lambda source: re.sub(r"look_after\(self\)", "pass", source))
    for place in (
        "_api/http/wire.py",
        "_flow/running/async_runner.py",
        "_store/sqlite/database.py",
        "_transport/pyreqwest.py",
        "_transport/httpcore.py",
        "_web/janitor.py",
    )
]
MUTANTS += [
    (place, lambda source: "import threading\n" + re.sub(r"\bLock\(\)", "threading.Lock()", source))
    for place in ("_api/shared.py", "_api/rate_limit.py", "_api/http/replay.py", "_flow/outage.py")
]
MUTANTS += [("_client.py", lambda source: source.replace("forks.Event()", "threading.Event()"))]


@pytest.mark.parametrize(("place", "mutate"), MUTANTS, ids=[place for place, _ in MUTANTS])
def test_F4_a_room_that_forgets_to_register_is_found(
    place: str, mutate: Callable[[str], str]
) -> None:
    source = (SOURCE / place).read_text(encoding="utf-8")
    mutant = mutate(source).replace(
        "from procore_signin import _forks as forks", "import threading"
    )
    mutant = mutant.replace("from __future__ import annotations\n", "")
    before, after = forgotten(source, place), forgotten(mutant, place)
    assert len(after) > len({name for name in before if is_allowed(name)})
