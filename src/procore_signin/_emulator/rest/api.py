"""The resource server: `/rest/*`, and `/vapid/*`, which is not served."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from procore_signin._emulator.oauth.parameters import Malformed, query_parameters
from procore_signin._emulator.rest import api_errors, resources
from procore_signin._emulator.rest.bearer import bearer_token
from procore_signin._emulator.rest.pagination import page_reply, read_page
from procore_signin._emulator.rest.rate_limit import RateLimits
from procore_signin._emulator.rest.unserved import may_be_procores, not_served
from procore_signin._emulator.state import State
from procore_signin._emulator.wire.messages import Reply, Request, json_reply
from procore_signin._emulator.world.companies import Company, Project
from procore_signin._emulator.world.grants import Token
from procore_signin._emulator.world.people import MAX_ID, Person

_NOT_STORED: Final = ("cache-control", "no-store, must-revalidate, private, max-age=0")
_ID: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Call:
    """One authenticated call: what the endpoints below work on."""

    request: Request
    parameters: Mapping[str, str]
    token: Token
    person: Person


Endpoint = Callable[["Api", _Call, "re.Match[str]"], Reply]


class Api:
    """The part of Procore's REST API that a sign-in and first API requests need."""

    __slots__ = ("_limits", "_state")

    def __init__(self, state: State) -> None:
        self._state = state
        self._limits = RateLimits(
            state.clock, state.options.hourly_limit, state.options.spike_limit
        )

    def answer(self, request: Request) -> Reply:
        """Respond to a call. Only the `Authorization` header may have the token (RFC 6750 §2.1)."""
        now = self._state.clock()
        known = self._known(request, now)
        if isinstance(known, Reply):
            return known
        token, person = known
        verdict = self._limits.count(token.client_id)
        if verdict.refused:
            reply = api_errors.too_many_requests(verdict.resets_at, now, hourly=verdict.hourly)
        else:
            reply = self._route(request, token, person)
        return reply.with_headers(_NOT_STORED, *verdict.headers)

    def refuse(self, request: Request) -> Reply | None:
        """Return the 401 for a call without a good token, or None."""
        known = self._known(request, self._state.clock())
        return known if isinstance(known, Reply) else None

    def _known(self, request: Request, now: float) -> tuple[Token, Person] | Reply:
        token = bearer_token(self._state.grants, request)
        if token is None or not token.accessible(now):
            return api_errors.invalid_token(token, now).with_headers(_NOT_STORED)
        person = self._state.acting(token)
        if person is None:  # the person was removed, so their token is no longer valid
            return api_errors.invalid_token(None, now).with_headers(_NOT_STORED)
        return token, person

    def reset(self) -> None:
        """Forget how many calls were made."""
        self._limits.clear()

    def _route(self, request: Request, token: Token, person: Person) -> Reply:
        if request.method not in {"GET", "HEAD"}:
            return _not_served(request)
        try:
            parameters = query_parameters(request.query)
        except Malformed as refused:
            return api_errors.bad_request(str(refused))
        for pattern, endpoint in _ROUTES:
            found = pattern.fullmatch(request.path)
            if found is not None:
                return endpoint(self, _Call(request, parameters, token, person), found)
        return _not_served(request)

    def _me(self, call: _Call, _: re.Match[str]) -> Reply:
        refused = self._refuse_unnamed_company(call)
        if refused is not None:
            return refused
        asked = "company_id" in call.parameters or "project_id" in call.parameters
        with_name = asked or self._state.options.me_name == "always"
        return json_reply(200, resources.me(call.person, with_name=with_name))

    def _companies(self, call: _Call, _: re.Match[str]) -> Reply:
        refused = self._refuse_unnamed_company(call)
        if refused is not None:
            return refused
        companies = self._state.directory.companies_of(call.person.id)
        rows = [
            resources.company(company, my_company=place == 0)
            for place, company in enumerate(companies)
        ]
        return self._page(call, rows)

    def _company_me(self, call: _Call, found: re.Match[str]) -> Reply:
        company = self._company(call, found["id"])
        if isinstance(company, Reply):
            return company
        return json_reply(200, resources.company_user(call.person, company))

    def _company_users(self, call: _Call, found: re.Match[str]) -> Reply:
        company = self._company(call, found["id"])
        if isinstance(company, Reply):
            return company
        people = sorted(self._state.directory.people.values(), key=lambda person: person.id)
        rows = [resources.company_user(p, company) for p in people if company.has(p.id)]
        return self._page(call, rows)

    def _projects(self, call: _Call, found: re.Match[str]) -> Reply:
        company_id = call.parameters.get("company_id")
        if company_id is None:
            if "procore-company-id" not in call.request.headers:
                return api_errors.missing_company()
            return api_errors.bad_request("param is missing or the value is empty: company_id")
        company = self._company(call, company_id, named_in_query=True)
        if isinstance(company, Reply):
            return company
        projects = self._by_status(call, self._state.directory.projects_of(company.id))
        if isinstance(projects, Reply):
            return projects
        shape = resources.project_v1_1 if found["version"] == "1.1" else resources.project
        return self._page(call, [shape(project, company) for project in projects])

    def _by_status(self, call: _Call, projects: list[Project]) -> list[Project] | Reply:
        status = call.parameters.get("filters[by_status]", "All")
        if status not in {"All", "Active", "Inactive"}:
            return api_errors.unprocessable("by_status", "is not included in the list")
        if status == "All":
            return projects
        return [project for project in projects if project.active == (status == "Active")]

    def _company_base_url(self, call: _Call, _: re.Match[str]) -> Reply:
        named = call.request.headers.get("procore-company-id")
        if named is None:
            return api_errors.missing_company()
        company = self._state.directory.companies.get(_id(named) or 0)
        if company is None:
            return api_errors.bad_request("invalid company id")
        return json_reply(200, {"zone": company.zone, "web_base_url": call.request.base})

    def _refuse_unnamed_company(self, call: _Call) -> Reply | None:
        """`/me` and `/companies` need no company header, except for a service account."""
        if call.token.person_id is None and "procore-company-id" not in call.request.headers:
            return api_errors.missing_company()
        return None

    def _company(
        self, call: _Call, asked_for: str, *, named_in_query: bool = False
    ) -> Company | Reply:
        """Return the company asked for, once the header names the same one."""
        named = call.request.headers.get("procore-company-id")
        if named is None:
            if not named_in_query or self._state.options.company_header == "always":
                return api_errors.missing_company()
            named = asked_for
        company_id = _id(asked_for)
        company = self._state.directory.companies.get(company_id or 0)
        if company is None or _id(named) != company_id or not company.has(call.person.id):
            return api_errors.not_found("Company")
        return company if company.connected else api_errors.not_connected()

    def _page(self, call: _Call, rows: list[dict[str, Any]]) -> Reply:
        page = read_page(call.parameters)
        if isinstance(page, str):
            return api_errors.unprocessable(page, "is not a positive whole number")
        kept = call.parameters if self._state.options.link_keeps_query else {}
        return page_reply(rows, page, url=call.request.base + call.request.path, parameters=kept)


def _not_served(request: Request) -> Reply:
    return not_served(request) if may_be_procores(request) else api_errors.not_found("Resource")


def _id(text: str) -> int | None:
    return int(text) if _ID.fullmatch(text) and int(text) <= MAX_ID else None


_ROUTES: Final[tuple[tuple[re.Pattern[str], Endpoint], ...]] = tuple(
    (re.compile(pattern), endpoint)
    for pattern, endpoint in (
        (r"/rest/v1\.0/me", Api._me),  # noqa: SLF001 - its own table
        (r"/rest/v1\.0/companies", Api._companies),  # noqa: SLF001 - as above
        (r"/rest/v1\.0/companies/(?P<id>[^/]+)/me", Api._company_me),  # noqa: SLF001 - as above
        (r"/rest/v1\.0/companies/(?P<id>[^/]+)/users", Api._company_users),  # noqa: SLF001 - as above
        (r"/rest/v(?P<version>1\.[01])/projects", Api._projects),  # noqa: SLF001 - as above
        (r"/rest/v1\.0/company_base_url", Api._company_base_url),  # noqa: SLF001 - as above
    )
)
