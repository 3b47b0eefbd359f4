"""`procore-signin login`: sign a user in without a web application, and keep the grant.

The sign-in is that of the web application, with the same attempt, ledger, escrow and transaction.
This process holds the attempt, instead of the browser's cookie.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import sys
import webbrowser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import typer

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.output import print_json
from procore_signin._cli.personal.loopback import Loopback, is_loopback
from procore_signin._cli.personal.loopback_page import Told
from procore_signin._cli.personal.out_of_band import OUT_OF_BAND, pasted_code
from procore_signin._cli.personal.profile import Profile, Registration
from procore_signin._cli.personal.profile_client import (
    ProfileSignIn,
    front_door,
    holds_grants,
    named,
    users_of,
)
from procore_signin._flow import users
from procore_signin._flow.attempt import SignInAttempt, check_attempt, new_attempt
from procore_signin._flow.janitor import sweep
from procore_signin._flow.sign_in import Browser, SignedIn, finish_sign_in
from procore_signin._protocol.authorization import AuthorizationDenied, CodeGranted
from procore_signin._protocol.secret import Secret
from procore_signin._settings import EMULATOR_CLIENT_ID, EMULATOR_CLIENT_SECRET, env_file
from procore_signin.environments import EMULATOR_URL, NAMES, Environment, by_name
from procore_signin.errors import GrantLost, ProcoreSignInError, SignInRefused

PASTES: Final = 3
_CREDENTIAL: Final = re.compile(r"[\x21-\x7e]{1,512}")


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options; None if not given.

    Attributes:
        environment: Which Procore.
        client_id: The client.
        client_secret: Its secret.
        redirect_uri: Where the code goes: out of band, or a port on this machine.
        browser: Whether to open one.
        timeout: Seconds to wait for a loopback response.
    """

    environment: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    redirect_uri: str | None = None
    browser: bool = True
    timeout: int = 600


def run(profile: Profile, wishes: Wishes, *, as_json: bool) -> None:
    """Sign a user in and keep the grant in `profile`.

    Raises:
        CommandFailed: Something is missing or in the way, or the user did not sign in.
        ProcoreSignInError: As in `finish_sign_in`. The profile is unchanged.
        OSError: The user's own store cannot be written to.
    """
    profile.make()
    before = profile.registration()
    chosen = registration(wishes, _settings(), before)
    if before is not None and not before.same_client(chosen):
        _refuse_to_forget(profile, before)
    # Before the exchange, so that logout always knows the client that can revoke.
    user_id = None if before is None or not before.same_client(chosen) else before.user_id
    profile.keep(chosen.signed_in(user_id))
    with front_door(profile, chosen) as door:
        signed_in = _sign_in(door, chosen, wishes)
        profile.keep(chosen.signed_in(signed_in.user.id))
        _give_back_the_rest(door, signed_in)
    user = signed_in.user
    if as_json:
        print_json(
            {
                "profile": profile.name,
                "environment": user.environment,
                "procore_id": user.procore_id,
                "login": user.email,
                "name": user.name,
            }
        )
        return
    typer.echo(f"Signed in as {named(user.name, user.email)} ({user.environment}).")


def registration(
    wishes: Wishes, settings: Mapping[str, str], before: Registration | None
) -> Registration:
    """Return the client to sign in with: from the options, the settings, or the profile.

    Settings and profile count only if they are for the same environment: a client secret is never
    sent to another one. Settings without an environment are for any but the emulator, which needs
    no client.

    Args:
        wishes: The options.
        settings: The process environment, and `.env` below it.
        before: The client in the profile.

    Raises:
        CommandFailed: Something is missing or wrong.
    """
    environment = _environment(wishes, settings, before)
    unnamed = "" if environment.name == "emulator" else environment.name
    if settings.get("PROCORE_ENVIRONMENT", unnamed) != environment.name:
        settings = {}
    known = before if before is not None and before.environment == environment else None
    client_id = wishes.client_id or settings.get("PROCORE_CLIENT_ID")
    secret = wishes.client_secret or settings.get("PROCORE_CLIENT_SECRET")
    if known is not None and client_id in {None, known.client_id}:
        client_id, kept = known.client_id, known.client_secret
    elif environment.name == "emulator" and client_id in {None, EMULATOR_CLIENT_ID}:
        client_id, kept = EMULATOR_CLIENT_ID, _secret(EMULATOR_CLIENT_SECRET)
    else:
        client_id, kept = client_id or _ask("Client ID", "--client-id"), None
    if secret is not None or kept is None:
        kept = _secret(secret or _ask("Client secret", "--client-secret-stdin"))
    if not _CREDENTIAL.fullmatch(client_id):
        raise CommandFailed(
            "The client ID cannot be used.",
            why="It has spaces, control characters or letters beyond ASCII in it.",
            cure="Copy it from the application's page on Procore's developer portal.",
        )
    return Registration(environment, client_id, kept, _redirect_uri(wishes, settings, known))


