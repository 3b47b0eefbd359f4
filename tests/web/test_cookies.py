import pytest
from hypothesis import given
from hypothesis import strategies as st

from procore_signin._web.http.cookies import clear_cookie, read_cookies, set_cookie


def read(*headers: str, secure: bool = False) -> dict[str, str]:
    return read_cookies([h.encode("latin-1") for h in headers], secure=secure)


def test_K1_a_cookie_over_https_says_every_attribute() -> None:
    assert set_cookie("session", "abc", max_age=60, secure=True) == (
        "__Host-procore_signin_session=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
    )


def test_K2_a_cookie_over_plain_http_has_no_prefix_and_is_not_secure() -> None:
    assert set_cookie("session", "abc", max_age=60, secure=False) == (
        "procore_signin_session=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"
    )


def test_a_cleared_cookie_is_gone_at_once() -> None:
    cleared = clear_cookie("session", secure=True)
    assert "Max-Age=0" in cleared
    assert cleared.startswith("__Host-procore_signin_session=;")


def test_our_cookies_are_found_among_others() -> None:
    header = "theme=dark; procore_signin_session=abc; procore_signin_a_1=x.y-z; other=1"
    assert read(header) == {"session": "abc", "a_1": "x.y-z"}


def test_a_value_is_read_whole() -> None:
    assert read(" procore_signin_session=XaX\t;other=1") == {"session": "XaX"}


@pytest.mark.parametrize(
    "header",
    ["xprocore_signin_session=planted", "x=procore_signin_session", "x procore_signin_session"],
)
def test_a_cookie_of_another_name_is_not_ours(header: str) -> None:
    assert read(header) == {}


def test_K1_a_cookie_without_the_host_prefix_does_not_count_over_https() -> None:
    assert read("procore_signin_session=planted", secure=True) == {}
    assert read("__Host-procore_signin_session=ours", secure=True) == {"session": "ours"}


@pytest.mark.parametrize(
    "headers",
    [
        ("procore_signin_session=a; procore_signin_session=b",),
        ("procore_signin_session=a; x=1; procore_signin_session=a",),
        ("procore_signin_session=a", "procore_signin_session=b"),
        ("procore_signin_session=a; procore_signin_session=b; procore_signin_session=c",),
        ('procore_signin_session="a; procore_signin_session=b"',),
        ("procore_signin_session=a=b; procore_signin_session=c",),
    ],
)
def test_K3_a_cookie_that_came_twice_is_no_cookie(headers: tuple[str, ...]) -> None:
    assert read(*headers) == {}


@pytest.mark.parametrize(
    "value", ["", '"abc"', "a b", "a,b", "a\\b", "\xe9", "a\x00b", "a\x1f", "a\xa0", "x" * 4001]
)
def test_K3_a_value_that_we_never_write_is_no_cookie(value: str) -> None:
    assert read(f"procore_signin_session={value}") == {}


@given(st.binary(max_size=200))
def test_K3_no_header_breaks_the_reading(header: bytes) -> None:
    found = read_cookies([b"procore_signin_session=" + header], secure=False)
    assert set(found) <= {"session", *found}
    assert all(value.isascii() and value.isprintable() for value in found.values())
