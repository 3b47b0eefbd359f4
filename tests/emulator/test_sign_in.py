from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest

from procore_signin.emulator import OUT_OF_BAND, Emulator

LogIn = Callable[..., httpx2.Response]
CALLBACK = "http://localhost:4567/callback"


def hidden(page: str, name: str) -> str:
    """Return the value of a page's hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, f"the page has no field {name}"
    return unescape(found[1])


def test_a_browser_that_is_not_logged_in_is_sent_to_the_log_in_panel_and_back(
    http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
) -> None:
    asked = http.get(authorize())
    assert 302 == asked.status_code
    assert f"/login?continue_to={quote(authorize(), safe='')}" == asked.headers["location"]
    panel = http.get(asked.headers["location"])
    assert 200 == panel.status_code
    assert authorize() == hidden(panel.text, "continue_to")
    answered = log_in(http, hidden(panel.text, "continue_to"))
    assert 302 == answered.status_code
    assert authorize() == answered.headers["location"]


def test_allow_sends_the_browser_to_the_redirect_uri_with_code_and_state(
    http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
) -> None:
    log_in(http, authorize())
    consent = http.get(authorize())
    assert 200 == consent.status_code
    continue_to = hidden(consent.text, "continue_to")
    form = {"continue_to": continue_to, "decision": "allow"}
    allowed = http.post("/oauth/authorize", data=form)
    assert 302 == allowed.status_code
    address, _, query = allowed.headers["location"].partition("?")
    assert CALLBACK == address
    assert ["code", "state"] == list(parse_qs(query))
    assert re.fullmatch("[0-9a-f]{64}", parse_qs(query)["code"][0])
    assert ["0123456789abcdef"] == parse_qs(query)["state"]


def test_deny_sends_the_browser_back_with_access_denied_and_no_code(
    http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
) -> None:
    log_in(http, authorize())
    form = {"continue_to": authorize(), "decision": "deny"}
    denied = http.post("/oauth/authorize", data=form)
    assert (
        f"{CALLBACK}?error=access_denied&error_description=The+resource+owner+or+authorization+"
        "server+denied+the+request.&state=0123456789abcdef" == denied.headers["location"]
    )


def test_a_decision_that_is_neither_allow_nor_deny_gives_no_code(
    emulator: Emulator, http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
) -> None:
    log_in(http, authorize())
    answered = http.post(
        "/oauth/authorize", data={"continue_to": authorize(), "decision": "perhaps"}
    )
    assert "location" not in answered.headers
    assert "decision" in (emulator.requests[-1].note or "")


def test_nobody_can_allow_without_being_logged_in(
    http: httpx2.Client, authorize: Callable[..., str]
) -> None:
    form = {"continue_to": authorize(), "decision": "allow"}
    answered = http.post("/oauth/authorize", data=form)
    assert answered.headers["location"].startswith("/login?continue_to=")


def test_no_state_in_the_request_means_none_in_the_response(
    emulator: Emulator, authorize: Callable[..., str]
) -> None:
    location = emulator.approve(authorize(state=None))
    assert ["code"] == list(parse_qs(urlsplit(location).query))


def test_consent_is_asked_again_while_no_code_was_exchanged(
    emulator: Emulator, http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
) -> None:
    log_in(http, authorize())
    emulator.approve(authorize())
    assert 200 == http.get(authorize()).status_code


def test_consent_is_remembered_for_the_person_and_client_while_a_grant_lives(
    emulator: Emulator,
    http: httpx2.Client,
    http_of: Callable[[Emulator], httpx2.Client],
    authorize: Callable[..., str],
    log_in: LogIn,
    sign_in: Callable[..., dict[str, Any]],
) -> None:
    sign_in(emulator, http)
    log_in(http, authorize())
    straight = http.get(authorize())
    assert 302 == straight.status_code
    assert straight.headers["location"].startswith(f"{CALLBACK}?code=")

    somebody_else = http_of(emulator)
    log_in(somebody_else, authorize(), login="sandbox+arch@example.com")
    assert 200 == somebody_else.get(authorize()).status_code

    emulator.client("another", "another-secret", CALLBACK, name="Another Application")
    assert 200 == http.get(authorize(client_id="another")).status_code

    assert 1 == emulator.revoke(login="joecontractor@procore.com")
    assert 200 == http.get(authorize()).status_code


@pytest.mark.parametrize(
    "wrong", [{"password": "wrong"}, {"login": "nobody@example.com"}, {"login": ""}]
)
def test_a_wrong_password_or_login_shows_the_panel_again_and_logs_nobody_in(
    http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn, wrong: dict[str, str]
) -> None:
    refused = log_in(http, authorize(), **wrong)
    assert 422 == refused.status_code
    assert authorize() == hidden(refused.text, "continue_to")
    assert "set-cookie" not in refused.headers
    assert http.get(authorize()).headers["location"].startswith("/login?")


def test_a_login_is_found_whatever_its_case(
    http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
) -> None:
    log_in(http, authorize(), login="JoeContractor@Procore.com")
    assert 200 == http.get(authorize()).status_code


def test_the_log_in_cookie_is_hidden_from_scripts_and_other_sites(
    http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
) -> None:
    cookie = log_in(http, authorize()).headers["set-cookie"]
    name_and_value, *attributes = cookie.split("; ")
    assert re.fullmatch("procore_emulator_login=[0-9a-f]{64}", name_and_value)
    assert ["Path=/", "HttpOnly", "SameSite=Lax"] == attributes


def test_each_log_in_gets_a_new_cookie_and_ends_the_one_before(
    http: httpx2.Client,
    http_of: Callable[[Emulator], httpx2.Client],
    emulator: Emulator,
    authorize: Callable[..., str],
    log_in: LogIn,
) -> None:
    first = log_in(http, authorize()).headers["set-cookie"].partition(";")[0]
    second = log_in(http, authorize()).headers["set-cookie"].partition(";")[0]
    assert first != second
    old = http_of(emulator).get(authorize(), headers={"cookie": first})
    assert old.headers["location"].startswith("/login?")


def test_two_log_in_cookies_at_once_count_as_none(
    http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
) -> None:
    cookie = log_in(http, authorize()).headers["set-cookie"].partition(";")[0]
    tossed = f"{cookie}; procore_emulator_login=planted"
    answered = http.get(authorize(), headers={"cookie": tossed})
    assert answered.headers["location"].startswith("/login?")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_log_out_ends_the_log_in_but_not_the_consent(
    emulator: Emulator,
    http: httpx2.Client,
    authorize: Callable[..., str],
    log_in: LogIn,
    sign_in: Callable[..., dict[str, Any]],
    method: str,
) -> None:
    sign_in(emulator, http)
    log_in(http, authorize())
    assert 200 == http.request(method, "/logout").status_code
    assert http.get(authorize()).headers["location"].startswith("/login?")
    log_in(http, authorize())
    assert 302 == http.get(authorize()).status_code


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://elsewhere.invalid/",
        "//elsewhere.invalid/oauth/authorize?",
        "/oauth/authorizer?x=1",
        "/oauth/authorize",
        "/oauth/authorize?x=\r\nset-cookie: a=b",
        "/oauth/authorize?x=\u2028",
        "",
    ],
)
def test_log_in_leads_to_an_authorization_request_or_to_the_start_page_only(
    http: httpx2.Client, log_in: LogIn, elsewhere: str
) -> None:
    assert "/" == log_in(http, elsewhere).headers["location"]


def test_the_log_in_panel_without_an_authorization_request_leads_to_the_start_page(
    http: httpx2.Client, log_in: LogIn
) -> None:
    panel = http.get("/login")
    assert "/" == hidden(panel.text, "continue_to")
    log_in(http, "/")
    assert "/" == http.get("/login").headers["location"]


def test_an_unreadable_form_is_refused_without_a_log_in(http: httpx2.Client) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    refused = http.post("/login", content=b"login=%ff", headers=form)
    assert "set-cookie" not in refused.headers
    assert "location" not in refused.headers


def test_a_person_added_by_the_test_can_log_in_with_their_password(
    emulator: Emulator, http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
) -> None:
    emulator.person(7, login="ada@example.com", name="Ada <b>", password="lovelace")
    assert 422 == log_in(http, authorize(), login="ada@example.com").status_code
    log_in(http, authorize(), login="ada@example.com", password="lovelace")
    page = http.get(authorize()).text
    assert "Ada &lt;b&gt;" in page
    assert "Ada <b>" not in page


class TestOutOfBand:
    def test_the_code_is_shown_on_a_page_to_the_person_it_is_for(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        http_of: Callable[[Emulator], httpx2.Client],
        authorize: Callable[..., str],
        log_in: LogIn,
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        request = authorize(redirect_uri=OUT_OF_BAND)
        log_in(http, request)
        form = {"continue_to": request, "decision": "allow"}
        location = http.post("/oauth/authorize", data=form).headers["location"]
        assert re.fullmatch("/oauth/authorize/[0-9a-f]{64}", location)
        code = location.rpartition("/")[2]
        assert f'<code id="authorization_code">{code}</code>' in http.get(location).text

        stranger = http_of(emulator)
        assert 404 == stranger.get(location).status_code
        log_in(stranger, request, login="sandbox+arch@example.com")
        assert code not in stranger.get(location).text

        exchanged = http.post("/oauth/token", data=code_form(code, redirect_uri=OUT_OF_BAND))
        assert 200 == exchanged.status_code

    def test_an_unknown_code_is_not_repeated_on_a_page(
        self, http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
    ) -> None:
        log_in(http, authorize())
        page = http.get("/oauth/authorize/a-text-of-somebody-else")
        assert 404 == page.status_code
        assert "a-text-of-somebody-else" not in page.text

    def test_generation_5_has_its_own_address_for_the_page(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        authorize: Callable[..., str],
        log_in: LogIn,
    ) -> None:
        http = http_of(emulated(doorkeeper=5))
        request = authorize(redirect_uri=OUT_OF_BAND)
        log_in(http, request)
        form = {"continue_to": request, "decision": "allow"}
        location = http.post("/oauth/authorize", data=form).headers["location"]
        assert re.fullmatch(r"/oauth/authorize/native\?code=[0-9a-f]{64}", location)
        assert 'id="authorization_code"' in http.get(location).text
        assert 404 == http.get("/oauth/authorize/native").status_code

    @pytest.mark.parametrize(("generation", "status"), [(4, 401), (5, 400)])
    def test_deny_without_a_callback_is_answered_with_json(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        authorize: Callable[..., str],
        log_in: LogIn,
        generation: int,
        status: int,
    ) -> None:
        http = http_of(emulated(doorkeeper=generation))
        request = authorize(redirect_uri=OUT_OF_BAND)
        log_in(http, request)
        form = {"continue_to": request, "decision": "deny"}
        denied = http.post("/oauth/authorize", data=form)
        assert status == denied.status_code
        assert "access_denied" == denied.json()["error"]
        assert "0123456789abcdef" == denied.json()["state"]


class TestSwitches:
    def test_the_response_can_come_in_the_fragment(
        self, emulated: Callable[..., Emulator], authorize: Callable[..., str]
    ) -> None:
        emulator = emulated(fragment=True)
        granted, denied = emulator.approve(authorize()), emulator.deny(authorize())
        assert re.fullmatch(
            rf"{re.escape(CALLBACK)}#code=[0-9a-f]{{64}}&state=0123456789abcdef", granted
        )
        assert denied.startswith(f"{CALLBACK}#error=access_denied&")

    def test_the_response_can_name_its_issuer(
        self, emulated: Callable[..., Emulator], authorize: Callable[..., str]
    ) -> None:
        emulator = emulated(iss=True)
        for location in (emulator.approve(authorize()), emulator.deny(authorize())):
            assert [emulator.url] == parse_qs(urlsplit(location).query)["iss"]

    def test_no_issuer_is_named_by_default(
        self, emulator: Emulator, authorize: Callable[..., str]
    ) -> None:
        assert "iss" not in parse_qs(urlsplit(emulator.approve(authorize())).query)

    def test_a_registered_query_is_kept(
        self, emulated: Callable[..., Emulator], authorize: Callable[..., str]
    ) -> None:
        registered = f"{CALLBACK}?tenant=7"
        emulator = emulated(redirect_uris=(registered,))
        location = emulator.approve(authorize(redirect_uri=registered))
        assert location.startswith(f"{registered}&code=")


class TestPolicies:
    def test_no_page_can_be_framed_or_stored(
        self, http: httpx2.Client, authorize: Callable[..., str], log_in: LogIn
    ) -> None:
        panel = http.get("/login")
        log_in(http, authorize())
        consent = http.get(authorize())
        error = http.get(authorize(client_id="unknown"))
        start = http.get("/")
        for page in (panel, consent, error, start, http.post("/logout")):
            assert "no-store" == page.headers["cache-control"]
            assert "DENY" == page.headers["x-frame-options"]
            assert "nosniff" == page.headers["x-content-type-options"]
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy

    @pytest.mark.parametrize(
        ("registered", "allowed"),
        [
            ("http://localhost:4567/callback", "'self' http://localhost:4567"),
            ("https://127.0.0.1/callback", "'self' https://127.0.0.1"),
            ("http://[::1]:4567/callback", "'self' http:"),
        ],
    )
    def test_forms_may_lead_to_the_redirect_uri_and_nowhere_else(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        authorize: Callable[..., str],
        log_in: LogIn,
        registered: str,
        allowed: str,
    ) -> None:
        http = http_of(emulated(redirect_uris=(registered,)))
        request = authorize(redirect_uri=registered)
        panel = http.get(f"/login?continue_to={quote(request, safe='')}")
        log_in(http, request)
        for page in (panel, http.get(request)):
            assert page.headers["content-security-policy"].endswith(f"form-action {allowed}")
        assert http.get("/").headers["content-security-policy"].endswith("form-action 'self'")
