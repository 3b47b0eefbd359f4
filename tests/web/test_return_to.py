from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procore_signin._web.return_to import safe_return_to

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "////evil.example/%2e%2e",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/%2fevil.example",
    "/%2Fevil.example",
    "/%5cevil.example",
    "/%5Cevil.example",
    "/%252fevil.example",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/%0d%0aLocation:%20https://evil.example",
    "/home?a=b\r\nLocation: https://evil.example",
    "/home?a=b\n",
    "/home#a\x00",
    "/home?a=\\\\evil.example",
    "/%00/evil.example",
    "/\v/evil.example",
    "/\f/evil.example",
    "/\x00/evil.example",
    "/\x7f/evil.example",
    "/\u2028/evil.example",
    "/／evil.example",
    "//evil.example@localhost:4567",
    "/@evil.example/\\..",
    "https://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "HTTPS://evil.example",
    "http://localhost:4567@evil.example",
    "http://localhost:4567/home",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "home",
    "./home",
    "../home",
    "?home",
    "#home",
    "@evil.example",
    ".evil.example",
    "evil.example",
    "",
    " ",
    "/home page",
    "/ho\u0000me",
    "/höme",
    "/" + "a" * 512,
]
HERE = [
    "/",
    "/home",
    "/home/",
    "/home?tab=1&next=//evil.example",
    "/projects/42#budget",
    "/a/b/../c",
    "/search?q=%2F%2Fevil",
    "/@name",
    "/https://evil.example",
    "/" + "a" * 511,
]


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_A8_A9_an_address_that_could_lead_elsewhere_is_replaced(wanted: str) -> None:
    assert safe_return_to(wanted, default="/home") == "/home"


@pytest.mark.parametrize("wanted", HERE)
def test_A8_a_path_of_this_application_is_kept(wanted: str) -> None:
    assert safe_return_to(wanted, default="/other") == wanted


def test_A8_nothing_wanted_is_the_default() -> None:
    assert safe_return_to(None, default="/home") == "/home"


@given(st.text(alphabet=st.sampled_from("/\\@.:%2f5c\t\n\r \x00ab?#evil"), max_size=20))
def test_A8_whatever_is_wanted_a_browser_stays_on_this_origin(wanted: str) -> None:
    path = safe_return_to(wanted, default="/home")
    # A browser reads a backslash as a slash and drops tabs and line breaks.
    as_browsers_read_it = path.translate({9: None, 10: None, 13: None, 92: "/"})
    landed = urlsplit(urljoin("http://localhost:4567/callback", as_browsers_read_it))
    assert (landed.scheme, landed.netloc) == ("http", "localhost:4567")
    assert path.isprintable()
