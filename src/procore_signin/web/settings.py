"""A front door from settings: those of the framework, of the environment and of `.env`.

The names are the same everywhere, and so are the rules: those of `procore-signin serve`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from procore_signin.app.settings import Settings
from procore_signin.client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin.web.site import Options

PREFIX: Final = "PROCORE_"
ENV_FILE: Final = Path(".env")

FrontDoorT = TypeVar("FrontDoorT", ProcoreSignIn, AsyncProcoreSignIn)


_MADE_FROM: Final[WeakKeyDictionary[ProcoreSignIn | AsyncProcoreSignIn, Settings]] = (
    WeakKeyDictionary()
)


def read_settings(
    given: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    env_file: Path | None = ENV_FILE,
) -> Settings:
    """Return the settings, checked.

    Args:
        given: The framework's own: only names that begin with `PROCORE_` are looked at. They beat
            the environment, which beats the file.
        environ: The process environment.
        env_file: Where `.env` is, or None to read no file. A file that is not there is fine.

    Raises:
        SettingsInvalid: Its `problems` name every setting that is missing, wrong or unknown.
    """
    own = {
        name: str(value)
        for name, value in (given or {}).items()
        if name.startswith(PREFIX) and value is not None
    }
    return Settings.load({**environ, **own}, env_file)


def front_door(kind: type[FrontDoorT], settings: Settings, **more: Any) -> FrontDoorT:
    """Return a front door that `settings` describe.

    Args:
        kind: `ProcoreSignIn` or `AsyncProcoreSignIn`.
        settings: What it is made of.
        more: Arguments of `kind` that are no settings, such as `hooks`.

    Raises:
        SettingsInvalid: See `read_settings`.
    """
    door = kind(
        environment=settings.environment,
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        redirect_uri=settings.redirect_uri,
        keys=settings.keys,
        database_url=settings.database_url,
        session_idle=settings.session_idle,
        session_absolute=settings.session_absolute,
        **more,
    )
    _MADE_FROM[door] = settings
    return door


def completed(door: ProcoreSignIn | AsyncProcoreSignIn, options: Options | None) -> Options:
    """Return `options`, with the settings that `door` was made from where they say nothing."""
    options, made_from = options or Options(), _MADE_FROM.get(door)
    if made_from is None:
        return options
    starts, choose = options.starts_per_minute, options.choose_company
    return replace(
        options,
        starts_per_minute=made_from.rate_limit if starts is None else starts,
        choose_company=made_from.choose_company if choose is None else choose,
    )
