"""The project's own templates of the sign-in's pages, found by Django's own loaders.

`templates/procore_signin/signin.html` of the project is in front of ours, which Django finds in
this app. If the project has neither the page nor its base, Jinja2 renders ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.backends.django import Template
from django.template.base import Origin
from django.template.context import make_context
from django.template.loader import get_template

from procore_signin._web.look.jinja import BASE, NAMES, file_name

OURS: Final = Path(__file__).parent / "templates"


class DjangoTemplates:
    """The templates of the project, as Django finds and renders them."""

    def render(self, page: str, values: Mapping[str, object], request: Any) -> str | None:
        """Return a page as HTML, or None if the project has neither the page nor the base.

        Raises:
            Exception: Whatever the template does.
        """
        template = _found(page)
        if template is None or not (_is_theirs(template) or _is_theirs(_found(BASE))):
            return None
        given = {name: value for name, value in values.items() if name != "request"}
        if not isinstance(template, Template):  # another engine of the project's
            rendered: str = template.render(given, request)
            return rendered
        # Names are escaped whatever the engine's options say (row I6), and a number in a form stays
        # as it is: USE_THOUSAND_SEPARATOR would make another number of it.
        context = make_context(given, request, autoescape=True)
        context.use_l10n = False
        shown: str = template.template.render(context)
        return shown

    def place(self, error: Exception) -> str:
        """See `OwnTemplates.place`."""
        return _place(error)


def _place(error: Exception) -> str:
    """Return the file and line of the innermost part of a template that was being read or rendered.

    Django itself keeps them with an error only under DEBUG.
    """
    found, token = "the project's template", getattr(error, "token", None)
    trace = error.__traceback__
    while trace is not None:
        part = trace.tb_frame.f_locals.get("self")
        # Django's loaders have it beside them while they read the file.
        origin = getattr(part, "origin", trace.tb_frame.f_locals.get("origin"))
        if isinstance(origin, Origin):
            line = getattr(token or getattr(part, "token", None), "lineno", None)
            found = f"{origin.name}, line {line}" if line else str(origin.name)
        trace = trace.tb_next
    return found


def mistakes() -> Iterator[tuple[str, str]]:
    """Yield the name of each template of the project that cannot be used, and what is wrong."""
    for page in NAMES:
        try:
            template = _found(page)
        except (TemplateSyntaxError, UnicodeDecodeError) as error:
            yield file_name(page), f"{error} ({_place(error)})"
            continue
        if page != BASE and template is None and _is_theirs(_found(BASE)):
            what = "is read by no engine of TEMPLATES, so your base is not used for it"
            yield file_name(page), what
            return  # one of them says it for all


def _found(page: str) -> Any:
    try:
        return get_template(file_name(page))
    except TemplateDoesNotExist:
        return None


def _is_theirs(template: Any) -> bool:
    if template is None:
        return False
    origin = getattr(template, "origin", None)
    name = getattr(origin, "name", None) or getattr(template.template, "filename", None)
    return name is None or not Path(name).is_relative_to(OURS)
