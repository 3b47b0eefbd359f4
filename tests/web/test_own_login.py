"""Beside an application's own login: one log-out, connections, and the attacks on both.

The neutral endpoints with an application that is a few functions; each framework's own tests show
that they are given what they need.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID

import pytest
from neutral import Browser, header, page_of, title
from scripted import JOE, Clock, ScriptedProcore, front_door, reply

from procore_signin import Candidate, Hooks, Login, Occasion, Options, User, only_connected
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import open_attempt
from procore_signin._store import Store
from procore_signin._store.engine.command import Command
from procore_signin._store.sign_in import CompleteSignIn, JoinSignIn
from procore_signin._web.attempts import MOST_BYTES
from procore_signin._web.embedded.start import open_value
from procore_signin._web.http.messages import BrowserResponse, Framework
from procore_signin._web.site import Site
from procore_signin.errors import AlreadyLinked

CROSS = {"sec-fetch-site": "cross-site"}
ANN = {"id": 22222, "login": "ann@procore.com", "name": "Ann"}


def user_of(request: SimpleNamespace) -> Any:
    return request.session.get("user")


def log_out(request: SimpleNamespace, response: SimpleNamespace) -> None:
    request.session.clear()
    response.cookies.append("own=; Max-Age=0")


LOGIN = Login(user=user_of, log_out=log_out)


class World:
    """An application with a login of its own, and the browsers at it."""

    def __init__(self, folder: Path, login: Login | None = LOGIN, **hooks: Any) -> None:
        self.procore = ScriptedProcore()
        self.clock = Clock()
        self.opened = front_door(folder, self.procore, self.clock, hooks=Hooks(**hooks))
        self.door: ProcoreSignIn = self.opened.__enter__()
        self.site = Site(self.door.context, Options(login=login))

    def browser(self) -> Person:
        return Person(self.door, self.site.router)

    def person_at_procore(self, me: dict[str, Any]) -> None:
        """Say who is logged in at Procore, for the next sign-in."""
        self.procore.next("/rest/v1.0/me", reply(200, me))

    def close(self) -> None:
        self.opened.__exit__(None, None, None)


class Person(Browser):
    """A browser that also holds the application's own session."""

    def __init__(self, *more: Any) -> None:
        super().__init__(*more)
        self.session: dict[str, Any] = {}
        self.is_strict = False

    def framework(self) -> Framework:
        response = SimpleNamespace(cookies=[])
        request = SimpleNamespace(session=self.session)
        return Framework(
            request,
            lambda: response,
            lambda made: made.cookies,
            lambda: self.session,
            is_strict=self.is_strict,
        )

    def log_in(self, user: str) -> None:
        """Log in at the application, as `django.contrib.auth.login` does."""
        if self.session.get("user") not in {None, user}:
            self.session = {}
        self.session["user"] = user

    def log_out(self) -> None:
        self.session = {}

    def press(self, **form: str) -> BrowserResponse:
        return self.post("/start", form=form)

    def state_of(self, response: BrowserResponse) -> str:
        location = header(response, "location")
        assert location is not None, response
        assert location.startswith("http"), location
        return parse_qs(urlsplit(location).query)["state"][0]

    def finish(self, pressed: BrowserResponse) -> BrowserResponse:
        """Come back from Procore."""
        return self.get(f"/callback?code=fake-code&state={self.state_of(pressed)}")

    def led_here(self, target: str) -> BrowserResponse:
        """Be led here by another site, with a login whose cookie is `SameSite=Strict`."""
        session, self.session = self.session, {}
        answer = self.get(target, headers=CROSS)
        assert self.session == {}, "an empty session that is written to would replace the other"
        self.session = session
        return answer

    def connect(self, **form: str) -> BrowserResponse:
        """Press the button that connects and come back from Procore."""
        return self.finish(self.press(connect="yes", **form))

    def who(self, headers: dict[str, str] | None = None) -> str | None:
        """Return who is signed in, as a page of the application would."""
        asked = self.request("GET", "/anything", headers=headers)
        session = self.door.run(self.site.session(asked))
        return None if session is None else session.user.email

    site: Site


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    Person.site = world.site
    yield world
    world.close()


@pytest.fixture
def ann(world: World) -> Person:
    return world.browser()


def signed_in(person: Person, return_to: str = "") -> None:
    assert person.sign_in(f"/signin{return_to}").status == 303


# --- One log-out ---------------------------------------------------------------------------------


def test_L1_a_session_ends_with_the_login_under_which_it_was_opened(ann: Person) -> None:
    ann.log_in("ann")
    signed_in(ann)
    assert ann.who() == JOE["login"]
    ann.log_out()
    assert ann.who() is None


def test_L1_the_next_user_of_the_browser_is_not_the_one_before(ann: Person) -> None:
    """However the first one was logged out: no signal, no function of ours is needed."""
    ann.log_in("ann")
    signed_in(ann)
    ann.log_in("bob")
    assert ann.who() is None
    ann.log_in("ann")
    assert ann.who() is None, "what has ended stays so"


def test_L1_a_session_from_before_the_log_in_ends_with_it(ann: Person) -> None:
    signed_in(ann)
    assert ann.who() == JOE["login"]
    ann.log_in("ann")
    assert ann.who() == JOE["login"]
    ann.log_in("bob")
    assert ann.who() is None


def test_L1_without_any_login_of_the_applications_nothing_ends(ann: Person) -> None:
    signed_in(ann)
    assert ann.who() == JOE["login"]
    assert ann.who() == JOE["login"]


def test_L1_a_stolen_cookie_is_worth_nothing_without_the_login(world: World, ann: Person) -> None:
    ann.log_in("ann")
    signed_in(ann)
    thief = world.browser()
    thief.cookies = dict(ann.cookies)
    assert thief.who() is None
    assert ann.who() is None, "it is known to two"


