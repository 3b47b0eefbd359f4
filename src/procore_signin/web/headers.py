"""The headers that every answer carries, errors included (rows C7, K6, K7)."""

from __future__ import annotations

from procore_signin.flow.context import Context


def security_headers(context: Context) -> tuple[tuple[str, str], ...]:
    """Return the headers of every answer of this application."""
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
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
        ("vary", "Cookie, Accept"),
    )
    if context.secure:
        return (*headers, ("strict-transport-security", "max-age=31536000"))
    return headers
