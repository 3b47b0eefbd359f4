"""The sign-in's buttons as HTML, for any page of the application.

They need no script and no style of the page's own, so they work under a strict
`Content-Security-Policy`. A plain sign-in is a link: Chromium measures the redirects of a form by
the page's `form-action`, but not those of a link. What must not start by a link is a form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote
from uuid import UUID

from markupsafe import Markup

from procore_signin._flow.context import Context
from procore_signin._web import pages
from procore_signin._web.embedded.start import seal_value
from procore_signin._web.look.languages import Language
from procore_signin._web.paths import Paths
from procore_signin._web.return_to import safe_return_to
from procore_signin._web.router import SIGN_IN

CONNECT: Final = "Connect with Procore"
SIGN_OUT: Final = "Sign out"

_STYLE: Final = "button.css"
_LINK: Final = Markup('<link rel="stylesheet" href="{}">')
_ANCHOR: Final = Markup('<a class="procore-signin-button"{} href="{}">{}</a>')
_FORM: Final = Markup(
    '<form class="procore-signin-form" method="post" action="{}">{}'
    '<button class="procore-signin-button{}"{} type="submit">{}</button></form>'
)
_LANG: Final = Markup(' lang="{}"')
_FIELD: Final = Markup('<input type="hidden" name="{}" value="{}">')
_OF_AN_ADDRESS: Final = "".join(map(chr, range(0x21, 0x7F)))
"""What stays as it is: what is encoded already, too."""


class Buttons:
    """The buttons of one site. Each method returns HTML that is safe to put into a page.

    Args:
        context: Seals values.
        paths: The paths of the sign-in's pages.
        language: The language of labels that the application does not give.
        names_language: Whether the buttons say which language that is, because it may be another
            one than that of the page around them.
    """

    def __init__(
        self, context: Context, paths: Paths, language: Language, *, names_language: bool
    ) -> None:
        self._context: Final = context
        self._paths: Final = paths
        self._language: Final = language
        self._lang: Final = _LANG.format(language.tag) if names_language else Markup()
        self._style: Final = _LINK.format(pages.static_url(paths.static, _STYLE))

    def sign_in(
        self,
        label: str | None = None,
        *,
        return_to: str | None = None,
        value: str | int | UUID | None = None,
    ) -> Markup:
        """Return the button that signs in.

        Args:
            label: Its text; by default ours, in the language of the page.
            return_to: The path of the application where the user lands, encoded or not. By default,
                and for anything else, its first page.
            value: What hooks are to be given with the sign-in, as text, such as an invitation or
                its primary key; at most 128 bytes. It comes back only in the browser in which the
                button was pressed.

        Raises:
            ValueError: `value` is empty or too long.
            TypeError: `value` is no text, whole number or UUID.
        """
        there = _path(return_to, self._paths.home)
        if value is not None:
            fields = {"return_to": there, "value": seal_value(self._context, value)}
            return self._form(self._paths.start, label, CONNECT, fields)
        query = "" if there is None else f"?return_to={quote(there, safe='/')}"
        lang, said = self._said(label, SIGN_IN)
        return self._style + _ANCHOR.format(lang, f"{self._paths.start}{query}", said)

    def connect(
        self,
        label: str | None = None,
        *,
        return_to: str | None = None,
        value: str | int | UUID | None = None,
    ) -> Markup:
        """Return the button that connects the user of the application who is logged in.

        The arguments and errors are those of `sign_in`.
        """
        sealed = None if value is None else seal_value(self._context, value)
        fields = {
            "connect": "yes",
            "return_to": _path(return_to, self._paths.home),
            "value": sealed,
        }
        return self._form(self._paths.start, label, CONNECT, fields)

    def sign_out(self, label: str | None = None, *, return_to: str | None = None) -> Markup:
        """Return the button that signs out.

        Args:
            label: Its text; by default ours, in the language of the page.
            return_to: The path to go to then; by default, a page says that the user is signed out.
                Anything that is no path of the application leads to its first page.
        """
        fields = {"return_to": _path(return_to, self._paths.landing)}
        return self._form(self._paths.sign_out, label, SIGN_OUT, fields, plain=True)

    @property
    def by_name(self) -> dict[str, Callable[..., Markup]]:
        """The buttons under the names that templates know them by."""
        return {
            "procore_button": self.sign_in,
            "procore_connect_button": self.connect,
            "procore_sign_out_button": self.sign_out,
        }

    def _form(
        self,
        action: str,
        label: str | None,
        ours: str,
        fields: dict[str, str | None],
        *,
        plain: bool = False,
    ) -> Markup:
        hidden = Markup().join(
            _FIELD.format(name, value) for name, value in fields.items() if value is not None
        )
        look = " procore-signin-plain" if plain else ""
        lang, said = self._said(label, ours)
        return self._style + _FORM.format(action, hidden, look, lang, said)

    def _said(self, label: str | None, ours: str) -> tuple[Markup, str]:
        """Return the attribute and the text of a label: the application's, or ours."""
        return (Markup(), label) if label is not None else (self._lang, self._language.plain(ours))


def _path(return_to: str | None, first_page: str) -> str | None:
    """Return the path as it stands in an address; the first page for what is no path of ours."""
    if return_to is None:
        return None
    encoded = quote(return_to, safe=_OF_AN_ADDRESS, errors="replace")
    return safe_return_to(encoded, default=first_page)