def test_L2_signing_out_ends_the_applications_login(ann: Person) -> None:
    ann.log_in("ann")
    signed_in(ann)
    answer = ann.post("/sign-out")
    assert page_of(answer).name == "signed_out"
    assert ann.session == {}
    assert "own=; Max-Age=0" in answer.cookies
    assert ann.who() is None


def test_L2_signing_out_twice_and_without_a_session_is_harmless(ann: Person) -> None:
    ann.log_in("ann")
    for _ in range(2):
        assert page_of(ann.post("/sign-out")).name == "signed_out"


def test_L2_signing_out_everywhere_ends_the_login_of_this_browser(ann: Person) -> None:
    ann.log_in("ann")
    signed_in(ann)
    ann.post("/sign-out-everywhere")
    assert ann.session == {}


def test_L2_a_foreign_page_signs_out_of_neither(ann: Person) -> None:
    ann.log_in("ann")
    signed_in(ann)
    assert ann.post("/sign-out", headers=CROSS).status == 403
    assert (ann.session["user"], ann.who()) == ("ann", JOE["login"])


@pytest.mark.parametrize(
    ("wanted", "location"), [("/bye?now=1", "/bye?now=1"), ("//evil.example", "/"), ("", "/")]
)
def test_A8_sign_out_leads_to_a_page_of_this_application(
    ann: Person, wanted: str, location: str
) -> None:
    ann.log_in("ann")
    signed_in(ann)
    form = {"return_to": wanted} if wanted else {"return_to": "https://evil.example/"}
    answer = ann.post("/sign-out", form=form, headers={"content-length": "1"})
    assert (answer.status, header(answer, "location")) == (303, location)
    assert ann.who() is None


def test_a_hook_that_logs_somebody_else_in_takes_the_new_session_along(tmp_path: Path) -> None:
    def bridge(user: User, occasion: Occasion) -> None:
        occasion.request.session["user"] = f"own user of {user.procore_id}"

    world = World(tmp_path, on_sign_in=bridge)
    Person.site = world.site
    person = world.browser()
    person.log_in("ann")
    signed_in(person)
    assert person.session["user"] == "own user of 11111"
    assert person.who() == JOE["login"]
    world.close()


# --- Connecting ----------------------------------------------------------------------------------


def test_a_user_connects_an_account_and_is_found_by_it(world: World, ann: Person) -> None:
    ann.log_in("ann")
    answer = ann.connect(return_to="/profile")
    assert (answer.status, header(answer, "location")) == (303, "/profile")
    user = world.door.user_of("ann")
    assert user is not None
    assert user.email == JOE["login"]
    assert world.door.references_of(user) == ["ann"]
    assert ann.who() == JOE["login"]
    assert ann.connect().status == 303, "again, harmlessly"
    assert world.door.unlink(user) == 1
    assert world.door.user_of("ann") is None


def test_L7_a_user_who_disconnects_is_connected_no_more_and_both_sides_are_free(
    world: World, ann: Person
) -> None:
    ann.log_in("ann")
    ann.connect()
    assert ann.post("/disconnect").status == 200
    assert world.door.user_of("ann") is None
    world.person_at_procore(ANN)
    assert ann.connect().status == 303, "another account"
    bob = world.browser()
    bob.log_in("bob")
    assert bob.connect().status == 303, "the account that was Ann's"
    found = [world.door.user_of(reference) for reference in ("ann", "bob")]
    assert [user and user.email for user in found] == [ANN["login"], JOE["login"]]


def test_L9_the_next_user_with_the_reference_of_one_who_is_gone_has_no_account(
    world: World, ann: Person
) -> None:
    ann.log_in("42")
    ann.connect()
    assert world.door.unlink_all(42) == 1
    assert world.door.unlink_all(42) == 0
    assert world.door.user_of(42) is None
    assert ann.who() is None, "nor the session beside that login"


def test_L3_nothing_is_connected_for_whom_is_not_logged_in(world: World, ann: Person) -> None:
    answer = ann.press(connect="yes")
    assert (answer.status, title(answer)) == (403, "Log in to this application first")
    assert world.procore.requests == []


@pytest.mark.parametrize("key", [42, UUID(int=42)])
def test_L5_a_user_is_connected_by_whatever_the_applications_primary_key_is(
    world: World, ann: Person, key: int | UUID
) -> None:
    ann.session["user"] = key
    assert ann.connect().status == 303
    user = world.door.user_of(key)
    assert user is not None
    assert world.door.references_of(user) == [str(key)]
    assert world.door.link(user, key) is False
    assert ann.who() == JOE["login"]
    assert world.door.unlink(user, key) == 1


@pytest.mark.parametrize("meanwhile", ["log_out", "someone else", "logged in anew"])
def test_L4_what_is_pending_when_the_user_changes_reaches_no_one(
    world: World, ann: Person, meanwhile: str
) -> None:
    ann.log_in("ann")
    state = ann.state_of(ann.press(connect="yes"))
    ann.log_out()
    if meanwhile != "log_out":
        ann.log_in("bob" if meanwhile == "someone else" else "ann")
    answer = ann.get(f"/callback?code=fake-code&state={state}")
    whose = "No one" if meanwhile == "log_out" else "Someone else"
    assert (answer.status, title(answer)) == (403, f"{whose} is logged in now")
    assert world.procore.requests == [], "the code was not even sent"
    assert [world.door.user_of(each) for each in ("ann", "bob")] == [None, None]
    assert ann.who() is None
    assert ann.get(f"/callback?code=fake-code&state={state}").status == 400, "it is used up"


def test_L4_a_plain_sign_in_of_one_user_is_not_finished_by_the_next(
    world: World, ann: Person
) -> None:
    ann.log_in("ann")
    state = ann.state_of(ann.press())
    ann.log_in("bob")
    answer = ann.get(f"/callback?code=fake-code&state={state}")
    assert title(answer) == "Someone else is logged in now"
    assert world.procore.requests == []


