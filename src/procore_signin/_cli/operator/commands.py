"""The operator's commands and their options: users, sessions, keys, purge."""

from __future__ import annotations

from typing import Annotated

import typer

from procore_signin._cli.failure import FAILED

users = typer.Typer(help="People: who is there, and their access.", rich_markup_mode=None)
sessions = typer.Typer(help="Sessions: who is signed in.", rich_markup_mode=None)
keys = typer.Typer(
    help="The keys that seal tokens: make, change and retire them.", rich_markup_mode=None
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
UserId = Annotated[int | None, typer.Argument(min=1, help="The person's id here.")]
ProcoreId = Annotated[
    int | None,
    typer.Option(min=1, help="The person by Procore's id, in the environment of the settings."),
]
Email = Annotated[
    str | None, typer.Option(help="The person by e-mail address, if it fits one person only.")
]
After = Annotated[int, typer.Option(min=0, help="Go on after this id.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="As many at most.")]


@users.command("list", short_help="List people.")
def list_users(
    *,
    environment: Annotated[
        str | None, typer.Option(help="Only of this one, such as production.")
    ] = None,
    email: Annotated[str | None, typer.Option(help="Only with this e-mail address.")] = None,
    after: After = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List people in the order of their first sign-in. Times are UTC."""
    from procore_signin._cli.operator import users as work  # noqa: PLC0415  # lazy: see the package

    work.list_people(
        environment=environment, email=email, after=after, limit=limit, as_json=as_json
    )


@users.command("show", short_help="Show one person.")
def show_user(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of one person, but for the tokens' state."""
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.people import Who  # noqa: PLC0415

    work.show(Who(user_id, procore_id, email), as_json=as_json)


@users.command("tokens", short_help="Show the state of a person's tokens.")
def user_tokens(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    as_json: AsJson = False,
) -> None:
    """Show the state of a person's tokens. A token itself is never shown.

    Status: ok; lost, when the response to a refresh was lost; revoked. Only a new sign-in helps
    against the last two.
    """
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.people import Who  # noqa: PLC0415

    work.tokens(Who(user_id, procore_id, email), as_json=as_json)


@users.command("disable", short_help="End a person's access at once.")
def disable_user(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """End a person's access at once: no sign-in, every session over, tokens revoked at Procore.

    Exit status 0 when Procore certainly honours none of the tokens any more; 1 when the person is
    disabled, but Procore did not confirm that.
    """
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.people import Who  # noqa: PLC0415

    if not work.disable(Who(user_id, procore_id, email), yes=yes, as_json=as_json):
        raise typer.Exit(FAILED)


@users.command("enable", short_help="Let a person sign in again.")
def enable_user(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    as_json: AsJson = False,
) -> None:
    """Let a person sign in again. Their sessions and tokens do not come back."""
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.people import Who  # noqa: PLC0415

    work.enable(Who(user_id, procore_id, email), as_json=as_json)


@users.command("delete", short_help="Erase a person.")
def delete_user(
    user_id: UserId = None,
    *,
    procore_id: ProcoreId = None,
    email: Email = None,
    unrevoked: Annotated[
        bool,
        typer.Option("--unrevoked", help="Delete tokens too that cannot be opened and revoked."),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase a person: revoke the tokens, then delete them, the sessions and the person.

    Exit status as for disable.
    """
    from procore_signin._cli.operator import users as work  # noqa: PLC0415
    from procore_signin._cli.operator.people import Who  # noqa: PLC0415

    who = Who(user_id, procore_id, email)
    if not work.delete(who, unrevoked=unrevoked, yes=yes, as_json=as_json):
        raise typer.Exit(FAILED)


@sessions.command("list", short_help="List open sessions.")
def list_sessions(
    *,
    user: Annotated[int | None, typer.Option(min=1, help="Only of the person of this id.")] = None,
    procore_id: ProcoreId = None,
    email: Email = None,
    after: After = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the open sessions of one person, or of everyone. Times are UTC."""
    from procore_signin._cli.operator import sessions as work  # noqa: PLC0415
    from procore_signin._cli.operator.people import Who  # noqa: PLC0415

    who = Who(user, procore_id, email)
    work.list_sessions(who, after=after, limit=limit, as_json=as_json)


@sessions.command("revoke", short_help="End sessions.")
def revoke_sessions(
    session_id: Annotated[int | None, typer.Argument(min=1, help="The session's id.")] = None,
    *,
    user: Annotated[int | None, typer.Option(min=1, help="All of the person of this id.")] = None,
    procore_id: ProcoreId = None,
    email: Email = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="All there are.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """End one session, those of one person, or all. People may sign in again; tokens stay."""
    from procore_signin._cli.operator import sessions as work  # noqa: PLC0415
    from procore_signin._cli.operator.people import Who  # noqa: PLC0415

    who = Who(user, procore_id, email)
    work.revoke(who, session_id=session_id, everybody=everybody, yes=yes, as_json=as_json)


@keys.command("generate", short_help="Make a key.")
def generate_key(
    *,
    open_only: Annotated[
        bool,
        typer.Option("--open-only", help="Put it behind the others, to be promoted later."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key and put it in front, in .env: it seals, the older ones only open.

    Where several processes are not all stopped at once, --open-only: give it to all, then promote.
    Where the process environment sets PROCORE_KEYS, the new line is printed instead. It is secret.
    """
    from procore_signin._cli.operator import keys as work  # noqa: PLC0415

    work.generate(open_only=open_only, as_json=as_json)


@keys.command("promote", short_help="Put a key in front, so that it seals.")
def promote_key(
    key_id: Annotated[str, typer.Argument(help="The key's id, as keys list shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Put a key in front, in .env, once every process of the application has it: it seals then.

    Where the process environment sets PROCORE_KEYS, the new line is printed instead. It is secret.
    """
    from procore_signin._cli.operator import keys as work  # noqa: PLC0415

    work.promote(key_id, as_json=as_json)


@keys.command("list", short_help="List keys and what needs them.")
def list_keys(*, as_json: AsJson = False) -> None:
    """List the keys, what they are needed for, and keys that the database needs and no one has.

    Exit status 0 when no key is missing, 1 otherwise.
    """
    from procore_signin._cli.operator import keys as work  # noqa: PLC0415

    if not work.list_keys(as_json=as_json):
        raise typer.Exit(FAILED)


@keys.command("rotate", short_help="Seal everything anew with the active key.")
def rotate_keys(*, as_json: AsJson = False) -> None:
    """Seal everything anew with the active key. It may be stopped and started again at any time.

    The application goes on meanwhile. First start all of its processes again with the new key.
    Exit status 0 when all is sealed with the active key; 1 when something cannot be opened, which
    is named and left as it is, or when a process still seals with an older key.
    """
    from procore_signin._cli.operator import keys as work  # noqa: PLC0415

    if not work.rotate(as_json=as_json):
        raise typer.Exit(FAILED)


@keys.command("retire", short_help="Take a key out of use.")
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
    """Take a key out of PROCORE_KEYS, in .env, unless something still needs it.

    Where the process environment sets PROCORE_KEYS, the new line is printed instead. It is secret.
    """
    from procore_signin._cli.operator import keys as work  # noqa: PLC0415

    work.retire(key_id, give_up=give_up, yes=yes, as_json=as_json)


def purge(
    *,
    grants_older_than: Annotated[
        int | None,
        typer.Option(
            min=0, help="Also delete lost and revoked token sets written this many days ago."
        ),
    ] = None,
    revoke_orphans: Annotated[
        bool,
        typer.Option("--revoke-orphans", help="Also revoke tokens that no one uses, at Procore."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete sessions and sign-in attempts that have expired, in batches, while all goes on.

    The application does so itself every minute, a few hundred at a time.
    """
    from procore_signin._cli.operator import purge as work  # noqa: PLC0415

    work.run(grants_older_than=grants_older_than, revoke_orphans=revoke_orphans, as_json=as_json)
