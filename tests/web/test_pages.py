"""The pages as text: what each needs, what each says, and that nothing gets out of its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Final, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import TemplateNotFound, UndefinedError
from sample_pages import COMMON, JOE, PROCORE, ROW, VALUES

from procore_signin._web import pages
from procore_signin._web.look import words as word
from procore_signin._web.look.languages import Language
from procore_signin._web.look.values import PageName

EVERY_PAGE: Final = pytest.mark.parametrize("name", list(VALUES))


@dataclass(slots=True)
class Element:
    """One element of a page: its tag, its attributes and the text in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


class Reader(HTMLParser):
    """Reads a page into its elements, in order."""

    VOID: Final = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        element = Element(tag, attributes)
        self.elements.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop().tag, "elements must close in the order they were opened"

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def elements_of(html: str) -> list[Element]:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader.elements


def rendered(name: str, **changes: object) -> list[Element]:
    return elements_of(pages.render(name, {**COMMON, **VALUES[name], **changes}))


def find(elements: list[Element], tag: str, **attributes: str) -> Iterator[Element]:
    return (
        element
        for element in elements
        if element.tag == tag and attributes.items() <= element.attributes.items()
    )


def words(elements: list[Element]) -> str:
    return " ".join(next(find(elements, "main")).text.split())


def links(elements: list[Element]) -> dict[str, str]:
    return {" ".join(a.text.split()): a.attributes["href"] for a in find(elements, "a")}


def form_actions(elements: list[Element]) -> list[str]:
    assert all(form.attributes["method"] == "post" for form in find(elements, "form"))
    return [form.attributes["action"] for form in find(elements, "form")]


def test_every_named_page_is_tried_here() -> None:
    assert set(get_args(PageName)) == set(VALUES)


def test_a_page_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TemplateNotFound):
        pages.render("nothing", COMMON)


@EVERY_PAGE
def test_a_page_needs_each_of_its_values(name: str) -> None:
    given_values = {**COMMON, **VALUES[name]}
    # `second_url` belongs to `second_label`; and only some pages have paths of their own.
    # `second_url` is looked at only where there is a `second_label`.
    for missing in given_values.keys() - {"second_url"}:
        rest = {key: value for key, value in given_values.items() if key != missing}
        with pytest.raises((UndefinedError, KeyError, TypeError)):
            pages.render(name, rest)


@EVERY_PAGE
def test_a_page_has_a_language_a_title_one_heading_and_landmarks(name: str) -> None:
    elements = rendered(name)

    assert elements[0].attributes == {"lang": "en"}
    assert next(find(elements, "title")).text.endswith(" · Site Diary")
    assert len(list(find(elements, "main"))) == 1
    assert len(list(find(elements, "header"))) == 1
    # The fragment page has one heading for each of its two faces; only one is ever displayed.
    assert len(list(find(elements, "h1"))) == (2 if name == "fragment" else 1)


def test_titles_tell_the_pages_apart() -> None:
    titles = [next(find(rendered(name), "title")).text for name in VALUES]
    everywhere = next(find(rendered("signed_out", everywhere=True), "title")).text

    assert len({*titles, everywhere}) == len(VALUES) + 1


@EVERY_PAGE
def test_K6_nothing_on_a_page_is_inline(name: str) -> None:
    for element in rendered(name, signed_in=JOE):
        assert element.tag != "style"
        assert not element.attributes.keys() & {"style"}
        assert not [attribute for attribute in element.attributes if attribute.startswith("on")]
        if element.tag == "script":
            assert element.text == ""
            assert element.attributes["src"].startswith("/in/static/")


@EVERY_PAGE
def test_C7_nothing_is_loaded_from_elsewhere(name: str) -> None:
    for element in rendered(name, signed_in=JOE):
        loaded = element.attributes.get("src")
        if element.tag == "link":
            loaded = element.attributes["href"]
        assert loaded is None or loaded.startswith("/in/static/")


@EVERY_PAGE
def test_only_the_fragment_page_has_a_script(name: str) -> None:
    assert len(list(find(rendered(name), "script"))) == (1 if name == "fragment" else 0)


def test_the_environment_is_shown_unless_it_is_production() -> None:
    assert list(find(rendered("landing"), "span", **{"class": "tag"})) == []
    (tag,) = find(rendered("landing", environment="monthly"), "span", **{"class": "tag"})
    assert tag.text == "Monthly sandbox"


