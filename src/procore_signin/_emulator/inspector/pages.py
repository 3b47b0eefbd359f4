"""The inspector's HTML and JSON, made from a story whose secrets are already shortened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from procore_signin._emulator.inspector import reading
from procore_signin._emulator.inspector.arrows import Arrow, arrows_of, arrows_of_others, standing
from procore_signin._emulator.inspector.glossary import ACTORS, PARAMETERS
from procore_signin._emulator.inspector.redaction import shorten_secrets
from procore_signin._emulator.inspector.story import Chapter, SignIn, Story
from procore_signin._emulator.journal import BODY_KEPT, Exchange, Headers
from procore_signin._emulator.json_depth import is_deeper

_DEEPEST_INDENTED: Final = 20
"""Levels of nesting up to which JSON is indented; beyond, it is shown as it came."""

_SAID_AT_ONCE: Final = 3
"""How many new arrows a screen reader is told of at a time."""


@dataclass(frozen=True, slots=True)
class Field:
    """One name and value of a message, and what it is for."""

    name: str
    value: str
    meaning: str | None


@dataclass(frozen=True, slots=True)
class Half:
    """A request or a response, ready to be shown.

    Attributes:
        start: Its first line.
        fields: Names and values of its query, body or redirect.
        headers: As sent, secrets shortened.
        body: Its text, JSON indented.
        is_page: The body is HTML, long and of little interest.
        cut: The journal kept only the beginning of the body.
    """

    start: str
    fields: tuple[Field, ...]
    headers: Headers
    body: str
    is_page: bool
    cut: bool


class InspectorPages:
    """Renders the inspector's templates. `root` is everywhere the prefix it is mounted under.

    Args:
        app_url: Where the application that signs in is opened.
        version: The emulator's version.
    """

    def __init__(self, *, app_url: str, version: str) -> None:
        self._templates = Environment(
            loader=PackageLoader("procore_signin._emulator"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            actors=ACTORS,
            app_url=app_url,
            app_host=app_url.partition("://")[2],
            emulator_version=version,
        )

    def page(self, story: Story, mark: str, root: str) -> str:
        """Return the whole page; `mark` is where its event stream goes on."""
        chapters = [self._chapter(story, sign_in) for sign_in in reversed(story.sign_ins)]
        return self._templates.get_template("inspector.html").render(
            root=root,
            chapters=chapters,
            others=self._chapter(story, story.others),
            left_out=story.left_out,
            mark=mark,
            waiting=arrows_of([], to_come=True),
        )

    def news(self, story: Story, chapter: Chapter, known: int, root: str) -> dict[str, Any]:
        """Return what the page needs to draw a chapter that has exchanges newer than `known`."""
        drawn = self._chapter(story, chapter)
        new = [arrow for arrow in drawn["arrows"] if arrow.exchange and arrow.exchange > known]
        return {
            "id": chapter.id,
            "newest": drawn["newest"],
            "html": self._templates.get_template("_chapter.html").render(root=root, chapter=drawn),
            "said": ". ".join(_said(arrow) for arrow in new[-_SAID_AT_ONCE:]),
        }

    def exchange(self, story: Story, exchange: Exchange, root: str) -> str:
        """Return the page of one exchange."""
        arrows: list[Arrow] = []
        for chapter in (*story.sign_ins, story.others):
            if any(told.number == exchange.number for told in chapter.exchanges):
                arrows = [
                    arrow
                    for arrow in _arrows(chapter, to_come=False)
                    if arrow.exchange == exchange.number
                ]
        shown = shorten_secrets(exchange)
        return self._templates.get_template("exchange.html").render(
            root=root,
            exchange=shown,
            started=_local(exchange.started_at),
            arrows=arrows,
            path=reading.path(shown.target),
            request=_request(shown),
            response=_response(shown),
        )

    def _chapter(self, story: Story, chapter: Chapter) -> dict[str, Any]:
        newest = bool(story.sign_ins) and chapter is story.sign_ins[-1]
        arrows = _arrows(chapter, to_come=newest)
        seen = [arrow.key for arrow in arrows if arrow.state == "seen"]
        return {
            "id": chapter.id,
            "newest": newest,
            "is_sign_in": isinstance(chapter, SignIn),
            "started": _local(chapter.exchanges[0].started_at) if chapter.exchanges else None,
            "person": _person(chapter),
            "standing": standing(arrows),
            "arrows": arrows,
            "latest": seen[-1] if seen else None,
            "count": len(chapter.exchanges) + chapter.left_out,
            "left_out": chapter.left_out,
        }


def mark_of(exchange: Exchange) -> str:
    """Return the id under which the event stream resumes after this exchange.

    Number and time together tell the journals of two runs of the emulator apart.
    """
    return f"{exchange.number}.{int(exchange.started_at * 1000)}"


def exchange_json(exchange: Exchange) -> dict[str, Any]:
    """Return one exchange as JSON, its secrets shortened; times in UTC unix seconds."""
    shown = shorten_secrets(exchange)
    return {
        "number": shown.number,
        "started_at": shown.started_at,
        "took": shown.took,
        "caller": shown.caller,
        "lane": shown.lane,
        "note": shown.note,
        "request": {
            "method": shown.method,
            "target": shown.target,
            "headers": [list(header) for header in shown.request_headers],
            "body": shown.request_body.decode(),
        },
        "response": {
            "status": shown.status,
            "headers": [list(header) for header in shown.response_headers],
            "body": shown.response_body.decode(),
        },
    }


def _arrows(chapter: Chapter, *, to_come: bool) -> list[Arrow]:
    if isinstance(chapter, SignIn):
        return arrows_of(chapter.exchanges, to_come=to_come)
    return arrows_of_others(chapter.exchanges)


def _person(chapter: Chapter) -> str | None:
    """Return who signs in, as `/me` or the login panel tells."""
    person = None
    for exchange in chapter.exchanges:
        if exchange.method == "POST" and reading.path(exchange.target) == "/login":
            person = reading.request_fields(exchange).get("login") or person
        elif reading.path(exchange.target).endswith("/me"):
            me = reading.json_fields(exchange.response_body)
            person = me.get("name") or me.get("login") or person
    return person


def _said(arrow: Arrow) -> str:
    number = f"Step {arrow.steps[0]}: " if arrow.steps else ""
    return f"{number}{arrow.words} ({arrow.line})"


def _local(unix_seconds: float) -> datetime:
    """Return a time on this machine's clock, which is also the learner's."""
    return datetime.fromtimestamp(unix_seconds, tz=UTC).astimezone()


def _request(exchange: Exchange) -> Half:
    fields = {**reading.query(exchange.target), **reading.request_fields(exchange)}
    return Half(
        f"{exchange.method} {exchange.target} HTTP/1.1",
        _fields(fields),
        exchange.request_headers,
        _readable(exchange.request_body),
        _is_page(exchange.request_headers),
        len(exchange.request_body) >= BODY_KEPT,
    )


def _response(exchange: Exchange) -> Half:
    fields = {
        **reading.query(reading.location(exchange) or ""),
        **reading.json_fields(exchange.response_body),
    }
    return Half(
        f"HTTP/1.1 {exchange.status}" if exchange.status != reading.NO_RESPONSE else "no response",
        _fields(fields),
        exchange.response_headers,
        _readable(exchange.response_body),
        _is_page(exchange.response_headers),
        len(exchange.response_body) >= BODY_KEPT,
    )


def _fields(fields: Mapping[str, str]) -> tuple[Field, ...]:
    return tuple(Field(name, value, PARAMETERS.get(name)) for name, value in fields.items())


def _readable(body: bytes) -> str:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode()
    # Each level of nesting indents every line inside it: the page would be as long as the product.
    deep = is_deeper(value, _DEEPEST_INDENTED)
    return body.decode() if deep else json.dumps(value, indent=2, ensure_ascii=False)


def _is_page(headers: Headers) -> bool:
    return (reading.header(headers, "content-type") or "").startswith("text/html")
