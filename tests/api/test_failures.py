"""What Procore's refusals become."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest
from tests.api.conftest import Answering, MakeAnswer
from tests.api.world import ME, World

from procore_signin import api
from procore_signin._api.error_messages import MAX_FIELDS, MAX_WORDS, clean, words_of
from procore_signin.api import (
    ApiError,
    ApiUnavailable,
    ApiUnreachable,
    Conflict,
    Forbidden,
    Invalid,
    NotConnected,
    NotFound,
    NotSent,
    RateLimited,
    Unauthorized,
    UnexpectedAnswer,
    raise_for_procore,
)
from procore_signin.errors import (
    ProcoreSignInError,
    ProcoreUnavailable,
    UnexpectedResponse,
)

NOW = 1_800_000_000
JWT = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzUxMiJ9.eyJhaWQiOiJmYWtlIn0.ZmFrZS1zaWduYXR1cmU"
HEX = "0f" * 32


def answered(status: int, body: Any = b"", **headers: str) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {"content-type": "application/json"} if not isinstance(body, bytes) else {}
    return httpx2.Response(
        status,
        content=content,
        headers={**kind, **{name.replace("_", "-"): value for name, value in headers.items()}},
        request=httpx2.Request("GET", "https://api.procore.com/rest/v1.0/a?email=joe@example.com"),
    )


def failure(status: int, body: Any = b"", **headers: str) -> ApiError:
    with pytest.raises(ApiError) as raised:
        raise_for_procore(answered(status, body, **headers), clock=lambda: NOW)
    return raised.value


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 304])
def test_a_success_is_returned(status: int) -> None:
    response = answered(status)

    assert raise_for_procore(response) is response


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, UnexpectedAnswer),
        (302, UnexpectedAnswer),
        (307, UnexpectedAnswer),
        (300, UnexpectedAnswer),
        (400, Invalid),
        (401, Unauthorized),
        (402, Invalid),
        (403, Forbidden),
        (404, NotFound),
        (405, Invalid),
        (406, Invalid),
        (408, ApiUnavailable),
        (409, Conflict),
        (410, NotFound),
        (415, Invalid),
        (422, Invalid),
        (429, RateLimited),
        (500, ApiUnavailable),
        (502, ApiUnavailable),
        (503, ApiUnavailable),
        (504, ApiUnavailable),
        (599, ApiUnavailable),
    ],
)
def test_each_status_asks_for_its_own_decision(status: int, kind: type[ApiError]) -> None:
    error = failure(status, {"message": "Fake words"}, location="/x", x_request_id="req-1")

    assert kind is type(error)
    assert (status, "GET", "/rest/v1.0/a") == (error.status, error.method, error.path)
    assert f"GET /rest/v1.0/a got status {status}: Fake words" == str(error)
    assert ("Fake words", "req-1") == (error.error_description, error.request_id)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("Your access token has expired.", "Your access token has expired."),
        ({"errors": "Unauthorized"}, "Unauthorized"),
        ({"errors": ["One.", "Two."]}, "One.; Two."),
        ({"errors": {"assignees": ["required"]}}, "assignees required"),
        ({"errors": {"name": "taken", "due": ["past", "odd"]}}, "name taken; due past; due odd"),
        ({"error": "Invalid Token"}, "Invalid Token"),
        (
            {
                "code": "NOT_FOUND",
                "message": "Project not found",
                "fields": None,
                "reason": None,
                "error": "Not Found",
            },
            "Project not found; Not Found",
        ),
        (
            {
                "error": {
                    "code": "400",
                    "message": "Bad",
                    "details": [{"code": "x", "message": "Worse", "source": {"a": "b"}}],
                }
            },
            "Bad; Worse",
        ),
        ({"error": {"error": "Too many requests"}}, "Too many requests"),
        ({"message": "No", "fields": {"number": ["is taken"]}}, "No; number is taken"),
        ([{"message": "First"}, {"message": "Second"}], "First; Second"),
        ({"errors": [{"title": "x"}]}, "title x"),
        ({"errors": {"a": {"b": ["deep"]}}}, "b deep"),
        (b"plain text\r\nof two lines", "plain text of two lines"),
        (b"{broken", "{broken"),
        (b"", ""),
        (b"null", ""),
        (b"42", ""),
        ({}, ""),
        ({"errors": []}, ""),
        ({"errors": None, "message": ""}, ""),
        (b"<!DOCTYPE html><h1>Something went wrong</h1>", ""),
        (b"\xff\xfe\x00", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
        (b"[" * 100_000, "[" * 299 + "…"),
        (b'{"errors":' * 50 + b'"deep"' + b"}" * 50, ""),
    ],
)
def test_words_are_found_in_every_shape(body: Any, words: str) -> None:
    assert words == (failure(422, body).error_description or "")


def test_a_page_of_html_is_not_quoted() -> None:
    error = failure(502, b"anything <b>bold</b>", content_type="text/html; charset=utf-8")

    assert "GET /rest/v1.0/a got status 502" == str(error)


def test_fields_are_told_apart() -> None:
    error = failure(422, {"errors": {"assignees": ["required"], "due": ["past", "odd"]}})

    assert isinstance(error, Invalid)
    assert {"assignees": ("required",), "due": ("past", "odd")} == dict(error.fields)


def test_fields_of_the_envelope_are_told_apart() -> None:
    error = failure(422, {"message": "No", "code": "X", "fields": {"number": ["is taken"]}})

    assert isinstance(error, Invalid)
    assert {"number": ("is taken",)} == dict(error.fields)


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize(
    "words", ["App is not connected to this company.", "The application is not installed here"]
)
def test_an_app_that_is_not_connected_is_told_from_a_person_who_may_not(
    status: int, words: str
) -> None:
    error = failure(status, {"errors": [words]})

    assert NotConnected is type(error)
    assert "installs the app" in (error.hint or "")


def test_a_422_that_mentions_connections_is_still_a_422() -> None:
    assert Invalid is type(failure(422, {"errors": {"drawing": ["is not connected"]}}))


@pytest.mark.parametrize(
    "leak",
    [
        {"error": f"Invalid token {JWT}"},
        {"errors": {"token": [HEX]}},
        {"errors": {HEX: ["no"]}},
        f"Bearer {JWT} refused".encode(),
        {"message": f"see https://api.procore.com/x?access_token={HEX}"},
        {"message": f'"{JWT}",'},
    ],
)
def test_O1_a_token_that_procore_repeats_is_not_shown(leak: Any) -> None:
    error = failure(401, leak)
    shown = f"{error!s} {error!r} {error.error_description} {error.hint} {error.__dict__}"

    assert JWT not in shown
    assert HEX not in shown


def test_O1_fields_do_not_show_one_either() -> None:
    error = failure(422, {"errors": {"token": [HEX], HEX: ["no"]}})

    assert isinstance(error, Invalid)
    assert HEX not in repr(error.fields)


def test_the_query_is_not_shown() -> None:
    assert "joe" not in repr(failure(404, {}))


def test_O2_words_cannot_begin_a_line_or_move_a_cursor() -> None:
    error = failure(400, {"errors": ["a\r\nERROR forged\x1b[2J\u2028b\u202ec"]})

    assert "a ERROR forged [2J b c" == error.error_description


def test_words_are_bounded() -> None:
    error = failure(400, {"errors": ["word " * 1000]})

    assert error.error_description is not None
    assert MAX_WORDS == len(error.error_description)
    assert error.error_description.endswith("…")


def test_fields_are_bounded() -> None:
    many = {"errors": {f"field{number}": ["no"] for number in range(5000)}}
    error = failure(422, many)

    assert isinstance(error, Invalid)
    assert len(error.fields) <= MAX_FIELDS


def test_a_huge_body_is_read_in_part_only() -> None:
    assert len(words_of(b"a " * 10_000_000, "").text) <= MAX_WORDS


def test_a_uuid_may_be_shown() -> None:
    assert "id 123e4567-e89b-12d3-a456-426614174000" == clean(
        "id 123e4567-e89b-12d3-a456-426614174000"
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"x_rate_limit_reset": str(NOW + 9)}, 9.0),
        ({"retry_after": "-7"}, None),
        ({"retry_after": "soon"}, None),
        ({}, None),
        ({"x_rate_limit_reset": str(NOW + 10**8)}, 3600.0),
        (
            {
                "x_rate_limit_reset": str(NOW + 609),
                "date": format_datetime(datetime.fromtimestamp(NOW + 600, UTC), usegmt=True),
            },
            9.0,
        ),
    ],
)
def test_P5_a_429_says_when_to_come_back(headers: dict[str, str], expected: float | None) -> None:
    error = failure(429, {}, **headers)

    assert isinstance(error, RateLimited)
    assert (expected, False) == (error.retry_after, error.ambiguous)


def test_P5_a_503_says_when_to_come_back_and_that_it_may_have_been_done() -> None:
    error = failure(503, b"", retry_after="7")

    assert isinstance(error, ApiUnavailable)
    assert (7.0, True) == (error.retry_after, error.ambiguous)


@pytest.mark.parametrize("bad", ["", "a b", "x" * 200, "a\x7f"])
def test_a_request_id_that_is_none_is_not_shown(bad: str) -> None:
    assert failure(404, {}, x_request_id=bad).request_id is None


def test_a_redirect_says_where_files_are_followed() -> None:
    assert "follow_download" in (failure(302, location="https://x").hint or "")


def test_an_answer_that_was_not_read_still_says_its_status() -> None:
    response = httpx2.Response(
        404,
        stream=httpx2.ByteStream(b"unread"),
        request=httpx2.Request("GET", "https://api.procore.com/rest/v1.0/a"),
    )

    with pytest.raises(NotFound, match=r"got status 404$"):
        raise_for_procore(response)


@pytest.mark.parametrize(
    ("kind", "decisions"),
    [
        (RateLimited, (ApiError, ProcoreUnavailable)),
        (ApiUnavailable, (ApiError, ProcoreUnavailable)),
        (ApiUnreachable, (ApiUnavailable, httpx2.TransportError)),
        (UnexpectedAnswer, (ApiError, UnexpectedResponse)),
        (NotConnected, (ApiError,)),
        (NotSent, (ApiError,)),
    ],
)
def test_an_error_is_caught_by_each_of_its_decisions(
    kind: type[ApiError], decisions: tuple[type[BaseException], ...]
) -> None:
    assert all(issubclass(kind, decision) for decision in decisions)


def test_every_public_error_is_one_of_ours() -> None:
    errors = [
        value
        for name in api.__all__
        if isinstance(value := getattr(api, name), type) and issubclass(value, BaseException)
    ]

    assert len(errors) == 12
    assert all(issubclass(error, ProcoreSignInError) for error in errors)


def test_the_status_of_a_real_answer_is_told(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    body = b'{"errors":{"login":["is odd"]}}'
    server = answering(answer(422, body, content_type="application/json"))

    with pytest.raises(Invalid, match="login is odd"):
        raise_for_procore(world.client(at=server.origin).request("POST", ME, json={}))
