"""The application's pages, rendered as HTML from values.

`render` knows nothing about HTTP, and its values contain no HTML. Everything is escaped (row I6), a
missing value is an error, and pages have no inline code and load nothing from elsewhere, so that
the strictest Content-Security-Policy works (rows C7, K6).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import ChoiceLoader, PackageLoader, StrictUndefined, Template
from jinja2.runtime import Context
from markupsafe import Markup, escape

from procore_signin._web.look.jinja import (
    SHIPPED,
    InOneLanguage,
    Tags,
    file_name,
)
from procore_signin._web.look.languages import Language, speaking
from procore_signin._web.look.words import FILTERS
from procore_signin._web.paths import Paths

_MEDIA_TYPES: Final = {
    "app.css": "text/css; charset=utf-8",
    "button.css": "text/css; charset=utf-8",
    "callback-fragment.js": "text/javascript; charset=utf-8",
    "favicon.svg": "image/svg+xml",
}
STATIC_NAMES: Final = tuple(_MEDIA_TYPES)
_WITH_SCRIPT: Final = "fragment"
"""The page whose head has a script."""

_STATIC: Final = {
    name: (files("procore_signin._web").joinpath("static", name).read_bytes(), media_type)
    for name, media_type in _MEDIA_TYPES.items()
}
_VERSIONS: Final = {
    name: hashlib.sha256(content).hexdigest()[:8] for name, (content, _) in _STATIC.items()
}


def _environment(language: Language, same: Mapping[str, str]) -> InOneLanguage:
    environment = InOneLanguage(
        loader=ChoiceLoader([SHIPPED, PackageLoader("procore_signin._web")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,  # no limit: a bounded cache would cost bookkeeping
        extensions=[Tags],
    )
    environment.language = language
    environment.same = same
    environment.filters |= FILTERS
    environment.globals.clear()  # Jinja's own globals, which no page uses
    return environment


def render(page_name: str, values: dict[str, Any]) -> str:
    """Return a page as HTML.

    Args:
        page_name: One of `look.values.PAGES`.
        values: The page's values in that table, and for every page `paths` (the application's
            absolute paths by name), `app_name`, `environment` (its name), `signed_in`, `language`
            (a `Language`), and `logo` and `stylesheet` (the application's, or None).

    Raises:
        jinja2.TemplateNotFound: There is no page of that name.
        jinja2.UndefinedError, KeyError, TypeError: A value that the page needs is missing.
    """
    template = _template(page_name, *_common(values))
    # As `template.render`, without the merging of globals, because there are none.
    context = Context(template.environment, values, page_name, template.blocks)
    with speaking(values["language"]):
        return "".join(template.root_render_func(context))


def complete(page_name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a page with what all pages of an application share, rendered."""
    return {**values, **_frame(page_name == _WITH_SCRIPT, *_common(values))}


_Common = tuple[Language, str, str, Paths, str | None, str | None]


def _common(values: Mapping[str, Any]) -> _Common:
    """Return what all pages of an application have alike in a language."""
    return (
        values["language"],
        values["app_name"],
        values["environment"],
        values["paths"],
        values["logo"],
        values["stylesheet"],
    )


@lru_cache(maxsize=512)  # a process has one application, which speaks a few languages
def _template(page_name: str, *common: *_Common) -> Template:
    return _pages(page_name == _WITH_SCRIPT, *common).get_template(file_name(page_name))


@lru_cache(maxsize=64)  # as above
def _pages(script: bool, *common: *_Common) -> InOneLanguage:  # noqa: FBT001  # a key of the cache
    """Return our templates, with what all pages of an application have alike put in."""
    language, app_name, _, paths, _, _ = common
    same = {f"paths.{field.name}": getattr(paths, field.name) for field in fields(paths)}
    same |= {"app_name": app_name, "language": language.tag, **_frame(script, *common)}
    return _environment(language, {name: str(escape(text)) for name, text in same.items()})


@lru_cache(maxsize=64)  # as above
def _frame(script: bool, *common: *_Common) -> Mapping[str, str]:  # noqa: FBT001  # as above
    """Return the parts that all pages of an application share."""
    language, app_name, environment, paths, logo, stylesheet = common
    icon = logo or static_url(paths.static, "favicon.svg")
    frame: Any = (
        _environment(language, {})
        .get_template("frame.html")
        .make_module(
            {
                "app_name": app_name,
                "landing": paths.landing,
                "environment": environment,
                "icon": icon,
                "stylesheet": stylesheet,
                "app_css": static_url(paths.static, "app.css"),
                "script_url": static_url(paths.static, "callback-fragment.js"),
            }
        )
    )
    with speaking(language):
        parts = {name: getattr(frame, name)() for name in ("head", "script", "brand", "footer")}
    html = {name: Markup(str(part).rstrip("\n")) for name, part in parts.items()}  # noqa: S704  # rendered above
    of_script = html.pop("script")
    return {**html, "head": html["head"] + of_script if script else html["head"], "icon_url": icon}


def static_url(folder: str, name: str) -> str:
    """Return the URL of the static file `name`, below the path of their folder."""
    return f"{folder}/{name}?v={_VERSIONS[name]}"


def static_file(name: str) -> tuple[bytes, str] | None:
    """Return the content and media type of the static file `name`, or None if there is none.

    Only a fixed list of names exists. Pages request them with a hash of the content in the query,
    so these responses can be cached forever.
    """
    return _STATIC.get(name)
