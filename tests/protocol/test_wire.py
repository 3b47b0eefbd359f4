from __future__ import annotations

from urllib.parse import parse_qs, quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procore_signin._protocol.http_message import HttpRequest, HttpResponse, in_form, in_query


def test_O1_a_request_prints_without_its_query_headers_and_body() -> None:
    request = HttpRequest(
        "POST",
        "https://login.procore.com/oauth/token?code=c4n4ry?state=c4n4ry",
        (("authorization", "Bearer c4n4ry"),),
        b"client_secret=c4n4ry",
    )
    assert "<POST https://login.procore.com/oauth/token>" == repr(request) == f"{request}"


def test_O1_a_response_prints_its_status_and_size_alone() -> None:
    response = HttpResponse(200, {"set-cookie": "c4n4ry"}, b'{"access_token":"c4n4ry"}')
    assert "<200, 25 bytes>" == repr(response) == f"{response}"


def test_a_request_cannot_be_changed_after_it_was_made() -> None:
    request = HttpRequest("GET", "https://api.procore.com/rest/v1.0/me")
    with pytest.raises(AttributeError):
        request.url = "https://elsewhere.example"  # type: ignore[misc]


@given(st.text(max_size=9))
def test_a_value_in_a_query_or_a_form_is_what_the_standard_library_writes(text: str) -> None:
    assert in_query(text) == quote(text, safe="")
    assert in_form(text) == quote_plus(text)
    assert parse_qs(f"a={in_form(text)}&b={in_query(text)}", keep_blank_values=True) == {
        "a": [text],
        "b": [text],
    }
