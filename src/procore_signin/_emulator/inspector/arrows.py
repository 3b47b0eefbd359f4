"""The arrows of the diagram: what each exchange of a sign-in looks like between the four lanes.

An arrow is `seen` when the emulator received or sent it, and `inferred` when it must have happened
between the browser and the app, out of the emulator's sight, for what was seen to make sense.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from procore_signin._emulator.inspector import reading, story
from procore_signin._emulator.inspector.glossary import (
    ERRORS,
    STEPS,
    Actor,
    Step,
    meaning_of_status,
    step,
)
from procore_signin._emulator.journal import Exchange

State = Literal["seen", "inferred", "skipped", "waiting"]
Outcome = Literal["asked", "good", "onward", "denied", "bad"]
Side = Literal["request", "response"]

_LOG_IN_REFUSED: Final = "E-mail or password is wrong. Your app hears nothing of it."
_ERROR_PAGE: Final = (
    "The authorization request is wrong, so nothing is sent to your app: the address to send it to "
    "cannot be trusted. The page says what to mend."
)
_NOT_THE_JSON: Final = "A success by its status, but not the JSON of a token response."
_LOG_IN_PANEL: Final = 4
_CODE_EXTRACTED: Final = 9
_API_CALLED: Final = 13
_API_RESPONDS: Final = 14


@dataclass(frozen=True, slots=True)
class Arrow:
    """One row of the diagram.

    Attributes:
        key: Unique within its sign-in, and the same however often it is drawn.
        source: The lane where it starts.
        target: The lane where it ends; the same for a step within one participant.
        state: Whether it happened, and how that is known.
        outcome: What its colour says.
        words: What happens, in words.
        line: The message in short, such as `POST /oauth/token`.
        steps: The tutorial's steps that it is; empty for what lies between two of them.
        oauth: What OAuth 2.0 calls it, or None.
        meaning: What an error means and what to do, or None.
        note: The emulator's own remark, or None.
        exchange: The exchange that it belongs to, or None when the emulator saw none.
        side: Which half of that exchange it is.
    """

    key: str
    source: Actor
    target: Actor
    state: State
    outcome: Outcome
    words: str
    line: str = ""
    steps: tuple[int, ...] = ()
    oauth: str | None = None
    meaning: str | None = None
    note: str | None = None
    exchange: int | None = None
    side: Side | None = None


def arrows_of(exchanges: Iterable[Exchange], *, to_come: bool) -> list[Arrow]:
    """Return the arrows of one sign-in, in order.

    Args:
        exchanges: Of one sign-in, oldest first, their secrets shortened.
        to_come: Also return the tutorial's steps that have not happened yet, as `waiting`.
    """
    drawing = _Drawing()
    for exchange in exchanges:
        drawing.add(exchange)
    return drawing.arrows + (list(_waiting(drawing.reached)) if to_come else [])


def arrows_of_others(exchanges: Iterable[Exchange]) -> list[Arrow]:
    """Return the arrows of requests that belong to no sign-in."""
    arrows: list[Arrow] = []
    for exchange in exchanges:
        words = _other_words(exchange)
        arrows += [_request(exchange, words), _response(exchange, _plain_response(exchange))]
    return arrows


def standing(arrows: Sequence[Arrow]) -> tuple[str, Outcome]:
    """Return how a sign-in stands, in words and as a colour."""
    responses = [arrow for arrow in arrows if arrow.side == "response"]
    if any(_API_RESPONDS in arrow.steps and arrow.outcome == "good" for arrow in responses):
        return "Signed in", "good"
    if responses and responses[-1].outcome == "denied":
        return "Denied by the user", "denied"
    if responses and responses[-1].outcome == "bad" and _LOG_IN_PANEL not in responses[-1].steps:
        return f"Stopped: {responses[-1].line}", "bad"
    coming = next((arrow for arrow in arrows if arrow.state == "waiting"), None)
    if coming is None:
        return "Left unfinished", "asked"
    return f"Next: step {coming.steps[0]}", "asked"


class _Drawing:
    """Draws exchanges one after the other; knows which step was reached."""

    def __init__(self) -> None:
        self.arrows: list[Arrow] = []
        self.reached = 0

    def add(self, exchange: Exchange) -> None:
        if story.is_authorization(exchange):
            self._authorization(exchange)
        elif story.is_log_in(exchange):
            self._log_in(exchange)
        elif reading.path(exchange.target) == "/oauth/token":
            self._token(exchange)
        elif exchange.lane == "api":
            self._api(exchange)
        else:
            self._draw(exchange, _other_words(exchange), _plain_response(exchange))

    def _authorization(self, exchange: Exchange) -> None:
        if exchange.method == "POST":
            decision = reading.request_fields(exchange).get("decision", "")
            pressed = {"allow": "The user presses Allow", "deny": "The user presses Deny"}
            asked: Step | str = replace(step(7), words=pressed.get(decision, step(7).words))
        elif self.reached:
            asked = "The browser returns to the authorization request"
        else:
            self._infer(1, 2)
            asked = step(3)
        self._ask(exchange, asked)
        if exchange.status == reading.NO_RESPONSE:
            self.arrows.append(_no_response(exchange))
            return
        answered = self._authorization_response(exchange)
        if answered is None:
            self.arrows.append(_error_page(exchange))
        else:
            self._respond(exchange, answered)
        if story.granted_code(exchange) is not None or story.refusal(exchange) is not None:
            self._browser_goes_to_app(exchange)

    def _authorization_response(self, exchange: Exchange) -> Step | str | None:
        if story.refusal(exchange) == "access_denied":
            return replace(step(8), words="Procore redirects back to your app: access denied")
        if story.refusal(exchange) is not None:
            return replace(step(8), words="Procore redirects back to your app with an error")
        if story.granted_code(exchange) is not None:
            self._skip((4, 5), "The browser is logged in at Procore: no login panel")
            self._skip((6, 7), "Your app was allowed before: no consent dialog")
            return step(8)
        if story.shows_consent(exchange):
            self._skip((4, 5), "The browser is logged in at Procore: no login panel")
            return step(6)
        if reading.location(exchange) is not None:
            return "Not logged in yet: Procore sends the browser to its login panel"
        return None

    def _browser_goes_to_app(self, exchange: Exchange) -> None:
        address = reading.location(exchange) or ""
        if "://" in address:
            words = "The browser follows the redirect to your app"
            line = f"GET {reading.path_of(address)}"
        else:
            words = "The user copies the code from the page into your app"
            line = "the code"
        arrow = Arrow(
            f"after-{exchange.number}", "user", "app", "inferred", "onward", words, line, (8,)
        )
        self.arrows.append(arrow)

    def _log_in(self, exchange: Exchange) -> None:
        sent_on = reading.location(exchange) is not None
        if exchange.method != "POST":
            answered = (
                "Already logged in: back to the authorization request" if sent_on else step(4)
            )
            self._draw(exchange, "The browser asks for the login panel", answered)
        elif sent_on:
            self._draw(exchange, step(5), "Logged in: back to the authorization request")
        else:
            self._ask(exchange, step(5))
            again = replace(step(4), words="Procore refuses the log-in and asks again")
            self.arrows.append(replace(_response(exchange, again), meaning=_LOG_IN_REFUSED))
            self.reached = _LOG_IN_PANEL

    def _token(self, exchange: Exchange) -> None:
        grant_type = reading.request_fields(exchange).get("grant_type")
        if grant_type == "refresh_token":
            response = "Procore returns new tokens; the old refresh token is spent"
            good = not reading.failed(exchange)
            words = response if good else "Procore refuses to refresh"
            self._draw(exchange, _other_words(exchange), words)
            return
        self._infer(_CODE_EXTRACTED)
        self._ask(exchange, step(10))
        if reading.failed(exchange):
            self._respond(exchange, replace(step(11), words="Procore refuses: no tokens"))
        elif story.issued_tokens(exchange):
            self._respond(exchange, step(11))
        else:
            answered = _response(exchange, replace(step(11), words="Procore returns no token"))
            self.arrows.append(replace(answered, outcome="bad", meaning=_NOT_THE_JSON))

    def _api(self, exchange: Exchange) -> None:
        if self.reached >= _API_RESPONDS:  # the tutorial's call; this is another
            self._draw(exchange, _other_words(exchange), _plain_response(exchange))
            return
        self._infer(12)
        response = step(14)
        if reading.failed(exchange):
            response = replace(response, words=_plain_response(exchange))
            self._draw(exchange, step(13), response)
            self.reached = _API_CALLED
            return
        self._draw(exchange, step(13), response)
        self._infer(15, 16)

    def _draw(self, exchange: Exchange, asked: Step | str, answered: Step | str) -> None:
        self._ask(exchange, asked)
        self._respond(exchange, answered)

    def _ask(self, exchange: Exchange, asked: Step | str) -> None:
        self.arrows.append(_request(exchange, asked))
        self._reach(asked)

    def _respond(self, exchange: Exchange, answered: Step | str) -> None:
        self.arrows.append(_response(exchange, answered))
        self._reach(answered)

    def _reach(self, drawn: Step | str) -> None:
        if isinstance(drawn, Step):
            self.reached = max(self.reached, drawn.number)

    def _infer(self, *numbers: int) -> None:
        for number in numbers:
            if self.reached < number:
                self.arrows.append(_of_step(step(number), "inferred"))
                self.reached = number

    def _skip(self, numbers: tuple[int, ...], words: str) -> None:
        if self.reached < numbers[0]:
            first = step(numbers[0])
            arrow = _of_step(replace(first, words=words, oauth=None), "skipped")
            self.arrows.append(replace(arrow, steps=numbers))
            self.reached = numbers[-1]


def _waiting(reached: int) -> Iterator[Arrow]:
    return (_of_step(coming, "waiting") for coming in STEPS if coming.number > reached)


def _of_step(drawn: Step, state: State) -> Arrow:
    return Arrow(
        f"step-{drawn.number}",
        drawn.source,
        drawn.target,
        state,
        "asked",
        drawn.words,
        drawn.line,
        steps=(drawn.number,),
        oauth=drawn.oauth,
    )


def _request(exchange: Exchange, asked: Step | str) -> Arrow:
    named = asked if isinstance(asked, Step) else None
    return Arrow(
        f"{exchange.number}-request",
        exchange.caller,
        exchange.lane,
        "seen",
        "asked",
        asked if isinstance(asked, str) else asked.words,
        f"{exchange.method} {reading.path(exchange.target)}",
        (named.number,) if named else (),
        named.oauth if named else None,
        exchange=exchange.number,
        side="request",
    )


def _response(exchange: Exchange, answered: Step | str) -> Arrow:
    named = answered if isinstance(answered, Step) else None
    if exchange.status == reading.NO_RESPONSE:
        return _no_response(exchange)
    error = story.refusal(exchange) or _error_in_body(exchange)
    address = reading.location(exchange)
    outcome = _outcome(exchange, error)
    line = str(exchange.status)
    if address is not None:
        line += f" → {reading.address_without_query(address)}"
    elif error is None:
        line += reading.kind(exchange.response_headers)
    if error is not None:
        line += f" {error}"
    meaning = ERRORS.get(error) if error is not None else None
    if meaning is None:
        meaning = meaning_of_status(exchange.status)
    return Arrow(
        f"{exchange.number}-response",
        exchange.lane,
        exchange.caller,
        "seen",
        outcome,
        answered if isinstance(answered, str) else answered.words,
        line,
        (named.number,) if named else (),
        named.oauth if named else None,
        meaning,
        _telling(exchange.note, outcome),
        exchange.number,
        "response",
    )


def _telling(note: str | None, outcome: Outcome) -> str | None:
    """Return a remark that tells more than the arrow does: why it was refused, or a fault."""
    return note if note is not None and (outcome == "bad" or "fault" in note) else None


def _no_response(exchange: Exchange) -> Arrow:
    return Arrow(
        f"{exchange.number}-response",
        exchange.lane,
        exchange.caller,
        "seen",
        "bad",
        "The connection ends without a response",
        "no response",
        meaning="Whether the request was carried out, the caller cannot know.",
        note=exchange.note,
        exchange=exchange.number,
        side="response",
    )


def _error_page(exchange: Exchange) -> Arrow:
    """Return the arrow of an error page, which Procore may send with any status, 200 included."""
    arrow = _response(exchange, "Procore shows an error page and goes no further")
    return replace(
        arrow,
        outcome="bad",
        line=f"{exchange.status} error page",
        meaning=_ERROR_PAGE,
        note=exchange.note,
    )


def _outcome(exchange: Exchange, error: str | None) -> Outcome:
    if error == "access_denied":
        return "denied"
    if error is not None or reading.failed(exchange):
        return "bad"
    return "onward" if reading.location(exchange) is not None else "good"


def _error_in_body(exchange: Exchange) -> str | None:
    error = reading.json_fields(exchange.response_body).get("error")
    return error if error is not None and error.isidentifier() else None


def _other_words(exchange: Exchange) -> str:
    path = reading.path(exchange.target)
    grant_type = reading.request_fields(exchange).get("grant_type")
    if path == "/oauth/token" and grant_type == "refresh_token":
        return "Your app asks for new tokens with its refresh token"
    if path == "/oauth/token" and grant_type == "client_credentials":
        return "Your app asks for a token of its own, without a user"
    words = {
        "/oauth/token": "Your app asks for a token",
        "/oauth/token/info": "Your app asks what its access token is good for",
        "/oauth/revoke": "Your app gives a token back: Procore is to forget it",
        "/logout": "The user logs out at Procore",
        "/login": "The browser asks for the login panel",
    }
    if path in words:
        return words[path]
    if exchange.lane == "api":
        return "Your app calls the Procore API"
    if path.startswith("/oauth/authorize/"):
        return "The browser asks for the page that shows the code"
    return "The browser asks for a page" if exchange.caller == "user" else "Your app asks"


def _plain_response(exchange: Exchange) -> str:
    if story.is_unserved(exchange):
        return "The emulator does not serve this call"
    who = "The API" if exchange.lane == "api" else "Procore"
    if reading.failed(exchange):
        return f"{who} refuses"
    if reading.location(exchange) is not None:
        return f"{who} sends the browser on"
    return f"{who} answers"
