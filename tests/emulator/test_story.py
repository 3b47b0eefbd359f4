"""The diagram, from exchanges written by hand: what is drawn, and which sign-in it belongs to."""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import quote

import pytest

from procore_signin._emulator.inspector.arrows import Arrow, arrows_of, arrows_of_others, standing
from procore_signin._emulator.inspector.glossary import STEPS
from procore_signin._emulator.inspector.story import EXCHANGES_KEPT, SIGN_INS_KEPT, SignIn, Story
from procore_signin._emulator.journal import Exchange

STATE = "5f3c" * 16
CODE = "c0de" * 16
ACCESS = "acce" * 16
REFRESH = "4ef5" * 16
FORM = (("content-type", "application/x-www-form-urlencoded"),)
JSON = (("content-type", "application/json; charset=utf-8"),)
HTML = (("content-type", "text/html; charset=utf-8"),)
CONSENT = b'<form><button name="decision" value="allow">Allow</button></form>'
CALLBACK = "http://localhost:4567/callback"


def request_of(state: str = STATE) -> str:
    return (
        "/oauth/authorize?client_id=emulator-client-id&response_type=code"
        f"&redirect_uri={quote(CALLBACK, safe='')}&state={state}"
    )


class Told:
    """A story, told exchange by exchange."""

    def __init__(self) -> None:
        self.story = Story()
        self._numbers = itertools.count(1)

    def add(self, method: str, target: str, status: int = 200, **changes: Any) -> Exchange:
        location = changes.pop("location", None)
        headers = (("location", location),) if location else changes.pop("headers", HTML)
        exchange = Exchange(
            number=next(self._numbers),
            started_at=1_700_000_000.0,
            took=0.001,
            caller=changes.pop("caller", "user"),
            lane="api" if target.startswith("/rest/") else "auth",
            method=method,
            target=target,
            request_headers=changes.pop("request_headers", FORM),
            request_body=changes.pop("body", "").encode(),
            status=status,
            response_headers=headers,
            response_body=changes.pop("answer", b""),
            note=changes.pop("note", None),
        )
        assert not changes
        self.story.add(exchange)
        return exchange

    def to_login(self, state: str = STATE) -> None:
        continue_to = quote(request_of(state), safe="")
        self.add("GET", request_of(state), 302, location=f"/login?continue_to={continue_to}")
        self.add("GET", f"/login?continue_to={continue_to}", answer=b"<form></form>")

    def log_in(self, state: str = STATE, status: int = 302) -> None:
        continue_to = quote(request_of(state), safe="")
        location = request_of(state) if status == 302 else None
        body = f"login=joe&password=procore&continue_to={continue_to}"
        self.add("POST", "/login", status, body=body, location=location)

    def consent(self, state: str = STATE) -> None:
        self.add("GET", request_of(state), answer=CONSENT)

    def decide(self, decision: str, answer: str, state: str = STATE, to: str = CALLBACK) -> None:
        body = f"decision={decision}&continue_to={quote(request_of(state), safe='')}"
        location = f"{to}?{answer}&state={state}" if answer else to
        self.add("POST", "/oauth/authorize", 302, body=body, location=location)

    def token(
        self, body: str = f"grant_type=authorization_code&code={CODE}", **answer: Any
    ) -> None:
        status = answer.pop("status", 200)
        answer = answer or {"access_token": ACCESS, "refresh_token": REFRESH}
        content = json.dumps(answer).encode()
        self.add(
            "POST", "/oauth/token", status, caller="app", body=body, headers=JSON, answer=content
        )

    def api(self, path: str = "/rest/v1.0/me", status: int = 200, token: str = ACCESS) -> None:
        self.add(
            "GET",
            path,
            status,
            caller="app",
            request_headers=(("authorization", f"Bearer {token}"),),
            headers=JSON,
            answer=b'{"id":11111,"login":"joe@example.com"}',
        )

    def whole(self) -> None:
        self.to_login()
        self.log_in()
        self.consent()
        self.decide("allow", f"code={CODE}")
        self.token()
        self.api()

    def arrows(self, place: int = -1, *, to_come: bool = False) -> list[Arrow]:
        return arrows_of(self.story.sign_ins[place].exchanges, to_come=to_come)


@pytest.fixture
def told() -> Told:
    return Told()


def steps(arrows: list[Arrow]) -> list[tuple[int, ...]]:
    return [arrow.steps for arrow in arrows if arrow.steps]


def with_step(arrows: list[Arrow], number: int) -> Arrow:
    """The last arrow of a step."""
    return [arrow for arrow in arrows if number in arrow.steps][-1]


