"""The commands and their options. Other modules implement them."""

from __future__ import annotations

import io
import os
import signal
import sys
from enum import StrEnum, auto
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from procore_signin._cli.failure import FAILED, INTERRUPTED, CommandFailed, complain
from procore_signin._cli.operator import commands as administration
from procore_signin._cli.personal import commands as person
from procore_signin._extras import need
from procore_signin._program import program
from procore_signin._settings.env_file import EnvFileUnusable
from procore_signin.errors import ProcoreSignInError

app = typer.Typer(
    name="procore-signin",
    help="Sign up and sign in with Procore: an application, a local Procore, and their tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain columns: boxes cut long option names at 80 columns
)
database = typer.Typer(
    help="The database's tables: their version, and how to change it.", rich_markup_mode=None
)
app.add_typer(database, name="db", no_args_is_help=True)
app.add_typer(administration.users, name="users", no_args_is_help=True)
app.add_typer(administration.sessions, name="sessions", no_args_is_help=True)
app.add_typer(administration.keys, name="keys", no_args_is_help=True)


# Typer knows `Literal` from 0.19 on only.
class Pkce(StrEnum):
    """See the option."""

    IGNORE = auto()
    ENFORCE = auto()
    REJECT = auto()


class Rotation(StrEnum):
    """See the option."""

    IMMEDIATE = auto()
    GRACE = auto()


class Doorkeeper(StrEnum):
    """See the option."""

    FOUR = "4"
    FIVE = "5"


class MeName(StrEnum):
    """See the option."""

    ALWAYS = auto()
    COMPANY = auto()


class CompanyHeader(StrEnum):
    """See the option."""

    DOCUMENTED = auto()
    ALWAYS = auto()


Host = Annotated[str, typer.Option(help="Address to listen at.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
AsChild = Annotated[bool, typer.Option("--as-child", hidden=True)]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help="The database; by default PROCORE_DATABASE_URL, else sqlite:///test.db.",
    ),
]


def run() -> NoReturn:
    """Run the command line and end the process; see `procore_signin._cli.main`."""
    _print_every_letter()
    try:
        app(prog_name=program())
    except (CommandFailed, EnvFileUnusable, ProcoreSignInError, OSError) as trouble:
        complain(trouble)
    sys.exit(FAILED)