def _settings() -> dict[str, str]:
    in_process = {name: value for name, value in os.environ.items() if value}
    return env_file.read(Path(".env")) | in_process


def _environment(
    wishes: Wishes, settings: Mapping[str, str], before: Registration | None
) -> Environment:
    name = wishes.environment or settings.get("PROCORE_ENVIRONMENT")
    if name is None and before is not None:
        return before.environment
    if name is None:
        raise CommandFailed(
            "The environment is not set.",
            why="PROCORE_ENVIRONMENT is not set, and this profile was not used before.",
            cure=f"Add --environment with one of: {', '.join(NAMES)}.",
        )
    try:
        return by_name(name, emulator_url=settings.get("PROCORE_EMULATOR_URL", EMULATOR_URL))
    except ValueError as error:
        raise CommandFailed(
            "There is no such environment.",
            why=f"{str(error).rstrip('.')}.",
            cure="Correct --environment, PROCORE_ENVIRONMENT or PROCORE_EMULATOR_URL.",
        ) from None


def _redirect_uri(wishes: Wishes, settings: Mapping[str, str], known: Registration | None) -> str:
    """Return the one of the options; else a usable one of the settings or the profile; else none.

    A web application's redirect URI in the settings is valid, but not usable here.
    """
    wished = wishes.redirect_uri
    if wished is not None:
        if wished != OUT_OF_BAND and not is_loopback(wished):
            raise CommandFailed(
                "No response can come back to that redirect URI.",
                why="A command takes a response at this machine over plain http, or a pasted code.",
                cure=f"Name http://localhost:<port>/<path> or {OUT_OF_BAND}, as registered.",
            )
        return wished
    set_one = settings.get("PROCORE_REDIRECT_URI", "")
    if is_loopback(set_one):
        return set_one
    return OUT_OF_BAND if known is None else known.redirect_uri


def _secret(text: str) -> Secret:
    if not _CREDENTIAL.fullmatch(text):
        raise CommandFailed(
            "The client secret cannot be used.",
            why="It is empty, or has spaces, control characters or letters beyond ASCII in it.",
            cure="Copy it from the application's page on Procore's developer portal.",
        )
    return Secret(text, "client secret")


