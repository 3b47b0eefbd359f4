"""The headers of every response, including errors (rows C7, K6, K7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from procore_signin._flow.context import Context

NO_REFERRER: Final = ("referrer-policy", "no-referrer")
"""For responses at a URL that no other site may learn. Pages with a form cannot have it: the
browser would send the form with `Origin: null`."""

SAME_ORIGIN: Final = ("referrer-policy", "same-origin")
"""Other sites get no referrer, and our own forms send their origin (decision 26)."""


def security_headers(
    context: Context, more: Mapping[str, Sequence[str]] | None = None
) -> tuple[tuple[str, str], ...]:
    """Return the headers of every response of this application.

    Args:
        context: The surroundings.
        more: What the application adds to the policy, by directive. `Look` has checked it.
    """
    directives = (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        f"form-action 'self' {context.environment.login_origin}",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
    policy = "; ".join(_extended(directives, more or {}))
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


def _extended(directives: Sequence[str], more: Mapping[str, Sequence[str]]) -> list[str]:
    found = dict(each.split(" ", 1) for each in directives)
    for name, sources in more.items():
        known = found[name].split() if name in found else []
        found[name] = " ".join(dict.fromkeys((*known, *sources)))
    return [f"{name} {sources}" for name, sources in found.items() if sources]