def _print_every_letter() -> None:
    """Make every name printable: a letter that the output's encoding lacks becomes an escape.

    A console, or a redirected output on Windows, supports the letters of only a few languages. A
    list of users must not fail at the first other letter.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _show_version(wanted: bool) -> None:  # noqa: FBT001  # the shape of Typer's callbacks
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  # lazy: see the package

        typer.echo(f"procore-signin {version('procore-signin')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None: ...


@app.command(short_help="Run the application and a local Procore, to try.")
def demo(
    *,
    host: Host = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port of the application; 0 finds a free one.  [default: 4567]"
        ),
    ] = None,
    emulator_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the local Procore; 0 finds a free one.")
    ] = 4568,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use the local Procore, whatever the settings say.")
    ] = False,
) -> None:
    """Run the application and a local Procore, ready to try in a browser.

    If PROCORE_ENVIRONMENT and credentials are set, in .env or the environment, only the application
    runs, against that real Procore.
    """
    need("app")
    from procore_signin._cli.run import demo as both  # noqa: PLC0415

    both.run(both.Wishes(host, port, emulator_port, offline), folder=Path.cwd())


@app.command(short_help="Run the application.")
def serve(
    *,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 finds a free one.")
    ] = 4567,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Number of processes; keep 1 with SQLite.")
    ] = 1,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Update the database's tables first.")
    ] = False,
    as_child: AsChild = False,
) -> None:
    """Run the application with the settings in .env and the environment."""
    need("app")
    from procore_signin._cli.run import serve as application  # noqa: PLC0415

    ended_by = application.run(
        host=host, port=port, workers=workers, migrate=migrate, as_child=as_child
    )
    if ended_by == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


@app.command(short_help="Run a local Procore alone.")
def emulator(
    *,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 finds a free one.")
    ] = 4568,
    client_id: Annotated[
        str, typer.Option(help="Id of the registered client.")
    ] = "emulator-client-id",
    client_secret: Annotated[
        str, typer.Option(help="Its secret: made up, never a real one.")
    ] = "emulator-client-secret",  # noqa: S107  # known to everyone
    redirect_uri: Annotated[
        list[str] | None,
        typer.Option(
            help="A registered redirect URI on this machine; repeatable.  "
            "[default: http://localhost:4567/callback]"
        ),
    ] = None,
    client_name: Annotated[
        str, typer.Option(help="Its name on the consent dialog.")
    ] = "Your Application",
    pkce: Annotated[
        Pkce,
        typer.Option(help="What a code challenge does (RFC 7636)."),
    ] = Pkce.IGNORE,
    rotation: Annotated[
        Rotation,
        typer.Option(
            help="When a used refresh token dies: at once, or when its successor is used."
        ),
    ] = Rotation.IMMEDIATE,
    doorkeeper: Annotated[
        Doorkeeper, typer.Option(help="Which generation of the server software to imitate.")
    ] = Doorkeeper.FOUR,
    iss: Annotated[
        bool, typer.Option("--iss", help="Send iss with the authorization response (RFC 9207).")
    ] = False,
    fragment: Annotated[
        bool, typer.Option("--fragment", help="Respond in the fragment, not the query.")
    ] = False,
    code_reuse_revokes: Annotated[
        bool,
        typer.Option("--code-reuse-revokes", help="A code sent twice revokes its tokens."),
    ] = False,
    failed_refresh_burns: Annotated[
        bool, typer.Option(help="A refused refresh spends the refresh token too.")
    ] = True,
    me_name: Annotated[
        MeName,
        typer.Option(help="When /me has the name: always, or only for a company or project."),
    ] = MeName.ALWAYS,
    hourly_limit: Annotated[
        int | None, typer.Option(min=1, help="API requests in 60 minutes.  [default: no limit]")
    ] = None,
    spike_limit: Annotated[
        int | None, typer.Option(min=1, help="API requests in 10 seconds.  [default: no limit]")
    ] = None,
    company_header: Annotated[
        CompanyHeader,
        typer.Option(
            help="Where Procore-Company-Id is needed: as documented, or for projects too."
        ),
    ] = CompanyHeader.DOCUMENTED,
    reuse_access_token: Annotated[
        bool,
        typer.Option(
            "--reuse-access-token", help="Signing in again returns the token that is still valid."
        ),
    ] = False,
    link_keeps_query: Annotated[
        bool, typer.Option("--link-keeps-query", help="Keep other parameters in Link URLs.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Make codes, tokens and ids repeat from run to run.")
    ] = None,
    seed_file: Annotated[
        Path | None,
        typer.Option(help="People, companies, projects, clients: YAML or JSON.  [default: demo]"),
    ] = None,
    state_file: Annotated[
        Path | None,
        typer.Option(help="Keep the state in this file.  [default: in memory]"),
    ] = None,
    environments: Annotated[
        bool,
        typer.Option("--environments", help="Run all four, at this port and the next three."),
    ] = False,
    as_child: AsChild = False,
) -> None:
    """Run a local Procore: log-in, consent, tokens and API, without account or network."""
    need("emulator")
    from procore_signin._cli.run import emulator as local_procore  # noqa: PLC0415

    local_procore.refuse_in_production()
    options = local_procore.options(
        client_id=client_id,
        client_secret=client_secret,
        redirect_uris=tuple(redirect_uri or ()),
        client_name=client_name,
        pkce=pkce.value,
        rotation=rotation.value,
        doorkeeper=int(doorkeeper),
        iss=iss,
        fragment=fragment,
        code_reuse_revokes=code_reuse_revokes,
        failed_refresh_burns=failed_refresh_burns,
        me_name=me_name.value,
        hourly_limit=hourly_limit,
        spike_limit=spike_limit,
        company_header=company_header.value,
        reuse_access_token=reuse_access_token,
        link_keeps_query=link_keeps_query,
        seed=seed,
    )
    local_procore.run(
        options,
        host=host,
        port=port,
        environments=environments,
        seed_file=seed_file,
        state_file=state_file,
        as_child=as_child,
    )


@app.command(short_help="Write or complete .env.")
def init(
    *,
    environment: Annotated[
        str | None, typer.Option(help="production, sandbox, monthly, federal or emulator.")
    ] = None,
    client_id: Annotated[str | None, typer.Option(help="From Procore's developer portal.")] = None,
    client_secret_stdin: Annotated[
        bool,
        typer.Option("--client-secret-stdin", help="Read the client secret from standard input."),
    ] = False,
    redirect_uri: Annotated[
        str | None, typer.Option(help="Exactly as registered at the developer portal.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="The database; by default sqlite:///test.db.")
    ] = None,
    table_prefix: Annotated[
        str | None,
        typer.Option(help="What the names of the tables begin with, in a database of yours."),
    ] = None,
    file: Annotated[Path, typer.Option(help="The file to write or complete.")] = Path(".env"),
    force: Annotated[
        bool, typer.Option("--force", help="Replace values that the file already has.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write or complete .env: ask for what is missing, and make a key for the token vault.

    At a terminal it asks; otherwise everything comes from the options.
    """
    from procore_signin._cli.setup import init as file_of_settings  # noqa: PLC0415

    secret = sys.stdin.readline().strip() if client_secret_stdin else None
    given = file_of_settings.Given(
        environment, client_id, secret, redirect_uri, database_url, table_prefix
    )
    file_of_settings.run(given, path=file, force=force, as_json=as_json)


