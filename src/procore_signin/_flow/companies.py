"""Which company a user works for here: never guessed, chosen by the user, remembered.

Procore marks an application as installed by a user in every company whose data it reads, so taking
the first company of the list, or going through all of them, has effects that no one asked for.
"""

from __future__ import annotations

from procore_signin._flow.context import Context
from procore_signin._flow.refresh import fresh_tokens
from procore_signin._flow.steps import Flow, do, send
from procore_signin._protocol.companies import (
    Company,
    companies_request,
    parse_companies_response,
)
from procore_signin._store.records import User
from procore_signin._store.users import ChooseCompany
from procore_signin.errors import SignInRefused


def companies_of(context: Context, user: User) -> Flow[tuple[Company, ...]]:
    """Return the companies that Procore lists for `user`, the active ones.

    Raises:
        GrantLost: Ask the user to sign in again.
        ProcoreUnavailable, UnexpectedResponse, StoreUnavailable: Try again later.
    """
    token = yield from fresh_tokens(context, user.id)
    request = companies_request(context.environment.api_origin, token.access_token)
    response = yield from send(request)
    companies = parse_companies_response(response, received_at=context.clock())
    return tuple(company for company in companies if company.is_active)


def choose_company(context: Context, user: User, company_id: int) -> Flow[Company]:
    """Remember that `user` works for `company_id` here, which must be one of their own (row P4).

    Raises:
        SignInRefused: It is not one of the user's companies.
        GrantLost, ProcoreUnavailable, UnexpectedResponse, StoreUnavailable: As `companies_of`.
    """
    for company in (yield from companies_of(context, user)):
        if company.id == company_id:
            yield from do(ChooseCompany(user.id, company_id))
            return company
    raise SignInRefused(
        "The company is not one of the user's", reason="You do not belong to that company."
    )


def only_company(context: Context, user: User) -> Flow[tuple[Company, ...]]:
    """Return the companies to choose from; when there is exactly one, it is chosen here."""
    companies = yield from companies_of(context, user)
    if len(companies) == 1:
        yield from do(ChooseCompany(user.id, companies[0].id))
    return companies
