"""The application's settings, read from the environment and `.env`, every problem named at once.

No message and no repr shows a value: a secret may have been pasted into the wrong line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from procore_signin.app.env_file import read_env_file
from procore_signin.environments import EMULATOR_URL, LOOPBACK_HOSTS, NAMES, Environment, by_name
from procore_signin.errors import Problem, SettingsInvalid
from procore_signin.protocol.secret import Secret
from procore_signin.store.address import parse_address
from procore_signin.store.keyring import KeyRing
from procore_signin.web.forwarded import TrustedProxies

EMULATOR_CLIENT_ID: Final = "emulator-client-id"
EMULATOR_CLIENT_SECRET: Final = "emulator-client-secret"  # noqa: S105  # the emulator's, no secret
CALLBACK_ROUTE: Final = "/callback"

# What holds when a setting is absent. The others have to be set.
_DEFAULTS: Final = {
    "PROCORE_REDIRECT_URI": "http://localhost:4567/callback",
    "PROCORE_DATABASE_URL": "sqlite:///test.db",
    "PROCORE_EMULATOR_URL": EMULATOR_URL,
    "PROCORE_RATE_LIMIT": "120",
    "PROCORE_SESSION_IDLE_SECONDS": "43200",
    "PROCORE_SESSION_ABSOLUTE_SECONDS": "1209600",
    "PROCORE_LOG_LEVEL": "info",
    "PROCORE_CHOOSE_COMPANY": "no",
}
_EMULATOR_DEFAULTS: Final = {
    "PROCORE_CLIENT_ID": EMULATOR_CLIENT_ID,
    "PROCORE_CLIENT_SECRET": EMULATOR_CLIENT_SECRET,
}
# Switches of the project's own tools and tests; none of them is a setting of the application.
_NOT_OURS: Final = "PROCORE_SIGNIN_"

_PLACEHOLDER: Final = re.compile(
    r"<.*>|\{.*\}|\[.*\]|\.{3,}|x{3,}|(change|replace)[-_ ]?(me|this)|your[-_ ].*"
    r"|(the[-_ ])?client[-_ ]?(id|secret)|todo|tbd|placeholder",
    re.IGNORECASE,
)
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_PATH: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the application has to be told, checked. The repr shows no secret.

    Attributes:
        environment: The Procore to sign in with.
        client_id: The application's id at Procore.
        client_secret: Its secret.
        redirect_uri: Where Procore sends people back to, exactly as registered there.
        database_url: The database, in SQLAlchemy's form. It may hold a password.
        keys: The text of the key ring, which `KeyRing.parse` accepts.
        emulator_url: The emulator's origin; used in the environment `emulator` only.
        rate_limit: Sign-ins that one address may begin in a minute; 0 for no limit.
        session_idle: Seconds without use after which a session ends.
        session_absolute: Seconds after its sign-in at which a session ends, used or not.
        log_level: The lowest level that is logged. No level shows a secret.
        choose_company: Whether a person with several companies is asked for one after signing in.
        trusted_proxies: Whose word is taken for where a request came from.
        metrics_token: The bearer token that `/metrics` asks for, or None to ask for none.
    """

    environment: Environment
    client_id: str
    client_secret: Secret
    redirect_uri: str
    database_url: str = field(repr=False)
    keys: Secret
    emulator_url: str
    rate_limit: int
    session_idle: int
    session_absolute: int
    log_level: str
    metrics_token: Secret | None
    choose_company: bool
    trusted_proxies: TrustedProxies

    @classmethod
    def load(cls, environ: Mapping[str, str], env_file: Path | None) -> Settings:
        """Read the settings.

        Args:
            environ: The process environment. What it sets beats the file; what it sets to nothing
                counts as not set.
            env_file: Where `.env` is, or None to read no file. A file that is not there is fine.

        Raises:
            SettingsInvalid: Its `problems` name every setting that is missing, wrong or unknown,
                each with its cure.
        """
        in_file, problems = ({}, []) if env_file is None else read_env_file(env_file)
        in_process = {name: value for name, value in environ.items() if value}
        given = in_file | in_process
        values = _DEFAULTS | given
        if _is_emulator(values):
            values = _EMULATOR_DEFAULTS | values
        for name, parse in _PARSERS.items():
            try:
                parse(values)
            except _WrongError as wrong:
                shadowed = name in in_file and in_process.get(name, in_file[name]) != in_file[name]
                note = " The process environment sets it, and beats .env." if shadowed else ""
                problems.append(Problem(name, wrong.what, wrong.cure + note))
        problems += _unknown(given)
        if problems:
            raise SettingsInvalid(tuple(problems))
        emulator_url = _emulator_url(values)
        return cls(
            environment=by_name(_environment_name(values), emulator_url=emulator_url),
            client_id=_client_id(values),
            client_secret=_client_secret(values),
            redirect_uri=_redirect_uri(values),
            database_url=_database_url(values),
            keys=_keys(values),
            emulator_url=emulator_url,
            rate_limit=_rate_limit(values),
            session_idle=_session_idle(values),
            session_absolute=_session_absolute(values),
            log_level=_log_level(values),
            metrics_token=_metrics_token(values),
            choose_company=_choose_company(values),
            trusted_proxies=_trusted_proxies(values),
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port at which people reach the application, without a final slash."""
        return self.redirect_uri.removesuffix(urlsplit(self.redirect_uri).path)

    @property
    def mount_path(self) -> str:
        """The path below which the routes live: empty, or such as `/procore`."""
        return urlsplit(self.redirect_uri).path.removesuffix(CALLBACK_ROUTE)

    @property
    def secure_cookies(self) -> bool:
        """Whether people reach the application over https, so that cookies can demand it."""
        return self.redirect_uri.startswith("https://")


class _WrongError(Exception):
    """A setting is missing or wrong."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what, cure)
        self.what = what
        self.cure = cure


_Values = Mapping[str, str]


def _given(values: _Values, name: str, cure: str) -> str:
    text = values.get(name, "")
    if not text:
        raise _WrongError("is not set", cure)
    return text


def _is_emulator(values: _Values) -> bool:
    return values.get("PROCORE_ENVIRONMENT", "").strip().lower() == "emulator"


def _environment_name(values: _Values) -> str:
    choices = f"Choose one of: {', '.join(NAMES)}. The emulator needs no account."
    name = _given(values, "PROCORE_ENVIRONMENT", choices)
    if name not in NAMES:
        near = difflib.get_close_matches(name.strip().lower(), NAMES, n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise _WrongError("names no Procore environment", meant + choices)
    return name


def _credential(values: _Values, name: str, words: str, emulators: str) -> str:
    copy = f"Copy the {words} from the application's page on Procore's Developer Portal."
    text = _given(values, name, copy)
    if text != text.strip() or text[0] in "'\"" or text[-1] in "'\"":
        raise _WrongError("has spaces or quotes around it", "Remove them.")
    if _PLACEHOLDER.fullmatch(text):
        raise _WrongError("is still a placeholder", copy)
    if not re.fullmatch(r"[\x21-\x7e]{1,512}", text):
        raise _WrongError("has spaces, control characters or letters beyond ASCII in it", copy)
    if text == emulators and not _is_emulator(values):
        raise _WrongError("is the local emulator's, which no other Procore knows", copy)
    return text


def _client_id(values: _Values) -> str:
    return _credential(values, "PROCORE_CLIENT_ID", "client ID", EMULATOR_CLIENT_ID)


def _client_secret(values: _Values) -> Secret:
    text = _credential(values, "PROCORE_CLIENT_SECRET", "client secret", EMULATOR_CLIENT_SECRET)
    if text == values.get("PROCORE_CLIENT_ID"):
        raise _WrongError(
            "is the client ID again", "Copy the client secret, which is another text."
        )
    return Secret(text, "client secret")


def _split(text: str, cure: str) -> SplitResult:
    """Split an http(s) address whose host and port can be used."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _WrongError("is no web address", cure) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise _WrongError("is no whole web address", cure)
    return parts


def _redirect_uri(values: _Values) -> str:
    text = values["PROCORE_REDIRECT_URI"]
    like = "Write it as registered at Procore, such as https://app.example.com/callback."
    if not re.fullmatch(r"[\x21-\x7e]+", text) or set(text) & set("'\"<>\\"):
        raise _WrongError("has characters that no redirect URI has", like)
    parts = _split(text, like)
    if parts.username is not None or "?" in text or "#" in text:
        raise _WrongError("has a user name, a query or a fragment", f"Leave it out. {like}")
    _check_redirect_host(parts)
    if parts.geturl() != text or parts.netloc != parts.netloc.lower():
        raise _WrongError("has capitals in its scheme or host", f"Use lower case. {like}")
    _check_redirect_path(parts.path)
    if parts.hostname in LOOPBACK_HOSTS:
        return text
    if parts.scheme != "https":
        raise _WrongError(
            "uses plain http to another machine, where anybody on the way can read the sign-in",
            "Use https. Plain http is for localhost only.",
        )
    if _is_emulator(values):
        raise _WrongError(
            "leads away from this machine, but the emulator signs in anybody who knows its demo "
            "password",
            "Use http://localhost:4567/callback, or choose another PROCORE_ENVIRONMENT.",
        )
    return text


def _check_redirect_host(parts: SplitResult) -> None:
    host = parts.hostname or ""
    if "*" in host:
        raise _WrongError("has a wildcard for a host", "Name one host: Procore compares exactly.")
    if host in {"0.0.0.0", "::"}:  # noqa: S104  # refused, not listened on
        raise _WrongError("names a host that no browser can open", "Write localhost instead.")
    if host not in LOOPBACK_HOSTS and not _HOST.fullmatch(host):
        raise _WrongError("has a host that is no name", "Write a host such as app.example.com.")
    if parts.netloc.endswith({"http": ":80", "https": ":443"}[parts.scheme]):
        raise _WrongError("names the port that its scheme has anyway", "Leave the port out.")


def _check_redirect_path(path: str) -> None:
    if path.endswith("/"):
        raise _WrongError(
            "ends with a slash",
            "Remove the slash, here and at Procore: the application answers at /callback.",
        )
    if not path.endswith(CALLBACK_ROUTE) or not _PATH.fullmatch(path):
        raise _WrongError(
            "does not lead to the application's callback",
            "Let its path end with /callback, without dots, double slashes or % before it.",
        )


def _database_url(values: _Values) -> str:
    text = values["PROCORE_DATABASE_URL"]
    try:
        parse_address(text)
    except ValueError as error:
        raise _unusable(error) from None
    return text


def _keys(values: _Values) -> Secret:
    cure = "Run `procore-signin init`, which writes one into .env."
    keys = Secret(_given(values, "PROCORE_KEYS", cure), "keys")
    try:
        KeyRing.parse(keys)
    except ValueError as error:
        raise _unusable(error) from None
    return keys


def _unusable(error: ValueError) -> _WrongError:
    """Put the store's words, a rule and a cure in two sentences, into ours."""
    rule, _, cure = str(error).removeprefix("PROCORE_KEYS: ").partition(". ")
    return _WrongError(f"cannot be used: {rule.rstrip('.')}", cure)


def _emulator_url(values: _Values) -> str:
    text = values["PROCORE_EMULATOR_URL"]
    like = f"Write the origin of an emulator on this machine, such as {EMULATOR_URL}."
    _split(text, like)
    try:
        return by_name("emulator", emulator_url=text).login_origin
    except ValueError:
        raise _WrongError("is no origin on this machine", like) from None


def _whole(values: _Values, name: str, *, least: int, most: int, cure: str) -> int:
    text = values[name]
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise _WrongError(f"is no whole number from {least} to {most}", cure)
    return int(text)


def _rate_limit(values: _Values) -> int:
    cure = "Write how many sign-ins one address may begin in a minute; 0 switches the limit off."
    return _whole(values, "PROCORE_RATE_LIMIT", least=0, most=1_000_000, cure=cure)


def _session_absolute(values: _Values) -> int:
    cure = "Write seconds, such as 1209600 for 14 days."
    return _whole(values, "PROCORE_SESSION_ABSOLUTE_SECONDS", least=300, most=400 * _DAY, cure=cure)


def _session_idle(values: _Values) -> int:
    cure = "Write seconds, such as 43200 for 12 hours."
    idle = _whole(values, "PROCORE_SESSION_IDLE_SECONDS", least=60, most=400 * _DAY, cure=cure)
    absolute = values["PROCORE_SESSION_ABSOLUTE_SECONDS"]
    if absolute.isdecimal() and idle > int(absolute):
        raise _WrongError(
            "is longer than PROCORE_SESSION_ABSOLUTE_SECONDS, so it would never count", cure
        )
    return idle


def _log_level(values: _Values) -> str:
    level = values["PROCORE_LOG_LEVEL"]
    if level not in _LOG_LEVELS:
        raise _WrongError("is no level", f"Choose one of: {', '.join(_LOG_LEVELS)}.")
    return level


def _trusted_proxies(values: _Values) -> TrustedProxies:
    try:
        return TrustedProxies.parse(values.get("PROCORE_TRUSTED_PROXIES", ""))
    except ValueError as error:
        cure = "Write the addresses of your own proxies, such as 127.0.0.1, 10.0.0.0/8."
        raise _WrongError(str(error), cure) from None


def _choose_company(values: _Values) -> bool:
    answer = values["PROCORE_CHOOSE_COMPANY"]
    if answer not in {"yes", "no"}:
        raise _WrongError("is neither yes nor no", "Write yes to ask people for a company.")
    return answer == "yes"


def _metrics_token(values: _Values) -> Secret | None:
    text = values.get("PROCORE_METRICS_TOKEN", "")
    if not text:
        return None
    if not re.fullmatch(r"[\x21-\x7e]{16,256}", text):
        raise _WrongError(
            "is no token that is hard to guess", "Write 16 to 256 characters without spaces."
        )
    return Secret(text, "metrics token")


def _unknown(given: _Values) -> list[Problem]:
    """Return a problem for each name that looks like a setting and is none."""
    found = []
    for name in sorted(given):
        shouted = name.upper()
        if not shouted.startswith("PROCORE_") or shouted.startswith(_NOT_OURS):
            continue
        if name in _PARSERS:
            continue
        near = difflib.get_close_matches(shouted, _PARSERS, n=1, cutoff=0.7)
        cure = f"Did you mean {near[0]}? If not, remove it." if near else "Remove it."
        found.append(Problem(name, "is no setting of this application", cure))
    return found


_PARSERS: Final[dict[str, Callable[[_Values], object]]] = {
    "PROCORE_ENVIRONMENT": _environment_name,
    "PROCORE_CLIENT_ID": _client_id,
    "PROCORE_CLIENT_SECRET": _client_secret,
    "PROCORE_REDIRECT_URI": _redirect_uri,
    "PROCORE_DATABASE_URL": _database_url,
    "PROCORE_KEYS": _keys,
    "PROCORE_EMULATOR_URL": _emulator_url,
    "PROCORE_RATE_LIMIT": _rate_limit,
    "PROCORE_SESSION_IDLE_SECONDS": _session_idle,
    "PROCORE_SESSION_ABSOLUTE_SECONDS": _session_absolute,
    "PROCORE_LOG_LEVEL": _log_level,
    "PROCORE_METRICS_TOKEN": _metrics_token,
    "PROCORE_CHOOSE_COMPANY": _choose_company,
    "PROCORE_TRUSTED_PROXIES": _trusted_proxies,
}
