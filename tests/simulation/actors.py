"""Who does what in a world."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.invariants import Broken, pair_in
from tests.simulation.procore import LIFETIME
from tests.simulation.threads import DOOR, Process, Thread

from procore_signin._flow import users
from procore_signin._flow.attempt import SignInAttempt
from procore_signin._flow.janitor import sweep
from procore_signin._flow.phases import SignedIn
from procore_signin._flow.refresh import FreshToken, fresh_tokens
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.secret import Secret
from procore_signin._store.rotation.lost_keys import give_up_key
from procore_signin._store.rotation.rewrap import rewrap
from procore_signin._store.sessions import EndSessions
from procore_signin._store.tokens import EndedGrants, PurgeGrants
from procore_signin.errors import GrantLost, ProcoreSignInError

if TYPE_CHECKING:
    from tests.simulation.world import World

BROWSER = Browser(user_agent=None, session_hash=None)
Actor = Callable[["World", Process, int, str], Callable[[], Any]]


def _refresh(world: World, process: Process, person: int, _: str) -> Callable[[], Any]:
    def act() -> FreshToken | None:
        user_id = world.watch.users.get(person)
        if user_id is None:
            return None
        return _of(world, person, process.runner.run(fresh_tokens(process.context, user_id)))

    return act


def _of(world: World, person: int, fresh: FreshToken) -> FreshToken:
    name = pair_in(fresh.access_token.reveal())
    assert name is not None
    if world.procore.pairs[name].person != person:
        raise Broken("someone has another person's tokens", f"p{person} was given {name}")
    return fresh


def _rejected(world: World, process: Process, person: int, _: str) -> Callable[[], Any]:
    """Have the newest token refreshed, because the API refused it."""

    def act() -> FreshToken | None:
        user_id = world.watch.users.get(person)
        if user_id is None:
            return None
        run, context = process.runner.run, process.context
        first = _of(world, person, run(fresh_tokens(context, user_id)))
        again = fresh_tokens(context, user_id, rejected=first.generation)
        return _of(world, person, run(again))

    return act


def _use(world: World, process: Process, person: int, _: str) -> Callable[[], Any]:
    """Use the API: a token that it refuses is refreshed, and must be good then."""

    def act() -> FreshToken:
        user_id = world.watch.users[person]
        run, context = process.runner.run, process.context
        fresh = _of(world, person, run(fresh_tokens(context, user_id)))
        if _is_dead(world, fresh):
            again = fresh_tokens(context, user_id, rejected=fresh.generation)
            fresh = _of(world, person, run(again))
        if _is_dead(world, fresh):
            raise Broken("a dead token was handed out", f"to p{person}")
        return fresh

    return act


def _is_dead(world: World, fresh: FreshToken) -> bool:
    pair = world.procore.pairs[fresh.access_token.reveal().removeprefix("access-")]
    return pair.dead or world.now >= pair.issued_at + LIFETIME


def _finish(key: str, code: str | None = None) -> Actor:
    """Return who finishes the attempt of this key, with its code or another one."""

    def actor(world: World, process: Process, person: int, _: str) -> Callable[[], Any]:
        own = f"p{person}{key}"
        if own not in world.procore.codes:
            world.procore.allow(person, own)
        attempt = SignInAttempt(
            process.context.binding, f"state-{own}", None, "/", int(world.clock())
        )
        granted = CodeGranted(code=Secret(code or own, "code"), state=attempt.state, iss=None)

        def act() -> SignedIn:
            flow = finish_sign_in(process.context, attempt, granted, BROWSER)
            signed_in = process.runner.run(flow)
            if code is not None:
                raise Broken("someone was let in with another code", f"as p{person}")
            if signed_in.user.procore_id != person:
                raise Broken("a sign-in became another person's", f"p{person}")
            world.watch.let_in(own)
            return signed_in

        return act

    return actor


def _ending(flow: Callable[..., Any]) -> Actor:
    def actor(world: World, process: Process, person: int, name: str) -> Callable[[], Any]:
        def act() -> Any:
            user_id = world.watch.users.get(person)
            if user_id is None:
                return None
            told = process.runner.run(flow(process.context, user_id))
            if told is not None:
                thread = next(each for each in process.threads if each.name == name)
                world.watch.access_ended(thread, person, told)
            return told

        return act

    return actor


def _enable(world: World, process: Process, person: int, _: str) -> Callable[[], Any]:
    def act() -> Any:
        user_id = world.watch.users.get(person)
        return None if user_id is None else process.runner.run(users.enable(user_id))

    return act


def _janitor(world: World, process: Process, person: int, _: str) -> Callable[[], Any]:
    del world, person
    return lambda: process.runner.run(sweep(process.context))


def _rewrap(world: World, process: Process, person: int, _: str) -> Callable[[], Any]:
    del world, process, person
    return lambda: list(rewrap(DOOR))  # type: ignore[arg-type]  # what it uses of a store


def _lose_key(world: World, process: Process, person: int, _: str) -> Callable[[], Any]:
    del world, process, person

    def act() -> None:
        while give_up_key(DOOR, "k1") is not None:  # type: ignore[arg-type]  # as above
            pass

    return act


def _purge(world: World, process: Process, person: int, _: str) -> Callable[[], Any]:
    del process, person

    def act() -> int:
        before = int(world.clock()) + 1
        found = DOOR.ask(EndedGrants(before=before))
        return DOOR.do(PurgeGrants(found, before=before))

    return act


def _sign_out(world: World, process: Process, person: int, _: str) -> Callable[[], Any]:
    del process

    def act() -> None:
        user_id = world.watch.users.get(person)
        if user_id is not None:
            DOOR.do(EndSessions(user_id))

    return act


ACTORS: dict[str, Actor] = {
    "refresh": _refresh,
    "rejected": _rejected,
    "use": _use,
    "sign-in": _finish("c1"),
    "join": _finish("c1"),
    "third callback": _finish("c1"),
    "intruder": _finish("c1", "garbage"),
    "new sign-in": _finish("c2"),
    "disable": _ending(users.disable),
    "disconnect": _ending(users.disconnect),
    "delete": _ending(users.delete),
    "enable": _enable,
    "janitor": _janitor,
    "rewrap": _rewrap,
    "lose key": _lose_key,
    "purge": _purge,
    "sign out": _sign_out,
}


def known_end(thread: Thread) -> bool:
    """Whether a caller was told what became of the grant."""
    return isinstance(thread.error, (GrantLost,)) or (
        isinstance(thread.error, ProcoreSignInError) and thread.error.code == "sign_in_refused"
    )