def test_whoever_logs_in_during_a_sign_in_that_no_one_began_may_finish_it(ann: Person) -> None:
    state = ann.state_of(ann.press())
    ann.log_in("ann")
    assert ann.get(f"/callback?code=fake-code&state={state}").status == 303
    assert ann.who() == JOE["login"]


def test_L4_a_start_that_someone_else_sends_ends_at_the_sender(world: World, ann: Person) -> None:
    """The attacker begins, and has the victim finish it, to get the victim's account."""
    attacker, victim = ann, world.browser()
    attacker.log_in("mallory")
    victim.log_in("victim")
    state = attacker.state_of(attacker.press(connect="yes"))
    answer = victim.get(f"/callback?code=code-of-the-victim&state={state}")
    assert title(answer) == "This browser did not start that sign-in"
    assert world.procore.requests == []
    assert world.door.user_of("mallory") is None


def test_L4_a_planted_attempt_does_not_help_the_sender_either(world: World, ann: Person) -> None:
    """A sibling domain can plant cookies: the attempt names the attacker's login, not this one."""
    attacker, victim = ann, world.browser()
    attacker.log_in("mallory")
    victim.log_in("victim")
    state = attacker.state_of(attacker.press(connect="yes"))
    victim.cookies |= attacker.cookies
    answer = victim.get(f"/callback?code=code-of-the-victim&state={state}")
    assert title(answer) == "Someone else is logged in now"
    assert world.procore.requests == []
    assert world.door.user_of("mallory") is None


def test_L3_an_attackers_response_does_not_land_in_a_victims_account(
    world: World, ann: Person
) -> None:
    """The attacker brings a code of his own to the victim's browser, as a link or a picture."""
    attacker, victim = ann, world.browser()
    attacker.log_in("mallory")
    victim.log_in("victim")
    state = attacker.state_of(attacker.press(connect="yes"))
    victim.press(connect="yes")  # the victim is even connecting at that moment
    answer = victim.get(f"/callback?code=code-of-the-attacker&state={state}")
    assert title(answer) == "This browser did not start that sign-in"
    assert world.procore.requests == []
    assert world.door.user_of("victim") is None


def test_L3_another_site_cannot_begin_a_connection(world: World, ann: Person) -> None:
    ann.log_in("ann")
    for headers in (CROSS, {"sec-fetch-site": "", "origin": "https://evil.example"}):
        answer = ann.post("/start", form={"connect": "yes"}, headers=headers)
        assert header(answer, "location") == "/signin"
        assert answer.cookies == ()
    link = ann.get("/start?connect=yes")
    state = ann.state_of(link)
    ann.get(f"/callback?code=fake-code&state={state}")
    assert world.door.user_of("ann") is None, "a link signs in, and connects no one"


def beside_connected(world: World, ann: Person) -> Person:
    """Connect Ann, and return another browser, in which Bob is logged in."""
    ann.log_in("ann")
    ann.connect()
    bob = world.browser()
    bob.log_in("bob")
    return bob


def test_L3_an_account_of_another_user_is_refused_and_its_tokens_given_back(
    world: World, ann: Person
) -> None:
    bob = beside_connected(world, ann)
    answer = bob.connect()
    assert (answer.status, title(answer)) == (409, "It is connected to someone else")
    assert world.door.user_of("bob") is None
    assert bob.who() is None
    assert ann.who() == JOE["login"], "nothing changed for the first one"
    world.door.run(_sweep(world))
    assert world.procore.revoked == ["fake-access-2", "fake-refresh-2"]


def test_L3_a_user_who_has_an_account_connects_no_second_one(world: World, ann: Person) -> None:
    ann.log_in("ann")
    ann.connect()
    world.person_at_procore(ANN)
    answer = ann.connect()
    assert title(answer) == "It is connected to someone else"
    user = world.door.user_of("ann")
    assert user is not None
    assert user.email == JOE["login"]


def test_L3_a_plain_sign_in_brings_no_account_of_another_user_into_a_login(
    world: World, ann: Person
) -> None:
    """Whoever is logged in at Procore in that browser is not who is logged in here."""
    bob = beside_connected(world, ann)
    for page in ("/signin", None):
        answer = bob.sign_in(page) if page else bob.finish(bob.press())
        assert (answer.status, title(answer)) == (409, "Someone else is logged in here")
        assert bob.who() is None
    assert ann.who() == JOE["login"], "nothing changed for the first one"
    world.door.run(_sweep(world))
    assert world.procore.revoked == [
        *("fake-access-2", "fake-refresh-2", "fake-access-3", "fake-refresh-3")
    ]


def test_L3_a_plain_sign_in_brings_no_second_account_into_a_login(
    world: World, ann: Person
) -> None:
    ann.log_in("ann")
    ann.connect()
    world.person_at_procore(ANN)
    answer = ann.finish(ann.press())
    assert (answer.status, title(answer)) == (409, "Someone else is logged in here")
    assert [user.email for user in world.door.users()] == [JOE["login"]]
    assert ann.who() == JOE["login"]
    assert ann.finish(ann.press()).status == 303, "the one that is connected still signs in"


def test_L3_a_session_joins_no_login_of_another_user(world: World, ann: Person) -> None:
    """Someone signed in with Procore before the user of this browser logged in."""
    ann.log_in("ann")
    ann.connect()
    shared = world.browser()
    signed_in(shared)
    assert shared.who() == JOE["login"]
    shared.log_in("bob")
    assert shared.who() is None
    shared.log_in("ann")
    assert shared.who() is None, "what has ended stays so"
    signed_in(shared)
    assert shared.who() == JOE["login"]


def test_L3_a_session_beside_another_user_ends_when_its_account_is_connected(
    world: World, ann: Person
) -> None:
    """The account was connected to no one when it was signed in beside Bob."""
    bob, phone = world.browser(), world.browser()
    bob.log_in("bob")
    for browser in (bob, phone):
        signed_in(browser)
        assert browser.who() == JOE["login"]
    ann.log_in("ann")
    assert ann.connect().status == 303
    assert bob.who() is None
    assert ann.who() == JOE["login"]
    assert phone.who() == JOE["login"], "no one is logged in there"


