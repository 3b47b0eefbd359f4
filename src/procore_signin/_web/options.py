"""The options of the sign-in's pages. This module needs no template library."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Final
from urllib.parse import urlsplit

from procore_signin._flow.hooks import check_functions, check_kind
from procore_signin._public import public_in
from procore_signin._settings.parsers import WrongError, app_name
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin._web.embedded.login import Login
from procore_signin._web.http.messages import Render
from procore_signin._web.return_to import safe_return_to

_MAY_GROW: Final = ("connect-src", "font-src", "img-src", "media-src", "style-src")
"""The directives that an application may extend. Scripts, frames and the rest stay as they are."""

_INLINE: Final = frozenset({"font-src", "img-src"})
_ORIGIN: Final = re.compile(
    r"https://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", re.ASCII
)
_ADDRESS: Final = re.compile(r"(/|https://)[!#$&-;=?-Z_a-z~%]*", re.ASCII)


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Look:
    """How the sign-in's pages look, and in which language they are.

    Attributes:
        templates: The application's own templates, in front of ours: a folder in which
            `procore_signin/signin.html` is the page `signin`. In FastAPI and Starlette also the
            application's `Jinja2Templates`; Flask and Django find templates where they always do.
        stylesheet: The address of a stylesheet, loaded after ours: a path such as
            `/static/brand.css`, or an address that `csp` allows.
        logo: The address of a picture, in place of ours; likewise.
        csp: What the pages may load from elsewhere, by directive of the Content-Security-Policy:
            `{"img-src": ["https://cdn.example.com"]}`. It adds to `connect-src`, `font-src`,
            `img-src`, `media-src` and `style-src`, and can loosen nothing else.
        translations: A folder of the application's own catalogues, such as `de.po`.
        language: Returns the language for the framework's request, such as `es`, or None to have
            the default. It is a plain function, not an async one. In Django it is Django's own by
            default, elsewhere the browser's wish.

    Raises:
        ValueError: An address or a source is not one that the policy can allow, or `language` is no
            plain function.
    """

    templates: str | PathLike[str] | Any = None
    stylesheet: str | None = None
    logo: str | None = None
    csp: Mapping[str, Sequence[str]] = field(default_factory=dict)
    translations: str | PathLike[str] | None = None
    language: Callable[[Any], str | None] | None = None

    def __post_init__(self) -> None:
        if self.language is not None and not _is_plain_function(self.language):
            raise ValueError(
                "Look(language=…) is a plain function that returns a tag, such as es: an async one "
                "cannot be used. For one language for everyone, write Options(languages=[…])."
            )
        for directive, sources in self.csp.items():
            if directive not in _MAY_GROW:
                raise ValueError(
                    f"Look(csp=…) cannot change {directive}. It can add to {', '.join(_MAY_GROW)}."
                )
            if isinstance(sources, str):
                raise ValueError(f"Look(csp=…) takes a list of sources for {directive}.")  # noqa: TRY004  # as above
            for source in sources:
                _check_source(directive, source)
        for name, directive in (("stylesheet", "style-src"), ("logo", "img-src")):
            _check_address(name, getattr(self, name), directive, self.csp.get(directive, ()))


def _is_plain_function(given: Any) -> bool:
    """Return whether `given` can be called and is known not to be async."""
    asynchronous = map(inspect.iscoroutinefunction, (given, getattr(given, "__call__", None)))  # noqa: B004  # whose kind is asked
    return callable(given) and not any(asynchronous)


def _check_source(directive: str, source: str) -> None:
    if source == "'self'" or _ORIGIN.fullmatch(source):
        return
    if source == "data:" and directive in _INLINE:
        return
    raise ValueError(
        f"Look(csp=…) cannot add {source} to {directive}. A source is \"'self'\" or an https "
        "origin, such as https://cdn.example.com or https://*.example.com; fonts and images may "
        "also have data:."
    )


def _check_address(name: str, address: str | None, directive: str, allowed: Sequence[str]) -> None:
    if address is None:
        return
    if not _ADDRESS.fullmatch(address) or address.startswith("//"):
        raise ValueError(
            f"Look({name}=…) is a path such as /static/brand, or an https address, not {address}"
        )
    if address.startswith("/"):
        return
    parts = urlsplit(address)
    origin, domain = f"https://{parts.netloc}", parts.netloc.partition(".")[2]
    if origin not in allowed and f"https://*.{domain}" not in allowed:
        raise ValueError(
            f"Look({name}=…) is at another origin, which the pages may not load from. Add "
            f"csp={{{directive!r}: [{origin!r}]}}."
        )


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Options:
    """An application's options for the sign-in's pages.

    Attributes:
        first_page: The application's first page: users land there after signing in without a
            `return_to`, and problem pages link to it. It is below `root_path`, with or without it.
        root_path: The prefix that a proxy or server in front removes from every path, such as
            `/app`, if the framework cannot know it at startup.
        render: Turns the sign-in's pages into HTML; None for the built-in design.
        starts_per_minute: The most sign-ins that one address may begin in a minute, in each
            process; 0 for no limit. None takes PROCORE_RATE_LIMIT if the front door came from
            settings, else 120.
        choose_company: Whether a user with several companies is asked to choose one after signing
            in. None takes PROCORE_CHOOSE_COMPANY if the front door came from settings, else no.
        trusted_proxies: The proxies that are trusted to name the client. None takes
            PROCORE_TRUSTED_PROXIES if the front door came from settings, else none.
        app_name: The application's name on the sign-in's pages, at most 60 letters. None takes
            PROCORE_APP_NAME if the front door came from settings, else "Sample application".
        languages: The languages of the sign-in's pages, such as `("es", "en")`: the first is the
            default, and a single one is for everyone. None takes PROCORE_LANGUAGES if the front
            door came from settings, else all that there are.
        look: The application's own look.
        login: The application's own login, or None. A sign-in then ends with the login that it was
            made under, and users of the application can connect their Procore account. In Django
            this is Django's own by default.

    Raises:
        ValueError: `first_page` or `root_path` is not a path of this application, `app_name` is no
            name that fits on a page, or `languages` is one text.
        TypeError: `look` is no `Look`, `login` is no `Login`, or `render` is no function.
    """

    first_page: str = "/"
    root_path: str = ""
    render: Render | None = None
    starts_per_minute: int | None = None
    choose_company: bool | None = None
    trusted_proxies: TrustedProxies | None = None
    app_name: str | None = None
    languages: Sequence[str] | None = None
    look: Look = field(default_factory=Look)
    login: Login | None = None

    def __post_init__(self) -> None:
        check_functions(self, "render")
        check_kind(self.look, Look, "look", such_as="Look(logo=…)")
        if self.login is not None:
            check_kind(self.login, Login, "login", such_as="Login(user=…)")
        if safe_return_to(self.first_page, default="/") != self.first_page:
            raise ValueError(f"first_page must be a path such as /projects, not {self.first_page}")
        if self.root_path and not self.root_path.startswith("/"):
            raise ValueError(f"root_path is a path such as /app, not {self.root_path}")
        if isinstance(self.languages, str):
            raise ValueError(  # noqa: TRY004  # as for the rest of what cannot be used
                'Options(languages=…) takes tags one by one, such as ("es", "en"), not one text.'
            )
        if self.app_name is not None:
            _check_name(self.app_name)


def _check_name(name: str) -> None:
    try:
        app_name(name, {})
    except WrongError as wrong:
        raise ValueError(f"Options(app_name=…) {wrong.what}. {wrong.cure}") from None
