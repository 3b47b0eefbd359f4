"""The front door that `settings.py` describes, made once in each process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.functional import SimpleLazyObject, empty
from django.utils.module_loading import import_string
from django.utils.translation import get_language, override

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.hooks import Hooks, check_kind
from procore_signin._settings import (
    Settings,
    names_of_missing,
    only_missing,
    read_settings,
    settings_of,
)
from procore_signin._settings.row import PREFIX
from procore_signin._store.engine.address import Address
from procore_signin._store.records import User
from procore_signin._web.embedded.buttons import Buttons
from procore_signin._web.embedded.login import Login
from procore_signin._web.janitor import Janitor
from procore_signin._web.options import Options
from procore_signin._web.settings import completed
from procore_signin._web.site import Site, check_place, wrong_redirect_uri
from procore_signin.errors import Problem, SettingsInvalid
from procore_signin.web.django import database
from procore_signin.web.django.own_templates import DjangoTemplates

LOGGER: Final = logging.getLogger("procore_signin")
SETTING: Final = database.SETTING
OUR_APP: Final = "procore_signin.web.django"
OURS_ALONE: Final = ("DATABASE", "FIRST_PAGE", "HOOKS", "RENDER", "LOOK", "DJANGO_USER", "LOGIN")
"""Settings that only Django has: a path, and dotted names of the project's own objects."""


def _user(request: HttpRequest) -> Any:
    return request.user.pk if request.user.is_authenticated else None


def _log_out(request: HttpRequest, _response: HttpResponse) -> None:
    from django.contrib.auth import logout  # noqa: PLC0415  # once Django's apps are there

    logout(request)


def _is_active(_request: HttpRequest, reference: str) -> bool:
    found = _found(reference)
    return found is not None and found.is_active


DJANGO_LOGIN: Final = Login(user=_user, log_out=_log_out, is_active=_is_active)
"""`django.contrib.auth` as the project's own login: what `LOGIN` is by default."""


def connected_user(user: User) -> Any:
    """Return the Django user who is connected to `user`, for `DJANGO_USER`.

    Returns:
        None where no one is, or several are.

    Raises:
        StoreUnavailable: The database does not respond. If unhandled, the response is 503.
    """
    references = installed().procore.references_of(user)
    if len(references) != 1:
        return None
    return _found(references[0])


def _found(reference: str) -> Any:
    """Return the Django user with that primary key, or None."""
    model = get_user_model()
    try:
        key = model._meta.pk.to_python(reference)  # noqa: SLF001  # as in Django's documentation
    except ValidationError:
        return None  # the key of another kind that users had before: that one is gone
    return model._default_manager.filter(pk=key).first()  # noqa: SLF001  # its public name may be another


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
    if not apps.is_installed(OUR_APP):
        cure = f'Add "{OUR_APP}", then run: python manage.py migrate.'
        raise SettingsInvalid((Problem("INSTALLED_APPS", "does not have the sign-in's app", cure),))
    given, own = _given(), _own()
    settings = _read(given)
    door = database.DjangoProcoreSignIn.from_settings(
        settings, hooks=own.pop("HOOKS", None) or Hooks()
    )
    django_user = own.pop("DJANGO_USER", None)
    own.setdefault("LOGIN", DJANGO_LOGIN)
    options = Options(**{name.lower(): value for name, value in own.items()})
    if options.look.language is None:
        options = replace(options, look=replace(options.look, language=_active_language))
    site = Site(door.context, completed(door, options), templates=DjangoTemplates())
    site.stand_below(django_settings.FORCE_SCRIPT_NAME or "")
    return Installed(door, site, _Janitor(door), django_user)


def _read(given: Mapping[str, object]) -> Settings:
    """Return the settings, if all names in `PROCORE_SIGNIN` are of settings: all are ours there.

    Raises:
        SettingsInvalid: They are not, or settings are missing or wrong.
    """
    known = [row.name for row in Settings.rows().values()]
    unknown = tuple(
        Problem(name, "is not a setting of procore-signin", _meant(name))
        for name in given
        if name not in known
    )
    ours = {name: value for name, value in given.items() if name in known}
    try:
        settings = read_settings(ours, defaults=database.defaults_for(ours))
    except SettingsInvalid as error:
        raise SettingsInvalid((*error.problems, *unknown), hint=error.hint) from None
    if unknown:
        raise SettingsInvalid(unknown)
    return settings


def _meant(name: str) -> str:
    known = [*OURS_ALONE, *(row.key for row in Settings.rows().values())]
    near = get_close_matches(name.removeprefix(PREFIX).upper(), known, n=1)
    return f'Did you mean "{near[0]}"?' if near else "Remove it."


class _Janitor(Janitor):
    def start(self) -> None:
        """See `Janitor.start`; in tests its thread would hold a connection to their database."""
        if not database.under_test():
            super().start()


