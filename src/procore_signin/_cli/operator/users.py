"""`procore-signin users`: who is there, and to end or give back their access."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

import typer

from procore_signin._cli.operator.open_store import load_settings, open_door, open_store
from procore_signin._cli.operator.people import Who, as_values, called, find_one, print_people
from procore_signin._cli.output import (
    be_sure,
    counted,
    moment,
    print_columns,
    print_facts,
    print_json,
    span,
)
from procore_signin._client import ProcoreSignIn
from procore_signin._flow import users as flows
from procore_signin._flow.revocation import Revocation
from procore_signin._flow.users import AccessEnded
from procore_signin._store import User
from procore_signin._store.administration import TokenState

_REVOCATION: dict[Revocation, str] = {
    "none": "There were no tokens to revoke at Procore.",
    "confirmed": "Procore confirmed that the tokens are revoked.",
    "pending": "Procore has NOT confirmed that the tokens are revoked. They are kept, sealed, and "
    "tried again by the application every minute, or now by: procore-signin purge --revoke-orphans",
    "unsure": "A response of Procore was lost, so tokens may live that no one knows. The user can "
    "end them at Procore, under My Profile Settings > Connected Apps.",
    "sealed": "Tokens could NOT be opened, and so not revoked. Put the key that sealed them back "
    "into PROCORE_KEYS and repeat this; or the person ends the access at Procore, under "
    "My Profile Settings > Connected Apps.",
}


def list_people(
    *, environment: str | None, email: str | None, after: int, limit: int, as_json: bool
) -> None:
    """Print the people that fit, in the order of their first sign-in."""
    with open_store(load_settings()) as store:
        found = store.find_users(environment=environment, email=email, after=after, limit=limit + 1)
    people, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"users": [as_values(each) for each in people], "more": more})
        return
    if not people:
        typer.echo("Nobody.")
        return
    print_people(people)
    if more:
        typer.echo(f"There are more: add --after {people[-1].id}", err=True)


def show(who: Who, *, as_json: bool) -> None:
    """Print all that is known of one person."""
    settings = load_settings()
    with open_store(settings) as store:
        user = find_one(store, who, environment=settings.environment.name)
        sessions = store.sessions_of(user.id, now=_now())
        states = store.token_states(user.id, now=_now())
    if as_json:
        document = {"open_sessions": len(sessions), "tokens": [asdict(state) for state in states]}
        print_json({**as_values(user), **document})
        return
    print_facts(
        [
            ("Id", user.id),
            ("Procore's id", user.procore_id),
            ("Environment", user.environment),
            ("E-mail", user.email),
            ("Name", user.name),
            ("First sign-in", f"{moment(user.created_at)} UTC"),
            ("Last sign-in", f"{moment(user.last_signed_in_at)} UTC"),
            ("Disabled", f"since {moment(user.disabled_at)} UTC" if user.disabled_at else "no"),
            ("Open sessions", len(sessions)),
            ("Tokens", ", ".join(state.status for state in states)),
        ]
    )


def tokens(who: Who, *, as_json: bool) -> None:
    """Print the state of a person's tokens, and never a token."""
    settings = load_settings()
    with open_store(settings) as store:
        user = find_one(store, who, environment=settings.environment.name)
        states = store.token_states(user.id, now=_now())
    if as_json:
        print_json({"user": user.id, "tokens": [asdict(state) for state in states]})
        return
    if not states:
        typer.echo(f"There are no tokens of {called(user)}.")
        return
    print_columns(
        (
            *("ENVIRONMENT", "STATUS", "GENERATION", "ACCESS TOKEN", "REFRESH TOKEN", "LEASE"),
            *("AMBIGUOUS", "KEY", "WRITTEN"),
        ),
        [_token_cells(state) for state in states],
    )


def _token_cells(state: TokenState) -> tuple[object, ...]:
    left = state.expires_in
    lease = f"{state.leased_for} s" if state.leased_for else None
    pause = f"pause {state.retry_in} s" if state.retry_in else None
    return (
        state.environment,
        state.status,
        state.generation,
        f"{span(left)} left" if left > 0 else f"expired {span(-left)} ago",
        "yes" if state.refreshable else "no",
        lease or pause,
        state.ambiguous,
        ", ".join(key_id or "UNREADABLE" for key_id in state.key_ids),
        moment(state.updated_at),
    )


def disable(who: Who, *, yes: bool, as_json: bool) -> bool:
    """Disable a person, end all sessions and revoke the tokens.

    Returns:
        Whether Procore certainly honours none of their tokens any more.
    """

    def run(door: ProcoreSignIn, user: User) -> AccessEnded | None:
        be_sure(f"Disable {called(user)}, end all sessions and revoke the tokens?", yes=yes)
        return door.run(flows.disable(door.context, user.id))

    return _end_access(who, run, "Disabled", as_json=as_json)


def delete(who: Who, *, unrevoked: bool, yes: bool, as_json: bool) -> bool:
    """Disable a person, revoke the tokens, and erase everything that is kept of them.

    Returns:
        Whether Procore certainly honours none of their tokens any more.
    """

    def run(door: ProcoreSignIn, user: User) -> AccessEnded | None:
        be_sure(f"Delete {called(user)} forever?", yes=yes)
        return door.run(flows.delete(door.context, user.id, even_sealed=unrevoked))

    return _end_access(who, run, "Deleted", as_json=as_json)


def enable(who: Who, *, as_json: bool) -> None:
    """Let a person sign in again."""
    settings = load_settings()
    with open_door(settings) as door:
        user = find_one(door.store, who, environment=settings.environment.name)
        enabled = door.run(flows.enable(user.id)) or user
    if as_json:
        print_json(as_values(enabled))
    else:
        typer.echo(f"Enabled {called(enabled)}. To go on, they have to sign in again.")


def _end_access(
    who: Who,
    run: Callable[[ProcoreSignIn, User], AccessEnded | None],
    verb: str,
    *,
    as_json: bool,
) -> bool:
    settings = load_settings()
    with open_door(settings) as door:
        user = find_one(door.store, who, environment=settings.environment.name)
        ended = run(door, user)
    if ended is None:  # someone else deleted the person a moment ago
        ended = AccessEnded(user, sessions=0, revocation="none", refresh_under_way=False)
    if as_json:
        document = {"sessions": ended.sessions, "revocation": ended.revocation}
        certain = {
            "refresh_under_way": ended.refresh_under_way,
            "sign_in_under_way": ended.sign_in_under_way,
            "certain": ended.certain,
        }
        print_json({"user": user.id, **document, **certain})
        return ended.certain
    typer.echo(f"{verb} {called(user)}: {counted(ended.sessions, 'session')} ended.")
    typer.echo(_REVOCATION[ended.revocation])
    if ended.refresh_under_way:
        typer.echo("Another process was just refreshing the tokens; it revokes what it gets.")
    if ended.sign_in_under_way:
        typer.echo("Someone is just signing in, perhaps this person. Ask again in a minute.")
    return ended.certain


def _now() -> int:
    return int(time.time())