def _ask(words: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise CommandFailed(
            f"The {words[0].lower()}{words[1:]} is missing.",
            why="There is no terminal to ask at.",
            cure=f"Give it with {option}, or set it in .env: see procore-signin init --help.",
        )
    if option == "--client-secret-stdin":
        return getpass.getpass(f"{words} (not shown while you type): ", sys.stderr).strip()
    return (_typed(words) or "").strip()


def _typed(words: str) -> str | None:
    """Return the next line of input, or None at the end.

    Not Typer's prompt, which writes to standard output: that is for the result.
    """
    typer.echo(f"{words}: ", nl=False, err=True)
    return sys.stdin.readline() or None


def _refuse_to_forget(profile: Profile, before: Registration) -> None:
    """Refuse to overwrite a client whose grants only that client can revoke."""
    with front_door(profile, before) as door:
        if not holds_grants(door):
            return
    raise CommandFailed(
        f"The profile {profile.name!r} holds a grant of another client.",
        why=f"It was made in {before.environment.name}, for another client ID or environment than "
        "the one chosen now.",
        cure="Run procore-signin logout first, or keep both: login --profile <another name>.",
    )


def _sign_in(door: ProfileSignIn, chosen: Registration, wishes: Wishes) -> SignedIn:
    for user_id in users_of(door):
        door.run(users.enable(user_id))  # an unfinished logout disabled them
    attempt = new_attempt(door.context, return_to="/")
    if chosen.redirect_uri == OUT_OF_BAND:
        _show(attempt.authorization_url(door.context), wishes)
        response = CodeGranted(_pasted(), attempt.state, iss=None)
        return _finish(door, attempt, response)
    with Loopback(chosen.redirect_uri, attempt) as loopback:
        _show(attempt.authorization_url(door.context), wishes)
        typer.echo(f"Waiting for the response at {chosen.redirect_uri}. Ctrl-C ends it.", err=True)
        answer = loopback.wait(wishes.timeout)
        with _concluded(loopback):
            signed_in = _finish(door, attempt, answer)
        who = named(signed_in.user.name, signed_in.user.email)
        loopback.conclude(
            Told(
                HTTPStatus.OK,
                "You are signed in",
                f"The command line now acts for {who}. You can close this window.",
            )
        )
    return signed_in


@contextlib.contextmanager
def _concluded(loopback: Loopback) -> Iterator[None]:
    """Also show in the browser that the sign-in failed."""
    try:
        yield
    except (CommandFailed, ProcoreSignInError):
        loopback.conclude(
            Told(
                HTTPStatus.OK,
                "You are not signed in",
                "See the terminal for the reason and the cure. You can close this window.",
            )
        )
        raise


def _show(url: str, wishes: Wishes) -> None:
    if wishes.browser and webbrowser.open(url):
        typer.echo("Your browser opens Procore. If it does not, open this address:", err=True)
    else:
        typer.echo("Open this address in a browser:", err=True)
    typer.echo(f"\n  {url}\n", err=True)


def _pasted() -> Secret:
    for _ in range(PASTES):
        text = _typed("Paste the code that Procore shows")
        if text is None:
            break
        code = pasted_code(text)
        if code is not None:
            return code
        typer.echo("That is not a code. Copy the whole code from Procore's page.", err=True)
    raise CommandFailed(
        "No one signed in.",
        why="No authorization code was pasted.",
        cure="Run the command again, and paste the code that Procore shows after Allow.",
    )


def _finish(
    door: ProfileSignIn, attempt: SignInAttempt, response: CodeGranted | AuthorizationDenied
) -> SignedIn:
    check_attempt(door.context, attempt)
    browser = Browser(user_agent="procore-signin login", session_hash=None)
    try:
        signed_in = door.run(finish_sign_in(door.context, attempt, response, browser))
    except SignInRefused as refused:
        raise CommandFailed(
            "You are not signed in.",
            why="Procore says that access was not allowed."
            if refused.error is not None
            else f"{str(refused).rstrip('.')}.",
            cure="If that was not what you meant, run the command again and choose Allow.",
        ) from None
    except GrantLost:
        raise CommandFailed(
            "Procore did not accept the code.",
            why="It was used before, is older than ten minutes, or was not copied whole.",
            cure="Run the command again. If it always ends like this, compare the redirect URI "
            "with the one registered at Procore, character for character.",
        ) from None
    door.run(users.end_sessions(signed_in.user.id))  # no browser holds the session
    return signed_in


def _give_back_the_rest(door: ProfileSignIn, signed_in: SignedIn) -> None:
    """Revoke the profile's other grants: a profile holds the grant of one user."""
    others = [user_id for user_id in users_of(door) if user_id != signed_in.user.id]
    try:
        for user_id in others:
            door.run(users.delete(door.context, user_id))
        door.run(sweep(door.context))
    except ProcoreSignInError as error:
        # The sign-in is complete. The rest stays sealed in the store for the next login or logout.
        typer.echo(f"An earlier grant could not be revoked yet: {error}", err=True)
