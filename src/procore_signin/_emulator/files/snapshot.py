"""An emulated Procore as one JSON value, and back: what outlives a restart.

Everything a client could notice is in it: who exists, what was issued, spent and revoked, who is
logged in, what time it is. The journal, the faults and the counts of the rate limits are not: they
are of one run.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from procore_signin._emulator.files.members import Members
from procore_signin._emulator.files.records import (
    client_of,
    company_json,
    company_of,
    person_of,
    project_of,
)
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.world.directory import Directory
from procore_signin._emulator.world.grants import Code, Grants, Token

_TOKEN = tuple(field.name for field in fields(Token) if field.name != "replaces")
_CODE = tuple(field.name for field in fields(Code) if field.name != "token")


def take(procore: LocalProcore) -> dict[str, Any]:
    """Return the state. A directory that is another's is left to that other one."""
    state = procore.state
    taken: dict[str, Any] = {
        "ahead": state.clock.ahead,
        "logins": state.logins.all(),
        "tokens": [_token(token) for token in state.grants.tokens()],
        "codes": [_code(code) for code in state.grants.codes()],
    }
    if state.owns_directory:
        taken["directory"] = _directory(state.directory)
    return taken


def put(procore: LocalProcore, taken: Members) -> None:
    """Give a Procore that was just made the state that was taken of another.

    The client of its options is registered whatever the state says, since that one was announced.

    Raises:
        KeyError, TypeError, ValueError: It is not what `take` returns.
    """
    state = procore.state
    if state.owns_directory:
        state.directory.clear()
        _fill(state.directory, taken["directory"])
        state.directory.put_client(state.options.client())
    state.clock.advance(taken["ahead"])
    state.logins.put(taken["logins"])
    _grant(state.grants, taken)


def _directory(directory: Directory) -> dict[str, Any]:
    return {
        "people": [asdict(person) for person in directory.people.values()],
        "companies": [company_json(company) for company in directory.companies.values()],
        "projects": [asdict(project) for project in directory.projects.values()],
        "clients": [asdict(client) for client in directory.clients.values()],
    }


def _fill(directory: Directory, taken: Members) -> None:
    for person in taken["people"]:
        directory.put_person(person_of(person))
    for company in taken["companies"]:
        directory.put_company(company_of(company))
    for project in taken["projects"]:
        directory.put_project(project_of(project))
    for client in taken["clients"]:
        directory.put_client(client_of(client))


def _token(token: Token) -> dict[str, Any]:
    kept = {name: getattr(token, name) for name in _TOKEN}
    replaced = token.replaces
    return {**kept, "replaces": None if replaced is None else replaced.access_token}


def _code(code: Code) -> dict[str, Any]:
    kept = {name: getattr(code, name) for name in _CODE}
    return {**kept, "token": None if code.token is None else code.token.access_token}


def _grant(grants: Grants, taken: Members) -> None:
    """Put tokens, then codes; a token is named by its access token, which no other has."""
    named: dict[str | None, Token | None] = {None: None}
    for one in taken["tokens"]:  # oldest first: what a token replaces was issued before it
        token = Token(**{**one, "replaces": named[one["replaces"]]})
        named[token.access_token] = token
        grants.put_token(token)
    for one in taken["codes"]:
        grants.put_code(Code(**{**one, "token": named[one["token"]]}))
