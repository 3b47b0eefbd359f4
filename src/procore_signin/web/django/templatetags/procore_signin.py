"""The sign-in's buttons: `{% load procore_signin %}`, then `{% procore_button %}`.

They take a label, and by name `return_to`, a path of the project; those that sign in and connect
`value`, a text, a number or a UUID that the project's hooks get as text.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import template
from django.utils.safestring import SafeString
from markupsafe import Markup, escape

from procore_signin._web.look.languages import spoken
from procore_signin._web.look.words import FILTERS
from procore_signin.web.django.installed import buttons

register = template.Library()
for _name, _filter in FILTERS.items():
    register.filter(_name, _filter)


@register.simple_tag
def procore_text(text: str, **values: Any) -> Markup:
    """Return a text of the sign-in's pages in the language of the page.

    Only a text that stands in the template itself may be HTML.
    """
    return spoken().html(text, **values) if isinstance(text, SafeString) else escape(text)


@register.simple_tag
def procore_button(
    *label: str, return_to: str | None = None, value: str | int | UUID | None = None
) -> Markup:
    """Return the button that signs in."""
    return buttons().sign_in(*label, return_to=return_to, value=value)


@register.simple_tag
def procore_connect_button(
    *label: str, return_to: str | None = None, value: str | int | UUID | None = None
) -> Markup:
    """Return the button that connects the Procore account of the user who is logged in."""
    return buttons().connect(*label, return_to=return_to, value=value)


@register.simple_tag
def procore_sign_out_button(*label: str, return_to: str | None = None) -> Markup:
    """Return the button that signs out."""
    return buttons().sign_out(*label, return_to=return_to)
