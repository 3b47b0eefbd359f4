"""The settings of an application that users sign in to, wherever they are written."""

from __future__ import annotations

from procore_signin._settings.parsers import EMULATOR_CLIENT_ID, EMULATOR_CLIENT_SECRET
from procore_signin._settings.settings import (
    NOT_SET,
    Settings,
    default_of,
    is_given,
    names_of_missing,
    only_missing,
    read_address,
    read_naming,
    read_settings,
    settings_of,
)
from procore_signin._settings.trusted_proxies import TrustedProxies

__all__ = [
    "EMULATOR_CLIENT_ID",
    "EMULATOR_CLIENT_SECRET",
    "NOT_SET",
    "Settings",
    "TrustedProxies",
    "default_of",
    "is_given",
    "names_of_missing",
    "only_missing",
    "read_address",
    "read_naming",
    "read_settings",
    "settings_of",
]