def test_who_is_connected_is_asked_once_in_a_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, may_sign_in=only_connected)
    world.procore.next("/rest/v1.0/companies", reply(200, []), reply(200, []))
    Person.site = world.site
    ann = world.browser()
    ann.log_in("ann")
    ann.connect()
    asked: list[str] = []
    ask = Store.ask

    def noting(store: Store, query: Any) -> Any:
        asked.append(type(query).__name__)
        return ask(store, query)

    monkeypatch.setattr(Store, "ask", noting)
    signed_in(ann)
    world.close()
    assert asked.count("ReferencesOfProcoreUser") == 1
    assert "UsersOfReference" not in asked, "who is connected already is that user"


def connected_before(
    kind: type[Command[Any]], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have Joe connected to Ann at the last moment before that command runs."""
    do = Store.do

    def connected_first(store: Store, command: Any) -> Any:
        if isinstance(command, kind):
            monkeypatch.undo()
            [joe] = world.door.users()
            world.door.link(joe, "ann")
        return do(store, command)

    monkeypatch.setattr(Store, "do", connected_first)


def test_L3_someone_who_is_connected_during_a_sign_in_beside_another_is_not_signed_in(
    world: World, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in(ann)
    bob = world.browser()
    bob.log_in("bob")
    connected_before(CompleteSignIn, world, monkeypatch)
    answer = bob.sign_in("/signin")
    assert (answer.status, title(answer)) == (409, "Someone else is logged in here")
    assert bob.who() is None
    assert world.procore.requests[-1].url.endswith("/oauth/revoke"), "the new tokens"


def test_L3_no_hook_is_asked_about_an_account_of_another_user(tmp_path: Path) -> None:
    """It may use up an invitation."""
    asked: list[Candidate] = []
    world = World(tmp_path, may_sign_in=asked.append)
    Person.site = world.site
    world.procore.next("/rest/v1.0/companies", reply(200, []))
    ann, bob = world.browser(), world.browser()
    ann.log_in("ann")
    assert ann.connect().status == 303
    assert len(asked) == 1
    bob.log_in("bob")
    answer = bob.sign_in("/signin")
    assert (answer.status, title(answer)) == (409, "Someone else is logged in here")
    assert len(asked) == 1
    world.close()


def test_L3_someone_who_is_connected_before_a_second_click_joins_is_not_let_in(
    world: World, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = f"/callback?code=fake-code&state={ann.begin('/signin')}"
    held = dict(ann.cookies)
    assert ann.get(back).status == 303
    bob = ann
    bob.cookies = held
    bob.log_in("bob")
    connected_before(JoinSignIn, world, monkeypatch)
    answer = bob.get(back)
    assert (answer.status, title(answer)) == (409, "Someone else is logged in here")
    assert bob.who() is None


def test_L3_a_second_click_that_comes_under_another_login_joins_nothing(
    world: World, ann: Person
) -> None:
    ann.log_in("ann")
    ann.connect()
    shared = world.browser()
    state = shared.begin("/signin")
    back = f"/callback?code=fake-code&state={state}"
    held = dict(shared.cookies)
    assert shared.get(back).status == 303
    shared.cookies = held
    shared.log_in("bob")
    answer = shared.get(back)
    assert (answer.status, title(answer)) == (409, "Someone else is logged in here")
    assert shared.who() is None


def test_L5_several_accounts_are_connected_where_the_application_allows_it(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, replace(LOGIN, several_users=True, several_references=True))
    Person.site = world.site
    ann, bob = world.browser(), world.browser()
    ann.log_in("ann")
    bob.log_in("bob")
    ann.connect()
    world.person_at_procore(ANN)
    assert ann.connect().status == 303
    assert bob.connect().status == 303
    assert [user.email for user in world.door.users_of("ann")] == [JOE["login"], ANN["login"]]
    joe = world.door.users_of("bob")[0]
    assert world.door.references_of(joe) == ["ann", "bob"]
    world.close()


def log_in_to(request: SimpleNamespace, response: SimpleNamespace, reference: str) -> None:
    request.session["user"] = reference
    response.cookies.append("own=of-a-user")


LOGS_IN = replace(LOGIN, log_in=log_in_to)


def test_L6_who_signs_in_is_logged_in_as_the_user_who_is_connected(tmp_path: Path) -> None:
    world = World(tmp_path, LOGS_IN)
    Person.site = world.site
    ann = world.browser()
    ann.log_in("ann")
    assert "own=of-a-user" not in ann.connect().cookies, "someone is logged in"
    elsewhere = world.browser()
    assert "own=of-a-user" in elsewhere.sign_in("/signin").cookies
    assert (elsewhere.session["user"], elsewhere.who()) == ("ann", JOE["login"])
    elsewhere.log_out()
    assert elsewhere.who() is None, "one log-out ends both"
    world.close()


def test_L6_no_one_is_logged_in_instead_of_who_is_or_where_it_is_not_clear_as_whom(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, replace(LOGS_IN, several_references=True))
    Person.site = world.site
    stranger, ann, bob = (world.browser() for _ in range(3))
    signed_in(stranger)
    assert stranger.session == {}, "no one is connected"
    ann.log_in("ann")
    ann.connect()
    bob.log_in("bob")
    signed_in(bob)
    assert bob.session["user"] == "bob"
    bob.connect()
    signed_in(stranger)
    assert stranger.session == {}, "two are connected"
    world.close()


def test_L6_an_application_may_admit_those_alone_who_are_connected(tmp_path: Path) -> None:
    world = World(tmp_path, LOGS_IN, may_sign_in=only_connected)
    world.procore.next("/rest/v1.0/companies", *[reply(200, [])] * 3)
    Person.site = world.site
    person = world.browser()
    refused = person.sign_in("/signin")
    assert (refused.status, title(refused)) == (403, "You cannot use this application")
    assert list(world.door.users()) == []
    person.log_in("ann")
    assert person.connect().status == 303
    elsewhere = world.browser()
    signed_in(elsewhere)
    assert elsewhere.session["user"] == "ann"
    world.close()


@pytest.mark.parametrize("hooks", [{}, {"may_sign_in": only_connected}])
def test_L8_no_one_signs_in_as_a_user_of_the_application_who_may_not_log_in(
    tmp_path: Path, hooks: dict[str, Any]
) -> None:
    closed: set[str] = set()
    login = replace(LOGS_IN, is_active=lambda _request, reference: reference not in closed)
    world = World(tmp_path, login, **hooks)
    world.procore.next("/rest/v1.0/companies", *[reply(200, [])] * 4)
    Person.site = world.site
    ann = world.browser()
    ann.log_in("ann")
    ann.connect()
    closed.add("ann")
    elsewhere = world.browser()
    refused = elsewhere.sign_in("/signin")
    assert (refused.status, title(refused)) == (403, "You cannot use this application")
    assert (elsewhere.session, elsewhere.who()) == ({}, None)
    assert len(world.procore.revoked) == 2, "the new tokens"
    closed.clear()
    signed_in(elsewhere)
    assert elsewhere.session["user"] == "ann"
    world.close()


def test_L8_where_the_log_in_of_the_application_comes_to_nothing_no_session_goes_on(
    tmp_path: Path,
) -> None:
    closed: set[str] = set()

    def log_in(request: SimpleNamespace, response: SimpleNamespace, reference: str) -> None:
        if reference not in closed:
            log_in_to(request, response, reference)

    world = World(tmp_path, replace(LOGIN, log_in=log_in))
    Person.site = world.site
    ann = world.browser()
    ann.log_in("ann")
    ann.connect()
    closed.add("ann")
    elsewhere = world.browser()
    signed_in(elsewhere)
    assert (elsewhere.session, elsewhere.who()) == ({}, None)
    world.close()


def test_L8_a_second_click_lets_no_one_in_who_may_not_log_in_by_then(tmp_path: Path) -> None:
    closed: set[str] = set()
    login = replace(LOGS_IN, is_active=lambda _request, reference: reference not in closed)
    world = World(tmp_path, login)
    Person.site = world.site
    ann = world.browser()
    ann.log_in("ann")
    ann.connect()
    elsewhere = world.browser()
    pressed = elsewhere.press()
    kept = dict(elsewhere.cookies)
    assert elsewhere.finish(pressed).status == 303
    closed.add("ann")
    elsewhere.session.clear()
    elsewhere.cookies.clear()
    elsewhere.cookies.update(kept)
    assert elsewhere.finish(pressed).status == 403
    world.close()


def test_a_login_that_is_kept_in_a_cookie_is_named_and_ended_by_it(tmp_path: Path) -> None:
    """Such as a JWT: there is no session of the framework's."""
    held = {"own": "token-of-ann"}
    world = World(tmp_path, Login(user=lambda _: held.get("own"), cookie="own"))
    Person.site = world.site
    person = world.browser()
    person.cookies |= held
    state = person.state_of(person.press(connect="yes"))
    assert person.get(f"/callback?code=fake-code&state={state}").status == 303
    state = person.state_of(person.press(connect="yes"))
    person.cookies["own"] = "token-of-ann-in-another-log-in"
    assert person.get(f"/callback?code=fake-code&state={state}").status == 403
    assert "own=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax" in person.post("/sign-out").cookies
    world.close()


def test_link_says_when_it_changes_nothing(world: World, ann: Person) -> None:
    signed_in(ann)
    [user] = world.door.users()
    assert world.door.link(user, 42) is True
    assert world.door.link(user.id, "42") is False
    with pytest.raises(AlreadyLinked):
        world.door.link(user, 43)
    assert world.door.unlink(user, 42) == 1


def _sweep(world: World) -> Any:
    from procore_signin._flow.janitor import sweep  # noqa: PLC0415  # of one test

    world.clock.advance(600)
    return sweep(world.door.context)


# --- What the application gives along ------------------------------------------------------------


def test_a_value_comes_back_in_the_hooks_with_the_request(tmp_path: Path) -> None:
    asked: list[tuple[Any, str | None, str | None]] = []
    told: list[tuple[str | None, bool]] = []

    async def invited(_: Candidate, occasion: Occasion) -> str | None:
        asked.append((occasion.request.session, occasion.value, occasion.reference))
        return None if occasion.value == "invitation 7" else "You are not invited."

    def note(user: User, occasion: Occasion) -> None:
        assert user.email == JOE["login"]
        told.append((occasion.value, occasion.connects))

    world = World(tmp_path, may_sign_in=invited, on_sign_in=note)
    world.procore.next("/rest/v1.0/companies", reply(200, []), reply(200, []))
    Person.site = world.site
    person = world.browser()
    button = str(world.site.buttons.sign_in(value="invitation 7"))
    sealed = button.split('name="value" value="', 1)[1].split('"', 1)[0]
    assert "invitation" not in sealed
    state = person.state_of(person.press(value=sealed))
    assert person.get(f"/callback?code=fake-code&state={state}").status == 303
    assert asked == [(person.session, "invitation 7", None)]
    assert told == [("invitation 7", False)]

    plain = world.browser()
    state = plain.state_of(plain.press())
    refused = plain.get(f"/callback?code=fake-code&state={state}")
    assert "You are not invited." in str(page_of(refused).values["why"])
    world.close()


@pytest.mark.parametrize("value", [7, UUID(int=7)])
def test_a_key_as_a_value_comes_back_as_text(world: World, value: int | UUID) -> None:
    sealed = str(world.site.buttons.sign_in(value=value)).split('name="value" value="', 1)[1]
    assert open_value(world.door.context, sealed.split('"', 1)[0]) == str(value)


@pytest.mark.parametrize("value", [True, 1.5, b"7", object()])
def test_a_value_that_is_no_text_is_refused_by_name(world: World, value: Any) -> None:
    with pytest.raises(TypeError, match="A button's value is text, a whole number or a UUID"):
        world.site.buttons.connect(value=value)


def test_a_value_that_this_application_did_not_seal_starts_nothing(ann: Person) -> None:
    answer = ann.press(value="invitation 7")
    assert (answer.status, title(answer)) == (400, "That button no longer works")
    assert answer.cookies == ()


def test_L4_a_value_never_starts_by_a_link(world: World, ann: Person) -> None:
    """A link can be sent by someone else, with that person's invitation in it."""
    sealed = str(world.site.buttons.sign_in(value="7")).split('name="value" value="', 1)[1]
    query = f"/start?value={sealed.split(chr(34), 1)[0]}"
    state = ann.state_of(ann.get(query))
    ann.get(f"/callback?code=fake-code&state={state}")
    assert ann.who() == JOE["login"]


def test_L4_a_value_is_not_finished_by_the_next_user_of_the_browser(
    world: World, ann: Person
) -> None:
    sealed = str(world.site.buttons.sign_in(value="7")).split('name="value" value="', 1)[1]
    state = ann.state_of(ann.press(value=sealed.split('"', 1)[0]))
    ann.log_in("bob")
    answer = ann.get(f"/callback?code=fake-code&state={state}")
    assert title(answer) == "Someone else is logged in now"
    assert world.procore.requests == []


# --- A login whose cookie stays behind where another site leads here ------------------------------


def onward_of(answer: BrowserResponse) -> str:
    """Return where the page leads that waits for the cookie of the login."""
    page = page_of(answer)
    assert (answer.status, page.name) == (200, "returning")
    address = str(page.values["onward_url"])
    assert header(answer, "refresh") == f"0;url={address}"
    assert header(answer, "referrer-policy") == "no-referrer"
    assert answer.cookies == ()
    return address.removeprefix("http://localhost:4567")


def test_L10_a_page_of_ours_leads_on_where_the_cookie_of_the_login_stayed_behind(
    world: World, ann: Person
) -> None:
    ann.log_in("ann")
    state = ann.state_of(ann.press(connect="yes", return_to="/profile"))
    back = f"/callback?code=fake%22%3Ecode&state={state}"
    onward = onward_of(ann.led_here(back))
    assert onward == f"{back}&again=1"
    assert world.procore.requests == [], "the code was not sent"
    answer = ann.get(onward)
    assert (answer.status, header(answer, "location")) == (303, "/profile")
    assert (ann.who(), world.door.user_of("ann") is None) == (JOE["login"], False)
    assert ann.get(onward).status == 303, "the same as with any callback, for a user signed in"
    assert len(world.procore.requests) == 2, "the code was sent once"


def test_L10_it_leads_on_once_and_says_that_no_one_is_logged_in(world: World, ann: Person) -> None:
    ann.log_in("ann")
    state = ann.state_of(ann.press(connect="yes"))
    ann.log_out()
    onward = onward_of(ann.led_here(f"/callback?code=fake-code&state={state}"))
    for answer in (ann.led_here(onward), ann.get(onward)):
        assert page_of(answer).name == "problem"
    assert world.procore.requests == []
    assert ann.who() is None


def test_L10_a_browser_that_says_nothing_of_sites_is_led_on_as_well(ann: Person) -> None:
    ann.log_in("ann")
    state, session = ann.state_of(ann.press()), ann.session
    ann.session = {}
    onward = onward_of(
        ann.get(f"/callback?code=fake-code&state={state}", headers={"sec-fetch-site": ""})
    )
    ann.session = session
    assert ann.get(onward, headers={"sec-fetch-site": ""}).status == 303


def test_L4_no_one_else_can_be_led_on_to_finish_what_a_user_began(
    world: World, ann: Person
) -> None:
    """Neither another browser, nor the next user of this one, nor the same after a log-out."""
    attacker, victim = ann, world.browser()
    attacker.log_in("mallory")
    victim.log_in("victim")
    state = attacker.state_of(attacker.press(connect="yes"))
    back = f"/callback?code=code-of-the-victim&state={state}"
    for target in (back, f"{back}&again=1"):
        assert title(victim.led_here(target)) == "This browser did not start that sign-in"
    victim.cookies |= attacker.cookies  # as a sibling domain can plant them
    answer = victim.get(onward_of(victim.led_here(back)))
    assert title(answer) == "Someone else is logged in now"
    attacker.log_out()
    attacker.log_in("mallory")
    answer = attacker.get(onward_of(attacker.led_here(back)))
    assert title(answer) == "Someone else is logged in now"
    assert world.procore.requests == []
    assert [world.door.user_of(each) for each in ("mallory", "victim")] == [None, None]


def test_L6_who_is_logged_in_with_a_strict_cookie_is_not_replaced(tmp_path: Path) -> None:
    """The page with Procore's link says nothing of the login, so the framework's cookie decides."""
    world = World(tmp_path, LOGS_IN)
    Person.site = world.site
    ann, bob = world.browser(), world.browser()
    ann.log_in("ann")
    ann.connect()
    bob.is_strict = True
    bob.log_in("bob")
    back = f"/callback?code=fake-code&state={bob.begin('/signin')}"
    onward = onward_of(bob.led_here(back))
    assert title(bob.get(onward)) == "Someone else is logged in here"
    assert bob.session["user"] == "bob"
    world.close()


def test_L10_a_page_of_ours_leads_on_where_a_strict_cookie_was_just_set(tmp_path: Path) -> None:
    def log_in(request: SimpleNamespace, response: SimpleNamespace, reference: str) -> None:
        request.session["user"] = reference
        response.cookies.append("own=1; Path=/; SameSite=Strict")

    world = World(tmp_path, replace(LOGIN, log_in=log_in))
    Person.site = world.site
    ann, elsewhere = world.browser(), world.browser()
    ann.log_in("ann")
    ann.connect()
    answer = elsewhere.sign_in("/signin?return_to=/profile")
    page = page_of(answer)
    assert (page.name, page.values["onward_url"]) == ("returning", "/profile")
    assert header(answer, "refresh") == "0;url=/profile"
    assert "own=1; Path=/; SameSite=Strict" in answer.cookies
    assert elsewhere.who() == JOE["login"]
    world.close()


def test_L10_a_link_on_another_site_shows_no_one_signed_in_and_ends_nothing(ann: Person) -> None:
    ann.log_in("ann")
    signed_in(ann)
    assert ann.who() == JOE["login"]
    session, ann.session = ann.session, {}
    assert ann.who(CROSS) is None, "no one can tell who is logged in"
    ann.session = session
    assert ann.who() == JOE["login"]


@pytest.mark.parametrize("next_one", [None, "bob"])
def test_L1_a_link_on_another_site_keeps_no_session_for_the_next_user(
    ann: Person, next_one: str | None
) -> None:
    ann.log_in("ann")
    signed_in(ann)
    assert ann.who() == JOE["login"]
    ann.log_out()
    assert ann.who(CROSS) is None
    if next_one is not None:
        ann.log_in(next_one)
        assert ann.who(CROSS) is None, "someone else is seen, wherever the browser comes from"
    else:
        assert ann.who() is None
    ann.log_in("ann")
    assert ann.who() is None, "what has ended stays so"


def test_the_login_may_name_its_session_itself_and_be_async(tmp_path: Path) -> None:
    async def user(request: SimpleNamespace) -> str | None:
        return request.session.get("user")  # type: ignore[no-any-return]

    async def session(request: SimpleNamespace) -> str:
        return str(request.session["token"])

    world = World(tmp_path, Login(user=user, session=session))
    Person.site = world.site
    person = world.browser()
    person.session = {"user": "ann", "token": secrets.token_hex()}
    assert person.connect().status == 303
    state = person.state_of(person.press(connect="yes"))
    person.session["token"] = "that of another log-in"
    assert person.get(f"/callback?code=fake-code&state={state}").status == 403
    world.close()


# --- The start -----------------------------------------------------------------------------------


def test_A13_a_click_on_a_page_of_ours_goes_straight_to_procore(ann: Person) -> None:
    for answer in (
        ann.get("/start?return_to=/projects"),
        ann.press(return_to="/projects"),
        ann.post("/start", headers={"sec-fetch-site": "", "origin": "http://localhost:4567"}),
    ):
        location = str(header(answer, "location"))
        assert answer.status == 303
        assert urlsplit(location).path == "/oauth/authorize"
        assert len(answer.cookies) == 1


def test_A13_a_click_on_a_link_signs_in_and_never_connects(world: World, ann: Person) -> None:
    """A user of the application may be able to write a link on one of its pages."""
    ann.log_in("ann")
    assert ann.finish(ann.get("/start?connect=yes")).status == 303
    assert ann.who() == JOE["login"]
    assert world.door.user_of("ann") is None


@pytest.mark.parametrize(
    "headers",
    [
        CROSS,
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": ""},
        {"sec-fetch-dest": "iframe"},
        {"sec-fetch-dest": "image"},
        {"sec-fetch-dest": "empty", "sec-fetch-mode": "navigate"},
    ],
)
def test_A13_from_anywhere_else_a_link_shows_the_sign_in_page(
    ann: Person, headers: dict[str, str]
) -> None:
    answer = ann.get("/start?return_to=/projects%3Fa=1", headers=headers)
    assert (answer.status, answer.cookies) == (303, ())
    assert header(answer, "location") == "/signin?return_to=/projects%3Fa%3D1"


def test_A13_a_prefetch_starts_nothing(ann: Person) -> None:
    answer = ann.get("/start", headers={"sec-purpose": "prefetch"})
    assert (answer.status, answer.cookies) == (403, ())


def test_A13_a_form_of_another_site_shows_the_sign_in_page(ann: Person) -> None:
    answer = ann.post("/start", form={"return_to": "/projects"}, headers=CROSS)
    assert (answer.status, answer.cookies) == (303, ())
    assert header(answer, "location") == "/signin"


def test_A13_a_form_in_a_window_is_answered_by_a_page_that_leads_on(ann: Person) -> None:
    """A redirect would be measured by the `form-action` of the page that the form is on."""
    answer = ann.post("/start", headers={"sec-fetch-mode": "navigate"})
    page = page_of(answer)
    assert (answer.status, page.name) == (200, "onward")
    url = str(page.values["authorization_url"])
    assert header(answer, "refresh") == f"0;url={url}"
    state = parse_qs(urlsplit(url).query)["state"][0]
    assert ann.get(f"/callback?code=fake-code&state={state}").status == 303
    assert ann.who() == JOE["login"]


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil", "x"])
def test_A8_a_start_leads_back_to_this_application_alone(ann: Person, wanted: str) -> None:
    state = ann.state_of(ann.press(return_to=wanted))
    answer = ann.get(f"/callback?code=fake-code&state={state}")
    assert header(answer, "location") == "/"


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil", "x"])
def test_A8_where_a_button_leads_back_to_is_checked_before_the_sign_in_begins(
    world: World, ann: Person, wanted: str
) -> None:
    """The attempt itself names a path of this application, whoever reads it later."""
    ann.press(return_to=wanted)
    ((cookie, sealed),) = ann.cookies.items()
    attempt = open_attempt(world.door.context, cookie.removeprefix("procore_signin_"), sealed)
    assert attempt is not None
    assert attempt.return_to == "/"


def test_A11_starts_are_counted(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.site = Site(world.door.context, Options(starts_per_minute=2))
    person = world.browser()
    assert [person.press().status for _ in range(3)] == [303, 303, 429]
    world.close()


# --- The buttons ---------------------------------------------------------------------------------


def test_the_buttons_are_html_without_script_or_style(world: World) -> None:
    buttons = world.site.buttons
    for made in (
        buttons.sign_in("<b>In</b>", return_to='/a?b="c'.replace('"', "%22")),
        buttons.sign_in(value="7"),
        buttons.connect(return_to="/profile"),
        buttons.sign_out(return_to="/"),
    ):
        assert "<script" not in made
        assert "style=" not in made
        assert "<b>" not in made
        assert "/static/button.css?v=" in made


def test_a_plain_sign_in_is_a_link_and_a_connection_a_form(world: World) -> None:
    assert 'href="/start?return_to=/projects"' in world.site.buttons.sign_in(return_to="/projects")
    assert 'method="post" action="/start"' in world.site.buttons.connect()
    assert 'method="post" action="/sign-out"' in world.site.buttons.sign_out()


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("/año", "/a%C3%B1o"),
        ("/a b?x=é", "/a%20b?x=%C3%A9"),
        ("/a%C3%B1o%2Fb", "/a%C3%B1o%2Fb"),
        *(
            (wrong, "/")
            for wrong in ("//evil.example", "https://evil.example/", "/\\evil", "x", "")
        ),
        *((wrong, "/") for wrong in ("/\t/evil.example", "/" + "ñ" * 99)),
        ("/\ud800", "/?"),
    ],
)
def test_A8_a_button_leads_to_a_path_of_this_application_or_to_its_first_page(
    world: World, wanted: str, there: str
) -> None:
    buttons, start = world.site.buttons, f"/start?return_to={quote(there, safe='/')}"
    assert f'href="{start}"' in buttons.sign_in(return_to=wanted)
    field = f'name="return_to" value="{there}"'
    assert field in buttons.sign_in(return_to=wanted, value="7")
    assert field in buttons.connect(return_to=wanted)
    assert field in buttons.sign_out(return_to=wanted)