def test_whoever_is_signed_in_finds_home_and_sessions_on_every_page() -> None:
    for name in VALUES:
        elements = rendered(name, signed_in=JOE)
        assert links(elements)["Joe Contractor"] == "/in/home"
        assert links(elements)["My sessions"] == "/in/sessions"


def test_without_a_name_the_email_stands_for_the_person() -> None:
    nameless = SimpleNamespace(**{**vars(JOE), "name": None})
    elements = rendered("home", user=nameless, signed_in=nameless)

    assert next(find(elements, "h1")).text == "Hello, joecontractor@procore.com"
    assert links(elements)["joecontractor@procore.com"] == "/in/home"


class TestLanding:
    def test_the_button_says_what_the_tutorial_says(self) -> None:
        (button,) = find(rendered("landing"), "a", **{"class": "button"})

        assert button.text == "Sign Up with Procore"
        assert button.attributes["href"] == PROCORE

    def test_a_quiet_line_leads_to_sign_in(self) -> None:
        elements = rendered("landing")

        assert "Already signed up? Sign in" in words(elements)
        assert links(elements)["Sign in"] == "/in/signin"

    def test_whoever_is_signed_in_is_named_and_the_button_stays(self) -> None:
        elements = rendered("landing", user=JOE)

        assert "Signed in as Joe Contractor. Go to your home page" in words(elements)
        assert links(elements)["Go to your home page"] == "/in/home"
        assert links(elements)["Sign Up with Procore"] == PROCORE


class TestSignIn:
    def test_the_button_says_what_the_tutorial_says(self) -> None:
        (button,) = find(rendered("signin"), "a", **{"class": "button"})

        assert button.text == "Sign In with Procore"
        assert button.attributes["href"] == PROCORE

    def test_it_says_where_the_person_goes_on_to(self) -> None:
        assert "You will go on to /in/home" in words(rendered("signin", return_to="/in/home"))
        assert "You will go on" not in words(rendered("signin"))

    def test_it_says_why_the_person_is_here(self) -> None:
        elements = rendered("signin", notice="Your session has ended.")
        (notice,) = find(elements, "p", role="status")

        assert notice.text == "Your session has ended."


class TestHome:
    def test_it_shows_the_tutorials_row_and_what_procore_answered(self) -> None:
        row, me = find(rendered("home"), "pre")

        assert row.text == ROW
        assert me.text == (
            '{\n  "id": 11111,\n  "login": "joecontractor@procore.com",\n'
            '  "name": "Joe Contractor"\n}'
        )
        assert "Your row in this application\N{RIGHT SINGLE QUOTATION MARK}s database" in words(
            rendered("home")
        )
        assert "What Procore answered GET /rest/v1.0/me" in words(rendered("home"))

    def test_signing_out_is_a_form_and_sessions_a_link(self) -> None:
        elements = rendered("home")

        assert form_actions(elements) == ["/in/sign-out"]
        assert links(elements)["My sessions"] == "/in/sessions"


class TestSessions:
    def test_each_way_out_is_a_form_of_its_own(self) -> None:
        assert form_actions(rendered("sessions")) == [
            "/in/sign-out",
            "/in/sessions/end",
            "/in/sessions/end",
            "/in/sign-out-everywhere",
            "/in/disconnect",
        ]

    def test_only_other_sessions_can_be_ended_and_by_their_id(self) -> None:
        one, all_others = find(rendered("sessions"), "input")

        assert one.attributes == {"type": "hidden", "name": "session_id", "value": "8"}
        assert all_others.attributes == {"type": "hidden", "name": "others", "value": "yes"}

    def test_without_another_session_there_is_none_to_end(self) -> None:
        here = SimpleNamespace(
            id=7, current=True, created_at=0, last_seen_at=60, user_agent=None, expires_at=120
        )

        assert list(find(rendered("sessions", sessions=[here]), "input")) == []

    def test_it_explains_what_disconnecting_does(self) -> None:
        assert (
            "Disconnecting withdraws that access, undoes any connection to your account here, "
            "forgets the tokens kept here and ends all your sessions. Your account here stays."
        ) in words(rendered("sessions"))


