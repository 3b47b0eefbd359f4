from __future__ import annotations

import json

import pytest

from procore_signin._protocol.companies import (
    Company,
    companies_request,
    parse_companies_response,
)
from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable, UnexpectedResponse

NOW = 1_700_000_000.0
WRONG_IDS: list[object] = [0, -1, 2**63, True, 1.0, "7", None]
WRONG_NAMES: list[object] = [None, 7, [], {}]
ACME: dict[str, object] = {"id": 7, "name": "Acme", "is_active": True}


def answer(*listed: object, status: int = 200, **headers: str) -> HttpResponse:
    return HttpResponse(status, {"x-request-id": "7f3b-1", **headers}, json.dumps(listed).encode())


def test_P1_the_token_is_in_the_header_and_a_page_is_as_long_as_it_may_be() -> None:
    request = companies_request("https://api.procore.com", Secret("fake-token", "access token"))
    assert (request.method, request.body) == ("GET", b"")
    assert request.url == "https://api.procore.com/rest/v1.0/companies?per_page=300"
    assert request.headers == (
        ("accept", "application/json"),
        ("authorization", "Bearer fake-token"),
    )


def test_a_company_has_an_id_a_name_and_is_active_unless_procore_says_no() -> None:
    listed = (ACME, {"id": 2**63 - 1, "name": "B"}, ACME | {"id": 1, "is_active": False})
    assert parse_companies_response(answer(*listed), NOW) == (
        Company(7, "Acme", is_active=True),
        Company(2**63 - 1, "B", is_active=True),
        Company(1, "Acme", is_active=False),
    )
    assert parse_companies_response(answer(), NOW) == ()


def test_I6_the_name_of_a_company_is_kept_without_controls_and_cut() -> None:
    (company,) = parse_companies_response(answer(ACME | {"name": "A\r\n\x1b" + "b" * 300}), NOW)
    assert company.name == "A" + "b" * 254


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        *[({"id": wrong}, "without an id") for wrong in WRONG_IDS],
        *[({"name": wrong}, "without a name") for wrong in WRONG_NAMES],
    ],
)
def test_I3_a_company_without_an_id_or_a_name_is_unexpected(
    changed: dict[str, object], words: str
) -> None:
    with pytest.raises(UnexpectedResponse, match=rf"^The companies response .* {words}$"):
        parse_companies_response(answer(ACME, ACME | changed), NOW)


@pytest.mark.parametrize("listed", ["7", "Acme", None, [ACME]])
def test_what_is_listed_beside_companies_is_unexpected(listed: object) -> None:
    with pytest.raises(UnexpectedResponse, match="without an id"):
        parse_companies_response(answer(listed), NOW)


def test_what_is_not_a_list_is_unexpected() -> None:
    with pytest.raises(UnexpectedResponse, match=r"^The companies response is not a list$"):
        parse_companies_response(HttpResponse(200, {}, b'{"companies":[]}'), NOW)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, UnexpectedResponse, "The companies response has status 401"),
        (201, UnexpectedResponse, "The companies response has status 201"),
        (500, ProcoreUnavailable, "Procore could not respond (the companies response has"),
        (429, ProcoreUnavailable, "Procore is limiting requests (429 to the companies request)"),
    ],
)
def test_T7_the_status_decides_before_the_list(
    status: int, kind: type[ProcoreSignInError], words: str
) -> None:
    with pytest.raises(ProcoreSignInError) as refusal:
        parse_companies_response(answer(ACME, status=status), NOW)
    assert (type(refusal.value), refusal.value.request_id) == (kind, "7f3b-1")
    assert str(refusal.value).startswith(words)


def test_P5_a_limit_says_how_long_to_wait() -> None:
    limited = answer(status=429, **{"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"})
    with pytest.raises(ProcoreUnavailable) as refusal:
        parse_companies_response(limited, NOW)
    assert refusal.value.retry_after == 10
