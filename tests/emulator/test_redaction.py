from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procore_signin._emulator.inspector.redaction import HIDDEN, shorten_secrets
from procore_signin._emulator.journal import Exchange

SECRET = "3f9ab27c51e88d04a6f01b9972cd4e5f3f9ab27c51e88d04a6f01b9972cd4ec1"
SHORT = "3f9a…c1[64]"
SHORTENED_NAMES = (
    "code",
    "state",
    "code_verifier",
    "access_token",
    "refresh_token",
    "token",
    "authenticity_token",
    "client_assertion",
)
HIDDEN_NAMES = ("password", "client_secret")


def exchange(**changes: Any) -> Exchange:
    plain: dict[str, Any] = {
        "number": 1,
        "started_at": 0.0,
        "took": 0.0,
        "caller": "user",
        "lane": "auth",
        "method": "GET",
        "target": "/",
        "request_headers": (),
        "request_body": b"",
        "status": 200,
        "response_headers": (),
        "response_body": b"",
        "note": None,
    }
    return Exchange(**(plain | changes))


def shown_request(body: str) -> str:
    return shorten_secrets(exchange(request_body=body.encode())).request_body.decode()


def shown_response(body: str) -> str:
    return shorten_secrets(exchange(response_body=body.encode())).response_body.decode()


def shown_header(name: str, value: str) -> str:
    return shorten_secrets(exchange(response_headers=((name, value),))).response_headers[0][1]


def everything(shown: Exchange) -> str:
    """All text of an exchange as it would be shown."""
    headers = (*shown.request_headers, *shown.response_headers)
    parts = [shown.target, shown.note or "", *(f"{name}: {value}" for name, value in headers)]
    return "\n".join([*parts, shown.request_body.decode(), shown.response_body.decode()])


@pytest.mark.parametrize("name", SHORTENED_NAMES)
def test_a_query_shows_the_ends_of_a_secret_and_its_length(name: str) -> None:
    shown = shorten_secrets(exchange(target=f"/oauth/authorize?client_id=me&{name}={SECRET}&x=1"))

    assert f"/oauth/authorize?client_id=me&{name}={SHORT}&x=1" == shown.target


@pytest.mark.parametrize("name", SHORTENED_NAMES)
def test_a_form_shows_the_ends_of_a_secret_and_its_length(name: str) -> None:
    assert f"grant_type=x&{name}={SHORT}" == shown_request(f"grant_type=x&{name}={SECRET}")


@pytest.mark.parametrize("name", HIDDEN_NAMES)
def test_passwords_and_client_secrets_are_hidden_in_a_form(name: str) -> None:
    assert f"a=1&{name}=[hidden]&b=2" == shown_request(f"a=1&{name}=pro&b=2")


@pytest.mark.parametrize("name", HIDDEN_NAMES)
def test_passwords_and_client_secrets_are_hidden_in_json(name: str) -> None:
    assert f'{{"{name}": "[hidden]","b":2}}' == shown_request(f'{{"{name}": "pro","b":2}}')


@pytest.mark.parametrize("value", ["[1, 2]", '{"a": "b"}', "12345678901234567890", "true"])
def test_a_secret_of_another_type_is_hidden_in_json(value: str) -> None:
    assert shown_request(f'{{"token": {value}, "b": 2}}') == '{"token": "[hidden]", "b": 2}'


def test_json_is_otherwise_left_as_it_was_written() -> None:
    written = f'{{ "token_type":"bearer",\n "access_token" : "{SECRET}", "expires_in":5400.0 }}'

    assert written.replace(SECRET, SHORT) == shown_response(written)


def test_a_name_spelled_with_escapes_is_recognised_in_json() -> None:
    assert SECRET not in shown_request(f'{{"access\\u005ftoken": "{SECRET}"}}')


def test_a_name_spelled_with_percent_escapes_is_recognised_in_a_query() -> None:
    shown = shorten_secrets(exchange(target=f"/?c%6Fde={SECRET}&state[]={SECRET}&CODE={SECRET}"))

    assert SECRET not in shown.target


def test_an_error_code_of_the_api_is_no_authorization_code() -> None:
    body = '{"error":{"code":"404","message":"not found"},"state":"CA"}'

    assert body == shown_response(body)


