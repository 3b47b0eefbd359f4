"""A parser for each setting, from its text to its value.

Each also gets the other settings, to compare with. The store's own rules need the database library,
which is slow to load: it is imported on use, so that `demo` can read the table at once.

No message shows a value: a secret may have been pasted into the wrong line.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from procore_signin._protocol.secret import Secret
from procore_signin._settings.row import Row, Values
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin.environments import (
    EMULATOR_URL,
    LOOPBACK_HOSTS,
    NAMES,
    Environment,
    by_name,
)

EMULATOR_CLIENT_ID: Final = "emulator-client-id"
EMULATOR_CLIENT_SECRET: Final = "emulator-client-secret"  # noqa: S105  # the emulator's, no secret
CALLBACK_ROUTE: Final = "/callback"
CHOOSE_ENVIRONMENT: Final = f"Choose one of: {', '.join(NAMES)}. The emulator needs no account."
COPY_CLIENT_ID: Final = (
    "Copy the client ID from the application's page on Procore's Developer Portal."
)
COPY_CLIENT_SECRET: Final = (
    "Copy the client secret from the application's page on Procore's Developer Portal."  # noqa: S105
)

_PLACEHOLDER: Final = re.compile(
    r"<.*>|\{.*\}|\[.*\]|\.{3,}|x{3,}|(change|replace)[-_ ]?(me|this)|your[-_ ].*"
    r"|(the[-_ ])?client[-_ ]?(id|secret)|todo|tbd|placeholder",
    re.IGNORECASE,
)
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_PATH: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_DAY: Final = 86_400
_LONGEST_NAME: Final = 60
_AROUND: Final = "has spaces or quotes around it"


class WrongError(Exception):
    """A setting is missing or wrong."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what, cure)
        self.what = what
        self.cure = cure


def check_edges(row: Row[Any], text: str) -> None:
    """Refuse blanks, quotes and invisible characters around a setting.

    An env file from Windows, or a program that keeps quotes, adds invisible characters: the name of
    a SQLite file or a password is then a different one.

    Raises:
        WrongError: There are blanks, line ends, invisible characters or quotes around it.
    """
    from procore_signin._store.engine.address import trimmed  # noqa: PLC0415  # slow to load

    if text[:1] in {"'", '"'} and text[:1] == text[-1:]:
        raise WrongError(_AROUND, "Remove them.")
    if row.outer_blanks or text == trimmed(text):
        return
    if text.endswith("\r"):
        cure = "Remove them: it ends with \\r, half of a line end of Windows."
    else:
        cure = "Remove them; they may be invisible, such as a line end or a no-break space."
    raise WrongError(_AROUND, cure)


def is_emulator(values: Values) -> bool:
    """Return whether the environment is the emulator."""
    return values.get("PROCORE_ENVIRONMENT", "").strip().lower() == "emulator"


