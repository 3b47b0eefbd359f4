"""Somebody is signed in at a test client, in one line, and nothing leaves the process."""

from __future__ import annotations

import asyncio
import inspect
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask
from starlette.middleware.gzip import GZipMiddleware
from tests.testing.conftest import (
    SECURE,
    Application,
    fastapi_app,
    flask_app,
    get,
    noting,
    only,
)

from procore_signin import Candidate, Hooks, Occasion, SignInRefused, only_connected
from procore_signin.emulator import Company
from procore_signin.errors import AlreadyLinked, StoreUnavailable
from procore_signin.testing import procore_signed_in

Make = Callable[..., Application]


def test_whoever_is_signed_in_is_the_user_of_the_page_and_no_one_is_afterwards(
    application: Make,
) -> None:
    client = application().client()

    with procore_signed_in(client, "ann@example.com") as ann:
        assert get(client, "/me") == "ann@example.com"
        assert (ann.user.email, ann.user.name) == ("ann@example.com", "Ann")

    if not isinstance(client, TestClient) or client.portal is not None:
        assert get(client, "/me") is None
    assert not list(client.cookies.jar if isinstance(client, TestClient) else client._cookies)


def test_the_api_shows_what_the_test_named_and_nothing_else(application: Make) -> None:
    client = application().client()

    with procore_signed_in(client, companies={"Acme": ["Mill", "Bridge"], "Empty": []}) as ann:
        acme, empty = ann.companies
        listed = get(client, "/ask/rest/v1.0/companies")
        projects = get(client, f"/ask/rest/v1.1/projects?company_id={acme.id}")
        none = get(client, f"/ask/rest/v1.1/projects?company_id={empty.id}")

    assert [company["name"] for company in listed] == ["Acme", "Empty"]
    assert [project["name"] for project in projects] == ["Mill", "Bridge"]
    assert [project.name for project in ann.projects] == ["Mill", "Bridge"]
    assert none == []


def test_permissions_are_as_at_procore(application: Make) -> None:
    client = application().client()
    theirs = Company(7, "Theirs", members=frozenset())
    without_us = Company(8, "Never installed", connected=False)

    with procore_signed_in(client, companies=[without_us]) as ann:
        foreign = ann.emulator.new_company("Foreign", people=[])
        statuses = [
            client.get(f"/ask/rest/v1.1/projects?company_id={number}").status_code
            for number in (foreign.id, theirs.id, without_us.id)
        ]

    assert statuses == [404, 404, 403]


def test_two_people_at_two_clients_meet_in_a_company_of_the_same_name(application: Make) -> None:
    made = application()
    one, two = made.client(), made.client()

    with (
        procore_signed_in(one, "ann@example.com", companies=["Acme", "Hers"]),
        procore_signed_in(two, "bob@example.com", companies=["Acme"]) as bob,
    ):
        assert (get(one, "/me"), get(two, "/me")) == ("ann@example.com", "bob@example.com")
        assert len(get(one, "/ask/rest/v1.0/companies")) == 2
        seen = get(two, "/ask/rest/v1.0/companies")

    assert [company["id"] for company in seen] == [bob.companies[0].id]


def test_the_next_person_at_a_client_takes_the_place_of_the_one_before(application: Make) -> None:
    client = application().client()

    with procore_signed_in(client, "ann@example.com"):
        with procore_signed_in(client, "bob@example.com"):
            assert get(client, "/me") == "bob@example.com"
        assert get(client, "/me") is None


def test_the_same_login_is_the_same_person_with_more_companies_and_another_name(
    application: Make,
) -> None:
    client = application().client()

    with (
        procore_signed_in(client, companies=["Acme"]) as before,
        procore_signed_in(client, name="Ann Lee", companies=["Builders"]) as after,
    ):
        listed = get(client, "/ask/rest/v1.0/companies")

    assert (before.user.id, before.user.name) == (after.user.id, "Ann")
    assert after.user.name == "Ann Lee"
    assert [company["name"] for company in listed] == ["Acme", "Builders"]


def test_a_person_may_be_connected_to_a_user_of_the_application(application: Make) -> None:
    made = application()

    with procore_signed_in(made.client(), reference=7) as ann:
        found = made.procore.user_of(7)
        found = asyncio.run(found) if inspect.iscoroutine(found) else found
        assert found == ann.user
        with (
            pytest.raises(AlreadyLinked),
            procore_signed_in(made.client(), "bob@example.com", reference=7),
        ):
            pass


def test_who_is_connected_is_admitted_where_only_they_are(application: Make) -> None:
    client = application(hooks=Hooks(may_sign_in=only_connected)).client()

    for _ in ("at first", "again"):
        with procore_signed_in(client, "ann@example.com", reference=7):
            assert get(client, "/me") == "ann@example.com"
    with pytest.raises(SignInRefused), procore_signed_in(client, "bob@example.com"):
        pass


