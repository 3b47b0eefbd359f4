"""The error of the emulator's own controls."""

from __future__ import annotations


class EmulatorRefused(ValueError):
    """The emulator refuses a control: it is invalid, or the request in it would be refused.

    Correct the test: the message gives the cure.

    Attributes:
        code: A short name for the class, the same in every version.
        error: The OAuth error code that a browser would have got, or None.
    """

    __module__ = "procore_signin.emulator"
    code = "emulator_refused"

    def __init__(self, message: str, *, error: str | None = None) -> None:
        super().__init__(message)
        self.error = error