@pytest.mark.parametrize("body", [f'{{"access_token": "{SECRET}', f'{{"token": {{"x": "{SECRET}"'])
def test_json_that_was_cut_off_shows_nothing_of_the_secret(body: str) -> None:
    assert SECRET[:8] not in shown_response(body)


def test_a_short_secret_shows_only_its_length() -> None:
    assert shorten_secrets(exchange(target="/?code=abcdefgh")).target == "/?code=…[8]"


def test_an_empty_value_stays_empty() -> None:
    assert shown_request("code=&client_secret=&state=") == "code=&client_secret=&state="


def test_multipart_fields_are_shortened() -> None:
    body = (
        '--b\r\nContent-Disposition: form-data; name="code"\r\n\r\n%s\r\n'
        '--b\r\nContent-Disposition: form-data; name="client_secret"\r\n\r\n%s\r\n'
        '--b\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\nauthorization_code\r\n'
        "--b--\r\n"
    )

    assert body % (SHORT, HIDDEN) == shown_request(body % (SECRET, "hush"))


def test_a_bearer_token_is_shortened() -> None:
    assert f"Bearer {SHORT}" == shown_header("Authorization", f"Bearer {SECRET}")


def test_basic_credentials_show_the_client_id_only() -> None:
    credentials = base64.b64encode(b"emulator-client-id:hush").decode()

    assert (
        shown_header("authorization", f"Basic {credentials}") == "Basic emulator-client-id:[hidden]"
    )


@pytest.mark.parametrize("value", ["Basic not-base64!", "Digest a=b", SECRET, "Basic eA=="])
def test_other_credentials_are_hidden(value: str) -> None:
    assert shown_header("authorization", value).endswith(HIDDEN)
    assert SECRET not in shown_header("authorization", value)


def test_cookies_keep_their_names_and_attributes() -> None:
    assert f"a={SHORT}; b=…[3]" == shown_header("cookie", f"a={SECRET};b=xyz")
    assert f"login={SHORT}; Path=/; HttpOnly" == shown_header(
        "set-cookie", f"login={SECRET}; Path=/; HttpOnly"
    )
    assert shown_header("set-cookie", "login=; Max-Age=0") == "login=; Max-Age=0"


@pytest.mark.parametrize("name", ["location", "referer", "link"])
@pytest.mark.parametrize("mark", ["?", "#"])
def test_an_address_in_a_header_is_shortened_in_query_and_fragment(name: str, mark: str) -> None:
    address = f"http://localhost:4567/callback{mark}code=%s&state=%s"

    assert address % (SHORT, SHORT) == shown_header(name, address % (SECRET, SECRET))


def test_a_header_named_like_a_token_is_shortened() -> None:
    assert shown_header("X-CSRF-Token", SECRET) == SHORT


def test_an_authorization_request_inside_a_parameter_is_shortened_too() -> None:
    inner = f"/oauth/authorize?client_id=me&state={SECRET}"
    shown = shorten_secrets(exchange(target=f"/login?continue_to={quote(inner, safe='')}"))

    assert "client_id" in shown.target
    assert SHORT in shown.target
    assert SECRET not in shown.target


def test_addresses_nested_deeper_than_sensible_are_hidden() -> None:
    address = f"/a?code={SECRET}"
    for _ in range(9):
        address = f"/a?b={quote(address, safe='')}"

    assert HIDDEN in shorten_secrets(exchange(target=address)).target.replace("%5B", "[").replace(
        "%5D", "]"
    )


def test_hidden_fields_of_a_consent_page_are_shortened() -> None:
    inner = f"/oauth/authorize?client_id=me&amp;state={SECRET}"
    page = (
        f'<!doctype html><form><input type="hidden" name="continue_to" value="{inner}">'
        '<input value=\'procore\' type="hidden" name="password"><input name=token value=%s>'
        '<button name="decision" value="allow">Allow</button></form>'
    )

    shown = shown_response(page % SECRET)

    assert SECRET not in shown
    assert 'value="[hidden]" type="hidden" name="password"' in shown
    assert '<button name="decision" value="allow">' in shown