@pytest.mark.parametrize("value", ["", "a" * 129, "\N{CONSTRUCTION SIGN}" * 43, "a\nb"])
def test_a_buttons_value_is_short(world: World, value: str) -> None:
    with pytest.raises(ValueError, match="1 to 128"):
        world.site.buttons.connect(value=value)


def test_K4_the_longest_attempt_fits_into_a_cookie(world: World, ann: Person) -> None:
    ann.log_in("u" * 255)
    sealed = str(world.site.buttons.connect(value='"' * 128))
    sealed = sealed.split('name="value" value="', 1)[1].split('"', 1)[0]
    answer = ann.press(connect="yes", value=sealed, return_to="/" + "a" * 511)
    whole = answer.cookies[0].partition(";")[0]
    assert len(whole) + MOST_BYTES + len("; procore_signin_session=") + 43 < 4096


def test_the_sign_in_page_of_an_application_offers_no_sign_up_that_leads_nowhere(
    ann: Person,
) -> None:
    assert page_of(ann.get("/signin")).values["sign_up_page"] is None


def test_a_hook_is_given_the_occasion_only_if_it_needs_a_second_argument(tmp_path: Path) -> None:
    told: list[tuple[object, ...]] = []

    class Both:
        def __call__(self, user: User, occasion: Occasion) -> None:
            told.append((user.email, occasion.value))

    def with_a_default(user: User, log: object = "its own") -> None:
        told.append((user.email, log))

    def all_there_are(*given: object) -> None:
        told.append((len(given),))

    world = World(tmp_path, on_sign_up=with_a_default, on_sign_in=all_there_are, on_sign_out=Both())
    Person.site = world.site
    person = world.browser()
    signed_in(person)
    person.post("/sign-out")
    assert told == [(JOE["login"], "its own"), (1,), (JOE["login"], None)]
    world.close()


