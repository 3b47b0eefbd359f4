"""Procore's environments: where its authorization server and its API live.

The origins are a fixed table. They never come from a request, a response or a discovery document
(RFC 9700 §4.4), and tokens and users of one environment never meet those of another.
Source of the hosts: Procore's documentation, "Development Environments" and "Federal Zone".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

__all__ = [
    "EMULATOR_URL",
    "FEDERAL",
    "MONTHLY",
    "NAMES",
    "PRODUCTION",
    "SANDBOX",
    "Environment",
    "by_name",
    "emulator",
]

EMULATOR_URL: Final = "http://127.0.0.1:4568"
"""Where `procore-signin emulator` listens by default. An address rather than `localhost`, so that a
browser sees two sites and keeps their cookies apart, as with Procore."""

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Environment:
    """One Procore: a name, the origin of its authorization server and the origin of its API.

    Attributes:
        name: Key of users and tokens in the store, such as `production`.
        login_origin: Scheme, host and port of `/oauth/*`, without a trailing slash.
        api_origin: Scheme, host and port of `/rest/*`, without a trailing slash.
    """

    name: str
    login_origin: str
    api_origin: str


PRODUCTION: Final = Environment(
    "production", "https://login.procore.com", "https://api.procore.com"
)
SANDBOX: Final = Environment(
    "sandbox", "https://login-sandbox.procore.com", "https://sandbox.procore.com"
)
MONTHLY: Final = Environment(
    "monthly", "https://login-sandbox-monthly.procore.com", "https://api-monthly.procore.com"
)
FEDERAL: Final = Environment(
    "federal", "https://login.procoregov.com", "https://api.procoregov.com"
)

_FIXED: Final = {e.name: e for e in (PRODUCTION, SANDBOX, MONTHLY, FEDERAL)}
NAMES: Final = (*_FIXED, "emulator")


def emulator(url: str = EMULATOR_URL) -> Environment:
    """Return the environment of a local emulator at `url`.

    Args:
        url: Its origin, such as `http://127.0.0.1:4568`. Plain http is accepted because the host
            must be loopback.

    Raises:
        ValueError: `url` is not an origin on this machine.
    """
    parts = urlsplit(url)
    if (
        parts.scheme not in {"http", "https"}
        or parts.hostname not in LOOPBACK_HOSTS
        or parts.path not in {"", "/"}
        or parts.query
        or parts.fragment
        or parts.username is not None
    ):
        raise ValueError(
            f"The emulator's address must be an origin on this machine, such as {EMULATOR_URL}"
        )
    origin = f"{parts.scheme}://{parts.netloc}"
    return Environment("emulator", origin, origin)


def by_name(name: str, *, emulator_url: str = EMULATOR_URL) -> Environment:
    """Return the environment called `name`.

    Raises:
        ValueError: No environment has that name, or `emulator_url` is not on this machine.
    """
    if name == "emulator":
        return emulator(emulator_url)
    try:
        return _FIXED[name]
    except KeyError:
        raise ValueError(f"Choose one of: {', '.join(NAMES)}") from None


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
