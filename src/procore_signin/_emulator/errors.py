"""The error of the emulator's own controls."""

from __future__ import annotations


class EmulatorRefused(ValueError):
    """What was asked of the emulator makes no sense, as a server it refuses the request given.

    Correct the test: the message says what would make sense.

    Attributes:
        code: A short word for the class, the same in every version.
        error: The OAuth error code that a browser would have met, or None.
    """

    __module__ = "procore_signin.emulator"
    code = "emulator_refused"

    def __init__(self, message: str, *, error: str | None = None) -> None:
        super().__init__(message)
        self.error = error
