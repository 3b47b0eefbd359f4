"""A secret that prints as its name."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn


class Secret:
    """A text that must not be shown: a token, a code, a client secret, a key.

    `str()`, `repr()` and f-strings show the label in angle brackets. It cannot be pickled or
    turned into JSON. Only `reveal()` hands out the text, and only the rooms that put it on the
    wire or under a seal call it. Comparison takes the same time wherever the texts differ.
    """

    __slots__ = ("_label", "_text")
    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key

    def __init__(self, text: str, label: str) -> None:
        self._text: Final = text
        self._label: Final = label

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
