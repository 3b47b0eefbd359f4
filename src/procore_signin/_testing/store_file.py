"""A store of the test's own: a file that is copied from a migrated one and removed at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from procore_signin._store import Store
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.migrate import upgrade

_PREFIX: Final = "procore-signin-test-"


@cache
def _migrated() -> bytes:
    """Return an empty database with this version's tables, which takes long to make."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        path = Path(folder) / "migrated.db"
        upgrade(f"sqlite:///{path}")
        return path.read_bytes()


class StoreFile:
    """A new, empty database for one test, in a folder of its own.

    Nothing else is kept in the temporary directory: workers of a test run may end without a chance
    to clean up.

    Args:
        keys: Seal the tokens in it.
    """

    def __init__(self, keys: KeyRing) -> None:
        empty = _migrated()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        path = folder / "store.db"
        path.write_bytes(empty)
        self.open: Final[Callable[[], Store]] = lambda: Store(
            f"sqlite:///{path}", keys, durable=False
        )
        self._remove: Final = weakref.finalize(self, _remove, folder, os.getpid())

    def remove(self) -> None:
        """Remove the file. Every store of it must be closed."""
        self._remove()


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not at the end of a child that was forked during a test
        shutil.rmtree(folder, ignore_errors=True)
