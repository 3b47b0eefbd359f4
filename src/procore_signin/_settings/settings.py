"""The table of settings, and how they are read from the environment and `.env`.

The names and the rules are the same everywhere: in `procore-signin serve`, in an application of
FastAPI, Flask or Django, and in a script. All problems are reported at once. No message and no repr
shows a value: a secret may have been pasted into the wrong line.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from procore_signin._program import is_told
from procore_signin._protocol.secret import Secret
from procore_signin._settings import parsers
from procore_signin._settings.env_file import read, read_and_check, where_looked_for
from procore_signin._settings.row import PREFIX, ROW, Row, Values, setting
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin.environments import EMULATOR_URL, NAMES, Environment
from procore_signin.errors import Problem, SettingsInvalid

if TYPE_CHECKING:
    from procore_signin._store.engine.address import Address, Naming

LOGGER: Final = logging.getLogger("procore_signin")
ENV_FILE: Final = Path(".env")
# Switches of the project's own tools and tests, not settings of the application.
_NOT_OURS: Final = "PROCORE_SIGNIN_"
NOT_SET: Final = "is not set"
_SIMILAR: Final = 0.85
"""How alike two names are, from 0 to 1, of which one may be a misspelling of the other."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the application, checked. The repr shows no secret.

    Each field is a row of the table. A new setting needs only a row, and the code that uses it.
    """

    environment: Environment = setting(
        Row(
            name="PROCORE_ENVIRONMENT",
            parse=parsers.environment,
            meaning="The Procore environment that users sign in with.",
            accepts=f"One of: {', '.join(NAMES)} (the local one).",
            needed_by="Everyone.",
            example="sandbox",
            missing=parsers.CHOOSE_ENVIRONMENT,
            expected=True,
        )
    )
    client_id: str = setting(
        Row(
            name="PROCORE_CLIENT_ID",
            parse=parsers.client_id,
            meaning="The client ID, from the application's page on Procore's Developer Portal.",
            accepts="Text without spaces. Sandbox and production have a pair each; the monthly "
            "sandbox uses production's.",
            needed_by="Everyone; the local emulator has its own.",
            emulators=parsers.EMULATOR_CLIENT_ID,
            missing=parsers.COPY_CLIENT_ID,
            expected=True,
        )
    )
    client_secret: Secret = setting(
        Row(
            name="PROCORE_CLIENT_SECRET",
            parse=parsers.client_secret,
            meaning="The client secret, from the same page.",
            accepts="Text without spaces.",
            needed_by="Everyone; the local emulator has its own.",
            emulators=parsers.EMULATOR_CLIENT_SECRET,
            missing=parsers.COPY_CLIENT_SECRET,
            expected=True,
            secret=True,
        )
    )
    redirect_uri: str = setting(
        Row(
            name="PROCORE_REDIRECT_URI",
            parse=parsers.redirect_uri,
            meaning="Where Procore sends browsers back: exactly as registered on the same page.",
            accepts="An address whose path ends with `/callback`; https, but for localhost.",
            needed_by="Everyone whose application has another address.",
            example="https://app.example.com/callback",
            default="http://localhost:4567/callback",
            misspelt="Write the address of this application that is registered at Procore.",
            expected=True,
        )
    )
    database_url: str = setting(
        Row(
            name="PROCORE_DATABASE_URL",
            parse=parsers.database_url,
            meaning="The database of users, sessions and sealed tokens.",
            accepts="`sqlite:///<file>`, `postgresql://user:password@host/name` or "
            "`mariadb://user:password@host/name`.",
            needed_by="Applications with more than one process.",
            example="postgresql://db.example.com/procore",
            default="sqlite:///test.db",
            expected=True,
            secret=True,
        )
    )
    table_prefix: str = setting(
        Row(
            name="PROCORE_TABLE_PREFIX",
            parse=parsers.table_prefix,
            meaning="What the names of our tables, indexes and constraints begin with, so that "
            "they stand beside an application's `users` and `sessions`.",
            accepts="1 to 24 letters, digits and underscores, a letter first. Choose it before the "
            "first sign-in: tables keep the names they were made with.",
            needed_by="Applications that share their database with the sign-in.",
            example="procore_signin_",
        )
    )
    database_schema: str | None = setting(
        Row(
            name="PROCORE_DATABASE_SCHEMA",
            parse=parsers.database_schema,
            meaning="The schema of PostgreSQL that our tables are in; `db upgrade` makes it.",
            accepts="Letters, digits and underscores. Every statement names it: `search_path` "
            "plays no part.",
            needed_by="Applications that share a PostgreSQL database with the sign-in.",
            example="procore",
        )
    )
    database_timeout: int = setting(
        Row(
            name="PROCORE_DATABASE_TIMEOUT_SECONDS",
            parse=parsers.database_timeout,
            meaning="Seconds after which a database is given up that has not done what was asked.",
            accepts="A whole number from 1 to 60. Pages that need the database are answered a "
            "second later at the latest.",
            needed_by="No one, as a rule.",
            example="10",
            default="4",
        )
    )
    database_connections: int = setting(
        Row(
            name="PROCORE_DATABASE_CONNECTIONS",
            parse=parsers.database_connections,
            meaning="The most connections that one process opens to PostgreSQL or MariaDB, half of "
            "them for reads and half for writes.",
            accepts="A whole number from 2 to 200.",
            needed_by="Operators of many processes, whose database admits few connections.",
            example="8",
            default="20",
        )
    )
    keys: Secret = setting(
        Row(
            name="PROCORE_KEYS",
            parse=parsers.keys,
            meaning="The keys that seal tokens; without its key, a sealed token cannot be opened "
            "any more.",
            accepts="`<id>:<32 bytes in base64url>`, the active key first, older ones behind it, "
            "separated by commas.",
            needed_by="Everyone; `procore-signin init` makes the first one.",
            missing="Run `procore-signin init`, which writes one into .env.",
            expected=True,
            secret=True,
            outer_blanks=True,
        )
    )
    emulator_url: str = setting(
        Row(
            name="PROCORE_EMULATOR_URL",
            parse=parsers.emulator_url,
            meaning="Where the local emulator listens; for no other environment.",
            accepts="The origin of an emulator on this machine.",
            needed_by="Those whose emulator listens at another port.",
            example="http://127.0.0.1:9000",
            default=EMULATOR_URL,
        )
    )
    rate_limit: int = setting(
        Row(
            name="PROCORE_RATE_LIMIT",
            parse=parsers.rate_limit,
            meaning="Sign-ins that one address may begin in a minute.",
            accepts="A whole number from 0 to 1000000; 0 for no limit.",
            needed_by="No one, as a rule.",
            example="30",
            default="120",
        )
    )
    session_idle: int = setting(
        Row(
            name="PROCORE_SESSION_IDLE_SECONDS",
            parse=parsers.session_idle,
            meaning="Seconds without use after which a session ends.",
            accepts="A whole number from 60 to 34560000, no more than the next setting.",
            needed_by="No one, as a rule.",
            example="3600",
            default="43200",
        )
    )
    session_absolute: int = setting(
        Row(
            name="PROCORE_SESSION_ABSOLUTE_SECONDS",
            parse=parsers.session_absolute,
            meaning="Seconds after its sign-in at which a session ends, used or not.",
            accepts="A whole number from 300 to 34560000.",
            needed_by="No one, as a rule.",
            example="86400",
            default="1209600",
        )
    )
    log_level: str = setting(
        Row(
            name="PROCORE_LOG_LEVEL",
            parse=parsers.log_level,
            meaning="The lowest level that is logged; no level shows a secret.",
            accepts="One of: debug, info, warning, error.",
            needed_by="No one, as a rule; `procore-signin serve` uses it.",
            example="warning",
            default="info",
        )
    )
    metrics_token: Secret | None = setting(
        Row(
            name="PROCORE_METRICS_TOKEN",
            parse=parsers.metrics_token,
            meaning="The token for reading /metrics: `Authorization: Bearer <this>`.",
            accepts="16 to 256 characters without spaces.",
            needed_by="Operators whose /metrics can be reached by others.",
            secret=True,
        )
    )
    choose_company: bool = setting(
        Row(
            name="PROCORE_CHOOSE_COMPANY",
            parse=parsers.choose_company,
            meaning="Whether a user with several companies is asked for one after signing in.",
            accepts="One of: yes, no.",
            needed_by="Applications that work in one company at a time.",
            example="yes",
            default="no",
        )
    )
    trusted_proxies: TrustedProxies = setting(
        Row(
            name="PROCORE_TRUSTED_PROXIES",
            parse=parsers.trusted_proxies,
            meaning="Your own reverse proxies: X-Forwarded-For is trusted only from them, for "
            "limits and logs.",
            accepts="Addresses or networks, separated by commas; `unix` for a proxy on a unix "
            "socket.",
            needed_by="Applications behind a reverse proxy.",
            example="127.0.0.1, 10.0.0.0/8",
            outer_blanks=True,
        )
    )
    app_name: str = setting(
        Row(
            name="PROCORE_APP_NAME",
            parse=parsers.app_name,
            meaning="The application's name on the sign-in's pages.",
            accepts="At most 60 letters.",
            needed_by="Every application in production, which does not start without.",
            example="Site Diary",
            default="Sample application",
            outer_blanks=True,
        )
    )
    languages: tuple[str, ...] = setting(
        Row(
            name="PROCORE_LANGUAGES",
            parse=parsers.languages,
            meaning="The languages of the sign-in's pages. The browser's wish decides among them; "
            "the first is for all other browsers, and a single one is for everyone.",
            accepts="Tags of languages, separated by commas: `en`, `es`, `fr`, and those that the "
            "application has catalogues for. In Django, its own active language decides.",
            needed_by="Applications that speak fewer languages than these pages do.",
            example="es, en",
            outer_blanks=True,
        )
    )

    @classmethod
    def rows(cls) -> dict[str, Row[Any]]:
        """Return the table: the row of each field, by the field's name."""
        return {each.name: each.metadata[ROW] for each in fields(cls)}

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str],
        env_file: Path | None,
        defaults: Mapping[str, str] | None = None,
        own: Collection[str] = (),
    ) -> Self:
        """Read the settings.

        Args:
            environ: The process environment. It takes precedence over the file; an empty value
                counts as not set.
            env_file: Where `.env` is, or None to read no file. The file may be missing.
            defaults: A framework's own, instead of those of the table.
            own: The names in `environ` that a framework's own settings gave.

        Raises:
            SettingsInvalid: Its `problems` name every setting that is missing or wrong, each with
                its cure.
        """
        settings, problems = cls._read(environ, env_file, defaults or {}, own)
        # The frames of this error may be shown with their variables: none of them has a secret.
        del environ
        if settings is None:
            raise SettingsInvalid(problems, hint=where_looked_for(env_file))
        return settings

    @classmethod
    def _read(
        cls, environ: Values, env_file: Path | None, defaults: Values, own: Collection[str]
    ) -> tuple[Self | None, tuple[Problem, ...]]:
        """Return the settings, or None and what is wrong with them."""
        in_file, problems = ({}, []) if env_file is None else read_and_check(env_file)
        in_process = {name: value for name, value in environ.items() if value}
        given = in_file | in_process
        rows = cls.rows()
        known = {**_defaults(rows.values(), given), **defaults, **given}
        alike = _alike([row.name for row in rows.values()], given)
        values = known | {
            row.name: "" for row in rows.values() if row.misspelt and row.name in alike
        }
        parsed = {}
        for field, row in rows.items():
            name = row.name
            try:
                parsed[field] = _parse(row, values)
            except parsers.WrongError as wrong:
                shadowed = name in in_file and in_process.get(name, in_file[name]) != in_file[name]
                source = "application itself" if name in own else "process environment"
                note = f" The {source} sets it, and beats .env." if shadowed else ""
                what = wrong.what
                if what == NOT_SET and name in alike:
                    what += f" (is {alike[name]} a misspelling of it?)"
                problems.append(Problem(name, what, wrong.cure + note))
            else:
                if name in alike and name not in defaults and not is_told():
                    _tell_alike(alike[name], name)
        return (None, tuple(problems)) if problems else (cls(**parsed), ())

    @property
    def address(self) -> Address:
        """Where the tables are: the database, and what they are called there."""
        return _address(self.database_url, self.table_prefix, self.database_schema)

    @property
    def origin(self) -> str:
        """The application's origin: scheme, host and port, without a final slash."""
        return self.redirect_uri.removesuffix(urlsplit(self.redirect_uri).path)


