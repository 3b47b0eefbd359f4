"""SQLite databases with tables: migrated once a process, copied for each test."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from procore_signin._store.migrate import upgrade


@cache
def _template() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        upgrade(f"sqlite:///{path}")
        return path.read_bytes()


def migrated(path: Path) -> str:
    """Return the address of the database at `path`, made if it is not there yet."""
    if not path.exists():
        path.write_bytes(_template())
    return f"sqlite:///{path}"
