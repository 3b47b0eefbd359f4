"""The page that the browser shows when the response of `procore-signin login` has come."""

from __future__ import annotations

import hashlib
import html
from base64 import b64encode
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from procore_signin._web.pages import static_file

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · procore-signin login</title>
<style>{style}</style>
{script}
</head>
<body class="procore-signin">
<header><span class="brand">procore-signin login</span></header>
<main id="main"><h1>{title}</h1><p class="lead">{text}</p></main>
</body>
</html>
"""


_FINISHING: Final = "Finishing your sign-in"


@dataclass(frozen=True, slots=True)
class Told:
    """The page in the browser.

    Attributes:
        status: The HTTP status.
        title: The heading.
        text: One or two sentences.
    """

    status: HTTPStatus
    title: str
    text: str


MAYBE_IN_FRAGMENT: Final = Told(
    HTTPStatus.OK,
    "There is no response from Procore in this address",
    "Perhaps only a part of it was copied. The sign-in still waits: finish it in the browser that "
    "was opened, or open the address that the terminal shows.",
)
"""For an address without a response in its query. Its script moves a response from the fragment,
which no server sees, into the query (the tutorial, steps 8 and 9)."""


def render(told: Told) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """Return the page as bytes, and its headers (rows C7, K6). It loads nothing from elsewhere."""
    style, script = _static("app.css"), ""
    allowed = [f"style-src {_hash_of(style)}"]
    if told is MAYBE_IN_FRAGMENT:
        script = _static("callback-fragment.js")
        allowed.append(f"script-src {_hash_of(script)}")
        script = f'<script data-title="{_FINISHING}">{script}</script>'
    page = _PAGE.format(
        title=html.escape(told.title), text=html.escape(told.text), style=style, script=script
    )
    policy = f"default-src 'none'; {'; '.join(allowed)}; frame-ancestors 'none'; base-uri 'none'"
    body = page.encode()
    return body, (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Content-Security-Policy", f"{policy}; form-action 'none'"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
        ("Connection", "close"),
    )


def _static(name: str) -> str:
    found = static_file(name)
    assert found is not None, name  # noqa: S101  # it is in the package
    return found[0].decode()


def _hash_of(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{b64encode(digest).decode()}'"
