"""One run: a database, an emulated Procore on a real socket, and processes that share both."""

from __future__ import annotations

import base64
import select
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from tests.reliability.databases import Database
from tests.reliability.processes import Answer, Worker, WorkerDied, Zygote
from tests.reliability.settings import REDIRECT_URI, Place, SharedClock
from tests.reliability.witness import Witness
from tests.reliability.worker import BROWSER, attempt_to

from procore_signin._client import ProcoreSignIn
from procore_signin._emulator.faults.faults import Fault
from procore_signin._flow.attempt import SignInAttempt, new_attempt
from procore_signin._flow.janitor import ORPHANED_AFTER, sweep
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._flow.steps import send
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.me import me_request
from procore_signin._protocol.secret import Secret
from procore_signin._store.records import TokenRow
from procore_signin._store.refresh import TokenRowOf
from procore_signin._transport.contract import Transport
from procore_signin.emulator import Emulator

T = TypeVar("T")

ACCESS_TOKEN_LIFETIME: Final = 5400
TOKEN_ENDPOINT: Final = "POST /oauth/token"
POLL: Final = 0.005


class World:
    """Everything that a run needs.

    Attributes:
        database: Shared by all processes.
        emulator: The Procore that all processes ask.
        witness: Counts what came to the emulator.
        door: The run's own front door, for what is not under test.
        clock: The time of every process.
        chance: Repeats from run to run.
        workers: The processes that live, as far as is known.
    """

    def __init__(
        self, database: Database, emulator: Emulator, zygote: Zygote, folder: Path
    ) -> None:
        self.database = database
        self.emulator = emulator
        self.witness = Witness(emulator)
        self._zygote = zygote
        self._place = Place(database.url, emulator.url, str(folder / "clock"))
        self.clock = SharedClock(folder / "clock")
        self.door: ProcoreSignIn = self._place.door()
        self.chance = Random(20261125)  # noqa: S311 - it must repeat, not be secret
        self.workers: list[Worker] = []
        self._deaths = 0

    def leave(self) -> None:
        """End every process, and close what is open here."""
        for worker in self.workers:
            if worker.busy:
                worker.kill()
            else:
                worker.close()
        self.workers.clear()
        self.door.close()
        self.database.close()

    def come_back(self) -> None:
        """Open again what `leave` closed; without workers."""
        self.door = self._place.door()

    # Processes.

    def worker(self, *, skew: float = 0.0, at: str | None = None, **settings: Any) -> Worker:
        """Start a process that has its front door open; `at`: another way to the database."""
        worker = self._zygote.worker()
        self.workers.append(worker)
        place = replace(self._place, skew=skew)
        worker.ask(
            "open",
            database_url=at or place.database_url,
            emulator_url=place.emulator_url,
            clock_file=place.clock_file,
            skew=place.skew,
            **settings,
        )
        return worker

    def lose(self, worker: Worker) -> None:
        """Note that a process ended."""
        worker.wait_until_gone()
        self.workers.remove(worker)
        self._deaths += 1

    def answers(self, workers: list[Worker]) -> dict[int, Answer]:
        """Collect what `workers` answer, by process; one that died is missing.

        The lease of a process that died ends at once, as if its 30 seconds had passed for it
        alone: the others wait for it in real time.
        """
        waiting = list(workers)
        heard: dict[int, Answer] = {}
        deadline = time.monotonic() + 60
        while waiting:
            assert time.monotonic() < deadline, f"{len(waiting)} processes never answered"
            ready, _, _ = select.select(waiting, [], [], 0.02)
            for worker in ready:
                waiting.remove(worker)
                try:
                    heard[worker.pid] = worker.hear()
                except WorkerDied:
                    self.lose(worker)
            self.end_leases_of_the_dead()
        return heard

    def another_door(
        self, database_url: str, wrapped: Callable[[Transport], Transport]
    ) -> ProcoreSignIn:
        """Return a front door in this process that goes another way to the same database."""
        return replace(self._place, database_url=database_url).door(wrapped)

    # Time.

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the emulator, for every process and for the database.

        No test can move a server's clock. There every row is made older instead, which is the same
        to its reader.
        """
        self.emulator.advance(seconds)
        if self.database.has_a_clock:
            self.database.pass_time(seconds)
        else:
            self.clock.advance(seconds)

    def expire(self) -> None:
        """Let so much time pass that every access token has expired."""
        self.pass_time(ACCESS_TOKEN_LIFETIME)

    def end_leases_of_the_dead(self) -> None:
        """Have the leases of processes that died run out, and theirs alone."""
        if not self._deaths:
            return
        alive = {worker.pid for worker in self.workers}
        held = self.database.run("SELECT lease_owner FROM token_sets WHERE lease_owner IS NOT NULL")
        for (owner,) in held:
            if _process_of(owner) not in alive:
                self.database.run(
                    "UPDATE token_sets SET lease_until = 0 WHERE lease_owner = :owner", owner=owner
                )

    def holder(self, user: int) -> int | None:
        """Return the number of the process that holds the user's lease, or None."""
        [(owner,)] = self.database.run(
            "SELECT lease_owner FROM token_sets WHERE user_id = :user", user=user
        )
        return None if owner is None else _process_of(owner)

    # Procore.

    def widen_the_race(self, seconds: float = 0.03) -> Fault:
        """Have Procore think before it answers, so that every process comes while one is asking."""
        return self.emulator.fault(
            TOKEN_ENDPOINT, "latency", seconds=seconds, after_commit=True, times=None
        )

    def hold_up(self, *, after_commit: bool, seconds: float) -> Fault:
        """Have Procore stop at the next token request, before or after its work."""
        return self.emulator.fault(
            TOKEN_ENDPOINT, "latency", seconds=seconds, after_commit=after_commit
        )

    def settle(self, *faults: Fault) -> None:
        """Wait until every request that met one of `faults` was answered, also those of the dead.

        After that the witness can see it.
        """
        # Once this is answered, Procore has read whatever was sent before it.
        self.door.run(send(me_request(self.emulator.url, Secret("nobody", "access token"))))
        until(lambda: all(self._is_over(fault) for fault in faults))

    def _is_over(self, fault: Fault) -> bool:
        self.witness.read_on()
        return fault.happened == self.witness.met[fault.number]

    # People.

    def person(self, number: int) -> str:
        """Make sure that Procore knows a person of that number; return the login."""
        login = f"person{number}@example.invalid"
        self.emulator.person(500_000 + number, login=login, name=f"Person {number}")
        return login

    def granted(self, number: int = 0) -> tuple[SignInAttempt, str]:
        """Begin a sign-in and have the person allow it; return the attempt and the code."""
        attempt = new_attempt(self.door.context, return_to="/")
        location = self.emulator.approve(
            attempt.authorization_url(self.door.context), login=self.person(number)
        )
        assert location.startswith(REDIRECT_URI)
        return attempt, parse_qs(urlsplit(location).query)["code"][0]

    def order_for_sign_in(self, number: int = 0) -> dict[str, Any]:
        """Begin a sign-in; return the order with which a process finishes it."""
        return self.order(*self.granted(number))

    def order(self, attempt: SignInAttempt, code: str) -> dict[str, Any]:
        """Return the order with which a process finishes a sign-in."""
        return {"attempt": attempt_to(attempt), "code": code}

    def sign_in(self, number: int = 0, *, door: ProcoreSignIn | None = None) -> int:
        """Sign a person in, here; return the user's id."""
        attempt, code = self.granted(number)
        granted = CodeGranted(Secret(code, "code"), attempt.state, None)
        at = door or self.door
        user = at.run(finish_sign_in(at.context, attempt, granted, BROWSER)).user
        at._runner.settle()  # what it replaced is given back beside it
        return user.id

    def row(self, user: int) -> TokenRow:
        """Return the user's token set."""
        row = self.door.store.ask(TokenRowOf(user, "emulator", now=int(self.clock())))
        assert row is not None
        return row

    def sweep_later(self) -> int:
        """Let the janitor come when it is due; return how many grants it gave back."""
        self.pass_time(ORPHANED_AFTER + 1)
        return self.door.run(sweep(self.door.context))

    def held_grants(self) -> Counter[str]:
        """Return how many grants belong to someone with a session, by login."""
        rows = self.database.run(
            "SELECT email FROM users JOIN token_sets ON token_sets.user_id = users.id"
            " WHERE status = 'ok' AND EXISTS"
            " (SELECT 1 FROM sessions WHERE sessions.user_id = users.id)"
        )
        return Counter(email for (email,) in rows)

    def live_grants(self) -> Counter[str]:
        """Return how many grants are alive at Procore, by login."""
        return Counter(grant.login or "" for grant in self.emulator.live_grants())


def until(condition: Callable[[], T], *, seconds: float = 30.0) -> T:
    """Wait for something that another process or thread does, and return what it is."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(POLL)
    return found


def _process_of(owner: str) -> int:
    return int.from_bytes(base64.b32decode(owner)[:4], "big")


@contextmanager
def a_world(
    database: Database, zygote: Zygote, folder: Path, **emulator_options: Any
) -> Iterator[World]:
    """Make a world whose database is empty."""
    database.empty()
    (folder / "clock").unlink(missing_ok=True)
    with Emulator.started(**emulator_options) as emulator:
        world = World(database, emulator, zygote, folder)
        try:
            yield world
        finally:
            with suppress(OSError):
                world.leave()
