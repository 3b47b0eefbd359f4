"""What of an exchange may be shown: everything, with its secrets shortened or hidden.

Codes, tokens, state, verifiers and cookies become their first 4 … last 2 characters and their
length, `3f9a…c1[64]`, enough to follow one through the diagram and too little to use. Passwords
and client secrets become `[hidden]`. Two passes: first every place where a secret has a name
(query, form, multipart, JSON, HTML fields, headers) is rewritten where it stands; then each long
value found that way is replaced wherever else it occurs in the same exchange.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from dataclasses import replace
from typing import Final
from urllib.parse import quote, quote_plus, unquote_plus

from procore_signin._emulator.journal import Exchange, Headers

HIDDEN: Final = "[hidden]"
_SHORTENED_NAMES: Final = frozenset(
    {"code", "state", "code_verifier", "assertion", "client_assertion"}
)
_AMBIGUOUS_IN_JSON: Final = frozenset({"code", "state"})
_LONG: Final = 16
"""Characters from which a value is told apart from ordinary text, so that it can be replaced
wherever it occurs, and from which six of its characters may be shown."""

_MOST_MET: Final = 500
"""The most long secrets of one exchange; each is searched for in all of it."""

_PAIR: Final = re.compile(r"(?<![^=&?#])([^=&?#]++)=([^&#]*+)")
_PAIR_IN_FORM: Final = re.compile(r"(?<![^=&?#])([^=&?#]++)=([^&]*+)")
_PAIR_IN_MARKUP: Final = re.compile(
    r"(?<![^=&?#;\s\"'<>\\])([^=&?#;\s\"'<>\\]++)=([^&#\s\"'<>\\]*+)"
)
_DEEPEST: Final = 6
"""How many addresses may stand inside one another before the innermost is hidden whole."""
_ELLIPSIS_QUOTED: Final = quote("…")
_SHORTENED: Final = re.compile(r"(?:.{4})?…(?:.{2})?\[\d+\]")
_CODE_IN_PATH: Final = re.compile(r"(/oauth/authorize/)(?!native\b)([^/?#&\"'<>\s]+)")
# Bounded, or each of many escaped quotes would be tried as a beginning up to the far end.
_JSON_NAME: Final = re.compile(r'("(?:[^"\\]|\\.){0,200}+")\s*+:\s*+')
_PART_NAME: Final = re.compile(r"(?<!file)name=\"?([^\";\r\n]*)", re.IGNORECASE)
_BLANK_LINE: Final = re.compile(r"\r?\n\r?\n")
_INPUT: Final = re.compile(r"<input\b", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(
    r"(?<![\w-])(name|value)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))", re.IGNORECASE
)
_CODE_ON_PAGE: Final = re.compile(r"(<code id=\"authorization_code\">)([^<]*)(</code>)")


def shorten_secrets(exchange: Exchange) -> Exchange:
    """Return `exchange` as it may be shown: its secrets shortened or hidden, all else untouched.

    Bodies come back as UTF-8; one that is not text is replaced by a line that says so.
    """
    shortener = _Shortener()
    shown = replace(
        exchange,
        target=shortener.url(exchange.target),
        request_headers=shortener.headers(exchange.request_headers),
        request_body=shortener.body(exchange.request_body).encode(),
        response_headers=shortener.headers(exchange.response_headers),
        response_body=shortener.body(exchange.response_body).encode(),
        note=exchange.note,
    )
    if shortener.met_too_many:
        return _with_nothing_but_names(shown)
    return replace(
        shown,
        target=shortener.everywhere(shown.target),
        request_headers=tuple(
            (name, shortener.everywhere(value)) for name, value in shown.request_headers
        ),
        request_body=shortener.everywhere(shown.request_body.decode()).encode(),
        response_headers=tuple(
            (name, shortener.everywhere(value)) for name, value in shown.response_headers
        ),
        response_body=shortener.everywhere(shown.response_body.decode()).encode(),
        note=None if shown.note is None else shortener.everywhere(shown.note),
    )


def _with_nothing_but_names(exchange: Exchange) -> Exchange:
    """Return what can be shown where there are more secrets than can be looked for everywhere."""

    def hidden(headers: Headers) -> Headers:
        return tuple((name, HIDDEN) for name, _ in headers)

    body = f"[hidden: more than {_MOST_MET} secrets]".encode()
    return replace(
        exchange,
        target=exchange.target.partition("?")[0],
        request_headers=hidden(exchange.request_headers),
        request_body=body,
        response_headers=hidden(exchange.response_headers),
        response_body=body,
        note=exchange.note and HIDDEN,
    )


class _Shortener:
    """Rewrites text where it stands and remembers the long secrets that it met.

    Attributes:
        met_too_many: There are more of them than each text can be searched for.
    """

    def __init__(self) -> None:
        self.met_too_many = False
        self._met: dict[str, str] = {}

    def value(self, name: str, value: str, depth: int = 0) -> str:
        """Return `value` as it may be shown under `name`."""
        name = _plain(name)
        if _is_hidden(name):
            return self._remember(value, HIDDEN) if value else ""
        if _is_shortened(name):
            return self._remember(value, _short(value)) if value else ""
        if "=" not in value:
            return self.path(value)
        # Perhaps an address with a query of its own, such as `continue_to`.
        return HIDDEN if depth == _DEEPEST else self.url(value, depth=depth + 1)

    def path(self, text: str) -> str:
        """Shorten the code in the path of the page that shows it."""
        return _CODE_IN_PATH.sub(
            lambda match: match[1] + self._remember(match[2], _short(match[2])), text
        )

    def url(self, text: str, pairs: re.Pattern[str] = _PAIR, depth: int = 0) -> str:
        """Rewrite every `name=value` of an address, or of anything encoded like its query."""

        def rewritten(pair: re.Match[str]) -> str:
            value = unquote_plus(pair[2])
            shown = self.value(unquote_plus(pair[1]), value, depth)
            if shown == value:
                return pair[0]
            written = quote(shown, safe="/[]").replace(_ELLIPSIS_QUOTED, "…")
            return f"{pair[1]}={written}"

        return pairs.sub(rewritten, self.path(text))

    def headers(self, headers: Headers) -> Headers:
        return tuple((name, self._header(name.lower(), value)) for name, value in headers)

    def body(self, body: bytes) -> str:
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            if error.start < len(body) - 3:  # not merely a character cut off at the end
                return f"[{len(body)} bytes that are not text]"
            text = body[: error.start].decode()
        start = text.lstrip("\ufeff \t\r\n")[:1]
        if start == "-" and "content-disposition" in text.lower():
            return self._multipart(text)
        if start == "<":
            return self._html(text)
        if start in {"{", "["}:
            return self._json(text)
        return self.url(self._json(text), _PAIR_IN_FORM)

    def everywhere(self, text: str) -> str:
        """Replace each long secret met so far, in every encoding it may stand in."""
        for secret in sorted(self._met, key=len, reverse=True):
            shown = self._met[secret]
            for written in {
                secret,
                quote(secret, safe=""),
                quote_plus(secret),
                html.escape(secret),
            }:
                text = text.replace(written, shown)
        return text

    def _remember(self, secret: str, shown: str) -> str:
        if len(secret) >= _LONG and secret != shown:
            self._met[secret] = shown
            self.met_too_many = len(self._met) > _MOST_MET
        return shown

    def _header(self, name: str, value: str) -> str:
        if name in {"authorization", "proxy-authorization"}:
            return self._authorization(value)
        if name == "cookie":
            return "; ".join(self._cookie(pair) for pair in re.split(r";\s*", value))
        if name == "set-cookie":
            pair, separator, attributes = value.partition(";")
            return self._cookie(pair) + separator + attributes
        return self.value(name, value)

    def _authorization(self, value: str) -> str:
        scheme, space, credentials = value.strip().partition(" ")
        if not space:
            return HIDDEN
        if scheme.lower() == "bearer":
            token = credentials.strip()
            return f"{scheme} {self._remember(token, _short(token))}"
        if scheme.lower() != "basic":
            return f"{scheme} {HIDDEN}"
        try:
            decoded = base64.b64decode(credentials, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return f"{scheme} {HIDDEN}"
        user, colon, secret = decoded.partition(":")
        self._remember(credentials, HIDDEN)
        self._remember(unquote_plus(secret), HIDDEN)
        return f"{scheme} {user}:{HIDDEN}" if colon else f"{scheme} {HIDDEN}"

    def _cookie(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        return name + equals + (self._remember(value, _short(value)) if value else "")

    def _multipart(self, text: str) -> str:
        boundary = text.lstrip().partition("\n")[0].rstrip("\r")
        return boundary.join(self._part(part) for part in text.split(boundary))

    def _part(self, part: str) -> str:
        blank_line = _BLANK_LINE.search(part)
        name = _PART_NAME.search(part, 0, blank_line.start()) if blank_line else None
        if blank_line is None or name is None:
            return part
        value = part[blank_line.end() :].rstrip("\r\n")
        end = blank_line.end() + len(value)
        return part[: blank_line.end()] + self.value(name[1], value) + part[end:]

    def _json(self, text: str) -> str:
        decoder = json.JSONDecoder(strict=False)
        shown: list[str] = []
        position = 0
        while found := _JSON_NAME.search(text, position):
            shown.append(self.url(text[position : found.end()], _PAIR_IN_MARKUP))
            position = found.end()
            name = _plain(_json_string(found[1]))
            if not (_is_hidden(name) or _is_shortened(name)):
                continue
            try:
                value, end = decoder.raw_decode(text, position)
            except (
                ValueError,
                RecursionError,
            ):  # cut off or malformed: nothing after it can be told apart
                return "".join([*shown, HIDDEN])
            shown.append(self._json_value(name, value, text[position:end]))
            position = end
        return "".join([*shown, self.url(text[position:], _PAIR_IN_MARKUP)])

    def _json_value(self, name: str, value: object, written: str) -> str:
        if value is None or (name in _AMBIGUOUS_IN_JSON and len(written) < _LONG):
            return written  # such as the "code": "404" of an API error, or an address's "state"
        if not isinstance(value, str):
            return json.dumps(HIDDEN)
        return json.dumps(self.value(name, value), ensure_ascii=False)

    def _html(self, text: str) -> str:
        text = self._inputs(text)
        text = _CODE_ON_PAGE.sub(
            lambda match: match[1] + self._remember(match[2], _short(match[2])) + match[3], text
        )
        return self.url(text, _PAIR_IN_MARKUP)

    def _inputs(self, text: str) -> str:
        """Rewrite every input element; one that does not end is none, nor is what it contains."""
        shown: list[str] = []
        position = 0
        while found := _INPUT.search(text, position):
            end = text.find(">", found.end()) + 1
            if not end:
                break
            shown += text[position : found.start()], self._input(text[found.start() : end])
            position = end
        return "".join([*shown, text[position:]])

    def _input(self, tag: str) -> str:
        found = {
            match[1].lower(): (match, match[2] or match[3] or match[4] or "")
            for match in _ATTRIBUTE.finditer(tag)
        }
        if "name" not in found or "value" not in found:
            return tag
        match, written = found["value"]
        value = html.unescape(written)
        shown = self.value(html.unescape(found["name"][1]), value)
        if shown == value:
            return tag
        attribute = f'value="{html.escape(shown)}"'
        return tag[: match.start()] + attribute + tag[match.end() :]


def _plain(name: str) -> str:
    """Reduce a name as written (`Code`, `code[]`, `x-token`) to the one it is looked up by."""
    return name.strip().lower().partition("[")[0].replace("-", "_")


def _is_hidden(name: str) -> bool:
    return name.endswith(("password", "secret"))


def _is_shortened(name: str) -> bool:
    return name in _SHORTENED_NAMES or name.endswith("token")


def _short(secret: str) -> str:
    if _SHORTENED.fullmatch(secret):  # a second pass over the same text
        return secret
    if len(secret) < _LONG:
        return f"…[{len(secret)}]"
    return f"{secret[:4]}…{secret[-2:]}[{len(secret)}]"


def _json_string(written: str) -> str:
    try:
        return str(json.loads(written, strict=False))
    except ValueError:  # a bad escape: look it up as it stands
        return written.strip('"')