def test_where_no_framework_has_the_request_a_hook_is_given_none(tmp_path: Path) -> None:
    told: list[Any] = []

    def note(_: User, occasion: Occasion) -> None:
        told.append(occasion.request)

    world = World(tmp_path, on_sign_in=note, on_sign_out=note)
    as_served = Browser(world.door, world.site.router)
    assert as_served.sign_in("/signin").status == 303
    as_served.post("/sign-out")
    assert told == [None, None]
    world.close()


def test_O2_a_wrong_host_or_port_is_logged_with_the_right_one_and_the_setting(
    ann: Person, caplog: pytest.LogCaptureFixture
) -> None:
    for host in ("localhost:9999", "evil.example"):
        caplog.clear()
        assert ann.post("/sign-out", headers={"host": host}).status == 400
        [line] = caplog.messages
        for told in (f"host={host}", "expected=http://localhost:4567", "PROCORE_REDIRECT_URI"):
            assert told in line
        assert "request=f00dfeed0001" in line, "the reference on the page"


@pytest.mark.parametrize(
    ("happening", "heading"),
    [
        ("log out", "No one is logged in now"),
        ("log in as bob", "Someone else is logged in now"),
        ("connect the account of bob", "It is connected to someone else"),
        ("say no", "You chose not to allow access"),
        ("press an old button", "That button no longer works"),
    ],
)
def test_O3_the_reference_of_a_page_that_ends_a_sign_in_is_in_the_log(
    world: World, ann: Person, caplog: pytest.LogCaptureFixture, happening: str, heading: str
) -> None:
    if happening == "connect the account of bob":
        bob = world.browser()
        bob.log_in("bob")
        bob.connect()
    ann.log_in("ann")
    state = ann.state_of(ann.press(connect="yes"))
    back = f"/callback?code=fake-code&state={state}"
    caplog.clear()
    match happening:
        case "log out":
            ann.log_out()
            answer = ann.get(back)
        case "log in as bob":
            ann.log_in("bob")
            answer = ann.get(back)
        case "say no":
            answer = ann.get(f"/callback?error=access_denied&state={state}")
        case "press an old button":
            answer = ann.press(value="of another key")
        case _:
            answer = ann.get(back)
    assert title(answer) == heading
    reference = str(page_of(answer).values["reference"])
    assert [line for line in caplog.messages if reference in line] != [], caplog.messages
