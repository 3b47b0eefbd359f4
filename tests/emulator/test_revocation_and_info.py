from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import Emulator

Tokens = dict[str, Any]
SignIn = Callable[..., Tokens]
Bearer = Callable[[Tokens], dict[str, str]]
CLIENT = {"client_id": "emulator-client-id", "client_secret": "emulator-client-secret"}


class TestRevocation:
    @pytest.mark.parametrize("half", ["access_token", "refresh_token"])
    @pytest.mark.parametrize("encoding", ["form", "json", "multipart"])
    def test_E2_either_token_revokes_both(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        sign_in: SignIn,
        bearer: Bearer,
        refresh_form: Callable[..., dict[str, str]],
        half: str,
        encoding: str,
    ) -> None:
        tokens = sign_in(emulator, http)
        form = {"token": tokens[half], **CLIENT}
        if encoding == "form":
            revoked = http.post("/oauth/revoke", data=form)
        elif encoding == "json":
            revoked = http.post("/oauth/revoke", json=form)
        else:
            parts = {name: (None, value) for name, value in form.items()}
            revoked = http.post("/oauth/revoke", files=parts)
        assert 200 == revoked.status_code
        assert b"{}" == revoked.content
        assert 401 == http.get("/rest/v1.0/me", headers=bearer(tokens)).status_code
        refreshed = http.post("/oauth/token", data=refresh_form(tokens["refresh_token"]))
        assert "invalid_grant" == refreshed.json()["error"]
        assert [] == emulator.live_grants()

    @pytest.mark.parametrize("generation", [4, 5])
    @pytest.mark.parametrize("token", ["0" * 64, "", None])
    def test_an_unknown_token_is_answered_like_a_success(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        generation: int,
        token: str | None,
    ) -> None:
        form = CLIENT if token is None else {"token": token, **CLIENT}
        answered = http_of(emulated(doorkeeper=generation)).post("/oauth/revoke", data=form)
        assert (200, b"{}") == (answered.status_code, answered.content)

    @pytest.mark.parametrize(
        "client",
        [
            {},
            {**CLIENT, "client_secret": "wrong"},
            {"client_id": "another", "client_secret": "another-secret"},
        ],
    )
    @pytest.mark.parametrize(
        ("generation", "status", "body"),
        [
            (4, 200, {}),
            (
                5,
                403,
                {
                    "error": "unauthorized_client",
                    "error_description": "You are not authorized to revoke this token",
                },
            ),
        ],
    )
    def test_E2_nobody_but_its_client_revokes_a_token(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        sign_in: SignIn,
        client: dict[str, str],
        generation: int,
        status: int,
        body: dict[str, str],
    ) -> None:
        emulator = emulated(doorkeeper=generation)
        emulator.client("another", "another-secret", "http://localhost:4567/callback", name="B")
        http = http_of(emulator)
        token = sign_in(emulator, http)["access_token"]
        answered = http.post("/oauth/revoke", data={"token": token, **client})
        assert status == answered.status_code
        assert body == answered.json()
        assert 1 == len(emulator.live_grants())

    @pytest.mark.parametrize(
        ("generation", "half", "left"),
        [
            (4, "access_token", 1),
            (4, "refresh_token", 1),
            (5, "access_token", 1),
            (5, "refresh_token", 0),
        ],
    )
    def test_a_pair_whose_access_token_expired_may_survive_its_revocation(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        sign_in: SignIn,
        generation: int,
        half: str,
        left: int,
    ) -> None:
        emulator = emulated(doorkeeper=generation)
        http = http_of(emulator)
        tokens = sign_in(emulator, http)
        emulator.advance(5400)
        assert 200 == http.post("/oauth/revoke", data={"token": tokens[half], **CLIENT}).status_code
        assert left == len(emulator.live_grants())

    def test_revoking_twice_is_harmless(
        self, emulator: Emulator, http: httpx2.Client, sign_in: SignIn
    ) -> None:
        form = {"token": sign_in(emulator, http)["access_token"], **CLIENT}
        assert [200, 200] == [http.post("/oauth/revoke", data=form).status_code for _ in range(2)]

    def test_generation_5_takes_the_hint_at_its_word(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        sign_in: SignIn,
    ) -> None:
        emulator = emulated(doorkeeper=5)
        http = http_of(emulator)
        form = {"token": sign_in(emulator, http)["access_token"], **CLIENT}
        http.post("/oauth/revoke", data={**form, "token_type_hint": "refresh_token"})
        assert 1 == len(emulator.live_grants())
        http.post("/oauth/revoke", data={**form, "token_type_hint": "access_token"})
        assert 0 == len(emulator.live_grants())

    def test_two_ways_of_authenticating_and_unreadable_bodies_are_refused(
        self, emulator: Emulator, http: httpx2.Client, sign_in: SignIn
    ) -> None:
        form = {"token": sign_in(emulator, http)["access_token"], **CLIENT}
        twice = http.post("/oauth/revoke", data=form, auth=("emulator-client-id", "x"))
        json = {"content-type": "application/json"}
        unreadable = http.post("/oauth/revoke", content=b"{", headers=json)
        for answered in (twice, unreadable):
            assert "invalid_request" == answered.json()["error"]
        assert 1 == len(emulator.live_grants())


class TestTokenInfo:
    def test_generation_4_has_the_members_of_procores_openapi(
        self, emulator: Emulator, http: httpx2.Client, sign_in: SignIn, bearer: Bearer
    ) -> None:
        tokens = sign_in(emulator, http)
        emulator.advance(1000)
        answered = http.get("/oauth/token/info", headers=bearer(tokens))
        assert 200 == answered.status_code
        info = answered.json()
        assert 4390 < info.pop("expires_in_seconds") <= 4400
        assert {
            "resource_owner_id": 11111,
            "scopes": [],
            "application": {"uid": "emulator-client-id"},
            "created_at": tokens["created_at"],
        } == info

    def test_generation_5_has_other_names(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        sign_in: SignIn,
        bearer: Bearer,
    ) -> None:
        emulator = emulated(doorkeeper=5)
        http = http_of(emulator)
        tokens = sign_in(emulator, http)
        info = http.get("/oauth/token/info", headers=bearer(tokens)).json()
        assert ["resource_owner_id", "scope", "expires_in", "application", "created_at"] == list(
            info
        )
        assert "Bearer" == tokens["token_type"]

    def test_the_token_may_come_in_the_query_here_only(
        self, emulator: Emulator, http: httpx2.Client, sign_in: SignIn
    ) -> None:
        query = {"access_token": sign_in(emulator, http)["access_token"]}
        assert 200 == http.get("/oauth/token/info", params=query).status_code
        assert 401 == http.get("/rest/v1.0/me", params=query).status_code

    @pytest.mark.parametrize(
        ("generation", "error"), [(4, "invalid_request"), (5, "invalid_token")]
    )
    def test_a_token_that_is_not_good_is_refused(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        sign_in: SignIn,
        bearer: Bearer,
        generation: int,
        error: str,
    ) -> None:
        emulator = emulated(doorkeeper=generation)
        http = http_of(emulator)
        expired = bearer(sign_in(emulator, http))
        emulator.advance(5400)
        revoked = bearer(sign_in(emulator, http))
        emulator.revoke()
        unknown = {"authorization": "Bearer unknown"}
        basic = {"authorization": "Basic unknown"}
        for headers in (expired, revoked, unknown, basic, {}):
            answered = http.get("/oauth/token/info", headers=headers)
            assert 401 == answered.status_code
            assert error == answered.json()["error"]
        assert 401 == http.get("/oauth/token/info?access_token=a&access_token=b").status_code
