"""The system checks: `manage.py check` reports everything that is missing or wrong at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  # Django's name
from django.http.request import validate_host
from django.utils.module_loading import import_string

from procore_signin._settings import names_of_missing, only_missing
from procore_signin._settings.row import PREFIX
from procore_signin.errors import SettingsInvalid, StoreUnavailable
from procore_signin.web.django import database, middleware
from procore_signin.web.django.installed import SETTING, check_urls, installed
from procore_signin.web.django.own_templates import mistakes

_AUTHENTICATION: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
_LOOPBACK: Final = (".localhost", "127.0.0.1", "[::1]")  # Django's default under DEBUG


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Check that the settings from `settings.py`, the environment and `.env` fit together."""
    del app_configs  # the settings belong to no single app
    found: list[CheckMessage] = []
    for made in (database.naming, installed):  # what the tables need, whatever else is missing
        try:
            made()
        except SettingsInvalid as error:
            told = _missing(error) if only_missing(error) else _errors(error, "E001")
            found += [each for each in told if each not in found]
    return found or [
        *_check_urls(),
        *_check_middleware(),
        *_check_hosts(Warning, "W004"),
    ]


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Check, in `manage.py check --deploy`, that users can sign in: what else is a warning."""
    del app_configs
    try:
        installed()
    except SettingsInvalid as error:
        return _errors(error, "E005") if only_missing(error) else []
    return _check_hosts(Error, "E004")


@register(Tags.templates)
def check_templates(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Check that the project's own templates of the sign-in's pages can be used."""
    del app_configs
    hint = "Correct it. Templates of ours are found where an engine of TEMPLATES has APP_DIRS."
    return [
        Warning(f"The template {name} cannot be used: {what}.", hint=hint, id=_id("W005"))
        for name, what in mistakes()
    ]


@register(Tags.database)
def check_tables(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **_: Any
) -> list[CheckMessage]:
    """Check, in `manage.py check --database default`, that the tables exist."""
    del app_configs
    if not databases or sys.argv[1:2] == ["migrate"]:  # which checks first, and then makes them
        return []
    if database.under_test():  # its tables were just made, and its processes are yet to be forked
        return []
    try:
        installed().procore.store.probe()
    except SettingsInvalid:
        return []  # `check_settings` reports it
    except StoreUnavailable as error:
        return [Warning(str(error), hint=error.hint, id=_id("W002"))]
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
    if not any(map(_authenticates, before)):
        hint = f'Put "{_AUTHENTICATION}" before "{middleware.NAME}".'
        what = "DJANGO_USER is set, but the sign-in runs before Django's authentication."
        return [Error(what, hint=hint, id=_id("E003"))]
    return []


def _authenticates(name: str) -> bool:
    """Return whether a middleware is Django's authentication, or a class of the project's of it."""
    try:
        found = import_string(name)
    except ImportError:
        return False  # Django says so itself
    # By name: a project without Django's users cannot import the module of that class.
    kinds = found.__mro__ if isinstance(found, type) else ()
    return _AUTHENTICATION in {f"{each.__module__}.{each.__qualname__}" for each in kinds}


def _check_hosts(kind: type[CheckMessage], number: str) -> list[CheckMessage]:
    """Return what ALLOWED_HOSTS lacks. Only a server needs it: migrations and tests go on."""
    host = urlsplit(installed().procore.context.client.redirect_uri).hostname or ""
    allowed = settings.ALLOWED_HOSTS or (_LOOPBACK if settings.DEBUG else ())
    # Test runs have DEBUG off and `testserver` added: what a server would have is not to be seen.
    if "testserver" in allowed or validate_host(f"[{host}]" if ":" in host else host, allowed):
        return []
    hint = f'Add "{host}", or browsers that come back from Procore get 400.'
    what = f"ALLOWED_HOSTS does not admit {host}, the host of PROCORE_REDIRECT_URI."
    return [kind(what, hint=hint, id=_id(number))]


def _missing(invalid: SettingsInvalid) -> list[CheckMessage]:
    """Return a warning: migrations, tests and image builds need no sign-in."""
    names = names_of_missing(invalid)
    cure = f"Run `procore-signin init`, or write them into {SETTING}, without {PREFIX}."
    hint = f"{cure} {invalid.hint or ''}".rstrip()
    what = f"The sign-in lacks settings, so no one can sign in yet: {names}."
    return [Warning(what, hint=hint, id=_id("W003"))]


def _errors(invalid: SettingsInvalid, number: str) -> list[CheckMessage]:
    return [
        Error(f"{each.setting} {each.what}.", hint=_hint(each.setting, each.cure), id=_id(number))
        for each in invalid.problems
    ]


def _hint(setting: str, cure: str) -> str:
    key = setting.removeprefix(PREFIX)
    if key == setting or setting.startswith(SETTING):  # named as it stands there
        return cure
    return f'{cure} In settings.py it is {SETTING}["{key}"].'


def _id(number: str) -> str:
    return f"procore_signin.{number}"
