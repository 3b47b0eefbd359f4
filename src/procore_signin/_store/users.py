"""Users, by environment and Procore's id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import ClassVar, Final

from sqlalchemy import bindparam, func, select, update

from procore_signin._store.engine.command import Command, LookUp, Query
from procore_signin._store.engine.statement import (
    Change,
    Last,
    Row,
    Sql,
    Statements,
    Values,
    many,
    one,
)
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.records import User
from procore_signin._store.schema import users

_this: Final = users.c.id == bindparam("which_user")
_USER: Final = Sql(select(users).where(_this))


@dataclass(frozen=True, slots=True, repr=False)
class UserOf(LookUp[User | None]):
    """A user, disabled or not, or None where there is none of that number."""

    user_id: int

    by_key: ClassVar = True
    sql: ClassVar = _USER

    def values(self) -> Values:
        return {"which_user": self.user_id}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> User | None:
        return User(*rows[0]) if rows else None


def user_of(user_id: int) -> Statements[User | None]:
    """Return a user, or None where there is none of that number."""
    row = yield from one(_USER, {"which_user": user_id})
    return None if row is None else User(*row)


_CHOOSE: Final = Sql(update(users).where(_this), "company_id")


@dataclass(frozen=True, slots=True, repr=False)
class ChooseCompany(Command[None]):
    """Remember which company the user chose. Whether it is theirs was asked before."""

    user_id: int
    company_id: int

    def run(self, seal: TokenSeal) -> Statements[None]:
        chosen = {"which_user": self.user_id, "company_id": self.company_id}
        yield Last(Change(_CHOOSE, chosen))


@dataclass(frozen=True, slots=True, repr=False)
class FindUsers(Query[list[User]]):
    """Users in the order of their first sign-in, those that fit everything given (row I5).

    Attributes:
        environment: Only of this one.
        procore_id: Procore's number. Two environments may share numbers.
        email: What Procore called the login last, whatever the case of its ASCII letters. It proves
            nothing and may fit several users: never act on more than one (row I2).
        after: Only users with a greater id, to go on where a list ended.
        limit: As many at most.
    """

    _: KW_ONLY
    environment: str | None = None
    procore_id: int | None = None
    email: str | None = None
    after: int = 0
    limit: int = 100

    def run(self, seal: TokenSeal) -> Statements[list[User]]:
        wanted = {
            "which_environment": self.environment,
            "which_procore_id": self.procore_id,
            "which_email": self.email,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        values = {**given, "after": self.after, "limit": self.limit}
        return [User(*row) for row in (yield from many(_found(*given), values))]


_WANTED: Final = {
    "which_environment": users.c.environment == bindparam("which_environment"),
    "which_procore_id": users.c.procore_id == bindparam("which_procore_id"),
    "which_email": func.lower(users.c.email) == func.lower(bindparam("which_email")),
}


@lru_cache
def _found(*given: str) -> Sql:
    return Sql(
        select(users)
        .where(users.c.id > bindparam("after"), *(_WANTED[name] for name in given))
        .order_by(users.c.id)
        .limit(bindparam("limit"))
    )
