from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import Emulator

INVALID_GRANT = (
    "The provided authorization grant is invalid, expired, revoked, does not match the "
    "redirection URI used in the authorization request, or was issued to another client."
)
INVALID_CLIENT = (
    "Client authentication failed due to unknown client, no client authentication included, "
    "or unsupported authentication method."
)
MALFORMED = (
    "The request is missing a required parameter, includes an unsupported parameter value, "
    "or is otherwise malformed."
)

CodeForm = Callable[..., dict[str, str]]


@pytest.fixture
def new_code(
    emulator: Emulator, authorize: Callable[..., str], code_in: Callable[[str], str]
) -> Callable[[], str]:
    """Get a code as a browser would."""
    return lambda: code_in(emulator.approve(authorize()))


def token_path_answers(
    http: httpx2.Client, form: dict[str, str], error: str, description: str, status: int = 401
) -> None:
    """Check one refusal: body, status and headers."""
    answered = http.post("/oauth/token", data=form)
    assert status == answered.status_code
    assert {"error": error, "error_description": description} == answered.json()
    assert "no-store" == answered.headers["cache-control"]
    assert (
        f'Bearer realm="Doorkeeper", error="{error}", error_description="{description}"'
        == answered.headers["www-authenticate"]
    )


class TestSuccess:
    def test_a_code_brings_the_documented_members_in_the_documented_order(
        self, http: httpx2.Client, new_code: Callable[[], str], code_form: CodeForm
    ) -> None:
        before = int(time.time())
        answered = http.post("/oauth/token", data=code_form(new_code()))
        assert 200 == answered.status_code
        tokens = answered.json()
        assert ["access_token", "token_type", "expires_in", "refresh_token", "created_at"] == list(
            tokens
        )
        assert "bearer" == tokens["token_type"]
        assert 5400 == tokens["expires_in"]
        assert before <= tokens["created_at"] <= time.time()
        assert re.fullmatch("[0-9a-f]{64}", tokens["refresh_token"])
        assert "application/json; charset=utf-8" == answered.headers["content-type"]
        assert "no-store" == answered.headers["cache-control"]
        assert "no-cache" == answered.headers["pragma"]
        assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", _request_id(answered))

    def test_the_access_token_has_procores_form_and_says_it_is_not_procores(
        self, http: httpx2.Client, new_code: Callable[[], str], code_form: CodeForm
    ) -> None:
        token = http.post("/oauth/token", data=code_form(new_code())).json()["access_token"]
        header, payload, signature = (_base64url(part) for part in token.split("."))
        assert {"typ": "JWT", "alg": "ES512"} == json.loads(header)
        assert {"aid": "emulator-client-id", "iss": "local-emulator"}.items() <= json.loads(
            payload
        ).items()
        assert 132 == len(signature)

    @pytest.mark.parametrize(
        "disposition",
        [
            'Content-Disposition: form-data; name="grant_type"',
            "content-disposition:form-data;name=grant_type",
            'CONTENT-DISPOSITION: Form-Data; filename="x; name=y"; NAME="grant_type"',
            'Content-Type: text/plain\r\nContent-Disposition: form-data ; name = "grant_type"',
        ],
    )
    def test_E2_a_multipart_form_is_read_however_its_parts_are_spelled(
        self, http: httpx2.Client, disposition: str
    ) -> None:
        answered = http.post(
            "/oauth/token",
            content=f"--b\r\n{disposition}\r\n\r\nabc\r\n--b--\r\n".encode(),
            headers={"content-type": "Multipart/Form-Data; Boundary=b"},
        )
        assert "unsupported_grant_type" == answered.json()["error"]

    def test_E2_the_parameters_may_come_in_the_query_as_an_older_page_has_it(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        new_code: Callable[[], str],
        code_form: CodeForm,
    ) -> None:
        whole = http.post("/oauth/token", params=code_form(new_code()))
        assert 200 == whole.status_code
        assert "authorization_code" == emulator.token_requests[-1].grant_type
        form = code_form(new_code())
        client = {name: form.pop(name) for name in ("client_id", "client_secret")}
        assert 200 == http.post("/oauth/token", params=client, data=form).status_code
        both = http.post("/oauth/token", params={"code": "x"}, data=code_form(new_code()))
        assert 200 == both.status_code  # the body's, as Rails has it
        tokens = whole.json()
        revoked = {**client, "token": tokens["access_token"]}
        assert 200 == http.post("/oauth/revoke", params=revoked).status_code
        bearer = {"authorization": f"Bearer {tokens['access_token']}"}
        assert 401 == http.get("/rest/v1.0/me", headers=bearer).status_code
        assert 404 == http.get("/oauth/token", params=form).status_code

    @pytest.mark.parametrize("path", ["/oauth/token", "/oauth/token/"])
    def test_every_encoding_that_works_at_procore_works(
        self, http: httpx2.Client, new_code: Callable[[], str], code_form: CodeForm, path: str
    ) -> None:
        def basic() -> httpx2.Response:
            form = code_form(new_code(), client_id=None, client_secret=None)
            return http.post(path, data=form, auth=("emulator-client-id", "emulator-client-secret"))

        def basic_and_id() -> httpx2.Response:
            form = code_form(new_code(), client_secret=None)
            return http.post(path, data=form, auth=("emulator-client-id", "emulator-client-secret"))

        def multipart() -> httpx2.Response:
            form = code_form(new_code())
            return http.post(path, files={name: (None, value) for name, value in form.items()})

        answers = {
            "form": http.post(path, data=code_form(new_code())),
            "json": http.post(path, json=code_form(new_code())),
            "basic": basic(),
            "basic with client_id in the body": basic_and_id(),
            "multipart": multipart(),
        }
        assert dict.fromkeys(answers, 200) == {
            name: answer.status_code for name, answer in answers.items()
        }


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "error", "description"),
        [
            ({"grant_type": None}, "invalid_request", MALFORMED),
            ({"grant_type": ""}, "invalid_request", MALFORMED),
            ({"redirect_uri": None}, "invalid_request", MALFORMED),
            ({"client_id": "unknown"}, "invalid_client", INVALID_CLIENT),
            ({"client_id": None}, "invalid_client", INVALID_CLIENT),
            ({"client_secret": "wrong"}, "invalid_client", INVALID_CLIENT),
            ({"client_secret": None}, "invalid_client", INVALID_CLIENT),
            ({"client_secret": ""}, "invalid_client", INVALID_CLIENT),
            ({"code": "0" * 64}, "invalid_grant", INVALID_GRANT),
            ({"code": None}, "invalid_grant", INVALID_GRANT),
            ({"redirect_uri": "http://localhost:4567/callback/"}, "invalid_grant", INVALID_GRANT),
            ({"redirect_uri": "http://LOCALHOST:4567/callback"}, "invalid_grant", INVALID_GRANT),
        ],
    )
    def test_a_wrong_parameter_is_refused_and_leaves_the_code_good(
        self,
        http: httpx2.Client,
        new_code: Callable[[], str],
        code_form: CodeForm,
        changes: dict[str, str | None],
        error: str,
        description: str,
    ) -> None:
        code = new_code()
        token_path_answers(http, code_form(code, **changes), error, description)
        assert 200 == http.post("/oauth/token", data=code_form(code)).status_code

    @pytest.mark.parametrize("grant_type", ["password", "implicit", "AUTHORIZATION_CODE"])
    def test_a_grant_type_that_procore_does_not_offer_is_refused(
        self, http: httpx2.Client, code_form: CodeForm, grant_type: str
    ) -> None:
        description = "The authorization grant type is not supported by the authorization server."
        form = code_form("x", grant_type=grant_type)
        token_path_answers(http, form, "unsupported_grant_type", description)

    def test_E2_a_code_works_once(
        self, http: httpx2.Client, new_code: Callable[[], str], code_form: CodeForm
    ) -> None:
        form = code_form(new_code())
        assert 200 == http.post("/oauth/token", data=form).status_code
        token_path_answers(http, form, "invalid_grant", INVALID_GRANT)

    def test_a_code_sent_twice_leaves_its_tokens_alone_unless_switched_on(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        authorize: Callable[..., str],
        code_in: Callable[[str], str],
        code_form: CodeForm,
        bearer: Callable[[dict[str, Any]], dict[str, str]],
    ) -> None:
        for switched_on, status in ((False, 200), (True, 401)):
            emulator = emulated(code_reuse_revokes=switched_on)
            http = http_of(emulator)
            form = code_form(code_in(emulator.approve(authorize())))
            tokens = http.post("/oauth/token", data=form).json()
            http.post("/oauth/token", data=form)
            assert status == http.get("/rest/v1.0/me", headers=bearer(tokens)).status_code

    def test_E2_a_code_lives_ten_minutes(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        new_code: Callable[[], str],
        code_form: CodeForm,
    ) -> None:
        young, old = new_code(), new_code()
        emulator.advance(590)
        assert 200 == http.post("/oauth/token", data=code_form(young)).status_code
        emulator.advance(10)
        token_path_answers(http, code_form(old), "invalid_grant", INVALID_GRANT)
        assert "10 minutes" in (emulator.requests[-1].note or "")

    def test_a_code_of_another_client_is_refused(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        new_code: Callable[[], str],
        code_form: CodeForm,
    ) -> None:
        emulator.client("another", "another-secret", "http://localhost:4567/callback", name="B")
        form = code_form(new_code(), client_id="another", client_secret="another-secret")
        token_path_answers(http, form, "invalid_grant", INVALID_GRANT)

    @pytest.mark.parametrize("client_id", [None, "another"])
    def test_E2_a_client_may_authenticate_in_one_way_only(
        self,
        http: httpx2.Client,
        new_code: Callable[[], str],
        code_form: CodeForm,
        client_id: str | None,
    ) -> None:
        changes = {} if client_id is None else {"client_id": client_id, "client_secret": None}
        answered = http.post(
            "/oauth/token",
            data=code_form(new_code(), **changes),
            auth=("emulator-client-id", "emulator-client-secret"),
        )
        assert 401 == answered.status_code
        assert "invalid_request" == answered.json()["error"]

    @pytest.mark.parametrize("credentials", ["!", "bm8tY29sb24=", "/w=="])
    def test_unreadable_basic_credentials_are_no_credentials(
        self,
        http: httpx2.Client,
        new_code: Callable[[], str],
        code_form: CodeForm,
        credentials: str,
    ) -> None:
        form = code_form(new_code(), client_id=None, client_secret=None)
        headers = {"authorization": f"Basic {credentials}"}
        answered = http.post("/oauth/token", data=form, headers=headers)
        assert "invalid_client" == answered.json()["error"]

    def test_the_state_that_was_sent_comes_back_with_an_error(
        self, http: httpx2.Client, code_form: CodeForm
    ) -> None:
        answered = http.post("/oauth/token", data=code_form("x", state="abc"))
        assert "abc" == answered.json()["state"]

    def test_only_post_reaches_the_token_endpoint(self, http: httpx2.Client) -> None:
        assert 404 == http.get("/oauth/token").status_code


