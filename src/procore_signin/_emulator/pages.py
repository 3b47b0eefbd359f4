"""The emulator's HTML pages, and the headers that keep them from being framed or stored."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from procore_signin._emulator.wire.messages import Headers, Reply

VERSION: Final = version("procore-signin")


@cache
def _templates() -> Environment:
    """Return the templates. All emulators of a process compile them once: tests start hundreds."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Pages:
    """Renders the templates that stand beside this file."""

    __slots__ = ()

    def reply(
        self,
        template: str,
        *,
        root: str,
        status: int = 200,
        form_target: str | None = None,
        headers: Headers = (),
        note: str | None = None,
        **values: Any,
    ) -> Reply:
        """Return a page.

        Args:
            template: File name under `templates/`.
            root: Path prefix under which the emulator is mounted, or nothing.
            status: HTTP status.
            form_target: Redirect URI to which a form of this page may finally lead, or None.
            headers: More headers, such as a cookie.
            note: For the journal.
            values: What the template needs.
        """
        page = _templates().get_template(template)
        body = page.render(emulator_version=VERSION, root=root, **values)
        return Reply(
            status,
            (
                ("content-type", "text/html; charset=utf-8"),
                ("cache-control", "no-store"),
                ("content-security-policy", _policy(form_target)),
                ("x-frame-options", "DENY"),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "same-origin"),
                *headers,
            ),
            body.encode(),
            note,
        )


def _policy(form_target: str | None) -> str:
    """Return the Content-Security-Policy of a page.

    Chromium applies `form-action` also to the redirects that response a form, so the page whose
    form ends at the application's redirect URI must name that origin, or Allow would do nothing.
    """
    allowed = "'self'"
    if form_target is not None:
        parts = urlsplit(form_target)
        # The grammar of CSP has no IPv6 address: for [::1] the scheme alone must do.
        origin = (
            f"{parts.scheme}:" if parts.hostname == "::1" else f"{parts.scheme}://{parts.netloc}"
        )
        allowed = f"{allowed} {origin}"
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {allowed}"
    )
