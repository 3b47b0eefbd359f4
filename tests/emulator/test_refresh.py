from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import Emulator

Tokens = dict[str, Any]
SignIn = Callable[..., Tokens]
RefreshForm = Callable[..., dict[str, str]]
Bearer = Callable[[Tokens], dict[str, str]]


def refresh(http: httpx2.Client, form: dict[str, str]) -> httpx2.Response:
    return http.post("/oauth/token", data=form)


def may_call(http: httpx2.Client, headers: dict[str, str]) -> bool:
    return http.get("/rest/v1.0/me", headers=headers).status_code == 200


def test_a_refresh_brings_a_new_pair(
    emulator: Emulator, http: httpx2.Client, sign_in: SignIn, refresh_form: RefreshForm
) -> None:
    tokens = sign_in(emulator, http)
    answered = refresh(http, refresh_form(tokens["refresh_token"]))
    assert 200 == answered.status_code
    renewed = answered.json()
    assert list(tokens) == list(renewed)
    assert tokens["access_token"] != renewed["access_token"]
    assert tokens["refresh_token"] != renewed["refresh_token"]


def test_a_refresh_works_long_after_the_access_token_expired(
    emulator: Emulator,
    http: httpx2.Client,
    sign_in: SignIn,
    refresh_form: RefreshForm,
    bearer: Bearer,
) -> None:
    tokens = sign_in(emulator, http)
    emulator.advance(400 * 86_400)
    assert not may_call(http, bearer(tokens))
    renewed = refresh(http, refresh_form(tokens["refresh_token"])).json()
    assert may_call(http, bearer(renewed))


def test_the_redirect_uri_may_be_sent_along(
    emulator: Emulator, http: httpx2.Client, sign_in: SignIn, refresh_form: RefreshForm
) -> None:
    token = sign_in(emulator, http)["refresh_token"]
    form = refresh_form(token, redirect_uri="http://localhost:4567/callback")
    assert 200 == refresh(http, form).status_code


def test_E2_a_refresh_token_works_once_and_kills_the_pair_it_came_with(
    emulator: Emulator,
    http: httpx2.Client,
    sign_in: SignIn,
    refresh_form: RefreshForm,
    bearer: Bearer,
) -> None:
    tokens = sign_in(emulator, http)
    assert may_call(http, bearer(tokens))
    renewed = refresh(http, refresh_form(tokens["refresh_token"])).json()
    again = refresh(http, refresh_form(tokens["refresh_token"]))
    assert 401 == again.status_code
    assert "invalid_grant" == again.json()["error"]
    assert not may_call(http, bearer(tokens))
    assert may_call(http, bearer(renewed)), "the reuse of the old token harms the new one not"


def test_of_twenty_refreshes_at_once_exactly_one_succeeds(
    emulator: Emulator,
    http: httpx2.Client,
    http_of: Callable[[Emulator], httpx2.Client],
    sign_in: SignIn,
    refresh_form: RefreshForm,
) -> None:
    form = refresh_form(sign_in(emulator, http)["refresh_token"])
    emulator.fault("POST /oauth/token", "latency", seconds=0.05, times=None)
    clients = [http_of(emulator) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        statuses = [r.status_code for r in pool.map(lambda one: refresh(one, form), clients)]
    assert [200] + [401] * 19 == sorted(statuses)


class TestGrace:
    """Rotation `grace`: the old pair lives until the new access token is first used."""

    @pytest.fixture
    def emulator(self, emulated: Callable[..., Emulator]) -> Emulator:
        return emulated(rotation="grace")

    def test_E2_the_old_pair_stays_good_until_the_new_access_token_is_used(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        sign_in: SignIn,
        refresh_form: RefreshForm,
        bearer: Bearer,
    ) -> None:
        tokens = sign_in(emulator, http)
        form = refresh_form(tokens["refresh_token"])
        lost = refresh(http, form).json()
        renewed = refresh(http, form).json()
        assert may_call(http, bearer(tokens))
        assert may_call(http, bearer(renewed))
        assert not may_call(http, bearer(tokens))
        assert "invalid_grant" == refresh(http, form).json()["error"]
        assert may_call(http, bearer(lost)), "Doorkeeper knows no family of tokens"

    def test_asking_for_token_info_is_use(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        sign_in: SignIn,
        refresh_form: RefreshForm,
        bearer: Bearer,
    ) -> None:
        form = refresh_form(sign_in(emulator, http)["refresh_token"])
        renewed = refresh(http, form).json()
        http.get("/oauth/token/info", headers=bearer(renewed))
        assert "invalid_grant" == refresh(http, form).json()["error"]

    def test_a_refused_refresh_spends_nothing(
        self, emulator: Emulator, http: httpx2.Client, sign_in: SignIn, refresh_form: RefreshForm
    ) -> None:
        token = sign_in(emulator, http)["refresh_token"]
        refresh(http, refresh_form(token, client_secret="wrong"))
        assert 200 == refresh(http, refresh_form(token)).status_code


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"client_id": None, "client_secret": None}, "invalid_client"),
            ({"client_secret": "wrong"}, "invalid_client"),
            ({"client_id": "unknown"}, "invalid_client"),
            ({"client_id": "another", "client_secret": "another-secret"}, "invalid_grant"),
            ({"scope": "all"}, "invalid_scope"),
        ],
    )
    @pytest.mark.parametrize("burns", [True, False])
    def test_E2_a_refused_refresh_spends_the_token_as_the_faq_says_unless_switched_off(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        sign_in: SignIn,
        refresh_form: RefreshForm,
        bearer: Bearer,
        changes: dict[str, str | None],
        error: str,
        burns: bool,  # noqa: FBT001 - a parameter of the table
    ) -> None:
        emulator = emulated(failed_refresh_burns=burns)
        emulator.client("another", "another-secret", "http://localhost:4567/callback", name="B")
        http = http_of(emulator)
        tokens = sign_in(emulator, http)
        refused = refresh(http, refresh_form(tokens["refresh_token"], **changes))
        assert 401 == refused.status_code
        assert error == refused.json()["error"]
        assert may_call(http, bearer(tokens)), "the access token lives on"
        assert burns != emulator.live_grants()[0].refreshable
        assert (401 if burns else 200) == refresh(
            http, refresh_form(tokens["refresh_token"])
        ).status_code

    @pytest.mark.parametrize(
        ("refresh_token", "error"),
        [(None, "invalid_request"), ("", "invalid_request"), ("0" * 64, "invalid_grant")],
    )
    def test_no_refresh_token_or_an_unknown_one_is_refused_before_the_client_is_looked_at(
        self,
        http: httpx2.Client,
        refresh_form: RefreshForm,
        refresh_token: str | None,
        error: str,
    ) -> None:
        form = refresh_form("x", refresh_token=refresh_token, client_secret="wrong")
        assert error == refresh(http, form).json()["error"]

    def test_an_access_token_is_no_refresh_token(
        self, emulator: Emulator, http: httpx2.Client, sign_in: SignIn, refresh_form: RefreshForm
    ) -> None:
        token = sign_in(emulator, http)["access_token"]
        assert "invalid_grant" == refresh(http, refresh_form(token)).json()["error"]

    def test_a_refresh_token_that_the_person_revoked_is_refused(
        self, emulator: Emulator, http: httpx2.Client, sign_in: SignIn, refresh_form: RefreshForm
    ) -> None:
        token = sign_in(emulator, http)["refresh_token"]
        assert 1 == emulator.revoke(login="joecontractor@procore.com")
        assert "invalid_grant" == refresh(http, refresh_form(token)).json()["error"]