def test_a_whole_sign_in_draws_the_sixteen_steps_in_the_tutorials_order(told: Told) -> None:
    told.whole()

    numbers = [number for drawn in steps(told.arrows()) for number in drawn]

    assert numbers == [1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13, 14, 15, 16]


def test_every_step_runs_between_the_tutorials_participants(told: Told) -> None:
    told.whole()
    arrows = told.arrows()

    for step in STEPS:
        drawn = next(arrow for arrow in arrows if step.number in arrow.steps)
        assert (drawn.source, drawn.target) == (step.source, step.target)


def test_only_what_the_emulator_saw_is_drawn_as_seen(told: Told) -> None:
    told.whole()

    inferred = [arrow.steps for arrow in told.arrows() if arrow.state == "inferred"]
    seen = [arrow for arrow in told.arrows() if arrow.state == "seen"]

    assert inferred == [(1,), (2,), (8,), (9,), (12,), (15,), (16,)]
    assert len(seen) == 2 * 7
    assert all(arrow.exchange for arrow in seen)


def test_both_halves_of_every_exchange_are_drawn(told: Told) -> None:
    told.whole()

    halves = [(arrow.exchange, arrow.side) for arrow in told.arrows() if arrow.exchange]

    assert halves == [(n, side) for n in range(1, 8) for side in ("request", "response")]


def test_nothing_is_inferred_before_its_neighbour_happened(told: Told) -> None:
    told.to_login()

    assert steps(told.arrows()) == [(1,), (2,), (3,), (4,)]


def test_the_steps_to_come_are_drawn_as_waiting(told: Told) -> None:
    told.to_login()

    waiting = [arrow.steps for arrow in told.arrows(to_come=True) if arrow.state == "waiting"]

    assert waiting == [(number,) for number in range(5, 17)]


def test_without_any_exchange_all_sixteen_wait() -> None:
    arrows = arrows_of([], to_come=True)

    assert [arrow.steps for arrow in arrows] == [(number,) for number in range(1, 17)]
    assert {arrow.state for arrow in arrows} == {"waiting"}


def test_the_redirect_to_the_app_is_the_evidence_of_the_browser_following_it(told: Told) -> None:
    told.whole()

    sent, followed = (arrow for arrow in told.arrows() if arrow.steps == (8,))

    assert (sent.source, sent.target, sent.state) == ("auth", "user", "seen")
    assert sent.line == "302 → localhost:4567/callback"
    assert (followed.source, followed.target, followed.state) == ("user", "app", "inferred")
    assert followed.line == "GET /callback"


@pytest.mark.parametrize("mark", ["?", "#"])
def test_a_code_in_query_or_fragment_belongs_to_the_same_sign_in(told: Told, mark: str) -> None:
    told.consent()
    told.decide("allow", "", to=f"{CALLBACK}{mark}code={CODE}")
    told.token()

    assert len(told.story.sign_ins) == 1
    assert with_step(told.arrows(), 11).outcome == "good"


def test_a_browser_that_is_logged_in_skips_the_panel(told: Told) -> None:
    told.consent()

    assert [(arrow.steps, arrow.state) for arrow in told.arrows()][2:] == [
        ((3,), "seen"),
        ((4, 5), "skipped"),
        ((6,), "seen"),
    ]


def test_a_remembered_consent_skips_the_dialog(told: Told) -> None:
    told.add("GET", request_of(), 302, location=f"{CALLBACK}?code={CODE}")

    assert [(arrow.steps, arrow.state) for arrow in told.arrows()][2:] == [
        ((3,), "seen"),
        ((4, 5), "skipped"),
        ((6, 7), "skipped"),
        ((8,), "seen"),
        ((8,), "inferred"),
    ]


def test_a_wrong_password_shows_the_panel_again_and_goes_on(told: Told) -> None:
    told.to_login()
    told.log_in(status=422)

    arrows = told.arrows(to_come=True)

    assert arrows[-12 - 1].outcome == "bad"
    assert "password is wrong" in (arrows[-12 - 1].meaning or "")
    assert standing(arrows) == ("Next: step 5", "asked")


def test_denying_ends_with_an_amber_arrow_in_words(told: Told) -> None:
    told.consent()
    told.decide("deny", "error=access_denied")

    arrows = told.arrows(to_come=True)
    redirect = next(arrow for arrow in arrows if arrow.steps == (8,))

    assert next(arrow for arrow in arrows if arrow.steps == (7,)).words == "The user presses Deny"
    assert redirect.outcome == "denied"
    assert "pressed Deny" in (redirect.meaning or "")
    assert standing(arrows) == ("Denied by the user", "denied")