@app.command(short_help="Check the settings before users sign in.")
def doctor(
    *,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="The port that serve will listen at.")
    ] = 4567,
    as_json: AsJson = False,
) -> None:
    """Check the settings before users sign in: what is wrong, why, and the cure.

    Exit status 0 if there are no problems (warnings are allowed); 1 otherwise.
    """
    from procore_signin._cli.setup import doctor as checks  # noqa: PLC0415

    if not checks.run(os.environ, Path(".env"), port=port, as_json=as_json):
        raise typer.Exit(FAILED)


app.command(short_help="Delete what has expired.")(administration.purge)
person.add_to(app)


@database.command(short_help="Update the tables.")
def upgrade(
    *,
    beside: Annotated[
        bool,
        typer.Option(
            "--beside", help="Make new tables beside another application's of another prefix."
        ),
    ] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Update the tables; creates the database's file if necessary.

    Users in tables of another prefix would have to sign in again, so it makes no new ones there
    unless you say --beside.
    """
    from procore_signin._cli.operator import db as tables  # noqa: PLC0415

    tables.upgrade(database_url, beside=beside, as_json=as_json)


@database.command(short_help="Show their version.")
def current(*, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show the version of the tables, and the one that this program needs.

    Exit status 0 if they are the same, 1 otherwise.
    """
    from procore_signin._cli.operator import db as tables  # noqa: PLC0415

    if not tables.current(database_url, as_json=as_json):
        raise typer.Exit(FAILED)


@database.command(short_help="Go back to an older version.")
def downgrade(
    revision: Annotated[str, typer.Argument(help="The version to go back to; base removes all.")],
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for confirmation: data will be lost.")
    ] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Downgrade the tables to an older version. Data that newer ones added is lost."""
    from procore_signin._cli.operator import db as tables  # noqa: PLC0415

    if not yes and not _is_sure(
        "Data that newer versions added to the database will be lost. Go on?"
    ):
        raise typer.Exit(FAILED)
    tables.downgrade(database_url, revision, as_json=as_json)


def _is_sure(question: str) -> bool:
    try:
        return typer.confirm(question)
    except typer.Abort:
        raise typer.Exit(INTERRUPTED) from None
