"""The page where a user with several companies chooses one. None is ever chosen silently."""

from __future__ import annotations

from procore_signin._flow.companies import choose_company, only_company
from procore_signin._flow.steps import Flow
from procore_signin._web import problems
from procore_signin._web.endpoints import SignInEndpoints
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse, see_other
from procore_signin._web.json.answers import json_response
from procore_signin._web.json.fields import Fields, fields_of, in_form, whole_number
from procore_signin._web.json.shapes import CompaniesJson, CompanyJson
from procore_signin._web.return_to import safe_return_to
from procore_signin._web.router import Router, note_failure
from procore_signin.errors import GrantLost, ProcoreSignInError, SignInRefused, StoreUnavailable


class CompanyEndpoints:
    """Show the user's companies, and remember the choice.

    Args:
        router: Where the endpoints are added; it also knows the context and the paths.
        sign_in: Finds the session of a request.
    """

    def __init__(self, router: Router, sign_in: SignInEndpoints) -> None:
        self._router = router
        self._sign_in = sign_in
        router.add("GET", router.paths.company, self.show)
        router.add("POST", router.paths.company, self.choose)

    def show(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Show the companies to choose from; a single company is chosen without asking."""
        session = yield from self._sign_in.session(request)
        if session is None:
            return self._sign_in.to_sign_in(request)
        try:
            companies = yield from only_company(self._router.context, session.user)
        except ProcoreSignInError as error:
            return self._problem(request, error)
        only = companies[0].id if len(companies) == 1 else None
        if request.wants_json:
            listed = tuple(CompanyJson(each.id, each.name) for each in companies)
            return json_response(CompaniesJson(listed, only or session.user.company_id))
        return_to = self._return_to(in_form(request.query))
        if only is not None and session.user.company_id is None:
            return see_other(return_to)
        return self._router.page(
            "company",
            session=session,
            values={
                "companies": companies,
                "chosen": session.user.company_id,
                "return_to": return_to,
            },
        )

    def choose(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Remember the company that the user chose."""
        session = yield from self._sign_in.session(request)
        if session is None:
            return self._sign_in.to_sign_in(request)
        fields = yield from fields_of(request)
        company_id = whole_number(fields, "company_id")
        if company_id is None:
            return self._router.problem(request, problems.NOT_YOUR_COMPANY)
        try:
            chosen = yield from choose_company(self._router.context, session.user, company_id)
        except ProcoreSignInError as error:
            return self._problem(request, error)
        if request.wants_json:
            return json_response(CompanyJson(chosen.id, chosen.name))
        return see_other(self._return_to(fields))

    def _return_to(self, fields: Fields) -> str:
        return safe_return_to(fields.get("return_to"), default=self._router.paths.home)

    def _problem(self, request: BrowserRequest, error: ProcoreSignInError) -> BrowserResponse:
        if isinstance(error, StoreUnavailable):
            raise error
        if isinstance(error, SignInRefused):
            return self._router.problem(request, problems.NOT_YOUR_COMPANY)
        if isinstance(error, GrantLost):
            return self._router.problem(
                request, problems.GRANT_LOST, return_to=self._router.paths.company
            )
        note_failure(request, error)
        return self._router.problem(request, problems.COMPANIES_UNAVAILABLE, is_logged=True)