def test_a_spent_code_is_refused_in_words(told: Told) -> None:
    told.consent()
    told.decide("allow", f"code={CODE}")
    told.token(status=401, error="invalid_grant")

    answer = with_step(told.arrows(), 11)

    assert answer.outcome == "bad"
    assert answer.line == "401 invalid_grant"
    assert "used before, expired, revoked" in (answer.meaning or "")
    assert standing(told.arrows()) == ("Stopped: 401 invalid_grant", "bad")


def test_a_success_without_a_token_is_no_success(told: Told) -> None:
    told.consent()
    told.decide("allow", f"code={CODE}")
    told.token(token_type="bearer")

    assert with_step(told.arrows(), 11).outcome == "bad"


@pytest.mark.parametrize("status", [200, 400, 401])
def test_an_error_page_is_an_error_whatever_its_status(told: Told, status: int) -> None:
    told.add("GET", request_of(), status, answer=b"<h1>An error</h1>", note="no such client")

    page = told.arrows()[-1]

    assert (page.outcome, page.line, page.note) == (
        "bad",
        f"{status} error page",
        "no such client",
    )
    assert standing(told.arrows(to_come=True))[1] == "bad"


def test_a_connection_that_ends_without_an_answer_is_drawn_so(told: Told) -> None:
    told.consent()
    told.decide("allow", f"code={CODE}")
    told.add(
        "POST",
        "/oauth/token",
        0,
        caller="app",
        body=f"grant_type=authorization_code&code={CODE}",
        note="fault 1, drop: the request was carried out",
    )

    answer = told.arrows()[-1]

    assert (answer.line, answer.outcome) == ("no response", "bad")
    assert answer.note == "fault 1, drop: the request was carried out"
    assert standing(told.arrows(to_come=True)) == ("Stopped: no response", "bad")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", f"/oauth/authorize?client_id=me&response_type=code&state={STATE}"),
        ("POST", "/oauth/authorize"),
        ("GET", "/login"),
        ("POST", "/login"),
        ("POST", "/oauth/token"),
        ("GET", "/oauth/token/info"),
        ("POST", "/oauth/revoke"),
        ("GET", "/rest/v1.0/me"),
        ("GET", "/rest/v1.0/companies"),
        ("GET", "/logout"),
    ],
)
def test_no_dropped_connection_is_drawn_as_an_answer(told: Told, method: str, target: str) -> None:
    """Whatever was asked, and whether it belongs to a sign-in or not."""
    told.consent()
    dropped = told.add(method, target, 0)

    drawn = [*told.arrows(), *arrows_of_others([dropped]), *arrows_of([dropped], to_come=False)]

    answers = [
        arrow for arrow in drawn if arrow.exchange == dropped.number and arrow.side == "response"
    ]
    assert answers
    assert {("no response", "bad")} == {(arrow.line, arrow.outcome) for arrow in answers}


@pytest.mark.parametrize(("status", "word"), [(401, "not accepted"), (403, "not let"), (503, "")])
def test_a_refusal_of_the_api_is_step_fourteen_in_words(told: Told, status: int, word: str) -> None:
    told.consent()
    told.decide("allow", f"code={CODE}")
    told.token()
    told.api(status=status)

    answer = with_step(told.arrows(), 14)

    assert answer.outcome == "bad"
    assert word in (answer.meaning or "")
    assert not any(15 in arrow.steps for arrow in told.arrows())


def test_a_retried_api_call_is_the_same_step_until_it_is_answered(told: Told) -> None:
    told.whole()
    told.api("/rest/v1.0/companies")

    retried = Told()
    retried.consent()
    retried.decide("allow", f"code={CODE}")
    retried.token()
    retried.api(status=503)
    retried.api()

    assert sum(arrow.steps == (13,) for arrow in told.arrows()) == 1
    assert sum(arrow.steps == (13,) for arrow in retried.arrows()) == 2
    assert standing(retried.arrows()) == ("Signed in", "good")