class TestGoodbyes:
    def test_signed_out_here_and_everywhere_read_differently(self) -> None:
        (here,) = find(rendered("signed_out"), "h1")
        (everywhere,) = find(rendered("signed_out", everywhere=True), "h1")

        assert here.text == "You are signed out"
        assert everywhere.text == "You are signed out everywhere"

    def test_when_procore_was_not_reached_it_says_how_to_finish_by_hand(self) -> None:
        by_hand = "open My Profile Settings, then Connected Apps"

        assert by_hand in words(rendered("disconnected", revoked=False))
        assert by_hand not in words(rendered("disconnected", revoked=True))

    @pytest.mark.parametrize("name", ["signed_out", "disconnected", "fragment"])
    def test_one_click_goes_on(self, name: str) -> None:
        assert links(rendered(name))["Sign In with Procore"] == PROCORE


class TestProblem:
    def test_C11_it_says_what_happened_and_offers_one_click_to_go_on(self) -> None:
        elements = rendered("problem", why="The page was open for too long.")

        assert (
            "That sign-in took too long It is no longer valid. The page was open for too long. "
            "What you can do Sign in again. Sign In with Procore Details"
        ) in words(elements)
        assert links(elements)["Sign In with Procore"] == PROCORE

    def test_a_second_way_on_is_offered_where_there_is_one(self) -> None:
        elements = rendered("problem", second_label="Back to the start", second_url="/in/")

        assert links(elements)["Back to the start"] == "/in/"

    def test_O3_all_that_is_technical_is_a_reference_in_the_details(self) -> None:
        (details,) = find(rendered("problem"), "aside")

        assert "reference fake-reference, status 400" in details.text

    def test_C5_what_the_wire_said_is_text_and_nothing_else(self) -> None:
        elements = rendered("problem", what="<img src=x onerror=alert(1)><a href=//evil>go</a>")

        assert "<img src=x onerror=alert(1)>" in words(elements)
        assert "//evil" not in links(elements).values()


class Marked(dict[str, str]):
    """A language in which every text has marks around it."""

    def get(self, text: str, _: object = None) -> str:
        return f"«{text}»"


@EVERY_PAGE
@pytest.mark.parametrize("way", ["one", "other"])
def test_no_text_of_a_page_is_left_untranslated(name: str, way: str) -> None:
    language = Language("xx", {})
    language.translations = Marked()  # type: ignore[misc, assignment]  # for this test
    changes: dict[str, object] = {"signed_in": JOE, "environment": "monthly"}
    values = {**COMMON, **VALUES[name], "language": language, **changes}
    if way == "other":  # the texts that stand in the other branch of an `if`
        flipped = {"everywhere": True, "revoked": False, "companies": (), "notice": "", "why": "7"}
        more = {"user": JOE, "return_to": "/", "second_label": "7", "second_url": "/"}
        values |= {k: v for k, v in (flipped | more).items() if k in VALUES[name]}
        values["environment"] = "emulator"
    if name == "problem":
        values |= dict.fromkeys(("title", "what", "cure", "action_label"), "7")
    elements = elements_of(pages.render(name, values))
    told = "".join(each.text for each in elements if each.tag == "html")
    spoken = [each.attributes.get(said, "") for each in elements for said in SAID]
    left = told
    while (less := re.sub(r"«[^«»]*»", "", left)) != left:
        left = less
    assert all(text.startswith("«") for text in spoken if text)
    for value in (*FROM_ELSEWHERE, "GET /rest/v1.0/me"):
        left = left.replace(value, "")
    assert re.findall(r"[A-Za-z]{2,}", left) == []


SAID: Final = ("aria-label", "title", "alt", "placeholder", "data-title")
FROM_ELSEWHERE: Final = (
    *(JOE.name, JOE.email, "Site Diary", "Ours", "<b>Theirs</b>", "fake-reference", ROW, "UTC"),
    *('"id"', '"login"', '"name"'),
)

MARKUP = st.text(alphabet=st.sampled_from("<>&\"'/=! abscript;#1"), max_size=40)