def environment(text: str, values: Values) -> Environment:
    """Return the environment."""
    if text not in NAMES:
        near = difflib.get_close_matches(text.strip().lower(), NAMES, n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise WrongError("names no Procore environment", meant + CHOOSE_ENVIRONMENT)
    try:
        return by_name(text, emulator_url=values["PROCORE_EMULATOR_URL"])
    except ValueError:  # the emulator's address is wrong, which that setting reports
        return by_name(text)


def _check_credential(text: str, values: Values, emulators: str, copy: str) -> None:
    if text[0] in "'\"" or text[-1] in "'\"":
        raise WrongError(_AROUND, "Remove them.")
    if _PLACEHOLDER.fullmatch(text):
        raise WrongError("is still a placeholder", copy)
    if not re.fullmatch(r"[\x21-\x7e]{1,512}", text):
        raise WrongError("has spaces, control characters or letters beyond ASCII in it", copy)
    if text == emulators and not is_emulator(values):
        raise WrongError("is the local emulator's, which no other Procore knows", copy)


def client_id(text: str, values: Values) -> str:
    """Return the application's id at Procore."""
    _check_credential(text, values, EMULATOR_CLIENT_ID, COPY_CLIENT_ID)
    return text


def client_secret(text: str, values: Values) -> Secret:
    """Return its secret."""
    _check_credential(text, values, EMULATOR_CLIENT_SECRET, COPY_CLIENT_SECRET)
    if text == values.get("PROCORE_CLIENT_ID"):
        raise WrongError("is the client ID again", "Copy the client secret, which is another text.")
    return Secret(text, "client secret")


def _split(text: str, cure: str) -> SplitResult:
    """Split an http(s) address whose host and port can be used."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise WrongError("is not a web address", cure) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise WrongError("is not a complete web address", cure)
    return parts


def redirect_uri(text: str, values: Values) -> str:
    """Return the redirect URI."""
    like = "Write it as registered at Procore, such as https://app.example.com/callback."
    if not re.fullmatch(r"[\x21-\x7e]+", text) or set(text) & set("'\"<>\\"):
        raise WrongError("has characters that a redirect URI cannot have", like)
    parts = _split(text, like)
    if parts.username is not None or "?" in text or "#" in text:
        raise WrongError("has a user name, a query or a fragment", f"Leave it out. {like}")
    _check_redirect_host(parts)
    if parts.geturl() != text or parts.netloc != parts.netloc.lower():
        raise WrongError("has capitals in its scheme or host", f"Use lower case. {like}")
    _check_redirect_path(parts.path)
    if parts.hostname in LOOPBACK_HOSTS:
        return text
    if parts.scheme != "https":
        raise WrongError(
            "uses plain http to another machine, where anyone on the network can read the sign-in",
            "Use https. Plain http is for localhost only.",
        )
    if is_emulator(values):
        raise WrongError(
            "leads away from this machine, but the emulator signs in anyone who knows its demo "
            "password",
            "Use http://localhost:4567/callback, or choose another PROCORE_ENVIRONMENT.",
        )
    return text


def _check_redirect_host(parts: SplitResult) -> None:
    host = parts.hostname or ""
    if "*" in host:
        raise WrongError("has a wildcard for a host", "Name one host: Procore compares exactly.")
    if host in {"0.0.0.0", "::"}:  # noqa: S104  # refused, not listened on
        raise WrongError("names a host that no browser can open", "Write localhost instead.")
    if host not in LOOPBACK_HOSTS and not _HOST.fullmatch(host):
        raise WrongError(
            "has a host that is not a valid name", "Write a host such as app.example.com."
        )
    if parts.netloc.endswith({"http": ":80", "https": ":443"}[parts.scheme]):
        raise WrongError("names the default port of its scheme", "Leave the port out.")


def _check_redirect_path(path: str) -> None:
    if path.endswith("/"):
        raise WrongError(
            "ends with a slash",
            "Remove the slash, here and at Procore: the application's page is at /callback.",
        )
    if not path.endswith(CALLBACK_ROUTE) or not _PATH.fullmatch(path):
        raise WrongError(
            "does not lead to the application's callback",
            "Let its path end with /callback, without dots, double slashes or % before it.",
        )


def database_url(text: str, _: Values) -> str:
    """Return the database's address; none where a framework has a database of its own."""
    if not text:
        return text
    from procore_signin._store.engine.address import parse_address  # noqa: PLC0415  # slow to load

    try:
        parse_address(text)
    except ValueError as error:
        raise unusable(error) from None
    return text


def table_prefix(text: str, _: Values) -> str:
    """Return what the names of our tables begin with."""
    from procore_signin._store.engine.address import Naming  # noqa: PLC0415  # slow to load

    try:
        return Naming(prefix=text).prefix
    except ValueError as error:
        raise unusable(error) from None


def database_schema(text: str, values: Values) -> str | None:
    """Return the schema that our tables are in, or None."""
    from procore_signin._store.engine.address import Naming, parse_address  # noqa: PLC0415  # as above

    try:
        naming = Naming(schema=text or None)
    except ValueError as error:
        raise unusable(error) from None
    try:
        backend = parse_address(values["PROCORE_DATABASE_URL"]).backend
    except ValueError:
        # It is wrong, which that setting reports; or a framework's own, which the framework knows.
        return naming.schema
    try:
        naming.check_in(backend)
    except ValueError as error:
        raise unusable(error) from None
    return naming.schema


def database_timeout(text: str, _: Values) -> int:
    """Return after how many seconds the database is given up."""
    return _whole(text, least=1, most=60, cure="Write seconds, such as 4.")


def database_connections(text: str, _: Values) -> int:
    """Return how many connections one process opens at most."""
    return _whole(text, least=2, most=200, cure="Write a number of connections, such as 20.")


def keys(text: str, _: Values) -> Secret:
    """Return the text of the key ring."""
    from procore_signin._store.keys.keyring import KeyRing  # noqa: PLC0415  # slow to load

    keys = Secret(text, "keys")
    try:
        KeyRing.parse(keys)
    except ValueError as error:
        raise unusable(error) from None
    return keys


def unusable(error: ValueError) -> WrongError:
    """Turn the store's error, a rule and a cure in two sentences, into a problem."""
    rule, _, cure = str(error).removeprefix("PROCORE_KEYS: ").partition(". ")
    return WrongError(f"cannot be used: {rule.rstrip('.')}", cure)


def emulator_url(text: str, _: Values) -> str:
    """Return the emulator's origin."""
    like = f"Write the origin of an emulator on this machine, such as {EMULATOR_URL}."
    _split(text, like)
    try:
        return by_name("emulator", emulator_url=text).login_origin
    except ValueError:
        raise WrongError("is not an origin on this machine", like) from None


def _whole(text: str, *, least: int, most: int, cure: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise WrongError(f"is not a whole number from {least} to {most}", cure)
    return int(text)


def rate_limit(text: str, _: Values) -> int:
    """Return the most sign-ins that one address may begin in a minute."""
    cure = "Write how many sign-ins one address may begin in a minute; 0 switches the limit off."
    return _whole(text, least=0, most=1_000_000, cure=cure)


def session_idle(text: str, values: Values) -> int:
    """Return the seconds that a session lasts without use."""
    cure = "Write seconds, such as 43200 for 12 hours."
    idle = _whole(text, least=60, most=400 * _DAY, cure=cure)
    absolute = values["PROCORE_SESSION_ABSOLUTE_SECONDS"]
    if absolute.isdecimal() and idle > int(absolute):
        raise WrongError(
            "is longer than PROCORE_SESSION_ABSOLUTE_SECONDS, so it would have no effect", cure
        )
    return idle


def session_absolute(text: str, _: Values) -> int:
    """Return the most seconds that a session lasts."""
    cure = "Write seconds, such as 1209600 for 14 days."
    return _whole(text, least=300, most=400 * _DAY, cure=cure)


def log_level(text: str, _: Values) -> str:
    """Return the lowest level that is logged."""
    if text not in _LOG_LEVELS:
        raise WrongError("is not a level", f"Choose one of: {', '.join(_LOG_LEVELS)}.")
    return text


def trusted_proxies(text: str, _: Values) -> TrustedProxies:
    """Return the proxies that are trusted to name the client."""
    try:
        return TrustedProxies.parse(text)
    except ValueError as error:
        cure = "Write the addresses of your own proxies, such as 127.0.0.1, 10.0.0.0/8."
        raise WrongError(str(error), cure) from None


def choose_company(text: str, _: Values) -> bool:
    """Return whether users are asked to choose a company."""
    if text not in {"yes", "no"}:
        raise WrongError("is neither yes nor no", "Write yes to ask users for a company.")
    return text == "yes"


def metrics_token(text: str, _: Values) -> Secret | None:
    """Return the token for `/metrics`, or None."""
    if not text:
        return None
    if not re.fullmatch(r"[\x21-\x7e]{16,256}", text):
        raise WrongError(
            "is not a token that is hard to guess", "Write 16 to 256 characters without spaces."
        )
    return Secret(text, "metrics token")


def app_name(text: str, _: Values) -> str:
    """Return the application's name on the sign-in's pages."""
    name = text.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        cure = f"Write at most {_LONGEST_NAME} letters, such as Site Diary."
        raise WrongError("is not a name that fits on a page", cure)
    return name


def languages(text: str, _: Values) -> tuple[str, ...]:
    """Return the tags of the languages of the sign-in's pages; none for all that there are."""
    tags = tuple(tag.strip() for tag in text.split(",") if tag.strip())
    if not all(_LANGUAGE.fullmatch(tag) for tag in tags):
        raise WrongError("is not a list of languages", "Write tags with commas: es, en.")
    return tags