def test_the_code_on_the_out_of_band_page_and_in_its_address_is_shortened() -> None:
    page = '<h1>Authorization code:</h1><code id="authorization_code">%s</code>'
    shown = shorten_secrets(
        exchange(target=f"/oauth/authorize/{SECRET}", response_body=(page % SECRET).encode())
    )

    assert f"/oauth/authorize/{SHORT}" == shown.target
    assert page % SHORT == shown.response_body.decode()


def test_the_native_page_of_newer_servers_keeps_its_path() -> None:
    shown = shorten_secrets(exchange(target=f"/oauth/authorize/native?code={SECRET}"))

    assert f"/oauth/authorize/native?code={SHORT}" == shown.target


def test_a_secret_met_once_is_replaced_wherever_else_it_occurs() -> None:
    shown = shorten_secrets(
        exchange(
            target=f"/callback/{SECRET}",
            request_headers=(("authorization", f"Bearer {SECRET}"),),
            response_body=f"<p>{SECRET}</p>".encode(),
            note=f"the token {SECRET} is spent",
        )
    )

    assert SECRET not in everything(shown)
    assert f"the token {SHORT} is spent" == shown.note


def test_what_is_no_secret_is_left_untouched() -> None:
    plain = exchange(
        target="/rest/v1.0/companies?page=2&per_page=10",
        request_headers=(("host", "127.0.0.1:4568"), ("accept", "text/html;q=0.9")),
        response_headers=(
            ("www-authenticate", 'Bearer realm="Doorkeeper", error="invalid_token"'),
        ),
        request_body=b"grant_type=authorization_code&redirect_uri=http%3A%2F%2Flocalhost%2F",
        response_body=b'{"id":11111,"login":"joecontractor@procore.com"}',
    )

    assert plain == shorten_secrets(plain)


def test_a_body_that_is_no_text_is_named_instead_of_shown() -> None:
    shown = shorten_secrets(exchange(response_body=b"\x1f\x8b\x08\xff" * 10))

    assert shown.response_body == b"[40 bytes that are not text]"


def test_a_character_cut_in_two_at_the_end_does_not_hide_the_rest() -> None:
    body = "name=Zoë".encode()[:-1]

    assert shorten_secrets(exchange(request_body=body)).request_body == b"name=Zo"


def test_shortening_twice_changes_nothing_more() -> None:
    once = shorten_secrets(
        exchange(
            target=f"/?code={SECRET}",
            request_headers=(("cookie", f"a={SECRET}"), ("authorization", f"Bearer {SECRET}")),
            request_body=f"state={SECRET}&password=x".encode(),
            response_body=f'{{"access_token":"{SECRET}"}}'.encode(),
        )
    )

    assert once == shorten_secrets(once)


SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=16, max_size=80)
NAMES = st.sampled_from((*SHORTENED_NAMES, *HIDDEN_NAMES))


@given(NAMES, SECRETS, st.dictionaries(st.sampled_from(["a", "b", "scope"]), st.text(max_size=9)))
def test_no_secret_survives_in_a_form_a_query_or_json(
    name: str, secret: str, others: dict[str, str]
) -> None:
    fields = others | {name: secret}
    shown = shorten_secrets(
        exchange(
            target=f"/oauth/authorize?{urlencode(fields)}",
            request_body=urlencode(fields).encode(),
            response_body=json.dumps(fields).encode(),
            response_headers=(("location", f"http://localhost/?{urlencode(fields)}"),),
        )
    )

    shown_text = everything(shown)
    for written in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
        assert written not in shown_text


@given(st.binary(max_size=300))
def test_whatever_comes_is_shown_without_an_error(body: bytes) -> None:
    shown = shorten_secrets(
        exchange(
            target="/?" + body.decode("latin-1"),
            request_body=body,
            response_body=b"<input" + body + b'{"token":' + body,
            request_headers=(("authorization", body.decode("latin-1")),),
        )
    )

    assert everything(shown).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 65_536,
        b'"' * 65_536,
        b"a=" * 32_768,
        b"<input " * 9_362,
        b"<" * 65_536,
        b'{"token":' + b"[" * 65_527,
        b"--x\r\nContent-Disposition:" * 2_621,
        b'{"a":"' + b"\\" * 65_530,
    ],
)
@pytest.mark.timeout(5)
def test_a_hostile_body_costs_no_more_than_its_size(body: bytes) -> None:
    assert shorten_secrets(exchange(request_body=body)).request_body