class TestHostileValues:
    @given(name=st.text(max_size=255) | MARKUP, email=st.text(max_size=255) | MARKUP)
    @example(name="<script>alert(1)</script>", email="<b>&lt;@example.com")
    def test_I6_any_profile_is_shown_as_text(self, name: str, email: str) -> None:
        hostile = SimpleNamespace(**{**vars(JOE), "name": name, "email": email})
        me = json.dumps({"name": name, "login": email}, ensure_ascii=False)
        row = json.dumps([1, 11111, email], ensure_ascii=False)
        page = rendered("home", user=hostile, signed_in=hostile, me_json=me, row=row)

        assert [element.tag for element in page] == [
            element.tag for element in rendered("home", signed_in=JOE)
        ]
        shown_row, shown_me = (pre.text for pre in find(page, "pre"))
        assert json.loads(shown_me) == {"name": name, "login": email}
        assert json.loads(shown_row) == [1, 11111, email]

    def test_I6_marks_that_turn_text_around_are_spelled_out_in_json(self) -> None:
        me = json.dumps({"name": "\u202eevil\u2069"}, ensure_ascii=False)
        _, shown = find(rendered("home", me_json=me), "pre")

        assert shown.text == '{\n  "name": "\\u202eevil\\u2069"\n}'

    def test_I6_names_are_kept_from_turning_their_surroundings_around(self) -> None:
        hostile = SimpleNamespace(**{**vars(JOE), "name": "\u202eevil"})
        shown = [element.text for element in find(rendered("home", user=hostile), "bdi")]

        assert "\u202eevil" in shown

    def test_an_attribute_cannot_be_left(self) -> None:
        (button,) = find(
            rendered("signin", sign_in_url='/x" onclick="alert(1)'), "a", **{"class": "button"}
        )

        assert button.attributes == {"class": "button", "href": '/x" onclick="alert(1)'}


@pytest.mark.parametrize(
    ("seconds", "machine", "person"),
    [
        (0, "1970-01-01T00:00:00Z", "1 January 1970, 00:00 UTC"),
        (1_777_816_920, "2026-05-03T14:02:00Z", "3 May 2026, 14:02 UTC"),
        (4_102_444_799, "2099-12-31T23:59:59Z", "31 December 2099, 23:59 UTC"),
    ],
)
def test_a_time_reads_for_people_and_machines(seconds: int, machine: str, person: str) -> None:
    assert f'<time datetime="{machine}">{person}</time>' == word.when(seconds)


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (None, "Unknown browser"),
        ("", "Unknown browser"),
        ("something/1.0", "Unknown browser"),
        ("<script>", "Unknown browser"),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0.0.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/150.0 Safari/537.36 Edg/150.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1.15", "Safari on Mac"),
        ("Mozilla/5.0 (iPhone; like Mac OS X) CriOS/150.0 Safari/604.1", "Chrome on iPhone"),
        ("Mozilla/5.0 (Android 16; Mobile) Gecko/150.0 Firefox/150.0", "Firefox on Android"),
        ("Mozilla/5.0 (Linux; Android 16) Chrome/150.0 OPR/99.0", "Opera on Android"),
        ("curl/8.18.0", "curl"),
    ],
)
def test_a_browser_is_named_in_short_words(user_agent: str | None, expected: str) -> None:
    assert expected == word.browser_words(user_agent)


class TestStaticFiles:
    @pytest.mark.parametrize(
        ("name", "media_type"),
        [
            ("app.css", "text/css; charset=utf-8"),
            ("callback-fragment.js", "text/javascript; charset=utf-8"),
            ("favicon.svg", "image/svg+xml"),
        ],
    )
    def test_each_is_served_with_its_type(self, name: str, media_type: str) -> None:
        found = pages.static_file(name)

        assert found is not None
        assert media_type == found[1]
        assert found[0]
        assert name in pages.STATIC_NAMES

    @pytest.mark.parametrize(
        "name", ["", "nothing.css", "../pages.py", "..%2fpages.py", "/etc/passwd", "app.css/", "."]
    )
    def test_no_other_name_exists(self, name: str) -> None:
        assert pages.static_file(name) is None

    @EVERY_PAGE
    def test_each_is_asked_for_under_an_address_that_changes_with_it(self, name: str) -> None:
        addresses = [
            element.attributes.get("src") or element.attributes.get("href", "")
            for element in rendered(name)
        ]
        asked = {address for address in addresses if address.startswith("/in/static/")}

        assert len(asked) == (3 if name == "fragment" else 2)
        assert all(
            re.fullmatch(r"/in/static/[a-z.-]+\?v=[0-9a-f]{8}", address) for address in asked
        )

    def test_the_stylesheet_stays_small_and_loads_nothing(self) -> None:
        found = pages.static_file("app.css")

        assert found is not None
        assert len(found[0]) < 10 * 1024
        assert b"url(" not in found[0]
        assert b"@import" not in found[0]
