"""The Python handle where no other file uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from procore_signin._emulator.control.endpoints import Control
from procore_signin.emulator import Emulator, EmulatorRefused


def test_the_people_of_the_seed_can_log_in(
    emulator: Emulator, authorize: Callable[..., str]
) -> None:
    for login in (
        "joecontractor@procore.com",
        "sandbox+arch@example.com",
        "sandbox+sub@example.com",
        "sandbox+support@example.com",
    ):
        assert emulator.approve(authorize(), login=login).startswith("http://localhost:4567/")


def test_an_absolute_request_can_be_approved_under_any_name_of_this_machine(
    emulator: Emulator, authorize: Callable[..., str]
) -> None:
    for origin in (emulator.url, emulator.url.replace("127.0.0.1", "localhost")):
        assert "code=" in emulator.approve(f"{origin}{authorize()}")


def test_token_requests_tell_what_the_client_sent(
    emulator: Emulator,
    http: httpx2.Client,
    code_form: Callable[..., dict[str, str]],
) -> None:
    http.post("/oauth/token", data=code_form("x", code_verifier="v"), headers={"X-Test": "1"})
    http.post("/oauth/token", content=b"\xff", headers={"content-type": "application/json"})
    http.post("/oauth/revoke", data={"token": "x"})
    first, second = emulator.token_requests
    assert "authorization_code" == first.grant_type
    assert code_form("x", code_verifier="v") == first.parameters
    assert ("1", 401) == (first.headers["x-test"], first.status)
    assert (None, {}) == (second.grant_type, second.parameters)


def test_grants_can_be_revoked_by_person_client_or_token(
    emulator: Emulator, http: httpx2.Client, sign_in: Callable[..., dict[str, Any]]
) -> None:
    emulator.client("b", "b-secret", "http://localhost:4567/callback", name="B")
    joe = sign_in(emulator, http)
    sign_in(emulator, http, login="sandbox+arch@example.com")
    third = sign_in(emulator, http)
    assert 0 == emulator.revoke(client_id="b")
    assert 1 == emulator.revoke(login="sandbox+arch@example.com", client_id="emulator-client-id")
    assert 1 == emulator.revoke(token=third["refresh_token"])
    assert 0 == emulator.revoke(token=third["access_token"])
    assert 1 == emulator.revoke(token=joe["access_token"])
    assert [] == emulator.live_grants()


def test_a_person_keeps_what_is_not_changed(emulator: Emulator) -> None:
    emulator.person(7, login="ada@example.com", name="Ada", password="lovelace")
    changed = emulator.person(7, login="countess@example.com")
    assert ("countess@example.com", "Ada", "lovelace") == (
        changed.login,
        changed.name,
        changed.password,
    )
    assert "ada@example.com" == emulator.person(8, login="ada@example.com").login


@pytest.mark.parametrize(
    ("person_id", "changes", "error"),
    [
        (7, {}, EmulatorRefused),
        (7, {"login": "joecontractor@procore.com"}, ValueError),
        (11111, {"login": "sandbox+arch@example.com"}, ValueError),
        (0, {"login": "a@example.com"}, ValueError),
        (7, {"email": "a@example.com"}, TypeError),
    ],
)
def test_a_person_that_cannot_be_is_refused_and_nobody_is_harmed(
    emulator: Emulator,
    authorize: Callable[..., str],
    person_id: int,
    changes: dict[str, str],
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        emulator.person(person_id, **changes)
    for login in ("joecontractor@procore.com", "sandbox+arch@example.com"):
        assert emulator.approve(authorize(), login=login)


def test_a_project_of_no_company_is_refused(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="no company 7"):
        emulator.project(1, 7, "Tower")


def test_the_clock_goes_forward_only(emulator: Emulator) -> None:
    before = emulator.now()
    emulator.advance(60)
    assert 60 <= emulator.now() - before < 65
    for seconds in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="forward only"):
            emulator.advance(seconds)


def test_reset_restores_people_tokens_and_time(
    emulator: Emulator,
    http: httpx2.Client,
    authorize: Callable[..., str],
    log_in: Callable[..., httpx2.Response],
    sign_in: Callable[..., dict[str, Any]],
) -> None:
    tokens = sign_in(emulator, http)
    log_in(http, authorize())
    emulator.person(11111, login="joe@example.com")
    emulator.advance(9999)
    emulator.fault("*", "html")
    before = emulator.now()
    emulator.reset()
    assert emulator.now() < before
    assert ([], [], []) == (emulator.live_grants(), emulator.requests, list(emulator.faults()))
    assert emulator.approve(authorize(), login="joecontractor@procore.com")
    assert http.get(authorize()).headers["location"].startswith("/login?")
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    assert "The access token is invalid" in http.get("/rest/v1.0/me", headers=headers).text


def test_E3_a_seed_repeats_every_code_token_and_id(
    emulated: Callable[..., Emulator],
    http_of: Callable[[Emulator], httpx2.Client],
    sign_in: Callable[..., dict[str, Any]],
) -> None:
    runs = []
    for seed in (1, 1, 2, None):
        emulator = emulated(seed=seed, now=lambda: 1_800_000_000.0)
        http = http_of(emulator)
        tokens = sign_in(emulator, http)
        runs.append((tokens, http.get("/").headers["x-request-id"]))
    assert runs[0] == runs[1]
    assert runs[1] != runs[2] != runs[3]


def test_two_emulators_share_nothing(
    emulated: Callable[..., Emulator],
    http_of: Callable[[Emulator], httpx2.Client],
    sign_in: Callable[..., dict[str, Any]],
    bearer: Callable[[dict[str, Any]], dict[str, str]],
) -> None:
    one, other = emulated(), emulated()
    headers = bearer(sign_in(one, http_of(one)))
    assert 401 == http_of(other).get("/rest/v1.0/me", headers=headers).status_code
    one.advance(60)
    assert one.now() - other.now() > 30


class TestEnvironments:
    """Production, sandbox, monthly and federal in one process."""

    @pytest.fixture
    def four(self) -> Iterator[Mapping[str, Emulator]]:
        with Emulator.environments_started(seed=1) as environments:
            yield environments

    def test_E2_the_four_have_their_names_and_origins_of_their_own(
        self, four: Mapping[str, Emulator]
    ) -> None:
        assert ["production", "sandbox", "monthly", "federal"] == list(four)
        assert 4 == len({emulator.url for emulator in four.values()})

    def test_E2_no_environment_accepts_anothers_token_or_code(
        self,
        four: Mapping[str, Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        authorize: Callable[..., str],
        code_in: Callable[[str], str],
        code_form: Callable[..., dict[str, str]],
        bearer: Callable[[dict[str, Any]], dict[str, str]],
    ) -> None:
        """Even with one seed, where a careless emulator would make equal tokens everywhere."""
        issued = {}
        for name, emulator in four.items():
            client = {
                "client_id": emulator.options.client_id,
                "client_secret": emulator.options.client_secret,
            }
            url = authorize(client_id=client["client_id"])
            form = code_form(code_in(emulator.approve(url)), **client)
            issued[name] = http_of(emulator).post("/oauth/token", data=form).json()
        for name, emulator in four.items():
            http = http_of(emulator)
            accepted = [
                issuer
                for issuer, tokens in issued.items()
                if http.get("/rest/v1.0/me", headers=bearer(tokens)).status_code == 200
            ]
            assert [name] == accepted

    def test_E2_production_and_monthly_share_people_and_client_the_others_have_their_own(
        self, four: Mapping[str, Emulator], authorize: Callable[..., str]
    ) -> None:
        four["production"].person(7, login="ada@example.com")
        assert four["monthly"].approve(authorize(), login="ada@example.com")
        for name in ("sandbox", "federal"):
            with pytest.raises(EmulatorRefused, match="client_id"):
                four[name].approve(authorize())
            url = authorize(client_id=f"emulator-client-id-{name}")
            assert four[name].approve(url)
            with pytest.raises(EmulatorRefused, match="ada@example"):
                four[name].approve(url, login="ada@example.com")

    def test_a_reset_of_monthly_leaves_productions_people_alone(
        self, four: Mapping[str, Emulator], authorize: Callable[..., str]
    ) -> None:
        four["production"].person(7, login="ada@example.com")
        four["monthly"].reset()
        assert four["production"].approve(authorize(), login="ada@example.com")


@pytest.mark.parametrize("path", ["/login", "/_emulator/people", "/rest/v1.0/me"])
def test_no_request_is_answered_while_the_handle_changes_something(
    emulator: Emulator, http: httpx2.Client, path: str
) -> None:
    """The handle's thread and the server's never work on the people and grants at once."""
    with ThreadPoolExecutor(1) as pool:
        with emulator._procore.lock:
            answer = pool.submit(http.get, path)
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.1)
        assert answer.result(timeout=5).status_code in {200, 401}


def test_the_journal_keeps_its_newest_thousand(emulator: Emulator, http: httpx2.Client) -> None:
    for _ in range(1005):
        http.get("/rest/v1.0/me")
    assert [6, 1005] == [emulator.requests[0].number, emulator.requests[-1].number]


def test_the_handle_lists_what_there_is(emulator: Emulator) -> None:
    emulator.person(7, login="ada@example.com", job_title="Countess")
    emulator.client("b", "b-secret", "http://localhost:1/b", name="B")
    emulator.company(70, "Seventy")
    emulator.project(700, 70, "Mill")
    assert (7, "Countess") == (emulator.people[-1].id, emulator.people[-1].job_title)
    assert ["emulator-client-id", "b"] == [client.client_id for client in emulator.clients]
    assert "Seventy" == emulator.companies[-1].name
    assert "Mill" == emulator.projects[-1].name


def test_it_has_a_verb_for_every_control(emulator: Emulator) -> None:
    verbs = {
        "people": ("people", "person"),
        "people/remove": ("remove_person",),
        "clients": ("clients", "client"),
        "companies": ("companies", "company"),
        "projects": ("projects", "project"),
        "clock": ("now", "advance"),
        "grants": ("live_grants",),
        "requests": ("requests",),
        "faults": ("faults", "fault"),
        "faults/clear": ("clear_faults",),
        "approve": ("approve",),
        "deny": ("deny",),
        "revoke": ("revoke",),
        "reset": ("reset",),
    }
    controls = {name for _, name in Control(emulator._procore)._routes if "openapi" not in name}
    assert controls == verbs.keys()
    assert all(hasattr(emulator, verb) for names in verbs.values() for verb in names)
