"""Turn a response of Procore's API into the error for the caller's decision."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import httpx2

from procore_signin._api.company import HEADER
from procore_signin._api.error_messages import Words, words_of
from procore_signin._api.errors import (
    ApiError,
    ApiUnavailable,
    Conflict,
    Forbidden,
    Invalid,
    NotConnected,
    NotFound,
    RateLimited,
    Unauthorized,
    UnexpectedAnswer,
)
from procore_signin._api.rate_limit import server_time
from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.retry_after import retry_after

_NOT_CONNECTED: Final = re.compile(r"\bnot (connected|installed)\b", re.IGNORECASE)
_REQUEST_ID: Final = re.compile(r"[\x21-\x7E]{1,128}")
_INSTALL: Final = (
    "An administrator of the company installs the app in Procore's company admin, App Management."
    " The app needs a published version with a data connector component."
)


def raise_for_procore(
    response: httpx2.Response, *, clock: Callable[[], float] = time.time
) -> httpx2.Response:
    """Return `response` if it is a success; otherwise raise the error for its status.

    Args:
        response: From a client of this package. Read a streamed response first; otherwise the error
            cannot include Procore's message.
        clock: Returns now, in UTC seconds. Used for `retry_after` if Procore gives a time of day
            without the current time.

    Raises:
        Unauthorized: 401, also with a fresh token. Check where the app is installed.
        NotConnected: The app is not connected to this company. Have it installed.
        Forbidden: 403. The user may not do this.
        NotFound: 404, 410. It does not exist, or it is hidden from the user.
        Conflict: 409. Read it again, then decide.
        RateLimited: 429. Try again after `retry_after` seconds.
        Invalid: 400, 422, any other 4xx. Correct the request; see `fields`.
        ApiUnavailable: 408, 5xx. Try again later.
        UnexpectedAnswer: A redirect, or another status that the API does not send.
    """
    if response.is_success or response.status_code == HTTPStatus.NOT_MODIFIED:
        return response
    raise _error(response, clock())


def _error(response: httpx2.Response, now: float) -> ApiError:
    status, request = response.status_code, response.request
    words = _words(response)
    message = f"{request.method} {request.url.path} got status {status}"
    message = f"{message}: {words.text}" if words.text else message
    about: dict[str, Any] = {
        "status": status,
        "method": request.method,
        "path": request.url.path,
        "error_description": words.text or None,
        "request_id": _request_id(response),
    }
    if response.is_redirect or status < HTTPStatus.BAD_REQUEST:
        hint = "Redirects are not followed. Use follow_download for a file that is kept elsewhere."
        return UnexpectedAnswer(message, hint=hint, **about)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = _retry_after(response, now)
        return RateLimited(message, retry_after=wait, ambiguous=False, **about)
    if status == HTTPStatus.REQUEST_TIMEOUT or response.is_server_error:
        wait = _retry_after(response, now)
        return ApiUnavailable(message, retry_after=wait, ambiguous=True, **about)
    return _refusal(status, message, words, about)


def _refusal(status: int, message: str, words: Words, about: dict[str, Any]) -> ApiError:
    refused = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    if status in refused and _NOT_CONNECTED.search(words.text):
        return NotConnected(message, hint=_INSTALL, **about)
    match status:
        case HTTPStatus.UNAUTHORIZED:
            hint = "A fresh token was refused: check that the app is installed in this company."
            return Unauthorized(message, hint=hint, **about)
        case HTTPStatus.FORBIDDEN:
            hint = "Ask an administrator of the company for the permission in this tool."
            return Forbidden(message, hint=hint, **about)
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            hint = "It does not exist, or the user may not see it: Procore hides what it forbids."
            return NotFound(message, hint=hint, **about)
        case HTTPStatus.CONFLICT:
            return Conflict(message, hint="Read it again, then decide.", **about)
        case _:
            missing = HEADER.lower() in words.text.lower()
            hint = "Make the client with company_id=…" if missing else "Correct the request."
            return Invalid(message, fields=words.fields, hint=hint, **about)


def _words(response: httpx2.Response) -> Words:
    try:
        body = response.content
    except httpx2.ResponseNotRead:
        return Words()
    return words_of(body, response.headers.get("content-type", ""))


def _retry_after(response: httpx2.Response, now: float) -> float | None:
    answer = HttpResponse(response.status_code, response.headers, b"")
    return retry_after(answer, server_time(response.headers, now))


def _request_id(response: httpx2.Response) -> str | None:
    value = response.headers.get("x-request-id", "")
    return value if _REQUEST_ID.fullmatch(value) else None
