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
    GET  /_emulator/openapi.json, /_emulator/openapi-procore.json

The response to a wrong request is 400 with `{"error": "what is wrong and the cure"}`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from procore_signin._emulator.control.verbs import Verbs
from procore_signin._emulator.errors import EmulatorRefused
from procore_signin._emulator.faults.faults import Fault
from procore_signin._emulator.files.members import number, only, optional_text, parse, text
from procore_signin._emulator.files.records import (
    client_json,
    client_of,
    company_json,
    company_of,
    person_json,
    project_json,
    project_of,
)
from procore_signin._emulator.journal import Exchange
from procore_signin._emulator.oauth.parameters import Malformed, query_parameters
from procore_signin._emulator.openapi import control_document, procore_document
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.wire.messages import Reply, Request, json_reply
from procore_signin._emulator.world.seed import DEMO_LOGIN

_NOT_STORED: Final = ("cache-control", "no-store")
_TOO_LONG: Final = 20
"""More digits than the number of an exchange can have."""


class Control:
    """The control API of one emulated Procore."""

    __slots__ = ("_procore", "_routes", "_verbs")

    def __init__(self, procore: LocalProcore) -> None:
        self._procore = procore
        self._verbs = Verbs(procore)
        self._routes: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("GET", "people"): lambda _: [person_json(p) for p in self._verbs.people()],
            ("POST", "people"): self._put_person,
            ("POST", "people/remove"): self._remove_person,
            ("GET", "clients"): lambda _: [client_json(c) for c in self._verbs.clients()],
            ("POST", "clients"): self._put_client,
            ("GET", "companies"): lambda _: [company_json(c) for c in self._verbs.companies()],
            ("POST", "companies"): self._put_company,
            ("GET", "projects"): lambda _: [project_json(p) for p in self._verbs.projects()],
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
            ("GET", "openapi.json"): lambda request: control_document(request.base),
            ("GET", "openapi-procore.json"): lambda request: procore_document(request.base),
        }

    def reads_body(self, request: Request) -> bool:
        """Return whether a request's body is read."""
        return request.method == "POST" and ("POST", _name(request.path)) in self._routes

    def answer(self, request: Request) -> Reply:
        """Return the response to one request."""
        name = _name(request.path)
        if not name:
            return Reply(308, (("location", f"{request.root}/_emulator/"), _NOT_STORED))
        route = self._routes.get((request.method, name))
        if route is None:
            return self._unknown(request.method, name)
        try:
            with self._procore.lock:
                self._procore.changed |= request.method == "POST"
                return json_reply(200, route(request), _NOT_STORED)
        except (ValueError, Malformed) as refused:
            return json_reply(400, {"error": str(refused)}, _NOT_STORED)

    def _unknown(self, method: str, name: str) -> Reply:
        allowed = sorted(known for known, path in self._routes if path == name)
        if allowed:
            error = f"{method} is not one of its methods. There are: {', '.join(allowed)}"
            return json_reply(405, {"error": error}, ("allow", ", ".join(allowed)), _NOT_STORED)
        known = ", ".join(f"{method} /_emulator/{path}" for method, path in self._routes)
        error = f"There is no such control. There are: {known}"
        return json_reply(404, {"error": error}, _NOT_STORED)

    def _put_person(self, request: Request) -> Any:
        found = only(_body(request), "id", "login", "name", "password", "job_title")
        changes = {name: optional_text(found, name) for name in found if name != "id"}
        return person_json(self._verbs.person(number(found, "id"), **changes))

    def _remove_person(self, request: Request) -> Any:
        self._verbs.remove_person(number(only(_body(request), "id"), "id"))
        return {}

    def _put_client(self, request: Request) -> Any:
        client = client_of(_body(request))
        self._verbs.client(client)
        return client_json(client)

    def _put_company(self, request: Request) -> Any:
        company = company_of(_body(request))
        self._verbs.company(company)
        return company_json(company)

    def _put_project(self, request: Request) -> Any:
        project = project_of(_body(request))
        self._verbs.project(project)
        return project_json(project)

    def _advance(self, request: Request) -> Any:
        seconds = only(_body(request), "advance").get("advance")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise EmulatorRefused('Send {"advance": seconds}')
        self._verbs.advance(seconds)
        return {"now": self._verbs.now()}

    def _requests(self, request: Request) -> Any:
        after = query_parameters(request.query).get("after", "0")
        if not (after.isascii() and after.isdecimal() and len(after) < _TOO_LONG):
            raise EmulatorRefused("after is the number of an exchange")
        return [_exchange(e) for e in self._procore.journal.exchanges(after=int(after))]

    def _add_fault(self, request: Request) -> Any:
        found = _body(request)
        settings = dict(found) if isinstance(found, dict) else {}
        route, kind = settings.pop("route", None), settings.pop("kind", None)
        if not isinstance(route, str) or not isinstance(kind, str):
            raise EmulatorRefused('A fault needs at least {"route": …, "kind": …}')
        return _fault(self._verbs.fault(route, kind, **settings))

    def _clear_faults(self, _: Request) -> Any:
        self._verbs.clear_faults()
        return {}

    def _approve(self, request: Request) -> Any:
        found = only(_body(request), "authorize_url", "login")
        location = self._verbs.approve(
            text(found, "authorize_url"), base=request.base, login=text(found, "login", DEMO_LOGIN)
        )
        return {"location": location}

    def _deny(self, request: Request) -> Any:
        url = text(only(_body(request), "authorize_url"), "authorize_url")
        return {"location": self._verbs.deny(url, base=request.base)}

    def _revoke(self, request: Request) -> Any:
        found = only(_body(request), "login", "client_id", "token")
        return {"revoked": self._verbs.revoke(**{n: optional_text(found, n) for n in found})}

    def _reset(self, _: Request) -> Any:
        self._verbs.reset()
        return {}


def _name(path: str) -> str:
    return path.removeprefix("/_emulator").strip("/")


def _body(request: Request) -> object:
    """Return what the JSON body holds, an empty object when there is none."""
    return parse(request.body) if request.body else {}


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
