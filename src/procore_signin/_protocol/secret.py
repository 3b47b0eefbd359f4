"""A secret that prints as its name."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn, Self

from procore_signin._public import public_in


@public_in("procore_signin")
class Secret:
    """A text that must not be shown: a token, a code, a client secret, a key.

    `str()`, `repr()` and f-strings show the label in angle brackets. It cannot be pickled, copied
    or turned into JSON, and so neither can what has one in it, such as a `FreshToken`: a job in
    another process asks for a token of its own. Only `reveal()` hands out the text, and only the
    rooms that put it on the wire or under a seal call it. Comparison takes the same time wherever
    the texts differ.

    Args:
        text: What is secret.
        label: What it is, such as `client secret`.

    Raises:
        TypeError: `text` is no text. The message does not show it.
    """

    __slots__ = ("_label", "_text")
    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key

    def __init__(self, text: str, label: str = "secret") -> None:
        if not isinstance(text, str):
            raise TypeError(_no_text(text, label, "text"))
        self._text: Final = text
        self._label: Final = label

    @classmethod
    def of(cls, given: Self | str, *, argument: str) -> Self:
        """Return the secret that a caller gave, as one or as plain text.

        Args:
            given: The secret.
            argument: What the caller calls it, such as `client_secret`; its label, if it has none.

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
    # An encoding error would carry the text, so the encoding must have none.
    return secret.reveal().encode("utf-8", "surrogatepass")


def _no_text(given: object, name: str, wanted: str) -> str:
    if isinstance(given, bytes | bytearray | memoryview):
        cure = "Pass the text itself, decoded."
    elif given is None:
        cure = "Pass the text itself; None often means that a setting is missing."
    else:
        cure = "Pass the text itself."
    return f"{name} must be {wanted}, not {type(given).__name__}. {cure}"
