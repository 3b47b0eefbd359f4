from __future__ import annotations

import locale

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.token_endpoint import parse_token_response
from procore_signin.errors import ProcoreUnavailable

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 §5.6.7


def wait(status: int, **headers: str) -> float | None:
    """Return how long the caller is told to wait. Underscores stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(ProcoreUnavailable) as refusal:
        parse_token_response(HttpResponse(status, named, b""), received_at=NOW)
    return refusal.value.retry_after


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("3600", 3600),
        ("3601", 3600),
        ("999999999999", 3600),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0),
        ("Sun, 06 Nov 1904 08:49:36 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
    ],
)
def test_P5_R7_retry_after_is_seconds_or_a_date_up_to_an_hour(
    status: int, value: str, seconds: float
) -> None:
    assert seconds == wait(status, retry_after=value)


GARBAGE = [
    "",
    "-1",
    "+1",
    "1.5",
    "1e3",
    "１２",  # full-width digits, which int() reads
    "1_0",
    " 7",
    "7 ",
    "9999999999999",
    "soon",
    "Sun, 31 Feb 1994 08:49:37 GMT",
    "Sun, 06 Nov 0000 08:49:37 GMT",
    "Mon, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Foo 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:60 GMT",
    "Sun, 06 Nov 1994 08:49:37 +0100",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT or so",
    "after Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
]


@pytest.mark.parametrize("value", GARBAGE)
def test_P5_garbage_in_retry_after_is_no_wait(value: str) -> None:
    assert wait(503, retry_after=value) is None


def test_no_header_is_no_wait() -> None:
    assert wait(503) is None
    assert wait(429) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("784111787", 10.0),
        ("784111777", 0.0),
        ("784111000", 0.0),
        ("784119999", 3600.0),
        ("0", 0.0),
        ("999999999999", 3600.0),
        *[(garbage, None) for garbage in GARBAGE],
    ],
)
def test_P5_the_reset_of_the_rate_limit_is_a_time_up_to_an_hour_ahead(
    value: str, seconds: float | None
) -> None:
    assert seconds == wait(429, x_rate_limit_reset=value)


def test_P5_retry_after_comes_before_the_reset_of_the_rate_limit() -> None:
    assert wait(429, retry_after="5", x_rate_limit_reset="784111787") == 5


def test_P5_garbage_in_retry_after_leaves_the_reset_of_the_rate_limit() -> None:
    assert wait(429, retry_after="soon", x_rate_limit_reset="784111787") == 10


@pytest.mark.parametrize("status", [408, 500, 503])
def test_P5_the_reset_of_the_rate_limit_says_nothing_about_an_outage(status: int) -> None:
    assert wait(status, x_rate_limit_reset="784111787") is None


def test_dates_are_read_in_english_whatever_the_language_of_the_process() -> None:
    before = locale.setlocale(locale.LC_TIME)
    for other in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8", "C"):
        try:
            locale.setlocale(locale.LC_TIME, other)
        except locale.Error:
            continue
        break
    try:
        assert wait(503, retry_after="Sun, 06 Nov 1994 08:50:37 GMT") == 60
    finally:
        locale.setlocale(locale.LC_TIME, before)


@settings(deadline=None)
@given(
    st.sampled_from([408, 429, 500, 503]),
    st.text() | st.integers().map(str) | st.datetimes().map("{:%a, %d %b %Y %H:%M:%S GMT}".format),
    st.text() | st.integers().map(str),
)
def test_P5_any_headers_are_a_wait_of_up_to_an_hour_or_none(
    status: int, retry_after: str, reset: str
) -> None:
    seconds = wait(status, retry_after=retry_after, x_rate_limit_reset=reset)
    assert seconds is None or 0 <= seconds <= 3600
