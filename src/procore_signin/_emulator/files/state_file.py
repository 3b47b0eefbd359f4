"""The file in which an emulator's state outlives a restart."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from procore_signin._emulator.errors import EmulatorRefused
from procore_signin._emulator.files import snapshot
from procore_signin._emulator.procore import LocalProcore

_FORMAT: Final = 1
_SHARE: Final = 20
"""The pause after a save, as a multiple of its duration: the emulator saves a large state less
often, so that requests come first."""


class StateFile:
    """Keeps the state of one process's emulators in one file, readable by its owner only.

    It is written a second after a change and at the end, each time whole and in one step: a crash
    loses the last second, never the file.

    Args:
        path: The file; it need not exist.
        procores: Whose state, by the names of their environments.
        pause: Seconds between two savings at least.
    """

    def __init__(
        self, path: Path, procores: Mapping[str, LocalProcore], *, pause: float = 1.0
    ) -> None:
        self._path = path
        self._procores = procores
        self._pause = pause

    def restore(self) -> None:
        """Give the emulators the state of the file, if there is one, and see that it can be kept.

        Raises:
            EmulatorRefused: The file is not one of these emulators' or cannot be written.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise self._unusable(f"It cannot be read: {error.strerror}") from None
        if content:
            self._put(content)
        self.save()

    def save(self) -> None:
        """Write the state.

        Raises:
            EmulatorRefused: It cannot be written.
        """
        taken = {}
        for name, procore in self._procores.items():
            with procore.lock:
                procore.changed = False
                taken[name] = snapshot.take(procore)
        content = json.dumps({"format": _FORMAT, "environments": taken}).encode()
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            beside.unlink(missing_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            beside.replace(self._path)
        except OSError as error:
            for procore in self._procores.values():
                procore.changed = True
            raise self._unusable(f"It cannot be written: {error.strerror}") from None

    async def keep(self, complain: Callable[[str], None]) -> None:
        """Save after every change until cancelled.

        Args:
            complain: Told when saving failed; it is tried again a moment later.
        """
        pause = self._pause
        while True:
            await asyncio.sleep(pause)
            if not any(procore.changed for procore in self._procores.values()):
                continue
            began = time.monotonic()
            try:
                self.save()
            except EmulatorRefused as refused:
                complain(str(refused))
            pause = max(self._pause, _SHARE * (time.monotonic() - began))

    def _put(self, content: bytes) -> None:
        try:
            kept = json.loads(content)
            is_ours = kept["format"] == _FORMAT
            is_ours = is_ours and kept["environments"].keys() == self._procores.keys()
            for name, procore in self._procores.items() if is_ours else ():
                snapshot.put(procore, kept["environments"][name])
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise self._unusable("It does not hold an emulator's state") from error
        if not is_ours:
            raise self._unusable("Another kind of emulator wrote it")

    def _unusable(self, why: str) -> EmulatorRefused:
        return EmulatorRefused(
            f"The state file {self._path} cannot be used. {why}. "
            "Name another one, or remove it to start anew"
        )
