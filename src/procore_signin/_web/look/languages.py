"""The languages of the pages, and which of them a request gets.

Texts are written in English where they stand, and looked up in a catalogue under that text, as
gettext does. A language is one such catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from markupsafe import Markup, escape

from procore_signin._web.look.po import WrongCatalogueError, translations_in

ENGLISH: Final = "en"
SHIPPED: Final = (ENGLISH, "es", "fr")
"""The languages that the package has, by their tags (RFC 5646)."""

_LONGEST_HEADER: Final = 512
_CATALOGUE: Final = re.compile(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*", re.ASCII | re.IGNORECASE)
_TAGS: Final = re.compile(r"&lt;(/?(?:bdi|code|strong))&gt;")


class Language:
    """One language: its catalogue, and how its texts become HTML.

    Args:
        tag: Its tag, such as `es`. `str()` of a language is its tag.
        translations: Its texts by the English ones; an English text that it does not have stays.
    """

    def __init__(self, tag: str, translations: Mapping[str, str]) -> None:
        self.tag: Final = tag
        self.translations: Final = MappingProxyType(dict(translations))
        self._html: Final[dict[str, Markup]] = {}

    def __str__(self) -> str:
        return self.tag

    def plain(self, text: str, **values: str) -> str:
        """Return the translation of `text` as plain text, its placeholders filled."""
        translated = self.translations.get(text, text)
        return translated % values if values else translated

    def html(self, text: str, **values: object) -> Markup:
        """Return the translation of `text` as HTML, its placeholders filled.

        A text may have the tags `bdi`, `code` and `strong`, without attributes. Everything else in
        it is escaped, and so are the values, unless they are HTML themselves (row I6).
        """
        made = self._html.get(text)
        if made is None:
            escaped = str(escape(self.translations.get(text, text)))
            made = Markup(_TAGS.sub(r"<\1>", escaped))  # noqa: S704  # but for three tags, escaped
            self._html[text] = made
        return made % values if values else made


@cache
def shipped(tag: str) -> Language:
    """Return a language of the package."""
    if tag == ENGLISH:
        return Language(ENGLISH, {})
    catalogue = files("procore_signin._web").joinpath("locale", f"{tag}.po")
    return Language(tag, translations_in(catalogue.read_text(encoding="utf-8")))


_SPOKEN: Final[ContextVar[Language]] = ContextVar("language of the page")


def spoken() -> Language:
    """Return the language of the page that is being rendered."""
    return _SPOKEN.get(shipped(ENGLISH))


class speaking:  # noqa: N801  # it reads as a function, and is one but for its speed
    """Render in `language` inside the block."""

    __slots__ = ("_before", "_language")

    def __init__(self, language: Language) -> None:
        self._language = language

    def __enter__(self) -> None:
        self._before = _SPOKEN.set(self._language)

    def __exit__(self, *_: object) -> None:
        _SPOKEN.reset(self._before)


class Languages:
    """The languages of one application.

    Args:
        tags: Their tags, also as gettext writes them; the first is the default. None for all that
            there are, English first.
        folder: The application's own catalogues, such as `de.po`, or None. What one of ours has too
            is taken from the application's.
        named_by: Returns the tag of the language of a request of the framework's, or None to have
            the default. None: the browser's `Accept-Language` names it.

    Attributes:
        default: The first one.
        tags: The tags of all.
        is_negotiated: Whether the browser chooses, so that responses depend on its header.

    Raises:
        ValueError: There is no such language, or a catalogue cannot be used.
    """

    def __init__(
        self,
        tags: Sequence[str] | None = None,
        *,
        folder: Path | None = None,
        named_by: Callable[[Any], str | None] | None = None,
    ) -> None:
        own = {} if folder is None else _read(folder)
        known = tuple(dict.fromkeys((*SHIPPED, *own)))
        chosen = tuple(dict.fromkeys(tag_of(each) for each in tags)) if tags else known
        missing = [tag for tag in chosen if tag not in known]
        if missing:
            raise ValueError(
                f"There are no texts in the language {missing[0]}. There are: {', '.join(known)}. "
                f"To add one, translate a copy of es.po into {missing[0]}.po."
            )
        self._all: Final = {tag: _language(tag, own.get(tag)) for tag in chosen}
        self.default: Final = self._all[chosen[0]]
        self.tags: Final = chosen
        self._named_by: Final = named_by
        self.is_negotiated: Final = named_by is None and len(chosen) > 1
        self._accepted: Final = lru_cache(maxsize=256)(self._best)

    def of(self, accept_language: str | None, request: Callable[[], Any]) -> Language:
        """Return the language of a request.

        Args:
            accept_language: The value of its `Accept-Language` header, or None.
            request: Returns it as the framework sees it.
        """
        if self._named_by is not None:
            return self.named(self._named_by(request())) or self.default
        if not self.is_negotiated or not accept_language:
            return self.default
        return self._accepted(accept_language[:_LONGEST_HEADER])

    def named(self, tag: str | None) -> Language | None:
        """Return the language for `tag`, or for the beginning of it: `es` for `es-MX`.

        RFC 4647 §3.4 calls this look-up.
        """
        wanted = (tag or "").replace("_", "-").lower()
        lowered = {each.lower(): language for each, language in self._all.items()}
        while wanted:
            if wanted in lowered:
                return lowered[wanted]
            wanted = wanted.rpartition("-")[0]
        return None

    def _best(self, header: str) -> Language:
        for tag in _accepted_tags(header):
            language = self.default if tag == "*" else self.named(tag)
            if language is not None:
                return language
        return self.default


def tag_of(name: str) -> str:
    """Return a language as browsers write it: `pt-BR` for `pt_BR` and `pt-br` (RFC 5646 §2.1.1)."""
    language, *rest = name.replace("_", "-").lower().split("-")
    formats = {2: str.upper, 4: str.title}
    return "-".join([language, *(formats.get(len(each), str)(each) for each in rest)])


def _accepted_tags(header: str) -> list[str]:
    """Return the tags of an `Accept-Language`, the most wanted first (RFC 9110 §12.5.4)."""
    ranked: list[tuple[float, str]] = []
    for part in header.split(","):
        tag, _, weight = part.replace(" ", "").partition(";q=")
        try:
            quality = float(weight or 1)
        except ValueError:
            continue
        if 0 < quality <= 1:
            ranked.append((-quality, tag))
    return [tag for _, tag in sorted(ranked, key=lambda each: each[0])]


def _language(tag: str, own: Mapping[str, str] | None) -> Language:
    base = shipped(tag) if tag in SHIPPED else None
    if own is None and base is not None:
        return base
    return Language(tag, {**(base.translations if base else {}), **(own or {})})


def _read(folder: Path) -> dict[str, dict[str, str]]:
    """Return the catalogues in a folder of the application's, by the tags that name them."""
    catalogues = sorted(folder.glob("*.po"))
    if not catalogues:
        raise ValueError(f"There are no catalogues in {folder}: files such as de.po are expected.")
    found: dict[str, dict[str, str]] = {}
    for path in catalogues:
        tag = tag_of(path.stem)
        if not _CATALOGUE.fullmatch(path.stem):
            raise ValueError(f"{path}: the name is no language. Names such as de.po are expected.")
        if tag in found:
            raise ValueError(f"{path}: there is another catalogue for {tag}. Keep {tag}.po alone.")
        try:
            found[tag] = translations_in(path.read_text(encoding="utf-8"))
        except (WrongCatalogueError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}") from error
    return found
