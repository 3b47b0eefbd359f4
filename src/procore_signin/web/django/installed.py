"""The front door that `settings.py` describes, made once in each process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.urls import NoReverseMatch, reverse
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.hooks import Hooks
from procore_signin._settings import read_settings
from procore_signin._settings.row import PREFIX
from procore_signin._store.records import User
from procore_signin._web.janitor import Janitor
from procore_signin._web.options import Options
from procore_signin._web.settings import completed
from procore_signin._web.site import Site, check_place
from procore_signin.errors import Problem, SettingsInvalid
from procore_signin.web.gevent import GeventProcoreSignIn

SETTING: Final = "PROCORE_SIGNIN"
OURS_ALONE: Final = ("FIRST_PAGE", "HOOKS", "RENDER", "DJANGO_USER")
"""Settings that only Django has: a path, and dotted names of the project's own objects."""

DjangoUserFor = Callable[[User], Any]
"""Returns the `django.contrib.auth` user for a user who signed in, or None."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The parts of the sign-in in this process; none belongs to one request.

    Attributes:
        procore: The front door.
        site: The pages.
        janitor: Cleans up in the background.
        django_user: Finds the `django.contrib.auth` user to log in, or None to log no one in.
    """

    procore: ProcoreSignIn
    site: Site
    janitor: Janitor
    django_user: DjangoUserFor | None


@cache
def installed() -> Installed:
    """Return the sign-in of this process.

    Raises:
        SettingsInvalid: Names every setting that is missing or wrong, with its cure.
    """
    given, own = _given(), _own()
    door = GeventProcoreSignIn.from_settings(
        read_settings(given), hooks=own.pop("HOOKS", None) or Hooks()
    )
    django_user = own.pop("DJANGO_USER", None)
    options = Options(**{name.lower(): value for name, value in own.items()})
    site = Site(door.context, completed(door, options))
    return Installed(door, site, Janitor(door), django_user)


def database_url() -> str:
    """Return the address of the sign-in's database.

    Raises:
        SettingsInvalid: As `installed` does.
    """
    return read_settings(_given()).database_url


def check_urls() -> None:
    """Make sure that `urls.py` has the callback page where the redirect URI leads.

    Raises:
        SettingsInvalid: The callback page is elsewhere, or missing.
    """
    try:
        place = reverse("procore_signin:callback")
    except NoReverseMatch:
        place = None
    redirect_uri = installed().procore.context.client.redirect_uri
    check_place(redirect_uri, place, outside="FORCE_SCRIPT_NAME")


def _setting() -> Mapping[str, Any]:
    setting = getattr(django_settings, SETTING, {})
    if not isinstance(setting, Mapping) or not all(isinstance(name, str) for name in setting):
        what, cure = "is not a dictionary of names", 'Write PROCORE_SIGNIN = {"ENVIRONMENT": …}.'
        raise SettingsInvalid((Problem(SETTING, what, cure),))
    return setting


def _given() -> dict[str, object]:
    """Return the settings under their environment names."""
    return {f"{PREFIX}{key}": value for key, value in _setting().items() if key not in OURS_ALONE}


def _own() -> dict[str, Any]:
    """Return the settings that only Django has, with dotted names imported."""
    own = {key: value for key, value in _setting().items() if key in OURS_ALONE}
    problems = []
    for key, value in own.items():
        try:
            if key == "FIRST_PAGE":
                Options(first_page=value)
            elif isinstance(value, str):
                own[key] = import_string(value)
        except (ImportError, ValueError) as error:
            cure = "Name something that can be imported, or a path of this project."
            problems.append(Problem(f"{SETTING}[{key!r}]", f"cannot be used: {error}", cure))
    if problems:
        raise SettingsInvalid(tuple(problems))
    return own


def _forget(*, setting: str, **_: Any) -> None:
    if setting == SETTING and installed.cache_info().currsize:
        installed().procore.close()
        installed.cache_clear()


setting_changed.connect(_forget)

procore: ProcoreSignIn = SimpleLazyObject(lambda: installed().procore)
"""The front door, as in `procore.api(request.procore_user.id)`."""
