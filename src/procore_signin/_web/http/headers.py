"""The headers of every response, including errors (rows C7, K6, K7)."""

from __future__ import annotations

from typing import Final

from procore_signin._flow.context import Context

NO_REFERRER: Final = ("referrer-policy", "no-referrer")
"""For responses at a URL that no other site may learn. Pages with a form cannot have it: the
browser would send the form with `Origin: null`."""

SAME_ORIGIN: Final = ("referrer-policy", "same-origin")
"""Other sites get no referrer, and our own forms send their origin (decision 26)."""


def security_headers(context: Context) -> tuple[tuple[str, str], ...]:
    """Return the headers of every response of this application."""
    policy = "; ".join(
        (
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "img-src 'self'",
            f"form-action 'self' {context.environment.login_origin}",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )
    headers = (
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        SAME_ORIGIN,
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
        ("vary", "Cookie, Accept"),
    )
    if context.secure:
        return (*headers, ("strict-transport-security", "max-age=31536000"))
    return headers
