"""Settings with which an application can be loaded in a test, and reach nothing."""

from __future__ import annotations

import secrets
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from procore_signin._store.keys.keyring import KeyRing
from procore_signin.environments import LOOPBACK_HOSTS

_NOTHING_LISTENS: Final = "127.0.0.1:1"
_REFUSES: Final = f"http://{_NOTHING_LISTENS}"
"""What is not signed in by a test cannot reach an emulator either."""

_ABSENT: Final = "procore_signed_in-gives-each-test-a-store"


def settings_for_tests(redirect_uri: str) -> dict[str, str]:
    """Return settings for an application's tests: names in the environment and their values.

    Put them into the environment before the application is imported, at the top of `conftest.py`:
    `os.environ.update(settings_for_tests("http://localhost:8000/procore/callback"))`. A `.env` of
    the developer's is overruled by them.

    Args:
        redirect_uri: As the application's routes need it: where its callback page is. On
            `localhost`, unless the application's other settings demand https.
    """
    is_local = urlsplit(redirect_uri).hostname in LOOPBACK_HOSTS
    return {
        # The emulator admits anyone who knows its password, so it serves this machine alone.
        "PROCORE_ENVIRONMENT": "emulator" if is_local else "sandbox",
        "PROCORE_EMULATOR_URL": _REFUSES,
        "PROCORE_CLIENT_ID": "test-client-id",
        "PROCORE_CLIENT_SECRET": "test-client-secret",
        "PROCORE_REDIRECT_URI": redirect_uri,
        "PROCORE_DATABASE_URL": _nowhere(),
        "PROCORE_KEYS": KeyRing.generate(secrets.token_bytes, key_id="test").reveal(),
    }


def _nowhere() -> str:
    """Return the address of a database that is not there.

    Where PostgreSQL is within reach it is one of that: only there an application's own setting may
    name a schema for the tables.
    """
    if find_spec("psycopg") is not None:
        return f"postgresql://{_NOTHING_LISTENS}/{_ABSENT}"
    return f"sqlite:///{Path(tempfile.gettempdir()) / 'procore-signin' / _ABSENT}.db"
