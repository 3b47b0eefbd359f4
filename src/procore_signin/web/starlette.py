"""The mapping for Starlette, and for any ASGI server: raw scope in, answer out."""

from __future__ import annotations

import logging
import secrets

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from procore_signin.client import AsyncProcoreSignIn
from procore_signin.web.http import BrowserRequest, Render, rendered
from procore_signin.web.router import Router

LOGGER = logging.getLogger("procore_signin")
LONGEST_BODY = 16 * 1024
"""Bytes of a form. Ours hold one number."""


class SignInApp:
    """An ASGI application that answers with the router's endpoints.

    Args:
        procore: The front door whose runner performs the endpoints' steps.
        router: Which endpoint answers.
        render: Turns a page into HTML.
    """

    def __init__(self, procore: AsyncProcoreSignIn, router: Router, render: Render) -> None:
        self._procore = procore
        self._router = router
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        request = await _browser_request(scope, receive)
        try:
            answer = await self._procore.run(self._router.answer(request))
            content, content_type = rendered(answer, self._render)
        except Exception:  # the last resort (row O3): a page for the person, a trace for us
            LOGGER.exception("Request %s failed", request.request_id)
            answer = self._router.failure(request)
            content, content_type = rendered(answer, self._render)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(content)).encode()),
            *((name.encode(), value.encode("latin-1")) for name, value in answer.headers),
            *((b"set-cookie", cookie.encode("latin-1")) for cookie in answer.cookies),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if request.method == "HEAD" else content
        await send({"type": "http.response.body", "body": body})


async def _browser_request(scope: Scope, receive: Receive) -> BrowserRequest:
    client = scope.get("client")
    return BrowserRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"],
        headers=tuple(scope["headers"]),
        body=await _body(scope, receive) if scope["method"] == "POST" else b"",
        client_address=client[0] if client else "",
        request_id=secrets.token_hex(6),
    )


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Read a small form; a larger body is cut, and then holds nothing that we look for."""
    body = b""
    async for chunk in Request(scope, receive).stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            return b""
    return body
