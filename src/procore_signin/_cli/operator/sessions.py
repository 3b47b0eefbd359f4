"""`procore-signin sessions`: list open sessions, and end them."""

from __future__ import annotations

import time
from dataclasses import asdict

import typer

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.operator.named_user import Who, called, find_one
from procore_signin._cli.operator.open_store import load_settings, open_door, open_store
from procore_signin._cli.output import be_sure, counted, moment, print_columns, print_json
from procore_signin._cli.progress import Progress, give_way
from procore_signin._client import ProcoreSignIn
from procore_signin._flow import users as flows
from procore_signin._program import command
from procore_signin._store import Session
from procore_signin._store.sessions import EndSessionOf, EndSomeSessions, OpenSessions, SessionsOf
from procore_signin.events import Event, emit

_BATCH = 500


def list_sessions(who: Who, *, after: int, limit: int, as_json: bool) -> None:
    """Print the open sessions of one user, or of all users."""
    settings, now = load_settings(), int(time.time())
    with open_store(settings) as store:
        if who.is_named:
            user = find_one(store, who, environment=settings.environment.name)
            of_user = store.ask(SessionsOf(user.id, now=now))
            found = sorted((each for each in of_user if each.id > after), key=lambda each: each.id)
        else:
            found = store.ask(OpenSessions(now=now, after=after, limit=limit + 1))
    shown, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"sessions": [_as_values(each) for each in shown], "more": more})
        return
    if not shown:
        typer.echo("No open session.")
        return
    print_columns(
        ("SESSION", "USER", "E-MAIL", "SIGNED IN", "LAST SEEN", "ENDS", "BROWSER"),
        [
            (
                each.id,
                each.user.id,
                each.user.email,
                moment(each.created_at),
                moment(each.last_seen_at),
                moment(each.idle_expires_at),
                each.user_agent,
            )
            for each in shown
        ],
    )
    if more:
        typer.echo(f"There are more: add --after {shown[-1].id}", err=True)


def _as_values(session: Session) -> dict[str, object]:
    values = asdict(session)
    user = values.pop("user")
    return {**values, "user": user["id"], "environment": user["environment"]}


def revoke(who: Who, *, session_id: int | None, everybody: bool, yes: bool, as_json: bool) -> None:
    """End one session, those of one user, or all. The tokens stay.

    Raises:
        typer.BadParameter: The sessions are not named, or in several ways.
        CommandFailed: There is no such session.
    """
    if [session_id is not None, who.is_named, everybody].count(True) != 1:
        raise typer.BadParameter("Name a session's id, one user, or --everybody.")
    settings = load_settings()
    with open_door(settings) as door:
        if everybody:
            be_sure("Sign EVERYONE out?", yes=yes)
            ended = _end_all(door)
        elif session_id is not None:
            ended = _end_one(door, session_id, yes=yes)
        else:
            user = find_one(door.store, who, environment=settings.environment.name)
            be_sure(f"Sign {called(user)} out everywhere?", yes=yes)
            ended = door.run(flows.end_sessions(user.id))
    if as_json:
        print_json({"ended": ended})
    else:
        typer.echo(f"{counted(ended, 'session')} ended. The next request of each is signed out.")


def _end_one(door: ProcoreSignIn, session_id: int, *, yes: bool) -> int:
    now = int(time.time())
    found = door.store.ask(OpenSessions(now=now, after=session_id - 1, limit=1))
    if not found or found[0].id != session_id:
        raise CommandFailed(
            f"No open session has the id {session_id}.",
            why="It has ended, or never existed.",
            cure=f"List sessions: {command('sessions list')}",
        )
    user = found[0].user
    be_sure(f"End session {session_id} of {called(user)}?", yes=yes)
    ended = int(door.store.do(EndSessionOf(user.id, session_id)))
    emit(Event.SESSIONS_REVOKED, user=user.id, sessions=ended)
    return ended


def _end_all(door: ProcoreSignIn) -> int:
    ended = 0
    with Progress("Ending sessions") as progress:
        while True:
            began = time.monotonic()
            count = door.store.do(EndSomeSessions(limit=_BATCH))
            if not count:
                break
            ended += count
            progress.advance(count)
            give_way(door.store, time.monotonic() - began)
    emit(Event.SESSIONS_REVOKED, user=None, sessions=ended)
    return ended
