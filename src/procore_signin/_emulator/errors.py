"""The error of the emulator's own controls."""

from __future__ import annotations


class EmulatorRefused(ValueError):
    """What was asked of the emulator makes no sense, as a server it refuses the request given.

    Attributes:
        error: The OAuth error code that a browser would have met, or None.
    """

    def __init__(self, message: str, *, error: str | None = None) -> None:
        super().__init__(message)
        self.error = error
