"""What a request says in its body: a form's fields, or the members of a JSON object.

An endpoint reads both alike. Whether a request may do anything has nothing to do with it: that is
decided by where it comes from (row K8), before its body is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from procore_signin._flow.steps import Flow
from procore_signin._web import problems
from procore_signin._web.http.bodies import BodyRefused, body_of
from procore_signin._web.http.messages import BrowserRequest

YES: Final = "yes"
NO: Final = "no"
"""What a field says that is true, or is not."""

LONGEST_ID: Final = 19
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

Fields = Mapping[str, str]


def fields_of(request: BrowserRequest) -> Flow[Fields]:
    """Read the body of `request` and return its fields as text: true is `yes`, null is not there.

    Raises:
        BodyRefused: As in `bodies.body_of`, or the body is neither a form nor JSON, or the JSON is
            no object of texts, whole numbers and truth values. The router handles this.
    """
    body = yield from body_of(request)
    if not body:
        return {}
    content_type = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
    if content_type not in {JSON, FORM}:
        raise BodyRefused(problems.BODY_TYPE_WRONG)
    return _members(body) if content_type == JSON else in_form(body)


def in_form(form: bytes) -> Fields:
    """Return the fields of a form or a query."""
    return dict(parse_qsl(form.decode("latin-1")))


def whole_number(fields: Fields, name: str) -> int | None:
    """Return the number in the field `name`, or None."""
    text = fields.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_ID else None


def is_yes(fields: Fields, name: str) -> bool:
    """Return whether the field `name` says yes; without it, it does not.

    Raises:
        BodyRefused: It says neither yes nor no, as the text "true": no one knows what is meant.
    """
    text = fields.get(name, NO)
    if text not in {YES, NO}:
        raise BodyRefused(problems.BODY_MALFORMED)
    return text == YES


def _members(body: bytes) -> Fields:
    try:
        found = json.loads(body.decode())
        json.dumps(found, ensure_ascii=False).encode()  # half of a character has no UTF-8
    except (ValueError, RecursionError):
        raise BodyRefused(problems.BODY_MALFORMED) from None
    if not isinstance(found, dict):
        raise BodyRefused(problems.BODY_MALFORMED)
    return {name: _text(value) for name, value in found.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, str | int):
        return str(value)
    raise BodyRefused(problems.BODY_MALFORMED)
