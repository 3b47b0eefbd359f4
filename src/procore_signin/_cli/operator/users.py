"""`procore-signin users`: list users, and end or restore their access."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

import typer

from procore_signin._cli.operator.named_user import Who, as_values, called, find_one, print_users
from procore_signin._cli.operator.open_store import load_settings, open_door, open_store
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
from procore_signin._program import command
from procore_signin._store import User
from procore_signin._store.sessions import SessionsOf
from procore_signin._store.tokens import TokenState, TokenStates
from procore_signin._store.users import FindUsers

_REVOCATION: dict[Revocation, str] = {
    "none": "There were no tokens to revoke at Procore.",
    "confirmed": "Procore confirmed that the tokens are revoked.",
    "pending": "Procore has NOT confirmed that the tokens are revoked. They are kept, sealed, and "
    f"tried again by the application every minute, or now by: {command('purge --revoke-orphans')}",
    "unsure": "A response of Procore was lost, so unknown tokens may still be valid. The user can "
    "end them at Procore, under My Profile Settings > Connected Apps.",
    "sealed": "Tokens could NOT be opened, and so not revoked. Put the key that sealed them back "
    "into PROCORE_KEYS and repeat this; or the user ends the access at Procore, under "
    "My Profile Settings > Connected Apps.",
}


def list_users(
    *, environment: str | None, email: str | None, after: int, limit: int, as_json: bool
) -> None:
    """Print the matching users, in the order of their first sign-in."""
    with open_store(load_settings()) as store:
        found = store.ask(
            FindUsers(environment=environment, email=email, after=after, limit=limit + 1)
        )
    users, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"users": [as_values(each) for each in users], "more": more})
        return
    if not users:
        typer.echo("Nobody.")
        return
    print_users(users)
    if more:
        typer.echo(f"There are more: add --after {users[-1].id}", err=True)


def show(who: Who, *, as_json: bool) -> None:
    """Print everything about one user."""
    settings = load_settings()
    with open_store(settings) as store:
        user = find_one(store, who, environment=settings.environment.name)
        sessions = store.ask(SessionsOf(user.id, now=_now()))
        states = store.ask(TokenStates(user.id, now=_now()))
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
    """Print the state of a user's tokens, and never a token."""
    settings = load_settings()
    with open_store(settings) as store:
        user = find_one(store, who, environment=settings.environment.name)
        states = store.ask(TokenStates(user.id, now=_now()))
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
    """Disable a user, end all sessions and revoke the tokens.

    Returns:
        Whether Procore certainly accepts none of their tokens any more.
    """

    def run(door: ProcoreSignIn, user: User) -> AccessEnded | None:
        be_sure(f"Disable {called(user)}, end all sessions and revoke the tokens?", yes=yes)
        return door.run(flows.disable(door.context, user.id))

    return _end_access(who, run, "Disabled", as_json=as_json)


def disconnect(who: Who, *, yes: bool, as_json: bool) -> bool:
    """End all sessions of a user, undo the connections, and forget and revoke the tokens.

    Returns:
        Whether Procore certainly accepts none of their tokens any more.
    """

    def run(door: ProcoreSignIn, user: User) -> AccessEnded | None:
        what = "end all sessions, undo the connections and revoke the tokens"
        be_sure(f"Disconnect {called(user)}: {what}?", yes=yes)
        return door.run(flows.disconnect(door.context, user.id))

    return _end_access(who, run, "Disconnected", as_json=as_json)


def delete(who: Who, *, unrevoked: bool, yes: bool, as_json: bool) -> bool:
    """Disable a user, revoke the tokens, and erase all their data.

    Returns:
        Whether Procore certainly accepts none of their tokens any more.
    """

    def run(door: ProcoreSignIn, user: User) -> AccessEnded | None:
        be_sure(f"Delete {called(user)} forever?", yes=yes)
        return door.run(flows.delete(door.context, user.id, even_sealed=unrevoked))

    return _end_access(who, run, "Deleted", as_json=as_json)


def enable(who: Who, *, as_json: bool) -> None:
    """Let a user sign in again."""
    settings = load_settings()
    with open_door(settings) as door:
        user = find_one(door.store, who, environment=settings.environment.name)
        enabled = door.run(flows.enable(user.id)) or user
    if as_json:
        print_json(as_values(enabled))
    else:
        typer.echo(f"Enabled {called(enabled)}. They have to sign in again to continue.")


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
    if ended is None:  # another process has just deleted the user
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
        typer.echo("Another process is refreshing the tokens; it will revoke the new ones.")
    if ended.sign_in_under_way:
        typer.echo("A sign-in is under way, perhaps of this user. Check again in a minute.")
    return ended.certain


def _now() -> int:
    return int(time.time())
