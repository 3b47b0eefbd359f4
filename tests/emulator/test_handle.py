"""The Python handle where no other file uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import Emulator, EmulatorRefused
from procore_signin.emulator.mint import seeded_bytes
from procore_signin.emulator.procore import LocalProcore


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


def test_E2_two_environments_may_share_people_while_their_tokens_never_cross() -> None:
    production = LocalProcore(random_bytes=seeded_bytes(1))
    monthly = LocalProcore(directory=production.state.directory, random_bytes=seeded_bytes(2))
    token = production.state.grants.issue_to_client("emulator-client-id")
    assert production.state.directory.people == monthly.state.directory.people
    assert monthly.state.grants.by_access_token(token.access_token) is None
    monthly.reset()
    assert 4 == len(production.state.directory.people)


def test_people_can_be_added_while_others_sign_in(
    emulator: Emulator,
    http_of: Callable[[Emulator], httpx2.Client],
    authorize: Callable[..., str],
) -> None:
    """Would break if the handle's thread and the server's worked on the people at once."""
    done = threading.Event()

    def add() -> None:
        for number in range(1, 400):
            emulator.person(number, login=f"{number}@example.com")
            emulator.approve(authorize(), login=f"{number}@example.com")
            emulator.fault("/nowhere", "html")
        done.set()

    thread = threading.Thread(target=add)
    http = http_of(emulator)
    thread.start()
    statuses = set()
    while not done.is_set():
        statuses.add(http.get("/login").status_code)
        statuses.add(http.get("/_emulator/people").status_code)
    thread.join()
    assert {200} == statuses


def test_the_journal_keeps_its_newest_thousand(emulator: Emulator, http: httpx2.Client) -> None:
    for _ in range(1005):
        http.get("/rest/v1.0/me")
    assert [6, 1005] == [emulator.requests[0].number, emulator.requests[-1].number]
