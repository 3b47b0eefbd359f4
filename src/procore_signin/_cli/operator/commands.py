"""The operator's commands and their options: users, sessions, keys, purge."""

from __future__ import annotations

from typing import Annotated

import typer

from procore_signin._cli.failure import FAILED

users = typer.Typer(help="Users, and their access.", rich_markup_mode=None)
sessions = typer.Typer(help="Sessions: who is signed in.", rich_markup_mode=None)
keys = typer.Typer(
    help="The keys that seal tokens: make, change and retire them.", rich_markup_mode=None
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
UserId = Annotated[int | None, typer.Argument(min=1, help="The user's id here.")]
ProcoreId = Annotated[
    int | None,
    typer.Option(min=1, help="The user by Procore's id, in the environment of the settings."),
]
Email = Annotated[
    str | None, typer.Option(help="The user by e-mail address, if only one user has it.")
]
After = Annotated[int, typer.Option(min=0, help="Start after this id.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="The most to list.")]


@users.command("list", short_help="List users.")
def list_users(
    *,
    environment: Annotated[
        str | None, typer.Option(help="Only in this environment, such as production.")
    ] = None,
    email: Annotated[str | None, typer.Option(help="Only with this e-mail address.")] = None,
    after: After = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List users in the order of their first sign-in. Times are UTC."""
    from procore_signin._cli.operator import users as work  # noqa: PLC0415  # lazy: see the package

    work.list_users(environment=environment, email=email, after=after, limit=limit, as_json=as_json)


@users.command("show", short_help="Show one user.")
def show_user(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    as_json: AsJson = False,
) -> None:
    """Show everything about one user, except the state of their tokens."""
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.named_user import Who  # noqa: PLC0415

    work.show(Who(user_id, procore_id, email), as_json=as_json)


@users.command("tokens", short_help="Show the state of a user's tokens.")
def user_tokens(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    as_json: AsJson = False,
) -> None:
    """Show the state of a user's tokens. A token itself is never shown.

    Status: ok; lost, if the response to a refresh was lost; revoked. For the last two, the user
    must sign in again.
    """
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.named_user import Who  # noqa: PLC0415

    work.tokens(Who(user_id, procore_id, email), as_json=as_json)


@users.command("disable", short_help="End a user's access at once.")
def disable_user(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """End a user's access at once: no sign-in, every session over, tokens revoked at Procore.

    Exit status 0 if Procore certainly accepts none of the tokens any more; 1 if the user is
    disabled, but Procore did not confirm that.
    """
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.named_user import Who  # noqa: PLC0415

    if not work.disable(Who(user_id, procore_id, email), yes=yes, as_json=as_json):
        raise typer.Exit(FAILED)


@users.command("enable", short_help="Let a user sign in again.")
def enable_user(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    as_json: AsJson = False,
) -> None:
    """Let a user sign in again. Their sessions and tokens do not come back."""
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.named_user import Who  # noqa: PLC0415

    work.enable(Who(user_id, procore_id, email), as_json=as_json)


@users.command("disconnect", short_help="Undo a user's connections, and end their access.")
def disconnect_user(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Do what "Disconnect" on a user's page does: undo the connections, end every session, revoke.

    The user may sign in again, and is connected to no user of the application then.

    Exit status as for disable.
    """
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.named_user import Who  # noqa: PLC0415

    if not work.disconnect(Who(user_id, procore_id, email), yes=yes, as_json=as_json):
        raise typer.Exit(FAILED)


@users.command("delete", short_help="Erase a user.")
def delete_user(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    unrevoked: Annotated[
        bool,
        typer.Option("--unrevoked", help="Also delete tokens that cannot be opened and revoked."),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase a user: revoke the tokens, then delete them, the sessions and the user.

    Exit status as for disable.
    """
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.named_user import Who  # noqa: PLC0415

    who = Who(user_id, procore_id, email)
    if not work.delete(who, unrevoked=unrevoked, yes=yes, as_json=as_json):
        raise typer.Exit(FAILED)


@sessions.command("list", short_help="List open sessions.")
def list_sessions(
    *,
    user: Annotated[int | None, typer.Option(min=1, help="Only of the user with this id.")] = None,
    procore_id: ProcoreId = None,
    email: Email = None,
    after: After = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the open sessions of one user, or of all users. Times are UTC."""
    from procore_signin._cli.operator import sessions as work  # noqa: PLC0415
    from procore_signin._cli.operator.named_user import Who  # noqa: PLC0415

    who = Who(user, procore_id, email)
    work.list_sessions(who, after=after, limit=limit, as_json=as_json)


@sessions.command("revoke", short_help="End sessions.")
def revoke_sessions(
    session_id: Annotated[int | None, typer.Argument(min=1, help="The session's id.")] = None,
    *,
    user: Annotated[int | None, typer.Option(min=1, help="All of the user with this id.")] = None,
    procore_id: ProcoreId = None,
    email: Email = None,
    everybody: Annotated[
        bool, typer.Option("--everybody", help="All sessions of all users.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """End one session, those of one user, or all. Users may sign in again; tokens stay."""
    from procore_signin._cli.operator import sessions as work  # noqa: PLC0415
    from procore_signin._cli.operator.named_user import Who  # noqa: PLC0415

    who = Who(user, procore_id, email)
    work.revoke(who, session_id=session_id, everybody=everybody, yes=yes, as_json=as_json)


@keys.command("generate", short_help="Make a key.")
def generate_key(
    *,
    open_only: Annotated[
        bool,
        typer.Option("--open-only", help="Put it last, to be promoted later."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key and put it first in .env: it seals, the older ones only open.

    If you cannot stop all processes at once, use --open-only: give it to all, then promote. If the
    process environment sets PROCORE_KEYS, the new line is printed instead. It is secret.
    """
    from procore_signin._cli.operator import keys as work  # noqa: PLC0415

    work.generate(open_only=open_only, as_json=as_json)


@keys.command("promote", short_help="Put a key first, so that it seals.")
def promote_key(
    key_id: Annotated[str, typer.Argument(help="The key's id, as keys list shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Put a key first in .env, once every process of the application has it: it then seals.

    If the process environment sets PROCORE_KEYS, the new line is printed instead. It is secret.
    """
    from procore_signin._cli.operator import keys as work  # noqa: PLC0415

    work.promote(key_id, as_json=as_json)


@keys.command("list", short_help="List keys and their uses.")
def list_keys(*, as_json: AsJson = False) -> None:
    """List the keys, their uses, and keys that the database needs but PROCORE_KEYS lacks.

    Exit status 0 when no key is missing, 1 otherwise.
    """
    from procore_signin._cli.operator import keys as work  # noqa: PLC0415

    if not work.list_keys(as_json=as_json):
        raise typer.Exit(FAILED)


@keys.command("rotate", short_help="Seal everything again with the active key.")
def rotate_keys(*, as_json: AsJson = False) -> None:
    """Seal everything again with the active key. It may be stopped and started again at any time.

    The application keeps running. First restart all of its processes with the new key. Exit status
    0 if everything is sealed with the active key; 1 if something cannot be opened, which is listed
    and left unchanged, or if a process still seals with an older key.
    """
    from procore_signin._cli.operator import keys as work  # noqa: PLC0415

    if not work.rotate(as_json=as_json):
        raise typer.Exit(FAILED)


@keys.command("retire", short_help="Remove a key.")
def retire_key(
    key_id: Annotated[str, typer.Argument(help="The key's id, as keys list shows it.")],
    *,
    give_up: Annotated[
        bool,
        typer.Option("--give-up", help="Delete what only this key opens; also for a lost key."),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove a key from PROCORE_KEYS in .env, unless something still needs it.

    If the process environment sets PROCORE_KEYS, the new line is printed instead. It is secret.
    """
    from procore_signin._cli.operator import keys as work  # noqa: PLC0415

    work.retire(key_id, give_up=give_up, yes=yes, as_json=as_json)


def purge(
    *,
    grants_older_than: Annotated[
        int | None,
        typer.Option(
            min=0, help="Also delete lost and revoked token sets not written for this many days."
        ),
    ] = None,
    revoke_orphans: Annotated[
        bool,
        typer.Option("--revoke-orphans", help="Also revoke unused tokens at Procore."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete expired sessions and sign-in attempts, in batches, while the application runs.

    The application itself does this every minute, a few hundred at a time.
    """
    from procore_signin._cli.operator import purge as work  # noqa: PLC0415

    work.run(grants_older_than=grants_older_than, revoke_orphans=revoke_orphans, as_json=as_json)