def buttons() -> Buttons:
    """Return the buttons in Django's active language."""
    languages = installed().site.languages
    return installed().site.buttons_in(languages.named(get_language()) or languages.default)


def _active_language(_request: HttpRequest) -> str | None:
    language: str | None = get_language()
    return language


def environment(address: Address) -> dict[str, str]:
    """Return the project's settings as the environment of a process that reads them from there.

    Args:
        address: Where the tables are.

    Raises:
        SettingsInvalid: `PROCORE_SIGNIN` is no dictionary.
    """
    return settings_of(_given(), address)


def start() -> bool:
    """Check the settings when a server starts, and return whether Django's users are logged in.

    Where settings are missing, the project runs without them until a request needs the sign-in:
    that names them. So it is with tests of a project that sign no one in.

    Raises:
        SettingsInvalid: Names every setting that is wrong, with its cure.
    """
    try:
        logs_in = installed().django_user is not None
    except SettingsInvalid as error:
        if not only_missing(error):
            raise
        if not database.under_test():
            what = "The sign-in lacks settings, so no one can sign in yet: %s. %s"
            LOGGER.warning(what, names_of_missing(error), error.hint or "")
        return "DJANGO_USER" in _setting()
    check_urls()
    return logs_in


def check_urls() -> None:
    """Make sure that `urls.py` has the callback page where the redirect URI leads.

    Raises:
        SettingsInvalid: The callback page is elsewhere, or missing.
    """
    place = _place()
    redirect_uri = installed().procore.context.client.redirect_uri
    path = urlsplit(redirect_uri).path
    if place == path:
        return  # at each start: the catalogues of other languages are not loaded for it
    another = next((each for each in _places_in_other_languages() if each != place), None)
    if place is not None and another is not None:
        raise wrong_redirect_uri(
            f"leads to {path}, but the sign-in's routes have a callback for each language, at "
            f"{place} and {another}",
            "Mount them outside of i18n_patterns: Django's active language is theirs there, too.",
        )
    forced = (django_settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    check_place(redirect_uri, place, outside="FORCE_SCRIPT_NAME", root_path=forced)


def _place() -> str | None:
    """Return the path of the callback page in the active language, or None."""
    try:
        return _outside(reverse("procore_signin:callback"))
    except NoReverseMatch:
        return None


def _places_in_other_languages() -> Iterator[str | None]:
    for language, _ in django_settings.LANGUAGES if django_settings.USE_I18N else ():
        with override(language):
            yield _place()


def _outside(path: str) -> str:
    """Return `path` behind FORCE_SCRIPT_NAME, which a server sets only when a request comes."""
    forced: str | None = django_settings.FORCE_SCRIPT_NAME
    inside = path.removeprefix(get_script_prefix())
    return path if forced is None else f"{forced.rstrip('/')}/{inside}"


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
    own.pop("DATABASE", None)  # `database` reads it, also where the other settings are not there
    problems = []
    for key, value in own.items():
        try:
            if key != "FIRST_PAGE" and isinstance(value, str):
                own[key] = import_string(value)
            _check_own(key, own[key])
        except (ImportError, TypeError, ValueError) as error:
            cure = "Name something that can be imported, or a path of this project."
            if isinstance(error, TypeError):
                cure = "Write one there, or the dotted name of one."
            problems.append(Problem(f"{SETTING}[{key!r}]", f"cannot be used: {error}", cure))
    if problems:
        raise SettingsInvalid(tuple(problems))
    return own


def _check_own(key: str, value: object) -> None:
    """Check what a setting that only Django has says.

    Raises:
        ValueError: It is no path of this project.
        TypeError: It is another kind of object.
    """
    if key == "HOOKS":
        check_kind(value or Hooks(), Hooks, "it", such_as="Hooks(may_sign_in=…)")
    elif key == "DJANGO_USER":
        if value is not None and not callable(value):
            raise TypeError(f"it is a function of yours, not a {type(value).__name__}")
    else:
        Options(**{key.lower(): value})  # type: ignore[arg-type]  # its kind is checked there


def _forget(*, setting: str, **_: Any) -> None:
    if setting == SETTING and installed.cache_info().currsize:
        installed().procore.close()
        installed.cache_clear()
        procore._wrapped = empty  # type: ignore[attr-defined]  # noqa: SLF001  # as in Django's own settings


setting_changed.connect(_forget)


class _Lazy(SimpleLazyObject):
    # Without making what it stands for: unittest and pytest ask all that is in a module.
    __class__ = database.DjangoProcoreSignIn  # type: ignore[assignment]  # what it stands for


procore: ProcoreSignIn = _Lazy(lambda: installed().procore)
"""The front door, as in `procore.api(request.procore_user.id)`."""
