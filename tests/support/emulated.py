"""Front doors of a test's own that talk to an emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from migrated import migrated
from scripted import KEYS

from procore_signin import environments
from procore_signin._protocol.secret import Secret
from procore_signin.emulator import Emulator

REDIRECT_URI = "http://localhost:4567/callback"


def door_arguments(emulator: Emulator, folder: Path) -> dict[str, Any]:
    """Return what a front door at `emulator` takes, with a fresh database in `folder`."""
    url = migrated(folder / "test.db")
    return {
        "environment": environments.emulator(emulator.url),
        "client_id": "emulator-client-id",
        "client_secret": Secret("emulator-client-secret", "client secret"),
        "redirect_uri": REDIRECT_URI,
        "keys": KEYS,
        "database_url": url,
    }