def test_hooks_are_told_of_a_first_connection_and_of_one_that_is_there(application: Make) -> None:
    """As by the button: at first it is being made, and afterwards it is known."""
    told = []

    def may_sign_in(candidate: Candidate, occasion: Occasion) -> None:
        told.append((candidate.references, occasion.reference, occasion.connects))

    client = application(hooks=Hooks(may_sign_in=may_sign_in)).client()
    with procore_signed_in(client, reference=7), procore_signed_in(client, reference=7):
        pass

    assert told == [((), "7", True), (("7",), "7", True)]


def test_a_person_may_have_no_name(application: Make) -> None:
    with procore_signed_in(application().client(), name=None) as ann:
        assert ann.user.name is None


def test_the_hooks_are_called_plain_and_async(application: Make) -> None:
    called: list[str] = []

    with procore_signed_in(application(hooks=noting(called)).client()):
        pass

    assert called == ["up ann@example.com", "in ann@example.com"]


def test_who_may_not_sign_in_does_not_and_everything_is_as_before(application: Make) -> None:
    made = application(hooks=only("bob@example.com"))
    before = made.procore.store

    with pytest.raises(SignInRefused), procore_signed_in(made.client(), "ann@example.com"):
        raise AssertionError("she is let in")

    assert made.procore.store is before
    with procore_signed_in(made.client(), "bob@example.com") as bob:
        assert bob.user.email == "bob@example.com"


def test_the_store_of_a_test_is_empty_and_nothing_of_it_stays(application: Make) -> None:
    made = application()
    ids = []
    for login in ("ann@example.com", "bob@example.com"):
        with procore_signed_in(made.client(), login) as person:
            ids.append(person.user.id)

    assert ids == [1, 1]
    assert made.procore.wire is None
    with pytest.raises(StoreUnavailable, match="procore_signed_in-gives-each-test-a-store"):
        made.procore.store.probe()


def test_a_token_that_procore_does_not_accept_is_refreshed_as_in_operation(
    application: Make,
) -> None:
    client = application().client()

    with procore_signed_in(client, companies=["Acme"]) as ann:
        ann.emulator.advance(6000)
        assert len(get(client, "/ask/rest/v1.0/companies")) == 1

    grants = [request.grant_type for request in ann.emulator.token_requests]
    assert grants == ["authorization_code", "refresh_token"]


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("drop-before-commit", {}, 503),
        ("refuse", {}, 503),
        ("status", {"status": 404}, 404),
    ],
)
def test_a_fault_of_procore_becomes_what_it_becomes_in_operation(
    application: Make, kind: str, settings: dict[str, Any], expected: int
) -> None:
    client = application().client()

    with procore_signed_in(client) as ann:
        ann.emulator.fault("GET /rest/v1.0/companies", kind, **settings)
        assert client.get("/ask/rest/v1.0/companies").status_code == expected


def test_a_grant_that_is_revoked_at_procore_is_lost(application: Make) -> None:
    client = application().client()

    with procore_signed_in(client, "ann@example.com") as ann:
        ann.emulator.revoke(login="ann@example.com")
        assert client.get("/ask/rest/v1.0/me").status_code == 401


def test_our_own_pages_know_the_user_and_sign_out(application: Make) -> None:
    client = application().client()
    ours = {"host": "localhost:8000", "origin": "http://localhost:8000"}

    with procore_signed_in(client):
        listed = client.get("/procore/sessions", headers=ours)
        client.post("/procore/sign-out", headers=ours)
        assert get(client, "/me") is None

    assert listed.status_code == 200


def test_an_application_at_an_address_of_its_own_needs_none_of_it(application: Make) -> None:
    client = application(SECURE).client()

    with procore_signed_in(client, companies=["Acme"]):
        assert get(client, "/me") == "ann@example.com"
        assert len(get(client, "/ask/rest/v1.0/companies")) == 1


class TestTheChosenCompany:
    def test_a_single_one_is_chosen_where_the_application_asks(self, application: Make) -> None:
        client = application(choose_company=True).client()

        with procore_signed_in(client, companies=["Acme"]) as ann:
            assert ann.user.company_id == ann.companies[0].id

    def test_of_several_none_is_chosen_unless_the_test_names_one(self, application: Make) -> None:
        client = application(choose_company=True).client()

        with procore_signed_in(client, companies=["Acme", "Builders"]) as ann:
            assert ann.user.company_id is None
        with procore_signed_in(client, companies=["Acme", "Builders"], company="Builders") as ann:
            assert ann.user.company_id == ann.companies[1].id

    def test_one_that_is_not_theirs_is_refused(self, application: Make) -> None:
        client = application(choose_company=True).client()

        with (
            pytest.raises(ValueError, match="'Builders' is not one of the companies"),
            procore_signed_in(client, companies=["Acme"], company="Builders"),
        ):
            pass

    def test_where_the_application_does_not_ask_only_one_that_the_test_names_is_chosen(
        self, application: Make
    ) -> None:
        client = application().client()

        with procore_signed_in(client, companies=["Acme"]) as ann:
            assert ann.user.company_id is None
        with procore_signed_in(client, companies=["Acme"], company="Acme") as ann:
            assert ann.user.company_id == ann.companies[0].id


