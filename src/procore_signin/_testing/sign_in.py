"""Sign someone in for a test, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from procore_signin._emulator.control.handle import Emulator
from procore_signin._emulator.world.companies import Company, Project
from procore_signin._flow.companies import choose_company
from procore_signin._flow.steps import Flow, ask
from procore_signin._public import public_in
from procore_signin._store.records import User, reference_of
from procore_signin._store.users import UserOf
from procore_signin._testing.clients import AppClient, client_of
from procore_signin._testing.stand_in import Companies, standing_in
from procore_signin._web.endpoints import SESSION_COOKIE
from procore_signin._web.http.cookies import cookie_name


@dataclass(frozen=True, slots=True)
@public_in("procore_signin.testing")
class SignedInUser:
    """Someone who is signed in for a test.

    Attributes:
        user: The user, as the application knows them.
        companies: The companies that the test named for them, in that order.
        projects: The projects of these companies.
        emulator: The local Procore behind the application, without a socket: `fault`, `revoke`,
            `advance`, `requests`, …
    """

    user: User
    companies: tuple[Company, ...]
    projects: tuple[Project, ...]
    emulator: Emulator


@contextmanager
def procore_signed_in(
    client: object,
    login: str = "ann@example.com",
    *,
    name: str | None = "",
    companies: Companies = (),
    company: str | None = None,
    reference: str | int | UUID | None = None,
    app: object | None = None,
) -> Iterator[SignedInUser]:
    """Have someone signed in at a test client while the block runs.

    The application works with a local Procore inside this process and an empty store of its own;
    afterwards it has what it had before. Nothing is sent over a network, and no module is patched.
    The sign-in is a real one, from the code on: the application's hooks are called.

    Args:
        client: A test client of FastAPI or Starlette, Flask (`app.test_client()`) or Django
            (`Client`, `AsyncClient`), or an `AsyncClient` of httpx2 or httpx with an
            `ASGITransport`.
        login: E-mail address. The same one is the same person for the rest of the test.
        name: Full name, or None for a person without one; by default made from the login.
        companies: Names of the person's companies (or a `Company` of the emulator), or a mapping
            from such names to the names of their projects. Two people with a company of the same
            name are in the same one; no one else sees it.
        company: The name of the company that the user has chosen. Where the application asks for
            one (`choose_company`), a single one is chosen, as in operation.
        reference: What the application calls its own user, to whom the sign-in connects the
            person, as if that user were logged in there and pressed the button that connects; None
            for no connection. `Candidate.references` is empty the first time, as it is then.
        app: The application, if it cannot be found from the client.

    Raises:
        TypeError: `client` is none of these, or its application has no sign-in.
        ValueError: `company` is not one of `companies`.
        AlreadyLinked: `reference`, or the person, is connected to another one in this test.
        SignInRefused: The application's hook `may_sign_in` refuses the person.
    """
    theirs = client_of(client, app)
    cookie = cookie_name(SESSION_COOKIE, secure=theirs.door.context.secure)
    own = None if reference is None else reference_of(reference)
    with standing_in(theirs.door) as stand_in, theirs.around():
        person = stand_in.person(login, name)
        joined = stand_in.join(person, companies)
        chosen = _chosen(theirs, joined, company)
        with theirs.request():
            signed_in = stand_in.run(stand_in.sign_in(person, own), theirs.portal)
            user = signed_in.user
            if chosen is not None:
                user = stand_in.run(_choose(theirs, user, chosen), theirs.portal)
        theirs.keep(cookie, signed_in.session_token.reveal())
        try:
            theirs.greet(user)
            emulator, ids = stand_in.emulator, {each.id for each in joined}
            projects = tuple(each for each in emulator.projects if each.company_id in ids)
            yield SignedInUser(user, joined, projects, emulator)
        finally:
            theirs.drop(cookie)


def _chosen(
    theirs: AppClient, companies: tuple[Company, ...], wanted: str | None
) -> Company | None:
    """Return the company that the user has chosen, or None."""
    if wanted is None:
        asks = theirs.site.sign_in.asks_for_company
        return companies[0] if asks and len(companies) == 1 else None
    found = next((each for each in companies if each.name == wanted), None)
    if found is None:
        raise ValueError(f"{wanted!r} is not one of the companies that this test names")
    return found


def _choose(theirs: AppClient, user: User, company: Company) -> Flow[User]:
    yield from choose_company(theirs.door.context, user, company.id)
    changed = yield from ask(UserOf(user.id))
    return user if changed is None else changed
