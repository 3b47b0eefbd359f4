"""Find the user of a command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import typer

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.output import moment, plain, print_columns
from procore_signin._program import command
from procore_signin._store import Store, User
from procore_signin._store.users import FindUsers, UserOf

_MOST_MATCHES = 20


@dataclass(frozen=True, slots=True)
class Who:
    """How the command line names a user: in one of three ways.

    Attributes:
        user_id: Our own id.
        procore_id: Procore's id, in the environment of the settings.
        email: The login that Procore reported last. Several users may have it.
    """

    user_id: int | None = None
    procore_id: int | None = None
    email: str | None = None

    @property
    def is_named(self) -> bool:
        """Whether a user was named at all."""
        return (self.user_id, self.procore_id, self.email) != (None, None, None)


def find_one(store: Store, who: Who, *, environment: str) -> User:
    """Return the named user.

    Raises:
        typer.BadParameter: No user was named, or in several ways.
        CommandFailed: No user matches, or several do: they are listed, and nothing is done.
    """
    if sum(each is not None for each in (who.user_id, who.procore_id, who.email)) != 1:
        raise typer.BadParameter("Name one user: by id, by --procore-id or by --email.")
    if who.user_id is not None:
        user = store.ask(UserOf(who.user_id))
        found = [] if user is None else [user]
        wanted = f"the id {who.user_id}"
    elif who.procore_id is not None:
        found = store.ask(FindUsers(procore_id=who.procore_id, environment=environment))
        wanted = f"Procore's id {who.procore_id} in {environment}"
    else:
        found = store.ask(FindUsers(email=who.email, limit=_MOST_MATCHES))
        wanted = f"the e-mail address {plain(who.email)}"
    if not found:
        raise CommandFailed(
            f"No user has {wanted}.",
            why="A user who never signed in here is not known here.",
            cure=f"List users: {command('users list')}",
        )
    if len(found) > 1:
        print_users(found, err=True)
        raise CommandFailed(
            f"Several users have {wanted}. Nothing was done.",
            why="An e-mail address proves nothing; users of Procore may share or change it.",
            cure="Name one of them by the id in the first column.",
        )
    return found[0]


def print_users(users: Sequence[User], *, err: bool = False) -> None:
    """Print one line for each of `users`."""
    print_columns(
        ("ID", "PROCORE ID", "ENVIRONMENT", "LAST SIGN-IN", "STATE", "E-MAIL", "NAME"),
        [
            (
                each.id,
                each.procore_id,
                each.environment,
                moment(each.last_signed_in_at),
                "enabled" if each.disabled_at is None else "disabled",
                each.email,
                each.name,
            )
            for each in users
        ],
        err=err,
    )


def called(user: User) -> str:
    """Return a user's name for messages."""
    return f"user {user.id} ({plain(user.email)}, {user.environment})"


def as_values(user: User) -> dict[str, object]:
    """Return a user for JSON; times are UTC unix seconds."""
    return asdict(user)
