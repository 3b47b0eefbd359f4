"""`procore-signin logout`: revoke the grant at Procore, and delete it here."""

from __future__ import annotations

from typing import Final

import typer

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.output import print_json
from procore_signin._cli.personal.profile import Profile
from procore_signin._cli.personal.profile_client import ProfileSignIn, front_door, users_of
from procore_signin._flow import users
from procore_signin._flow.janitor import give_back
from procore_signin._flow.revocation import Revocation
from procore_signin.errors import StoreUnavailable

BY_HAND: Final = "At Procore: My Profile Settings > Connected Apps."
_WORST_LAST: Final[tuple[Revocation, ...]] = ("none", "confirmed", "unsure", "sealed", "pending")


def run(profile: Profile, *, force: bool, as_json: bool) -> bool:
    """Revoke the profile's grant and delete the profile; return whether both are certain.

    Args:
        profile: The profile.
        force: Delete it even if Procore does not respond, or the tokens cannot be opened.
        as_json: Print JSON.

    Raises:
        CommandFailed: Procore does not respond, or something cannot be opened: nothing was deleted.
        OSError: Something cannot be deleted.
    """
    if not profile.exists():
        _tell(profile, "none", was_there=False, as_json=as_json)
        return True
    profile.check()
    try:
        outcome = _give_back(profile)
    except (CommandFailed, StoreUnavailable):
        if not force:
            raise
        outcome = "sealed"
    if outcome in {"pending", "sealed"} and not force:
        raise CommandFailed(
            "You are not logged out.",
            why="Procore did not confirm that the grant has ended."
            if outcome == "pending"
            else "The grant cannot be opened, so it cannot be revoked.",
            cure="Run the command again later. With --force the grant is deleted here all the "
            f"same; end the access yourself then. {BY_HAND}",
        )
    profile.delete()
    _tell(profile, outcome, was_there=True, as_json=as_json)
    return outcome in {"none", "confirmed"}


def _give_back(profile: Profile) -> Revocation:
    registration = profile.registration()
    if registration is None:
        return "none"
    with front_door(profile, registration) as door:
        found: list[Revocation] = [_end(door, user_id) for user_id in users_of(door)]
        # Tokens still in escrow, from an interrupted login or one that replaced this grant.
        left = door.store.escrowed(door.context.now() + 1)
        found += [door.run(give_back(door.context, escrow)) for escrow in left]
        outcome = _worst(found)
        if outcome in {"none", "confirmed", "unsure"}:
            return outcome
        # The user stays disabled: the grant is never used again, whatever the outcome here.
        profile.keep(registration.signed_in(None))
        return outcome


def _worst(found: list[Revocation]) -> Revocation:
    return max(found, default="none", key=_WORST_LAST.index)


def _end(door: ProfileSignIn, user_id: int) -> Revocation:
    ended = door.run(users.disable(door.context, user_id))
    return "none" if ended is None else ended.revocation


def _tell(profile: Profile, outcome: Revocation, *, was_there: bool, as_json: bool) -> None:
    if as_json:
        print_json({"profile": profile.name, "was_there": was_there, "revocation": outcome})
        return
    if not was_there:
        typer.echo(f"No user is logged in in the profile {profile.name!r}.")
        return
    typer.echo("Logged out. The grant is deleted here.")
    if outcome == "confirmed":
        typer.echo("Procore confirmed that the grant has ended.")
    elif outcome != "none":
        typer.echo(f"Procore may still accept the grant. End it yourself. {BY_HAND}", err=True)
