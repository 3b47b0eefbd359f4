"""The settings, read from the environment and `.env`, every problem named at once.

The names and the rules are the same wherever the sign-in is part of: `procore-signin serve`, an
application of FastAPI, Flask or Django, or a script. No message and no repr shows a value: a secret
may have been pasted into the wrong line.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from procore_signin._protocol.secret import Secret
from procore_signin._settings import parsers
from procore_signin._settings.env_file import read_env_file
from procore_signin._settings.parsers import (
    EMULATOR_CLIENT_ID,
    EMULATOR_CLIENT_SECRET,
)
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin.environments import EMULATOR_URL, Environment, by_name
from procore_signin.errors import Problem, SettingsInvalid

ENV_FILE: Final = Path(".env")
PREFIX: Final = "PROCORE_"

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
    "PROCORE_APP_NAME": "Sample application",
}
_EMULATOR_DEFAULTS: Final = {
    "PROCORE_CLIENT_ID": EMULATOR_CLIENT_ID,
    "PROCORE_CLIENT_SECRET": EMULATOR_CLIENT_SECRET,
}
# Switches of the project's own tools and tests; none of them is a setting of the application.
_NOT_OURS: Final = "PROCORE_SIGNIN_"


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
        app_name: What the application is called on the sign-in's pages.
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
    app_name: str

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
        if parsers.is_emulator(values):
            values = _EMULATOR_DEFAULTS | values
        for name, parse in parsers.PARSERS.items():
            try:
                parsers.check_edges(values, name)
                parse(values)
            except parsers.WrongError as wrong:
                shadowed = name in in_file and in_process.get(name, in_file[name]) != in_file[name]
                note = " The process environment sets it, and beats .env." if shadowed else ""
                problems.append(Problem(name, wrong.what, wrong.cure + note))
        problems += _unknown(given)
        if problems:
            raise SettingsInvalid(tuple(problems))
        emulator_url = parsers.emulator_url(values)
        return cls(
            environment=by_name(parsers.environment_name(values), emulator_url=emulator_url),
            client_id=parsers.client_id(values),
            client_secret=parsers.client_secret(values),
            redirect_uri=parsers.redirect_uri(values),
            database_url=parsers.database_url(values),
            keys=parsers.keys(values),
            emulator_url=emulator_url,
            rate_limit=parsers.rate_limit(values),
            session_idle=parsers.session_idle(values),
            session_absolute=parsers.session_absolute(values),
            log_level=parsers.log_level(values),
            metrics_token=parsers.metrics_token(values),
            choose_company=parsers.choose_company(values),
            trusted_proxies=parsers.trusted_proxies(values),
            app_name=parsers.app_name(values),
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port at which people reach the application, without a final slash."""
        return self.redirect_uri.removesuffix(urlsplit(self.redirect_uri).path)


def read_settings(
    given: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = ENV_FILE,
) -> Settings:
    """Return the settings, checked.

    Args:
        given: A framework's own: only names that begin with `PROCORE_` are looked at. They beat
            the environment, which beats the file. A value may be a `Secret`.
        environ: The process environment; None for the one that there is.
        env_file: Where `.env` is, or None to read no file. A file that is not there is fine.

    Raises:
        SettingsInvalid: Its `problems` name every setting that is missing, wrong or unknown.
    """
    own = {
        name: value.reveal() if isinstance(value, Secret) else str(value)
        for name, value in (given or {}).items()
        if name.startswith(PREFIX) and value is not None
    }
    return Settings.load({**(os.environ if environ is None else environ), **own}, env_file)


def _unknown(given: parsers.Values) -> list[Problem]:
    """Return a problem for each name that looks like a setting and is none."""
    found = []
    for name in sorted(given):
        shouted = name.upper()
        if not shouted.startswith("PROCORE_") or shouted.startswith(_NOT_OURS):
            continue
        if name in parsers.PARSERS:
            continue
        near = difflib.get_close_matches(shouted, parsers.PARSERS, n=1, cutoff=0.7)
        cure = f"Did you mean {near[0]}? If not, remove it." if near else "Remove it."
        found.append(Problem(name, "is no setting of this application", cure))
    return found