class TestUnreadableBodies:
    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/x-www-form-urlencoded", b"grant_type=a&grant_type=a"),
            ("application/x-www-form-urlencoded", b"grant_type=a&grant%5Ftype=a"),
            ("application/x-www-form-urlencoded", b"grant_type=%ff"),
            ("application/x-www-form-urlencoded", b"grant_type=\xff"),
            ("application/x-www-form-urlencoded", b"x=1&" * 101),
            ("application/json", b"{"),
            ("application/json", b'["grant_type", "authorization_code"]'),
            ("application/json", b'[["grant_type", "authorization_code"]]'),
            ("application/json", b'{"grant_type": "a", "grant_type": "a"}'),
            ("application/json", b'{"grant_type": {"a": "b"}}'),
            ("application/json", b'{"grant_type": true}'),
            ("application/json", b"[" * 100_000),
            ("multipart/form-data", b"--x\r\n\r\n--x--"),
            ("multipart/form-data; boundary=x", b"--y--\r\n"),
            ("multipart/form-data; boundary=x", b"--x\r\n\r\nno name\r\n--x--\r\n"),
            (
                "multipart/form-data; boundary=x",
                b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1',
            ),
            (
                "multipart/form-data; boundary=x",
                b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--\r\n',
            ),
            ("text/plain", b"grant_type=authorization_code"),
        ],
    )
    def test_a_body_that_is_not_what_it_says_is_an_invalid_request(
        self, http: httpx2.Client, content_type: str, body: bytes
    ) -> None:
        answered = http.post("/oauth/token", content=body, headers={"content-type": content_type})
        assert 401 == answered.status_code
        assert "invalid_request" == answered.json()["error"]

    def test_a_multipart_value_keeps_its_line_ends_and_a_quoted_boundary_works(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        body = (
            b'preamble\r\n--x y\r\ncontent-disposition: form-data; name="grant_type"\r\n\r\n'
            b"a\r\nb\r\n--x y--\r\n"
        ).removeprefix(b"preamble\r\n")
        headers = {"content-type": 'multipart/form-data; boundary="x y"'}
        http.post("/oauth/token", content=body, headers=headers)
        assert "a\r\nb" == emulator.token_requests[-1].grant_type

    def test_a_json_null_is_a_parameter_left_out(self, http: httpx2.Client) -> None:
        answered = http.post("/oauth/token", json={"grant_type": None})
        assert "invalid_request" == answered.json()["error"]


def _request_id(answered: httpx2.Response) -> str:
    return str(answered.headers["x-request-id"])


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
