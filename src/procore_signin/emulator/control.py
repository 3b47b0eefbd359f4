"""The control API under `/_emulator/`: the verbs of `verbs.py` as JSON, for any language.

    GET  /_emulator/people      POST {"id", "login", "name", "password"}; POST …/remove {"id"}
    GET  /_emulator/clients     POST {"client_id", "client_secret", "redirect_uris", "name"}
    GET  /_emulator/companies   POST {"id", "name", "zone", "connected", "members"}
    GET  /_emulator/projects    POST {"id", "company_id", "name", "project_number", "active"}
    GET  /_emulator/clock       POST {"advance": seconds}
    GET  /_emulator/grants      the live ones
    GET  /_emulator/requests    what came in; ?after=<number>
    GET  /_emulator/faults      POST {"route", "kind", "times", …}; POST …/clear
    POST /_emulator/approve     {"authorize_url", "login"} → {"location"}
    POST /_emulator/deny        {"authorize_url"} → {"location"}
    POST /_emulator/revoke      {"login", "client_id", "token"} → {"revoked": number}
    POST /_emulator/reset

A wrong request is answered with 400 and `{"error": "what is wrong and the cure"}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from procore_signin.emulator.clients import Client
from procore_signin.emulator.companies import Company, Project
from procore_signin.emulator.faults import Fault
from procore_signin.emulator.journal import Exchange
from procore_signin.emulator.messages import Reply, Request, json_reply
from procore_signin.emulator.parameters import Malformed, query_parameters
from procore_signin.emulator.people import Person
from procore_signin.emulator.procore import LocalProcore
from procore_signin.emulator.refused import EmulatorRefused
from procore_signin.emulator.seed import DEMO_LOGIN
from procore_signin.emulator.verbs import Verbs

Members = Mapping[str, Any]
_NOT_STORED: Final = ("cache-control", "no-store")


class Control:
    """Answers the control API of one emulated Procore."""

    __slots__ = ("_procore", "_routes", "_verbs")

    def __init__(self, procore: LocalProcore) -> None:
        self._procore = procore
        self._verbs = Verbs(procore)
        directory = procore.state.directory
        self._routes: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("GET", "people"): lambda _: [_person(p) for p in directory.people.values()],
            ("POST", "people"): self._put_person,
            ("POST", "people/remove"): self._remove_person,
            ("GET", "clients"): lambda _: [_client(c) for c in directory.clients.values()],
            ("POST", "clients"): self._put_client,
            ("GET", "companies"): lambda _: [_company(c) for c in directory.companies.values()],
            ("POST", "companies"): self._put_company,
            ("GET", "projects"): lambda _: [asdict(p) for p in directory.projects.values()],
            ("POST", "projects"): self._put_project,
            ("GET", "clock"): lambda _: {"now": self._verbs.now()},
            ("POST", "clock"): self._advance,
            ("GET", "grants"): lambda _: [asdict(g) for g in self._verbs.live_grants()],
            ("GET", "requests"): self._requests,
            ("GET", "faults"): lambda _: [_fault(f) for f in self._verbs.faults()],
            ("POST", "faults"): self._add_fault,
            ("POST", "faults/clear"): self._clear_faults,
            ("POST", "approve"): self._approve,
            ("POST", "deny"): self._deny,
            ("POST", "revoke"): self._revoke,
            ("POST", "reset"): self._reset,
        }

    def answer(self, request: Request) -> Reply:
        """Answer one request."""
        name = request.path.removeprefix("/_emulator").strip("/")
        if not name:
            return Reply(308, (("location", f"{request.root}/_emulator/"), _NOT_STORED))
        route = self._routes.get((request.method, name))
        if route is None:
            known = ", ".join(f"{method} /_emulator/{path}" for method, path in self._routes)
            return json_reply(404, {"error": f"There is no such control. There are: {known}"})
        try:
            with self._procore.lock:
                return json_reply(200, route(request), _NOT_STORED)
        except (ValueError, Malformed) as refused:
            return json_reply(400, {"error": str(refused)}, _NOT_STORED)

    def _put_person(self, request: Request) -> Any:
        members = _members(request, "id", "login", "name", "password")
        return _person(
            self._verbs.person(
                _number(members, "id"),
                **{name: _optional_text(members, name) for name in members if name != "id"},
            )
        )

    def _remove_person(self, request: Request) -> Any:
        self._verbs.remove_person(_number(_members(request, "id"), "id"))
        return {}

    def _put_client(self, request: Request) -> Any:
        members = _members(
            request, "client_id", "client_secret", "redirect_uris", "name", "client_credentials"
        )
        client = Client(
            client_id=_text(members, "client_id"),
            client_secret=_text(members, "client_secret"),
            redirect_uris=_texts(members, "redirect_uris"),
            name=_text(members, "name", "Your Application"),
            client_credentials=_flag(members, "client_credentials"),
        )
        self._verbs.client(client)
        return _client(client)

    def _put_company(self, request: Request) -> Any:
        members = _members(request, "id", "name", "zone", "connected", "is_active", "members")
        listed = members.get("members")
        company = Company(
            id=_number(members, "id"),
            name=_text(members, "name"),
            zone=_text(members, "zone", "us01"),
            connected=_flag(members, "connected"),
            is_active=_flag(members, "is_active"),
            members=None if listed is None else frozenset(_numbers(members, "members")),
        )
        self._verbs.company(company)
        return _company(company)

    def _put_project(self, request: Request) -> Any:
        members = _members(request, "id", "company_id", "name", "project_number", "active", "stage")
        project = Project(
            id=_number(members, "id"),
            company_id=_number(members, "company_id"),
            name=_text(members, "name"),
            project_number=_optional_text(members, "project_number"),
            active=_flag(members, "active"),
            stage=_text(members, "stage", "Course of Construction"),
        )
        self._verbs.project(project)
        return asdict(project)

    def _advance(self, request: Request) -> Any:
        seconds = _members(request, "advance").get("advance")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise EmulatorRefused('Send {"advance": seconds}')
        self._verbs.advance(seconds)
        return {"now": self._verbs.now()}

    def _requests(self, request: Request) -> Any:
        after = query_parameters(request.query).get("after", "0")
        if not after.isdecimal():
            raise EmulatorRefused("after is the number of an exchange")
        return [_exchange(e) for e in self._procore.journal.exchanges(after=int(after))]

    def _add_fault(self, request: Request) -> Any:
        members = dict(_members(request))
        route, kind = members.pop("route", None), members.pop("kind", None)
        if not isinstance(route, str) or not isinstance(kind, str):
            raise EmulatorRefused('A fault needs at least {"route": …, "kind": …}')
        return _fault(self._verbs.fault(route, kind, **members))

    def _clear_faults(self, _: Request) -> Any:
        self._verbs.clear_faults()
        return {}

    def _approve(self, request: Request) -> Any:
        members = _members(request, "authorize_url", "login")
        location = self._verbs.approve(
            _text(members, "authorize_url"),
            base=request.base,
            login=_text(members, "login", DEMO_LOGIN),
        )
        return {"location": location}

    def _deny(self, request: Request) -> Any:
        members = _members(request, "authorize_url")
        url = _text(members, "authorize_url")
        return {"location": self._verbs.deny(url, base=request.base)}

    def _revoke(self, request: Request) -> Any:
        members = _members(request, "login", "client_id", "token")
        chosen = {name: _optional_text(members, name) for name in members}
        return {"revoked": self._verbs.revoke(**chosen)}

    def _reset(self, _: Request) -> Any:
        self._verbs.reset()
        return {}


def _members(request: Request, *names: str) -> dict[str, Any]:
    """Return the members of the body's object; with `names`, none but these."""
    try:
        members = json.loads(request.body or b"{}")
    except (ValueError, RecursionError):
        raise EmulatorRefused("The body is not JSON") from None
    if not isinstance(members, dict):
        raise EmulatorRefused("The body is not a JSON object")
    unknown = sorted(set(members).difference(names)) if names else []
    if unknown:
        raise EmulatorRefused(f"Unknown: {', '.join(unknown)}. Known: {', '.join(names)}")
    return members


