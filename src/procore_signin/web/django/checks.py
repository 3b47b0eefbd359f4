"""The system checks: `manage.py check` reports everything that is missing or wrong at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  # Django's name
from django.http.request import validate_host

from procore_signin._settings.row import PREFIX
from procore_signin.errors import SettingsInvalid, StoreUnavailable
from procore_signin.web.django import middleware
from procore_signin.web.django.installed import OURS_ALONE, SETTING, check_urls, installed

_AUTHENTICATION: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
_LOOPBACK: Final = (".localhost", "127.0.0.1", "[::1]")  # Django's default under DEBUG


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Check that the settings from `settings.py`, the environment and `.env` fit together."""
    del app_configs  # the settings belong to no single app
    try:
        installed()
    except SettingsInvalid as error:
        return _errors(error, "E001")
    return [*_check_urls(), *_check_middleware(), *_check_hosts()]


@register(Tags.database)
def check_tables(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **_: Any
) -> list[CheckMessage]:
    """Check, in `manage.py check --database default` and `migrate`, that the tables exist."""
    del app_configs
    if not databases:
        return []
    try:
        installed().procore.store.probe()
    except SettingsInvalid:
        return []  # `check_settings` reports it
    except StoreUnavailable as error:
        hint = "Run: python manage.py procore_signin_upgrade"
        return [Warning(str(error), hint=hint, id=_id("W002"))]
    return []


def _check_urls() -> list[CheckMessage]:
    try:
        check_urls()
    except SettingsInvalid as error:
        return _errors(error, "E002")
    return []


def _check_middleware() -> list[CheckMessage]:
    order = list(settings.MIDDLEWARE)
    if middleware.NAME not in order:
        hint = f'Add "{middleware.NAME}". Without it there is no request.procore_user.'
        return [
            Warning("MIDDLEWARE does not have the sign-in's middleware.", hint=hint, id=_id("W001"))
        ]
    if installed().django_user is None:
        return []
    before = order[: order.index(middleware.NAME)]
    if _AUTHENTICATION not in before:
        hint = f'Put "{_AUTHENTICATION}" before "{middleware.NAME}".'
        what = "DJANGO_USER is set, but the sign-in runs before Django's authentication."
        return [Error(what, hint=hint, id=_id("E003"))]
    return []


def _check_hosts() -> list[CheckMessage]:
    host = urlsplit(installed().procore.context.client.redirect_uri).hostname or ""
    allowed = settings.ALLOWED_HOSTS or (_LOOPBACK if settings.DEBUG else ())
    if validate_host(f"[{host}]" if ":" in host else host, allowed):
        return []
    hint = f'Add "{host}", or browsers that come back from Procore get 400.'
    what = f"ALLOWED_HOSTS does not admit {host}, the host of PROCORE_REDIRECT_URI."
    return [Error(what, hint=hint, id=_id("E004"))]


def _errors(invalid: SettingsInvalid, number: str) -> list[CheckMessage]:
    return [
        Error(f"{each.setting} {each.what}.", hint=_hint(each.setting, each.cure), id=_id(number))
        for each in invalid.problems
    ]


def _hint(setting: str, cure: str) -> str:
    key = setting.removeprefix(PREFIX)
    if key == setting or key in OURS_ALONE:
        return cure
    return f'{cure} In settings.py it is {SETTING}["{key}"].'


def _id(number: str) -> str:
    return f"procore_signin.{number}"
