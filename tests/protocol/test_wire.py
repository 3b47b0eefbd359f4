from __future__ import annotations

import pytest

from procore_signin._protocol.http_message import HttpRequest, HttpResponse


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
