"""A secret that prints as its name."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn, Self

from procore_signin._public import public_in


@public_in("procore_signin")
class Secret:
    """A text that must not be shown, such as a token, a code, a client secret or a key.

    `str()`, `repr()` and f-strings show the label in angle brackets. It cannot be pickled, copied
    or turned into JSON, and neither can an object that contains one, such as a `FreshToken`: a job
    in another process must fetch its own token. Only `reveal()` returns the text; only the code
    that sends or seals it calls that. Comparison takes constant time.

    Args:
        text: The secret text.
        label: Its name, such as `client secret`.

    Raises:
        TypeError: `text` is not a string. The message does not show it.
    """

    __slots__ = ("_label", "_text")
    __hash__ = None  # type: ignore[assignment]  # a secret is not a dictionary key

    def __init__(self, text: str, label: str = "secret") -> None:
        if not isinstance(text, str):
            raise TypeError(_no_text(text, label, "text"))
        self._text: Final = text
        self._label: Final = label

    @classmethod
    def of(cls, given: Self | str, *, argument: str) -> Self:
        """Return an argument of a caller, a `Secret` or plain text, as a secret.

        Args:
            given: The secret.
            argument: The argument's name, such as `client_secret`; the label of a secret made from
                plain text.

        Raises:
            TypeError: It is neither. The message names the argument and never shows the value.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, str):
            return cls(str(given), argument.replace("_", " "))
        raise TypeError(_no_text(given, argument, "text or a Secret"))

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return f"<{self._label}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self), _bytes(other))

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled: secrets do not leave the process")


def _bytes(secret: Secret) -> bytes:
    # An encoding error would contain the text, so encoding must never fail.
    return secret.reveal().encode("utf-8", "surrogatepass")


def _no_text(given: object, name: str, wanted: str) -> str:
    if isinstance(given, bytes | bytearray | memoryview):
        cure = "Pass the text itself, decoded."
    elif given is None:
        cure = "Pass the text itself; None often means that a setting is missing."
    else:
        cure = "Pass the text itself."
    return f"{name} must be {wanted}, not {type(given).__name__}. {cure}"
