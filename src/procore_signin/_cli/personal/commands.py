"""The commands for a user without a web application: login, logout, whoami, api."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final

import typer

from procore_signin._cli.failure import FAILED, CommandFailed, complain
from procore_signin.errors import (
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    SignInRefused,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from procore_signin._cli.personal.profile import Profile

SIGNED_OUT: Final = 3
REFUSED: Final = 4
NOT_NOW: Final = 5

ProfileName = Annotated[
    str, typer.Option("--profile", help="A name of your choice for this grant.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command(short_help="Log in from a terminal.")(login)
    app.command(short_help="Revoke and delete the grant.")(logout)
    app.command(short_help="Show who is logged in.")(whoami)
    app.command(short_help="Call Procore's API.")(api)


def login(
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
        str | None,
        typer.Option(
            help="As registered: http://localhost:PORT/PATH, to receive the response; or "
            "urn:ietf:wg:oauth:2.0:oob, to paste the code."
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address; do not open a browser.")
    ] = False,
    timeout: Annotated[
        int, typer.Option(min=1, max=1800, help="Seconds to wait for the browser's response.")
    ] = 600,
    profile: ProfileName = "default",
    as_json: AsJson = False,
) -> None:
    """Log in to Procore from a terminal, once; `api` then acts for you.

    The client comes from the options, else from PROCORE_CLIENT_ID, PROCORE_CLIENT_SECRET and
    PROCORE_ENVIRONMENT (the environment or .env), else from the last login of this profile. The
    emulator needs none. The grant is kept in $XDG_DATA_HOME/procore-signin, readable only by you.
    """
    from procore_signin._cli.personal.login import Wishes, run  # noqa: PLC0415  # lazy: see the package

    secret = sys.stdin.readline().strip() if client_secret_stdin else None
    wishes = Wishes(environment, client_id, secret, redirect_uri, not no_browser, timeout)
    with _statuses(profile):
        run(_profile(profile), wishes, as_json=as_json)


def logout(
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Delete it even if Procore does not confirm.")
    ] = False,
    profile: ProfileName = "default",
    as_json: AsJson = False,
) -> None:
    """Revoke the grant at Procore and delete it here.

    Exit status 0 if Procore certainly accepts it no more, 1 otherwise.
    """
    from procore_signin._cli.personal.logout import run  # noqa: PLC0415

    with _statuses(profile):
        if not run(_profile(profile), force=force, as_json=as_json):
            raise typer.Exit(FAILED)


def whoami(*, profile: ProfileName = "default", as_json: AsJson = False) -> None:
    """Ask Procore who is logged in.

    Exit status 3 if no user is logged in any more.
    """
    from procore_signin._cli.personal.whoami import run  # noqa: PLC0415

    with _statuses(profile):
        run(_profile(profile), as_json=as_json)


def api(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[METHOD] PATH", help="Such as GET /rest/v1.0/projects."),
    ],
    *,
    company: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2**63 - 1,
            help="The company to call into. Also company_id in the query of a GET of version 1.",
        ),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="name:value; repeatable.")
    ] = None,
    raw_field: Annotated[
        list[str] | None,
        typer.Option(
            "--raw-field",
            "-f",
            help="name=value, in the query of a GET, else in a JSON body; repeatable.",
        ),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            "-F",
            help="As -f, but true, false, null and whole numbers become JSON values.",
        ),
    ] = None,
    body: Annotated[
        str | None,
        typer.Option("--input", help="A file to send as the body; - for standard input."),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option("--query", "-q", help="What to print, in JMESPath, such as [].name."),
    ] = None,
    paginate: Annotated[
        bool, typer.Option("--paginate", help="Get all pages of a list, as one list.")
    ] = False,
    include: Annotated[
        bool, typer.Option("--include", "-i", help="Also print the status and headers.")
    ] = False,
    profile: ProfileName = "default",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs, on one line.")
    ] = False,
) -> None:
    """Call Procore's API as the logged-in user. The token is kept fresh, and never shown.

    Exit status: 0 success; 1 the request could not be sent; 2 wrong usage; 3 log in first; 4
    Procore refused it; 5 try again later.
    """
    from procore_signin._cli.personal.api_command import Options, run  # noqa: PLC0415

    options = Options(
        company=company,
        headers=header or (),
        fields=field or (),
        raw_fields=raw_field or (),
        input=body,
        query=query,
        paginate=paginate,
        include=include,
        as_json=as_json,
    )
    with _statuses(profile):
        run(_profile(profile), words, options)


def _profile(name: str) -> Profile:
    from procore_signin._cli.personal.profile import Profile  # noqa: PLC0415

    return Profile(name, os.environ)


@contextmanager
def _statuses(profile: str) -> Iterator[None]:
    """Print errors for the user, and end with the matching exit status for scripts."""
    # The command itself prints the outcome. The library's log would repeat it.
    logging.getLogger("procore_signin").addHandler(logging.NullHandler())
    from procore_signin._cli.personal.profile_client import NotSignedIn  # noqa: PLC0415

    option = "" if profile == "default" else f" --profile {profile}"
    log_in = f"Run: procore-signin login{option}"
    try:
        yield
    except NotSignedIn:
        complain(
            CommandFailed(
                "You are not logged in.",
                why=f"The profile {profile!r} holds no grant.",
                cure=log_in,
            )
        )
        raise typer.Exit(SIGNED_OUT) from None
    except (GrantLost, SignInRefused) as error:
        complain(CommandFailed("You have to log in again.", why=f"{error}.", cure=log_in))
        raise typer.Exit(SIGNED_OUT) from None
    except (ProcoreUnavailable, StoreUnavailable) as error:
        complain(error)
        raise typer.Exit(NOT_NOW) from None
    except ProcoreSignInError as error:
        complain(error)
        raise typer.Exit(REFUSED if _is_refusal(error) else FAILED) from None


def _is_refusal(error: ProcoreSignInError) -> bool:
    status = getattr(error, "status", None)
    return (
        isinstance(status, int)
        and HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    )