def _number(members: Members, name: str) -> int:
    value = members.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise EmulatorRefused(f"{name} is a whole number")
    return value


def _numbers(members: Members, name: str) -> list[int]:
    values = members[name]
    if not isinstance(values, list):
        raise EmulatorRefused(f"{name} is a list of whole numbers")
    return [_number({name: value}, name) for value in values]


def _text(members: Members, name: str, default: str | None = None) -> str:
    value = members.get(name, default)
    if not isinstance(value, str):
        raise EmulatorRefused(f"{name} is text")
    return value


def _optional_text(members: Members, name: str) -> str | None:
    return None if members.get(name) is None else _text(members, name)


def _texts(members: Members, name: str) -> tuple[str, ...]:
    values = members.get(name, [])
    if not isinstance(values, list):
        raise EmulatorRefused(f"{name} is a list of texts")
    return tuple(_text({name: value}, name) for value in values)


def _flag(members: Members, name: str) -> bool:
    value = members.get(name, True)
    if not isinstance(value, bool):
        raise EmulatorRefused(f"{name} is true or false")
    return value


def _person(person: Person) -> dict[str, Any]:
    return {"id": person.id, "login": person.login, "name": person.name}


def _client(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "client_credentials": client.client_credentials,
    }


def _company(company: Company) -> dict[str, Any]:
    members = None if company.members is None else sorted(company.members)
    return {**asdict(company), "members": members}


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "number": fault.number,
        "route": fault.route,
        "kind": fault.kind,
        "settings": dict(fault.settings),
        "times": fault.times,
        "probability": fault.probability,
        "happened": fault.happened,
    }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    return {
        "number": exchange.number,
        "started_at": exchange.started_at,
        "took": exchange.took,
        "method": exchange.method,
        "target": exchange.target,
        "request_headers": [list(pair) for pair in exchange.request_headers],
        "request_body": exchange.request_body.decode("utf-8", "replace"),
        "status": exchange.status,
        "response_headers": [list(pair) for pair in exchange.response_headers],
        "response_body": exchange.response_body.decode("utf-8", "replace"),
        "note": exchange.note,
    }
