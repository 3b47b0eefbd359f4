"""What must be true after every step, and when a world has come to rest."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.simulation.keeping import LEDGER, TOKEN_SETS, USERS
from tests.simulation.procore import RETRY_AFTER, Pair
from tests.simulation.threads import Thread
from tests.simulation.transitions import Taken

from procore_signin._flow.lease import LEASE_SECONDS, REQUEST_SECONDS
from procore_signin._flow.revocation import ENDING_SECONDS
from procore_signin._flow.users import AccessEnded
from procore_signin._protocol.http_message import HttpRequest
from procore_signin._store.access import (
    DeleteUser,
    DisableUser,
    DisconnectUser,
    EnableUser,
)
from procore_signin._store.engine.command import Command
from procore_signin._store.escrows import HOLD_SECONDS
from procore_signin._store.rotation.lost_keys import GiveUpLost
from procore_signin._store.sign_in import CompleteSignIn

if TYPE_CHECKING:
    from tests.simulation.world import World

JOINED_ONCE = 2
_PAIR = re.compile(r"access-([a-z0-9]+)")
_T = {name: place for place, name in enumerate(TOKEN_SETS)}
_L = {name: place for place, name in enumerate(LEDGER)}
_U = {name: place for place, name in enumerate(USERS)}


_CHANGE_USERS = (CompleteSignIn, DisableUser, EnableUser, DeleteUser)


class Broken(Exception):
    """An invariant does not hold.

    Attributes:
        rule: Which, in fixed words.
    """

    def __init__(self, rule: str, how: str) -> None:
        super().__init__(f"{rule}: {how}")
        self.rule = rule


def pair_in(sealed: str | None) -> str | None:
    """Return the name of the pair in a sealed value, or None where there is none."""
    if sealed is None:
        return None
    found = _PAIR.search(sealed)
    return None if found is None else found[1]


class _Shown:
    """One presentation of a refresh token. It is late where the lease had run out by then.

    It was delayed where the lease had not run out when it was sent: its process stood still.
    """

    __slots__ = ("at", "delayed", "late", "lease_at", "state", "thread")

    def __init__(self, thread: Thread, at: float) -> None:
        self.thread = thread
        self.at = at
        self.lease_at = thread.lease_at
        self.late = thread.lease_at is not None and at - thread.lease_at >= LEASE_SECONDS - 1
        left = (
            0.0 if thread.lease_at is None else LEASE_SECONDS - (thread.wanted_at - thread.lease_at)
        )
        self.delayed = self.late and left > REQUEST_SECONDS
        self.state = "on its way"


class Watch:
    """Looks at each step of one world.

    Attributes:
        version: Counts the changes of the database.
        held: The pairs that rows hold: in use, kept beside them, or in the ledger.
        current: The pairs in use, and whose they are.
        excused: Pairs that no one knows, because their answer or their process was lost.
        sights: What was seen that is no fault and that someone looks for.
        taken: The transitions that rows made.
    """

    def __init__(self, world: World, *, watching: bool = True) -> None:
        self.world = world
        self.version = 0
        self.held: set[str] = set()
        self.current: dict[str, int] = {}
        self.excused: set[str] = set()
        self.sights: Counter[str] = Counter()
        self.taken = Taken()
        self.users: dict[int, int] = {}
        self.disabled: set[int] = set()
        self.over: set[int] = set()
        self.erased: set[int] = set()
        self.lost_for_good: set[int] = set()
        self.began_with: set[int] = set()
        self._generations: dict[int, int] = {}
        self._shown: dict[str, list[_Shown]] = {}
        self._put_off: dict[str, float] = {}
        self._let_in: Counter[str] = Counter()
        self._calls: dict[Thread, tuple[set[str], int]] = {}
        self._endings = 0
        self._changes = -1
        self._people: list[tuple[Any, ...]] = []
        self._digest: tuple[int, int] = (-1, 0)
        self._person_of: dict[int, int] = {}
        self._rows: tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]] = ([], [])
        self._in_rows: set[str] = set()
        self._in_ledger: set[str] = set()
        self._holds: dict[str, tuple[str, int]] = {}
        self._named: set[str] = set()
        if watching:
            self._look(None)
            pairs = world.procore.pairs
            self.began_with = {
                person for name, person in self.current.items() if not pairs[name].dead
            }

    # what is told by the world

    def wrote(self, command: Command[Any], value: object) -> None:
        """A command was committed."""
        if isinstance(command, (DisableUser, DisconnectUser, DeleteUser)):
            self._endings += 1
            person = next((p for p, u in self.users.items() if u == command.user_id), None)
            if person is not None:
                self.over.add(person)
                if isinstance(command, DeleteUser):
                    self.erased.add(person)  # and every doubt with them (decision 25)
        elif isinstance(command, CompleteSignIn) and value is not None:
            self.over.discard(command.me.procore_id)
        elif isinstance(command, GiveUpLost):
            before, kept = set(self.held), set(self.excused)
            self.excused |= before
            self._look(command)
            self.excused = kept | (before - self.held)
            self.over.update(self.world.procore.pairs[name].person for name in before - self.held)
            return
        self._look(command)

    def procore_did(self) -> None:
        """Procore did something."""
        self._nothing_is_forgotten()

    def memory_changed(self) -> None:
        """A process is not there any more."""
        self._nothing_is_forgotten()

    def ended(self, thread: Thread) -> None:
        """A thread has returned."""
        ending = thread.process.ending_since
        if ending is not None and self.world.now - ending > ENDING_SECONDS:
            for each in self.world.procore.alive():
                if each.name not in self.held and not self._is_carried(each):
                    self.excuse(each)
        self._nothing_is_forgotten()

    def excuse(self, pair: Pair) -> None:
        """No one can know this pair, if no row holds it."""
        if pair.name not in self.held:
            self.excused.add(pair.name)
            if self.world.scenario.rotation == "immediate" and not pair.by_code:
                self.lost_for_good.add(pair.person)

    def presented(self, thread: Thread, pair: Pair) -> None:
        """A refresh token came to Procore."""
        shown = self._shown.setdefault(pair.name, [])
        wanted = pair.name in self.current
        too_early = self.world.now < self._put_off.get(pair.name, 0.0)
        now = _Shown(thread, self.world.now)
        if wanted and too_early and not now.late and not self.world.had & {"forward", "back"}:
            raise Broken("Procore was asked again before it wanted to be", pair.name)
        for before in shown:
            if wanted and not now.delayed and self._is_a_double_spend(thread, before, shown):
                raise Broken(
                    "a refresh token was spent twice",
                    f"that of {pair.name} by {before.thread.name} and by {thread.name}",
                )
            if not wanted and before.state == "told":
                self.sights["a token was presented again after its answer"] += 1
                if self._passed_on(pair) and self.world.now - before.at < LEASE_SECONDS:
                    who = thread.name.partition(".")[2].partition("-")[0]
                    self.sights[f"... at once, its successor committed, beside a {who}"] += 1
        shown.append(now)

    def put_off(self, request: HttpRequest) -> None:
        """Procore has had too many requests, and names a time for the next one."""
        token = request.body.decode().partition("refresh_token=refresh-")[2].partition("&")[0]
        if token:  # the database counts whole seconds
            self._put_off[token] = self.world.now + RETRY_AFTER - 1

    def _passed_on(self, pair: Pair) -> bool:
        return any(name.startswith(f"{pair.name}r") for name in self.current)

    def _is_a_double_spend(self, thread: Thread, before: _Shown, shown: list[_Shown]) -> bool:
        world, other = self.world, before.thread
        if other is thread:
            if before.state == "refused" and (before.late or world.had & {"forward", "back"}):
                return False  # the lease was another one's, which has run out meanwhile too
            if before.state == "refused" and self._came_back(thread, before):
                return False  # it heard of that so late that it could not note it in the row
            return before.state != "lost" or sum(one.thread is thread for one in shown) > 1
        if other.process.dead or before.state == "lost":
            return False
        if world.had & {"forward", "back"}:
            return False
        began = before.at if other.lease_at is None else other.lease_at
        if world.now - began >= LEASE_SECONDS - 1:
            return False
        if before.state == "refused":
            return not world.had & {"away", "long away", "lose commit"}
        return other.process.ending_since is None

    def _came_back(self, thread: Thread, before: _Shown) -> bool:
        """Tell whether the thread has a new lease, after another one's, and its own had run out."""
        then, now = before.lease_at, thread.lease_at
        if then is None or now is None or now - then < LEASE_SECONDS - 1:
            return False
        everyone = (*self.world.threads, *self.world.finished)
        others = (each.lease_at for each in everyone if each is not thread)
        return any(taken is not None and then < taken < now for taken in others)

    def told(self, thread: Thread, pair: Pair, *, refused: bool) -> None:
        """The answer to a refresh token arrived."""
        self._shown[pair.name][-1].state = "refused" if refused else "told"
        for each in self._shown[pair.name]:
            if each.thread is thread and each.state == "on its way":
                each.state = "refused" if refused else "told"

    def not_told(self, thread: Thread, pair: Pair) -> None:
        """The answer to a refresh token did not arrive."""
        for each in self._shown[pair.name]:
            if each.thread is thread and each.state == "on its way":
                each.state = "lost"

    def let_in(self, attempt: str) -> None:
        """Someone was signed in by an attempt."""
        self._let_in[attempt] += 1
        if self._let_in[attempt] > JOINED_ONCE:
            raise Broken("an attempt let more than two in", attempt)

    # calls that end someone's access

    def began(self, thread: Thread) -> None:
        """A caller begins."""
        alive = {pair.name for pair in self.world.procore.alive()}
        self._calls[thread] = (alive, self._endings)

    def access_ended(self, thread: Thread, person: int, told: AccessEnded) -> None:
        """Someone's access was ended, and this is what the caller is told."""
        before, endings = self._calls[thread]
        known = [
            pair
            for pair in self.world.procore.alive()
            if pair.person == person and pair.name in before
        ]
        if told.certain:
            living = [
                pair.name
                for pair in known
                if not (pair.name in self.excused and self._is_no_ones(pair, person))
                and not (pair.name in self.current and person not in self.disabled)
            ]
            if living:
                raise Broken(
                    "an access was called certainly ended",
                    f"{', '.join(living)} of p{person} lives, and {thread.name} said"
                    f" {told.revocation}",
                )
        if told.revocation == "unsure" and not self.world.had and not self.world.doubtful:
            raise Broken("an ending was called unsure although nothing was lost", thread.name)
        had = [name for name in before if self.world.procore.pairs[name].person == person]
        if told.revocation == "none" and had:
            alone = self._endings - endings <= (2 if thread.caller == "delete" else 1)
            who = "alone" if alone else "beside another one"
            self.sights[f"an ending {who} said none of a person with tokens"] += 1

    def _is_no_ones(self, pair: Pair, person: int) -> bool:
        """Tell whether no one here can know whose a pair is that was lost.

        The user is erased; or the sign-in broke off before it was known who came, and this is its
        pair, or the one that the trial of its refresh token brought.
        """
        before, _, number = pair.name.rpartition("r")
        if person in self.erased or pair.by_code:
            return True
        if before in self._named or not number.isdecimal():
            return False
        self.sights["a pair lives of which no one here knows whose it is"] += 1
        return True

    # what must hold

    def no_one_waits_in_vain(self) -> None:
        """A lease is given back when its owner has ended, and its process lives."""
        world = self.world
        if world.doubtful or world.had & {"kill", "end", "forward", "back"}:
            return
        for row in self._rows[0]:
            until = row[_T["lease_until"]]
            if row[_T["lease_owner"]] is not None and until > world.clock():
                raise Broken(
                    "a lease has no owner any more", f"until {until - world.clock():.0f} s"
                )

    def _look(self, command: Command[Any] | None) -> None:
        changes = self.world.keeping.changes()
        if changes == self._changes:
            return
        self._changes = changes
        self.version += 1
        token_sets, ledger = rows = self.world.keeping.rows()
        # What was written is of the moment when the command was made.
        at = int(getattr(command, "now", None) or self.world.clock())
        self.taken.look(command, rows, at)
        if command is None or isinstance(command, _CHANGE_USERS):
            self._look_at_users()
        known = self._rows  # most commands change one of the tables
        self._rows = (token_sets, ledger)
        if token_sets != known[0]:
            self._look_at_token_sets(token_sets)
        if ledger != known[1]:
            self._look_at_ledger(ledger, at)
        self.held = self._in_rows | self._in_ledger
        self._nothing_is_forgotten()

    def _look_at_users(self) -> None:
        users = self._people = self.world.keeping.users()
        self._person_of = {row[_U["id"]]: row[_U["procore_id"]] for row in users}
        self.users = {person: number for number, person in self._person_of.items()}
        self.disabled = {row[_U["procore_id"]] for row in users if row[_U["disabled_at"]]}

    def _look_at_token_sets(self, token_sets: list[tuple[Any, ...]]) -> None:
        held: set[str] = set()
        self.current = {}
        for row in token_sets:
            number, generation = row[_T["id"]], row[_T["generation"]]
            if generation < self._generations.get(number, 0):
                raise Broken("a generation went back", f"row {number} to {generation}")
            self._generations[number] = generation
            person = self._person_of[row[_T["user_id"]]]
            name = pair_in(row[_T["access_token"]])
            assert name is not None
            self._is_of(name, person)
            self._named.add(name)
            if row[_T["status"]] == "ok":
                held.add(name)
                self.current[name] = person
            before = pair_in(row[_T["predecessor"]])
            if before is not None:
                self._is_of(before, person)
                self._named.add(before)
                held.add(before)
        self._in_rows = held

    def _look_at_ledger(self, ledger: list[tuple[Any, ...]], at: int) -> None:
        self._in_ledger = set()
        holds: dict[str, tuple[str, int]] = {}
        for row in ledger:
            if row[_L["held_by"]] is not None:
                holds[row[_L["state_hash"]]] = row[_L["held_by"]], row[_L["held_until"]]
            name = pair_in(row[_L["escrow"]])
            if name is not None:
                self._in_ledger.add(name)
                if row[_L["user_id"]] is not None:
                    self._named.add(name)
                    self._is_of(name, self._person_of[row[_L["user_id"]]])
        self._is_held_by_one(holds, at)
        self._holds = holds

    def _is_held_by_one(self, holds: dict[str, tuple[str, int]], at: int) -> None:
        """Check that no one takes a withdrawal over before the time of its holder is up.

        A command that is older than a whole hold may: its process stood still, and to it the clock
        seems to have been set back.
        """
        now = self.world.now
        if self.world.had & {"forward", "back"} or now - at >= HOLD_SECONDS:
            return
        for state_hash, (holder, _) in holds.items():
            before, until = self._holds.get(state_hash, (holder, 0))
            if before != holder and until - 1 > now:
                raise Broken("a withdrawal was taken over", f"{until - now:.0f} s too early")

    def _is_of(self, name: str, person: int) -> None:
        whose = self.world.procore.pairs[name].person
        if whose != person:
            raise Broken("someone has another person's tokens", f"p{person} has {name}")

    def _nothing_is_forgotten(self) -> None:
        held, excused = self.held, self.excused
        for pair in self.world.procore.pairs.values():
            if pair.dead or pair.name in held or pair.name in excused or self._is_carried(pair):
                continue
            raise Broken(
                "a pair that lives was forgotten",
                f"{pair.name} of p{pair.person} is in no row, and in no process",
            )

    def _is_carried(self, pair: Pair) -> bool:
        for each in self.world.threads:
            if not each.kind or each.process.dead:
                continue
            if pair.name in each.carries:
                return True
            if each.answer is not None and each.answer.pair is pair:
                return True
        return False

    def digest(self) -> int:
        """Return what tells the database's content from others."""
        version, digest = self._digest
        if version != self.version:
            digest = hash(tuple(tuple(table) for table in (*self._rows, self._people)))
            self._digest = (self.version, digest)
        return digest

    def escrowed(self) -> list[str]:
        """Return the pairs that are in the ledger."""
        return [name for row in self._rows[1] if (name := pair_in(row[_L["escrow"]])) is not None]