class TestAsgi:
    def test_an_async_client_needs_no_lifespan_and_async_hooks_run(self) -> None:
        called: list[str] = []
        app, _ = fastapi_app(hooks=noting(called))

        async def test() -> list[str]:
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
                with procore_signed_in(client, companies=["Acme"]):
                    answer = await client.get("/ask/rest/v1.0/companies")
                return [company["name"] for company in answer.json()]

        assert asyncio.run(test()) == ["Acme"]
        assert called == ["up ann@example.com", "in ann@example.com"]

    def test_hooks_run_on_the_event_loop_of_the_application_where_there_is_one(self) -> None:
        threads: list[int] = []

        async def on_sign_in(_: object) -> None:
            threads.append(threading.get_ident())

        app, procore = fastapi_app()
        hooks = type(procore.context.hooks)(on_sign_in=on_sign_in)
        app, procore = fastapi_app(hooks=hooks)

        @app.get("/thread")
        async def thread() -> int:
            return threading.get_ident()

        with TestClient(app) as client, procore_signed_in(client):
            assert threads == [get(client, "/thread")]

    def test_an_application_that_starts_and_stops_in_the_middle_is_as_good(self) -> None:
        app, procore = fastapi_app()
        client = TestClient(app)

        with procore_signed_in(client):
            for _ in range(2):
                with client:
                    assert get(client, "/me") == "ann@example.com"

        assert procore.closed.is_set()

    def test_an_application_that_outlives_the_sign_in_still_looks_its_users_up(self) -> None:
        app, _ = fastapi_app()

        with TestClient(app) as client:
            for _ in range(2):
                with procore_signed_in(client):
                    assert get(client, "/me") == "ann@example.com"
                assert get(client, "/me") is None

    def test_an_application_inside_another_one_is_found(self) -> None:
        app, _ = fastapi_app()
        outer = FastAPI()
        outer.mount("/inside", app)
        client = TestClient(GZipMiddleware(outer))

        with procore_signed_in(client):
            assert get(client, "/inside/me") == "ann@example.com"

    def test_an_application_that_cannot_be_found_is_named(self) -> None:
        app, _ = fastapi_app()

        async def in_front(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        client = TestClient(in_front)
        with procore_signed_in(client, app=app):
            assert get(client, "/me") == "ann@example.com"


class TestFlask:
    def test_a_hook_finds_the_application_in_its_context(self) -> None:
        from flask import current_app, request  # noqa: PLC0415  # as a hook would

        seen: list[tuple[str, str]] = []

        def on_sign_in(_: object) -> None:
            seen.append((current_app.name, request.path))

        app, procore = flask_app()
        hooks = type(procore.context.hooks)(on_sign_in=on_sign_in)
        app, _ = flask_app(hooks=hooks)

        with procore_signed_in(app.test_client()):
            pass

        assert seen == [(app.name, "/procore/callback")]

    def test_a_server_name_is_where_the_cookie_goes(self) -> None:
        app, _ = flask_app()
        app.config["SERVER_NAME"] = "diary.example.com"
        client = app.test_client()

        with procore_signed_in(client):
            assert get(client, "/me") == "ann@example.com"


class TestWhatItCannotDo:
    @pytest.mark.parametrize(
        "client",
        [
            Flask(__name__).test_client(),
            TestClient(FastAPI()),
            TestClient(MagicMock()),
            httpx2.Client(),
        ],
        ids=["Flask", "FastAPI", "mock", "a plain client"],
    )
    def test_an_application_without_a_sign_in_is_named(self, client: Any) -> None:
        with (
            pytest.raises(TypeError, match=r"has no sign-in that can be found.*app=app"),
            procore_signed_in(client),
        ):
            pass

    def test_anything_else_is_no_test_client(self) -> None:
        with (
            pytest.raises(
                TypeError,
                match=r"object is no test client .* Give it TestClient\(app\)",
            ),
            procore_signed_in(object()),
        ):
            pass


def test_no_thread_is_left(application: Make) -> None:
    before = set(threading.enumerate())  # other tests of this process may have left theirs
    client = application().client()
    with procore_signed_in(client):
        get(client, "/me")
    deadline = time.monotonic() + 10
    while left := [t.name for t in set(threading.enumerate()) - before if "janitor" in t.name]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def test_it_takes_less_than_50_milliseconds_of_a_processor(application: Make) -> None:
    client = application().client()

    def once() -> float:
        began = time.process_time()
        with procore_signed_in(client, companies={"Acme": ["Mill"]}):
            return time.process_time() - began

    once()  # the first one in a process migrates a database for all of them

    assert statistics.median(once() for _ in range(9)) < 0.05