def test_refresh_api_calls_and_revocation_follow_the_tokens(told: Told) -> None:
    told.whole()
    told.token(f"grant_type=refresh_token&refresh_token={REFRESH}", access_token="new" * 20)
    told.api("/rest/v1.0/companies", token="new" * 20)
    told.add("POST", "/oauth/revoke", caller="app", body=f"token={'new' * 20}")
    told.add(
        "GET",
        "/oauth/token/info",
        401,
        caller="app",
        request_headers=(("authorization", f"Bearer {ACCESS}"),),
    )

    assert len(told.story.sign_ins) == 1
    assert told.story.others.exchanges == []
    assert [arrow.line for arrow in told.arrows()[-8:]] == [
        "POST /oauth/token",
        "200 JSON",
        "GET /rest/v1.0/companies",
        "200 JSON",
        "POST /oauth/revoke",
        "200 page",
        "GET /oauth/token/info",
        "401 page",
    ]


def test_a_later_refusal_leaves_the_sign_in_signed_in(told: Told) -> None:
    told.whole()
    told.token(status=401, error="invalid_grant")

    assert standing(told.arrows()) == ("Signed in", "good")


def test_two_sign_ins_at_once_are_told_apart_by_their_requests(told: Told) -> None:
    other, other_code = "9a9a" * 16, "0dd0" * 16
    told.to_login()
    told.to_login(other)
    told.log_in()
    told.log_in(other)
    told.decide("allow", f"code={other_code}", other)
    told.decide("deny", "error=access_denied")
    told.token(f"code={other_code}")

    first, second = ([one.number for one in sign_in.exchanges] for sign_in in told.story.sign_ins)

    assert first == [1, 2, 5, 8]
    assert second == [3, 4, 6, 7, 9]


def test_the_same_request_after_an_answer_begins_a_new_sign_in(told: Told) -> None:
    told.consent()
    told.decide("allow", f"code={CODE}")
    told.consent()

    assert [len(sign_in.exchanges) for sign_in in told.story.sign_ins] == [2, 1]


def test_a_client_without_redirect_is_followed_through_the_page_with_the_code(told: Told) -> None:
    told.consent()
    told.decide("allow", "", to=f"/oauth/authorize/{CODE}")
    told.add("GET", f"/oauth/authorize/{CODE}", answer=b"<code>")
    told.token()

    lines = [arrow.line for arrow in told.arrows()]

    assert len(told.story.sign_ins) == 1
    assert "302 → /oauth/authorize/c0de…de[64]" in lines
    assert "GET /oauth/authorize/c0de…de[64]" in lines
    assert any("copies the code" in arrow.words for arrow in told.arrows())


def test_what_belongs_to_no_sign_in_stands_apart(told: Told) -> None:
    told.token(f"grant_type=authorization_code&code={CODE}", status=401, error="invalid_grant")
    told.token("grant_type=client_credentials", access_token=ACCESS)
    told.add("POST", "/logout")

    arrows = arrows_of_others(told.story.others.exchanges)

    assert [arrow.words for arrow in arrows if arrow.side == "request"] == [
        "Your app asks for a token",
        "Your app asks for a token of its own, without a user",
        "The user logs out at Procore",
    ]
    assert arrows[1].line == "401 invalid_grant"
    assert not told.story.sign_ins


def test_no_arrow_carries_a_secret(told: Told) -> None:
    told.whole()
    told.token(f"grant_type=refresh_token&refresh_token={REFRESH}", access_token="new" * 20)

    drawn = repr(told.arrows(to_come=True))

    for secret in (STATE, CODE, ACCESS, REFRESH, "new" * 20):
        assert secret not in drawn


def test_the_exchanges_of_a_story_are_kept_shortened(told: Told) -> None:
    told.whole()

    kept = b"".join(
        one.target.encode() + one.request_body + one.response_body
        for one in told.story.sign_ins[0].exchanges
    )

    for secret in (STATE, CODE, ACCESS, REFRESH, "procore&"):
        assert secret.encode() not in kept


def test_very_many_sign_ins_leave_the_oldest_out(told: Told) -> None:
    for number in range(SIGN_INS_KEPT + 5):
        told.consent(f"{number:064x}")

    assert len(told.story.sign_ins) == SIGN_INS_KEPT
    assert told.story.left_out == 5


def test_a_very_long_sign_in_keeps_its_beginning_and_its_end(told: Told) -> None:
    told.whole()
    for _ in range(EXCHANGES_KEPT):
        told.api("/rest/v1.0/companies")

    sign_in = told.story.sign_ins[0]

    assert isinstance(sign_in, SignIn)
    assert (len(sign_in.exchanges), sign_in.left_out) == (EXCHANGES_KEPT, 7)
    assert (sign_in.exchanges[0].number, sign_in.exchanges[-1].number) == (1, EXCHANGES_KEPT + 7)
    assert steps(told.arrows())[-1] == (16,)
