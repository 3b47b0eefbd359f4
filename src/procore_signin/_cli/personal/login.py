"""`procore-signin login`: sign a person in without a web application, and keep the grant.

The sign-in is that of the web application: the same attempt, ledger, escrow and transaction. In
place of the browser's cookie, this process holds the attempt.
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
    PersonsSignIn,
    front_door,
    holds_grants,
    named,
    people_of,
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
    """What the options say; None where they say nothing.

    Attributes:
        environment: Which Procore.
        client_id: The client.
        client_secret: Its secret.
        redirect_uri: Where the code goes: out of band, or a port of this machine.
        browser: Whether to open one.
        timeout: Seconds that a loopback answer is waited for.
    """

    environment: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    redirect_uri: str | None = None
    browser: bool = True
    timeout: int = 600


def run(profile: Profile, wishes: Wishes, *, as_json: bool) -> None:
    """Sign a person in and keep the grant in `profile`.

    Raises:
        CommandFailed: Something is missing or in the way, or the person did not sign in.
        ProcoreSignInError: As `finish_sign_in` says. The profile is as it was before.
        OSError: The person's own store cannot be written to.
    """
    profile.make()
    before = profile.registration()
    chosen = registration(wishes, _settings(), before)
    if before is not None and not before.same_client(chosen):
        _refuse_to_forget(profile, before)
    # Before the exchange: whatever happens after it, logout knows the client that can revoke.
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

    Settings and profile count only where they are for the same Procore: no client secret is ever
    sent to another one. Settings that name none are for any but the emulator, which needs none.

    Args:
        wishes: The options.
        settings: The process environment, and `.env` below it.
        before: What the profile had.

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
            "No one said which Procore.",
            why="PROCORE_ENVIRONMENT is not set, and this profile was not used before.",
            cure=f"Add --environment with one of: {', '.join(NAMES)}.",
        )
    try:
        return by_name(name, emulator_url=settings.get("PROCORE_EMULATOR_URL", EMULATOR_URL))
    except ValueError as error:
        raise CommandFailed(
            "There is no such Procore.",
            why=f"{str(error).rstrip('.')}.",
            cure="Correct --environment, PROCORE_ENVIRONMENT or PROCORE_EMULATOR_URL.",
        ) from None


def _redirect_uri(wishes: Wishes, settings: Mapping[str, str], known: Registration | None) -> str:
    """Return the wished one; else one of the settings or the profile that works here; else none.

    A web application's address in the settings is no mistake, and of no use here.
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
    """Return the line that is typed or piped in, or None at the end of the input.

    Not Typer's prompt: that writes to standard output, which is for the result.
    """
    typer.echo(f"{words}: ", nl=False, err=True)
    return sys.stdin.readline() or None


def _refuse_to_forget(profile: Profile, before: Registration) -> None:
    """Return if nothing of another client's is left here that only that client can revoke."""
    with front_door(profile, before) as door:
        if not holds_grants(door):
            return
    raise CommandFailed(
        f"The profile {profile.name!r} holds a grant of another client.",
        why=f"It was made in {before.environment.name}, for another client ID or environment than "
        "the one chosen now.",
        cure="Run procore-signin logout first, or keep both: login --profile <another name>.",
    )


def _sign_in(door: PersonsSignIn, chosen: Registration, wishes: Wishes) -> SignedIn:
    for user_id in people_of(door):
        door.run(users.enable(user_id))  # a logout that was not finished disabled them
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
    """Show in the browser, too, that the sign-in failed."""
    try:
        yield
    except (CommandFailed, ProcoreSignInError):
        loopback.conclude(
            Told(
                HTTPStatus.OK,
                "You are not signed in",
                "The terminal says why, and what to do. You can close this window.",
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
        typer.echo("That is no code. Copy it whole from Procore's page.", err=True)
    raise CommandFailed(
        "No one signed in.",
        why="No authorization code was pasted.",
        cure="Run the command again, and paste the code that Procore shows after Allow.",
    )


def _finish(
    door: PersonsSignIn, attempt: SignInAttempt, response: CodeGranted | AuthorizationDenied
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
    door.run(users.end_sessions(signed_in.user.id))  # there is no browser to hold one
    return signed_in


def _give_back_the_rest(door: PersonsSignIn, signed_in: SignedIn) -> None:
    """Revoke what the profile does not need any more: one profile holds one person's grant."""
    others = [user_id for user_id in people_of(door) if user_id != signed_in.user.id]
    try:
        for user_id in others:
            door.run(users.delete(door.context, user_id))
        door.run(sweep(door.context))
    except ProcoreSignInError as error:
        # The sign-in stands. What is left is sealed in the store; the next login or logout goes on.
        typer.echo(f"An earlier grant could not be revoked yet: {error}", err=True)
