"""Our cookies: read from the raw header, written with all attributes (rows K1 to K4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "procore_signin"

# RFC 6265 §4.1.1 cookie-octet, without quotes, which frameworks parse differently.
_VALUE: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{1,4000}", re.ASCII)


def cookie_name(name: str, *, secure: bool) -> str:
    """Return the full name of our cookie `name`.

    Over https it carries `__Host-`, which browsers accept only from this host, over https, for
    the whole site. Plain http exists on loopback alone and has no such protection (row K2).
    """
    return f"__Host-{PREFIX}_{name}" if secure else f"{PREFIX}_{name}"


def read_cookies(headers: Iterable[bytes], *, secure: bool) -> dict[str, str]:
    """Return our cookies by short name, from the raw values of the `Cookie` headers.

    A cookie that came twice is left out: one of the two was planted, and it is unknown which (row
    K3). A cookie with characters that we never write is left out too.
    """
    start = cookie_name("", secure=secure)
    found: dict[str, str | None] = {}
    for value in headers:
        for pair in value.decode("latin-1").split(";"):
            if start not in pair:
                continue
            name, equals, text = pair.strip(" \t").partition("=")
            if equals and name.startswith(start):
                short = name[len(start) :]
                known = short in found
                found[short] = text if not known and _VALUE.fullmatch(text) else None
    return {name: text for name, text in found.items() if text is not None}


def set_cookie(name: str, value: str, *, max_age: int, secure: bool) -> str:
    """Return the `Set-Cookie` value that keeps `value` for `max_age` seconds.

    SameSite is Lax: with Strict, the browser would not send the cookie when it comes back from
    Procore (row K1).
    """
    text = f"{cookie_name(name, secure=secure)}={value}; Path=/; Max-Age={max_age}; HttpOnly"
    return f"{text}; SameSite=Lax; Secure" if secure else f"{text}; SameSite=Lax"


def clear_cookie(name: str, *, secure: bool) -> str:
    """Return the `Set-Cookie` value that makes the browser forget the cookie."""
    return set_cookie(name, "", max_age=0, secure=secure)
