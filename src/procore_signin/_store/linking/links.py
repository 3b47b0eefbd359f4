"""Links: which user of the application a user who signed in is connected to (rows L3, L4).

The application names its users by a text, the reference: its primary key, say. One user has one
reference, and one reference one user, unless the application lets it be otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Final

from sqlalchemy import bindparam, delete, select

from procore_signin._store.engine.command import Command, LookUp
from procore_signin._store.engine.statement import (
    Change,
    InsertAbsent,
    Many,
    Row,
    Sql,
    Statements,
    Together,
    Values,
    change,
    insert_if_absent,
    many,
    one,
)
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.records import NewLink, User
from procore_signin._store.schema import linked_users, sessions, users
from procore_signin.errors import AlreadyLinked

_of_user: Final = linked_users.c.user_id == bindparam("which_user")
_of_reference: Final = linked_users.c.reference == bindparam("which_reference")
_in_environment: Final = linked_users.c.environment == bindparam("which_environment")

_LOCK_USER: Final = Sql(
    select(users.c.environment)
    .where(users.c.id == bindparam("which_user"))
    .with_for_update(key_share=True)
)
_REFERENCES: Final = Sql(
    select(linked_users.c.reference).where(_of_user).order_by(linked_users.c.id)
)
_USERS: Final = Sql(select(linked_users.c.user_id).where(_in_environment, _of_reference))
_INSERT: Final = Sql(
    insert_if_absent(linked_users), "user_id", "environment", "reference", "slot", "created_at"
)


# Sessions that belong to no login go on: a user who logs in beside one is compared then.
_END_BESIDE_OTHERS: Final = Sql(
    delete(sessions).where(
        sessions.c.user_id == bindparam("which_user"),
        sessions.c.reference != bindparam("which_reference"),
    )
)


def add_link(user_id: int, link: NewLink, *, now: int) -> Statements[int | None]:
    """Connect a user whose row exists, and end what could not be opened any more (row L3).

    That is every session of theirs beside the login of another user of the application, unless they
    may be connected to several.

    Returns:
        How many sessions ended; None where the connection was there already.

    Raises:
        AlreadyLinked: One of both is connected to another one already. Nothing was written.
    """
    # The user's row is the lock for all links of theirs.
    row = yield from one(_LOCK_USER, {"which_user": user_id})
    if row is None:
        raise ValueError(f"There is no user {user_id}.")
    environment, reference = str(row[0]), link.reference
    known = {str(found[0]) for found in (yield from many(_REFERENCES, {"which_user": user_id}))}
    if is_connected(link, known):
        return None
    who: dict[str, Any] = {"which_environment": environment, "which_reference": reference}
    check_free(link, taken=bool((yield from many(_USERS, who))))
    values = {
        "user_id": user_id,
        "environment": environment,
        "reference": reference,
        "slot": user_id if link.several_users else 0,
        "created_at": now,
    }
    if (yield InsertAbsent(_INSERT, values)) is None:
        # Someone connected the reference to another user at the same moment.
        raise _already("user of this application", "another Procore account")
    if link.several_references:
        return 0
    return (
        yield from change(_END_BESIDE_OTHERS, {"which_user": user_id, "which_reference": reference})
    )


def is_connected(link: NewLink, known: Collection[str]) -> bool:
    """Return whether the connection is there already (rows L3, L5).

    Args:
        link: The connection.
        known: The references of the user.

    Raises:
        AlreadyLinked: The user is connected to another one, and may have one only.
    """
    if link.reference in known:
        return True
    if known and not link.several_references:
        raise _already("Procore account", "another user of this application")
    return False


def check_free(link: NewLink, *, taken: bool) -> None:
    """Raise where the reference of a new connection has a user already, and may have one only.

    Raises:
        AlreadyLinked: It is so (rows L3, L5).
    """
    if taken and not link.several_users:
        raise _already("user of this application", "another Procore account")


def asked_beside(link: NewLink, environment: str, references: Many) -> tuple[Many, Many]:
    """Return what tells whether someone may be signed in beside a login; see `check_beside`.

    Args:
        link: The connection to that login which is not made, but could be.
        environment: Where.
        references: What finds the references of who signs in, once the user's row is locked.
    """
    who = {"which_environment": environment, "which_reference": link.reference}
    return references, Many(_USERS, who)


def check_beside(link: NewLink, found: Sequence[Sequence[Row]]) -> None:
    """Raise where who signs in could not be connected to the login that is there (row L3).

    Args:
        link: As in `asked_beside`.
        found: The outcomes of that.

    Raises:
        AlreadyLinked: One of both is connected to another one.
    """
    references, users_of_login = found
    if not is_connected(link, {str(row[0]) for row in references}):
        check_free(link, taken=bool(users_of_login))


def stay_beside(user_id: int, link: NewLink) -> Statements[None]:
    """Lock a user's row, and with it the links of theirs, and do the same.

    Raises:
        AlreadyLinked: As there.
    """
    row = yield from one(_LOCK_USER, {"which_user": user_id})
    if row is not None:
        references = Many(_REFERENCES, {"which_user": user_id})
        check_beside(link, (yield Together(asked_beside(link, str(row[0]), references))))


def _already(what: str, to: str) -> AlreadyLinked:
    return AlreadyLinked(
        f"That {what} is connected to {to} already",
        reason=f"That {what} is connected to {to}. Nothing was changed.",
        hint="Disconnect it there first.",
    )


@dataclass(frozen=True, slots=True, repr=False)
class Link(Command[int | None]):
    """Connect a user and a user of the application; see `add_link`.

    Raises:
        AlreadyLinked: One of both is connected to another one already.
        ValueError: There is no such user.
    """

    user_id: int
    link: NewLink
    _: KW_ONLY
    now: int

    def run(self, seal: TokenSeal) -> Statements[int | None]:
        return (yield from add_link(self.user_id, self.link, now=self.now))


UNLINK: Final = Sql(delete(linked_users).where(_of_user))
"""Undo every connection of a user."""

_UNLINK_ONE: Final = Sql(delete(linked_users).where(_of_user, _of_reference))


@dataclass(frozen=True, slots=True, repr=False)
class Unlink(Command[int]):
    """Undo the connections of a user, or the one to `reference`; it returns how many there were."""

    user_id: int
    reference: str | None = None

    def run(self, seal: TokenSeal) -> Statements[int]:
        values = {"which_user": self.user_id, "which_reference": self.reference}
        return (yield from change(UNLINK if self.reference is None else _UNLINK_ONE, values))


_FORGET: Final = Sql(delete(linked_users).where(_in_environment, _of_reference))
_END_BESIDE: Final = Sql(
    delete(sessions).where(
        sessions.c.reference == bindparam("which_reference"),
        sessions.c.user_id.in_(
            select(users.c.id).where(users.c.environment == bindparam("which_environment"))
        ),
    )
)


@dataclass(frozen=True, slots=True, repr=False)
class ForgetReference(Command[list[int]]):
    """Undo every connection of a user of the application, who is gone, and end their sessions.

    It returns the users who were connected (row L9).
    """

    reference: str
    _: KW_ONLY
    environment: str

    def run(self, seal: TokenSeal) -> Statements[list[int]]:
        who = {"which_environment": self.environment, "which_reference": self.reference}
        found = yield from many(_USERS, who)
        yield Together((Change(_FORGET, who), Change(_END_BESIDE, who)))
        return [int(row[0]) for row in found]


@dataclass(frozen=True, slots=True, repr=False)
class UsersOfReference(LookUp[list[User]]):
    """The users who are connected to a user of the application, the first connected one first."""

    reference: str
    _: KW_ONLY
    environment: str

    sql: ClassVar = Sql(
        select(users)
        .join_from(linked_users, users, users.c.id == linked_users.c.user_id)
        .where(_in_environment, _of_reference)
        .order_by(linked_users.c.id)
    )

    def values(self) -> Values:
        return {"which_reference": self.reference, "which_environment": self.environment}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> list[User]:
        return [User(*row) for row in rows]


@dataclass(frozen=True, slots=True, repr=False)
class ReferencesOfProcoreUser(LookUp[list[str]]):
    """The references of someone whom Procore names, who may be new, as `ReferencesOf`."""

    procore_id: int
    _: KW_ONLY
    environment: str

    sql: ClassVar = Sql(
        select(linked_users.c.reference)
        .join_from(users, linked_users, users.c.id == linked_users.c.user_id)
        .where(
            users.c.environment == bindparam("which_environment"),
            users.c.procore_id == bindparam("which_procore_id"),
        )
        .order_by(linked_users.c.id)
    )

    def values(self) -> Values:
        return {"which_procore_id": self.procore_id, "which_environment": self.environment}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> list[str]:
        return [str(row[0]) for row in rows]


@dataclass(frozen=True, slots=True, repr=False)
class ReferencesOf(LookUp[list[str]]):
    """The references that a user is connected to, the first connected one first."""

    user_id: int

    sql: ClassVar = _REFERENCES

    def values(self) -> Values:
        return {"which_user": self.user_id}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> list[str]:
        return [str(row[0]) for row in rows]
