"""A world: two processes, a database, a Procore, and who goes on at each step.

A schedule is a list of choices. At each step the world lists what may happen: each thread may go
on, and for as long as there is trouble left, something may go wrong. The same choices make the same
story.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from greenlet import getcurrent
from tests.simulation.invariants import Broken, Watch
from tests.simulation.keeping import Keeping, seal_of
from tests.simulation.procore import JSON, RETRY_AFTER, Procore, Rotation
from tests.simulation.threads import Process, Thread
from tests.simulation.words import in_words, of_request

from procore_signin._flow.lease import LEASE_SECONDS, REQUEST_SECONDS
from procore_signin._protocol.http_message import HttpResponse
from procore_signin._store.escrows import HOLD_SECONDS
from procore_signin._store.refresh import TakeLease
from procore_signin.errors import ProcoreUnavailable, StoreUnavailable

NOW = 1_800_000_000.0
HOURS = 3 * 3600.0
AWAY_SECONDS = 3.0
LONG_AWAY_SECONDS = 40.0
LONGEST_QUIET = 900
"""Steps after which a world that is left alone must have come to rest."""

DOUBTFUL = frozenset(
    {
        "lease of a dead process",
        "a response was lost",
        "a response was lost in a chain",
        "lost",
    }
)
"""Starts in which something may be lost already."""

Trouble = str
ROTATIONS: tuple[Rotation, ...] = ("immediate", "grace")
TROUBLES: tuple[Trouble, ...] = (
    "kill",
    "lose request",
    "lose answer",
    "5xx",
    "429",
    "lose commit",
    "away",
    "long away",
    "interrupt",
    "stop",
    "long stop",
    "forward",
    "back",
    "fork",
    "end",
    "disconnect there",
)
KEYS = (("k1", "k2"), ("k2", "k1"))
"""The second process has promoted the newer key already."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a world begins with.

    Attributes:
        start: The name of what is in the database.
        rotation: When a used refresh token dies.
        early: Whether Procore's server is of the older line.
        actors: Who does what: the number of a process, the kind, the number of a person.
        trouble: How much may go wrong.
        kinds: What may.
        steps: After how many steps the world is left alone.
    """

    start: str
    rotation: Rotation
    early: bool
    actors: tuple[tuple[int, str, int], ...]
    trouble: int
    kinds: frozenset[Trouble] = frozenset(TROUBLES)
    steps: int = 60

    def __str__(self) -> str:
        who = ", ".join(
            f"{'AB'[place]}: {kind} of p{person}" for place, kind, person in self.actors
        )
        line = "older line" if self.early else "newer line"
        return f"{self.start}; {who}; rotation {self.rotation}, {line}, trouble {self.trouble}"


class Choice(Protocol):
    """Chooses what happens next."""

    def choose(self, world: World, goes: list[Thread], ills: Callable[[], list[Ill]]) -> int:
        """Return the place in `goes`, or behind them in `ills`."""


@dataclass(frozen=True, slots=True)
class Ill:
    """Something that may go wrong now."""

    kind: Trouble
    thread: Thread | None = None
    process: Process | None = None


class World:
    """What there is.

    Args:
        scenario: What it begins with.
        keeping: The database. A schedule of it has begun.
        procore: Everything that was ever issued.
        choice: Chooses.
        watch: Looks at each step.
        telling: Whether to keep the story.
    """

    def __init__(
        self,
        scenario: Scenario,
        keeping: Keeping,
        procore: Procore,
        choice: Choice,
        *,
        telling: bool = False,
        now: float = NOW,
        people: dict[int, int] | None = None,
        watching: bool = True,
    ) -> None:
        self.main = getcurrent()
        self.scenario = scenario
        self.keeping = keeping
        self.procore = procore
        self.choice = choice
        self.story: list[str] | None = [] if telling else None
        self.now = now
        self.offset = 0.0
        self.over = False
        self.resting = False
        self.doubtful = scenario.start in DOUBTFUL or any(
            kind == "lose key" for _, kind, _ in scenario.actors
        )
        self.threads: list[Thread] = []
        self.waiting: list[Thread] = []
        self.finished: list[Thread] = []
        self.latest: Thread | None = None
        self.stopped: Process | None = None
        self.interrupted: set[Thread] = set()
        self.steps = 0
        self.trouble = scenario.trouble
        self.away_until = 0.0
        self.had: set[Trouble] = set()
        self.people: dict[int, int] = {} if people is None else people
        self.processes = [
            Process(self, name, seal_of(*KEYS[place])) for place, name in enumerate("AB")
        ]
        self.watch = Watch(self, watching=watching)

    def clock(self) -> float:
        """Return the time by the clock that all processes share."""
        return self.now + self.offset

    def tell(self, what: str) -> None:
        if self.story is not None:
            self.story.append(f"{self.now - NOW:9.2f}  {what}")

    # what may happen

    def run(self, steps: int) -> None:
        """Take up to so many steps as they are chosen."""
        for _ in range(steps):
            goes = self._goes()
            if not goes:
                return
            ills = partial(self._ills, goes)
            place = self.choice.choose(self, goes, ills)
            if place < len(goes):
                self.go(goes[place])
            else:
                self._suffer(ills()[place - len(goes)])

    def rest(self) -> None:
        """Leave the world alone until nothing is under way."""
        for _ in range(LONGEST_QUIET):
            goes = self._goes()
            if not goes:
                stuck = self._stuck()
                if not stuck:
                    return
                self.now = max(self.now, min(each.until for each in stuck))
                waiting = min(stuck, key=lambda each: each.until)
                self._resume(waiting, value=False)
                continue
            awake = next((each for each in goes if each.kind != "sleep"), None)
            if awake is None:
                awake = min(goes, key=lambda each: each.until)
                if self.now + 2 > awake.until:
                    self.now += 2.0  # a thread may sleep longer than it wanted to
            self.go(awake)
        waiting_for = sorted({f"{each.name} wants to {each.kind}" for each in self._goes()})
        raise Broken("a wait does not end", ", ".join(waiting_for) or "a lock")

    def _goes(self) -> list[Thread]:
        goes = [
            each
            for each in self.threads
            if each.kind and each.kind != "wait" and not each.process.dead
        ]
        if self.stopped is not None:
            others = [each for each in goes if each.process is not self.stopped]
            if any(each.kind != "sleep" for each in others):
                return others
            self.stopped = None  # others have done what they can
        latest = self.latest
        if latest is not None and len(goes) > 1 and latest in goes and goes[0] is not latest:
            goes.remove(latest)
            goes.insert(0, latest)
        return goes

    def _stuck(self) -> list[Thread]:
        return [
            each
            for each in self.threads
            if each.kind == "wait" and not each.process.dead and each.wants[1] >= 0
        ]

    def _ills(self, goes: list[Thread]) -> list[Ill]:
        kinds = self.scenario.kinds
        ills: list[Ill] = []
        if self.trouble <= 0:
            return ills
        for each in goes:
            if each.kind == "do" and "lose commit" in kinds:
                ills.append(Ill("lose commit", each))
            elif each.kind == "send":
                ills.extend(
                    Ill(kind, each)
                    for kind in ("lose request", "5xx", "429")
                    if kind in kinds and (kind != "5xx" or each.wants.url.endswith("/token"))
                )
            elif each.kind == "answer" and "lose answer" in kinds:
                ills.append(Ill("lose answer", each))
        if "interrupt" in kinds:
            ills.extend(
                Ill("interrupt", each)
                for each in self.threads
                if each.caller is not None
                and each.kind not in {"", "start"}
                and not each.process.dead
            )
        living = [each for each in self.processes if not each.dead]
        for kind in ("kill", "stop", "long stop", "fork", "end"):
            if kind in kinds:
                ills.extend(
                    Ill(kind, process=each)
                    for each in living
                    if kind in {"kill", "stop", "long stop"} or each.ending_since is None
                )
        ills.extend(
            Ill(kind)
            for kind in ("away", "long away", "forward", "back", "disconnect there")
            if kind in kinds and not (kind.endswith("away") and self.away_until > self.now)
        )
        return ills

    # what happens

    def go(self, thread: Thread) -> None:
        """Let a thread go on, and give it what it wants."""
        self.latest = thread
        self.steps += 1
        kind = thread.kind
        if kind == "start":
            self.tell(f"{thread.name} begins")
            self._resume(thread)
        elif kind in {"do", "ask"}:
            self._store(thread, lost=False)
        elif kind == "send":
            self._send(thread)
        elif kind == "answer":
            self._answer(thread)
        else:
            self.now = max(self.now, thread.until)
            self._resume(thread, 0.0)

    def _resume(
        self, thread: Thread, value: object = None, error: BaseException | None = None
    ) -> None:
        running: list[tuple[Thread, object, BaseException | None]] = [(thread, value, error)]
        while running:
            each, value, error = running.pop()
            if each.kind == "wait":
                self.waiting.remove(each)
            each.history = hash((each.history, self.watch.version, type(error), self.now))
            each.go_on(value, error)
            if each.kind == "sleep":
                each.until = self.now + each.wants
            elif each.kind == "wait":
                each.until = self.now + max(each.wants[1], 0.0)
                self.waiting.append(each)
            elif not each.kind:
                self.threads.remove(each)
                self.finished.append(each)
                self.watch.ended(each)
            # Who waits for what has come goes on at once: others notice nothing of that.
            for one in self.waiting:
                if one.ready and not one.process.dead:
                    running.append((one, True, None))
                    break

    def _store(self, thread: Thread, *, lost: bool) -> None:
        wanted, kind = thread.wants, thread.kind
        if self.away_until > self.now:
            if self.story is not None:
                self.tell(f"{thread.name} finds the database away: {in_words(wanted)}")
            self._resume(thread, error=_unavailable(None))
            return
        seal = thread.process.seal
        value: Any = None
        error: BaseException | None = None
        said = ""
        try:
            if kind == "ask":
                value = self.keeping.ask(wanted, seal)
            else:
                value = self.keeping.do(wanted, seal)
        except Exception as raised:  # noqa: BLE001 - whatever it is, the flow decides what it means
            error = raised
            said = f": {type(error).__name__}"
        if self.story is not None:
            self.tell(f"{thread.name} {in_words(wanted)}{said}{_found(wanted, value)}")
        if kind == "do":
            if lost and error is None:
                self.tell(f"{thread.name} gets no answer to that COMMIT")
                error = _unavailable("uncertain")
            if isinstance(wanted, TakeLease) and value is not None:
                thread.lease_at = self.now
            self.watch.wrote(wanted, value if error is None else None)
        self._resume(thread, value, error)

    def _send(self, thread: Thread) -> None:
        request = thread.wants
        answer = self.procore.answer(request, self.now)
        if self.story is not None:
            self.tell(f"Procore gets {of_request(request)} of {thread.name}: {_said(answer)}")
        if answer.shown is not None:
            self.watch.presented(thread, answer.shown)
        thread.kind, thread.answer = "answer", answer
        self.watch.procore_did()

    def _answer(self, thread: Thread) -> None:
        answer = thread.answer
        self.tell(f"{thread.name} gets the answer")
        if answer.pair is not None:
            thread.carries.add(answer.pair.name)
        if answer.shown is not None:
            self.watch.told(thread, answer.shown, refused=answer.pair is None)
        self._resume(thread, answer.response)

    def _suffer(self, ill: Ill) -> None:
        self.trouble -= 1
        self.had.add(ill.kind)
        self.steps += 1
        if ill.thread is not None:
            self._suffer_at(ill.kind, ill.thread)
        elif ill.process is not None:
            _AT_PROCESS[ill.kind](self, ill.process)
        elif ill.kind in {"away", "long away"}:
            seconds = AWAY_SECONDS if ill.kind == "away" else LONG_AWAY_SECONDS
            self.away_until = self.now + seconds
            self.tell(f"the database goes away for {seconds:.0f} s")
        elif ill.kind == "disconnect there":
            self.tell("p1 ends the access at Procore, under Connected Apps")
            self.procore.end_all(1)
            self.watch.lost_for_good.add(1)
        else:
            jump = HOURS if ill.kind == "forward" else -HOURS
            self.offset += jump
            self.tell(f"the clock jumps {jump / 3600:+.0f} h")

    def _suffer_at(self, kind: Trouble, thread: Thread) -> None:
        self.latest = thread
        if kind == "lose commit":
            self._store(thread, lost=True)
        elif kind == "lose request":
            self.now += REQUEST_SECONDS
            self.tell(f"{of_request(thread.wants)} of {thread.name} does not arrive")
            self._resume(thread, error=_no_answer())
        elif kind == "5xx":
            body = b'{"error": "invalid_grant"}'
            self.tell(f"{thread.name} gets 503 with invalid_grant in it")
            self._resume(thread, HttpResponse(503, JSON, body))
        elif kind == "429":
            self.tell(f"{thread.name} gets 429: try again after {RETRY_AFTER} s")
            self.watch.put_off(thread.wants)
            headers = {**JSON, "retry-after": str(RETRY_AFTER)}
            self._resume(thread, HttpResponse(429, headers, b"{}"))
        elif kind == "lose answer":
            answer = thread.answer
            self.now += REQUEST_SECONDS
            self.tell(f"the answer to {thread.name} is lost")
            if answer.pair is not None:
                self.watch.excuse(answer.pair)
            if answer.shown is not None:
                self.watch.not_told(thread, answer.shown)
            self._resume(thread, error=_no_answer())
        else:
            self.tell(f"{thread.name} is interrupted")
            self.interrupted.add(thread)
            self._resume(thread, error=KeyboardInterrupt())

    def kill(self, process: Process) -> None:
        """End a process where it stands."""
        self.tell(f"{process.name} is killed")
        for each in process.threads:
            if each.kind:
                for name in each.carries:
                    self.watch.excuse(self.procore.pairs[name])
                if each.answer is not None and each.answer.pair is not None:
                    self.watch.excuse(each.answer.pair)
        process.dead = True
        self.watch.memory_changed()

    def fork(self, process: Process) -> Process:
        """Fork a process. The child wants what its parent may be doing."""
        child = process.fork()
        self.processes.append(child)
        self.tell(f"{process.name} forks: {child.name}")
        self.begin(child, "refresh", 1)
        return child

    def _stop(self, process: Process, seconds: int = LEASE_SECONDS + 1) -> None:
        self.now += seconds
        self.stopped = process
        self.tell(f"{process.name} stands still for {seconds} s and longer")

    def _stop_long(self, process: Process) -> None:
        self._stop(process, HOLD_SECONDS + 1)

    def _end(self, process: Process) -> None:
        self.tell(f"{process.name} is told to end")
        process.ending_since = self.now

    # who does what

    def lose_refresh(self) -> bool:
        """Lose a request with a refresh token, and tell whether there was one."""
        for each in self.threads:
            if each.kind == "send" and each.wants.url.endswith("/token"):
                self._suffer_at("lose request", each)
                return True
        return False

    def living(self) -> Process:
        """Return a process that lives: a new one where none does."""
        for each in self.processes:
            if not each.dead:
                return each
        self.processes.append(Process(self, f"N{len(self.processes)}", seal_of(*KEYS[1])))
        self.tell(f"{self.processes[-1].name} is started")
        return self.processes[-1]

    def begin(self, process: Process, kind: str, person: int, number: int = 0) -> Thread:
        """Have a caller begin."""
        from tests.simulation.actors import ACTORS  # noqa: PLC0415 - actors know the world

        name = f"{process.name}.{kind.replace(' ', '-')}-{number or len(process.threads)}"
        actor = ACTORS[kind](self, process, person, name)
        thread = process.spawn(actor, caller=kind, name=name)
        self.watch.began(thread)
        return thread

    def end(self) -> None:
        """Unwind everything."""
        self.over = True
        for each in self.threads:
            each.end()

    def state(self) -> int:
        """Return what tells this world from others in which other things may happen."""
        threads = frozenset(
            (each.name, each.kind, each.history) for each in self.threads if each.kind
        )
        procore = frozenset(
            (pair.name, pair.dead, pair.before is None) for pair in self.procore.pairs.values()
        )
        dead = tuple(each.dead for each in self.processes)
        away = self.away_until > self.now
        return hash(
            (threads, procore, dead, away, self.watch.digest(), self.offset, self.trouble, self.now)
        )


_AT_PROCESS: dict[Trouble, Callable[[World, Process], object]] = {
    "kill": World.kill,
    "fork": World.fork,
    "stop": World._stop,
    "long stop": World._stop_long,
    "end": World._end,
}


def _unavailable(reason: str | None) -> StoreUnavailable:
    return StoreUnavailable("The database in memory is away.", reason=reason)


def _no_answer() -> ProcoreUnavailable:
    return ProcoreUnavailable("Procore did not answer.", ambiguous=True)


def _said(answer: Any) -> str:
    return f"pair {answer.pair.name}" if answer.pair is not None else str(answer.response.status)


def _found(wanted: object, value: object) -> str:
    return ": no" if isinstance(wanted, TakeLease) and value is None else ""
