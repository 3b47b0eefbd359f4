from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from procore_signin.emulator import Emulator, EmulatorRefused

UNKNOWN_CLIENT = (
    "Client authentication failed due to unknown client, no client authentication included, "
    "or unsupported authentication method."
)
EARLY_REDIRECT = "The redirect uri included is not valid."
LATE_REDIRECT = "The requested redirect uri is malformed or doesn&#39;t match client redirect URI."
RESPONSE_TYPE = "The authorization server does not support this response type."
SCOPE = "The requested scope is invalid, unknown, or malformed."
MALFORMED = "The request is missing a required parameter"


@pytest.mark.parametrize(
    ("changes", "early", "late", "late_status"),
    [
        ({"client_id": "unknown"}, UNKNOWN_CLIENT, UNKNOWN_CLIENT, 401),
        ({"client_id": None}, UNKNOWN_CLIENT, "Missing required parameter: client_id.", 400),
        ({"redirect_uri": None}, EARLY_REDIRECT, LATE_REDIRECT, 400),
        ({"response_type": "token"}, RESPONSE_TYPE, RESPONSE_TYPE, 400),
        ({"response_type": None}, RESPONSE_TYPE, "Missing required parameter: response_type.", 400),
        ({"scope": "read"}, SCOPE, SCOPE, 400),
        ({"client_id": "unknown", "response_type": "token"}, RESPONSE_TYPE, UNKNOWN_CLIENT, 401),
        ({"redirect_uri": "http://localhost:1/", "scope": "read"}, SCOPE, LATE_REDIRECT, 400),
    ],
)
def test_a_wrong_request_ends_on_a_page_with_the_servers_words_and_no_redirect(
    emulated: Callable[..., Emulator],
    http_of: Callable[[Emulator], httpx2.Client],
    authorize: Callable[..., str],
    changes: dict[str, str | None],
    early: str,
    late: str,
    late_status: int,
) -> None:
    for generation, status, words in ((4, 200, early), (5, late_status, late)):
        answered = http_of(emulated(doorkeeper=generation)).get(authorize(**changes))
        assert status == answered.status_code
        assert "location" not in answered.headers
        assert answered.headers["content-type"].startswith("text/html")
        assert words in answered.text


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://localhost:4567/callback/",
        "http://localhost:4567/Callback",
        "http://localhost:4567/callback?x=1",
        "http://localhost:4567/callback#x",
        "http://localhost:4568/callback",
        "http://127.0.0.1:4567/callback",
        "https://localhost:4567/callback",
        "HTTP://localhost:4567/callback",
        "http://localhost:4567/call%62ack",
        "http://localhost:4567/callback\n",
        "http://user@localhost:4567/callback",
        "https://elsewhere.invalid/callback",
        "javascript:alert(1)",
        "",
    ],
)
def test_E2_a_redirect_uri_must_be_exactly_a_registered_one(
    http: httpx2.Client, authorize: Callable[..., str], redirect_uri: str
) -> None:
    answered = http.get(authorize(redirect_uri=redirect_uri))
    assert "location" not in answered.headers
    assert EARLY_REDIRECT in answered.text


def test_each_of_several_registered_redirect_uris_works(
    emulated: Callable[..., Emulator], authorize: Callable[..., str]
) -> None:
    registered = ("http://localhost:1/a", "http://127.0.0.1:2/b")
    emulator = emulated(redirect_uris=registered)
    for redirect_uri in registered:
        assert emulator.approve(authorize(redirect_uri=redirect_uri)).startswith(redirect_uri)


@pytest.mark.parametrize("query", ["&client_id=other", "&state=two", "&%73tate=two", "&x=%ff"])
def test_a_parameter_sent_twice_or_not_in_utf8_is_refused(
    http: httpx2.Client, authorize: Callable[..., str], query: str
) -> None:
    answered = http.get(authorize() + query)
    assert "location" not in answered.headers
    assert MALFORMED in answered.text


def test_more_than_a_hundred_parameters_are_refused(
    http: httpx2.Client, authorize: Callable[..., str]
) -> None:
    answered = http.get(authorize() + "&x=1" * 100)
    assert MALFORMED in answered.text


def test_the_consent_form_is_checked_as_the_request_was(
    http: httpx2.Client, authorize: Callable[..., str], log_in: Callable[..., httpx2.Response]
) -> None:
    log_in(http, authorize())
    changed = authorize(redirect_uri="https://elsewhere.invalid/")
    for continue_to in (changed, "https://elsewhere.invalid/", ""):
        answered = http.post(
            "/oauth/authorize", data={"continue_to": continue_to, "decision": "allow"}
        )
        assert "location" not in answered.headers


def test_a_page_never_repeats_what_it_refuses(
    http: httpx2.Client, authorize: Callable[..., str]
) -> None:
    for parameter in ("client_id", "redirect_uri", "response_type", "scope"):
        page = http.get(authorize(**{parameter: "<script>alert(1)</script>"})).text
        assert "alert(1)" not in page


class TestWithoutABrowser:
    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"client_id": "unknown"}, "invalid_client"),
            ({"redirect_uri": "http://localhost:4567/"}, "invalid_redirect_uri"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"scope": "all"}, "invalid_scope"),
        ],
    )
    def test_approve_and_deny_refuse_what_a_browser_could_not_get(
        self,
        emulator: Emulator,
        authorize: Callable[..., str],
        changes: dict[str, str],
        error: str,
    ) -> None:
        for press in (emulator.approve, emulator.deny):
            with pytest.raises(EmulatorRefused) as refused:
                press(authorize(**changes))
            assert error == refused.value.error

    def test_a_request_for_another_server_is_refused(
        self, emulator: Emulator, authorize: Callable[..., str]
    ) -> None:
        with pytest.raises(EmulatorRefused, match=r"is for https://login\.procore\.com"):
            emulator.approve(f"https://login.procore.com{authorize()}")

    def test_another_address_of_the_emulator_is_refused(self, emulator: Emulator) -> None:
        with pytest.raises(EmulatorRefused, match="not an authorization request"):
            emulator.approve(f"{emulator.url}/oauth/token?client_id=emulator-client-id")

    def test_a_person_who_does_not_exist_cannot_approve(
        self, emulator: Emulator, authorize: Callable[..., str]
    ) -> None:
        with pytest.raises(EmulatorRefused, match="nobody@example"):
            emulator.approve(authorize(), login="nobody@example.com")

    def test_denying_an_out_of_band_request_leads_nowhere(
        self, emulator: Emulator, authorize: Callable[..., str]
    ) -> None:
        with pytest.raises(EmulatorRefused, match="nowhere"):
            emulator.deny(authorize(redirect_uri="urn:ietf:wg:oauth:2.0:oob"))