def read_settings(
    given: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = ENV_FILE,
    defaults: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings, checked.

    Args:
        given: A framework's own settings: only names that begin with `PROCORE_` are used. They take
            precedence over the environment, which takes precedence over the file. A value may be a
            `Secret`.
        environ: The process environment; None for the current one.
        env_file: Where `.env` is, or None to read no file. The file may be missing.
        defaults: A framework's own, instead of those of the table.

    Raises:
        SettingsInvalid: Its `problems` name every setting that is missing or wrong.
    """
    own = frozenset(_merged(given or {}, {}))
    merged = [_merged(given or {}, os.environ if environ is None else environ)]
    del given, environ  # as in `load`
    return Settings.load(merged.pop(), env_file, defaults, own)


def read_address(
    given: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = ENV_FILE,
    defaults: Mapping[str, str] | None = None,
) -> Address:
    """Return where the tables are, from the settings that say so and no others.

    Tables may be needed before the other settings are there: when an image is built, or for the
    tests of an application.

    Args:
        given: As for `read_settings`.
        environ: As for `read_settings`.
        env_file: As for `read_settings`.
        defaults: As for `read_settings`.

    Raises:
        SettingsInvalid: Its `problems` name which of these settings are wrong.
        EnvFileUnusable: The file is not UTF-8.
    """
    return _address(*_read_place(given, environ, env_file, defaults))


def read_naming(
    given: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = ENV_FILE,
    defaults: Mapping[str, str] | None = None,
) -> Naming:
    """Return what the tables are called, wherever they are; see `read_address`."""
    from procore_signin._store.engine.address import Naming  # noqa: PLC0415  # see `parsers`

    _, prefix, schema = _read_place(given, environ, env_file, defaults)
    return Naming(prefix, schema)


def _read_place(
    given: Mapping[str, object] | None,
    environ: Mapping[str, str] | None,
    env_file: Path | None,
    defaults: Mapping[str, str] | None,
) -> tuple[str, str, str | None]:
    """Return the database's address as text, the prefix and the schema."""
    texts = _texts(given, environ, env_file)
    rows = [Settings.rows()[field] for field in ("database_url", "table_prefix", "database_schema")]
    values = {row.name: row.default for row in rows} | dict(defaults or {}) | texts
    parsed: list[Any] = []
    problems = []
    for row in rows:
        try:
            parsed.append(_parse(row, values))
        except parsers.WrongError as wrong:
            problems.append(Problem(row.name, wrong.what, wrong.cure))
    del given, environ, texts, values  # as in `load`
    if problems:
        raise SettingsInvalid(tuple(problems), hint=where_looked_for(env_file))
    url, prefix, schema = parsed
    return url, prefix, schema


def only_missing(invalid: SettingsInvalid) -> bool:
    """Return whether all that is wrong is that settings are not there."""
    return all(each.what.startswith(NOT_SET) for each in invalid.problems)


def names_of_missing(invalid: SettingsInvalid) -> str:
    """Return what is not there, in a sentence, with what may be a misspelling of it."""
    return ", ".join(
        f"{each.setting}{each.what.removeprefix(NOT_SET)}" for each in invalid.problems
    )


def is_given(
    name: str,
    given: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = ENV_FILE,
) -> bool:
    """Return whether someone has set the setting `name`; the arguments are `read_settings`'."""
    return bool(_texts(given, environ, env_file).get(name))


def _texts(
    given: Mapping[str, object] | None, environ: Mapping[str, str] | None, env_file: Path | None
) -> dict[str, str]:
    """Return all texts that are given for settings, the file's below the others."""
    in_file = {} if env_file is None else read(env_file)
    set_there = _merged(given or {}, os.environ if environ is None else environ)
    return in_file | {name: value for name, value in set_there.items() if value}


def _address(url: str, prefix: str, schema: str | None) -> Address:
    # Slow to load: see `parsers`.
    from procore_signin._store.engine.address import Naming, parse_address  # noqa: PLC0415

    return parse_address(url, Naming(prefix, schema))


def _merged(given: Mapping[str, object], environ: Values) -> Values:
    own = {
        name: value.reveal() if isinstance(value, Secret) else str(value)
        for name, value in given.items()
        if name.startswith(PREFIX) and value is not None
    }
    return {**environ, **own}


def settings_of(given: Mapping[str, object], address: Address) -> dict[str, str]:
    """Return settings as the environment of a process that reads them from there.

    Args:
        given: Those that are given elsewhere than there and in `.env`.
        address: Where the tables are.
    """
    return dict(_merged(given, {})) | {
        "PROCORE_DATABASE_URL": address.url.render_as_string(hide_password=False),
        "PROCORE_TABLE_PREFIX": address.naming.prefix,
        "PROCORE_DATABASE_SCHEMA": address.naming.schema or "",
    }


def default_of(name: str) -> str:
    """Return the default of the setting `name`; empty for none.

    Raises:
        KeyError: There is no such setting.
    """
    return {row.name: row.default for row in Settings.rows().values()}[name]


def _defaults(rows: Iterable[Row[Any]], given: Values) -> dict[str, str]:
    local = parsers.is_emulator(given)
    return {row.name: (row.emulators if local else "") or row.default for row in rows}


def _parse(row: Row[Any], values: Values) -> Any:
    text = values[row.name]
    if not text and (cure := row.missing or row.misspelt):
        raise parsers.WrongError(NOT_SET, cure)
    parsers.check_edges(row, text)
    return row.parse(text, values)


def _alike(known: Collection[str], given: Values) -> dict[str, str]:
    """Return, for settings that are not given, the name that may be a misspelling of each.

    Any other name belongs to the application, which may call its own settings `PROCORE_…` too.
    """
    own = {
        shouted.removeprefix(PREFIX): name
        for name in sorted(given.keys() - set(known))
        if (shouted := name.upper()).startswith(PREFIX) and not shouted.startswith(_NOT_OURS)
    }
    missing = [name.removeprefix(PREFIX) for name in known if name not in given]
    found = {}
    for written, name in own.items():
        for near in difflib.get_close_matches(written, missing, n=1, cutoff=_SIMILAR):
            found[PREFIX + near] = name
    return found


@cache
def _tell_alike(name: str, meant: str) -> None:
    """Say, once in a process, what is left alone although it is like the name of a setting."""
    LOGGER.warning(
        "%s is no setting of procore-signin, so it is taken for the application's own. If %s is "
        "meant, rename it; if not, set %s as well, and this is not said again.",
        *(name, meant, meant),
    )
