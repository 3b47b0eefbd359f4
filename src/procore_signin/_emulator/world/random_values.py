"""Where codes, tokens and ids come from: random bytes passed in, so that a seed repeats them."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Final

RandomBytes = Callable[[int], bytes]

_JWT_HEADER: Final = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzUxMiJ9"
_ES512_SIGNATURE_BYTES: Final = 132


def seeded_bytes(seed: int) -> RandomBytes:
    """Return random bytes that are the same for the same `seed`. For tests, never for secrets."""
    return random.Random(seed).randbytes  # noqa: S311 - repeatable on purpose; protects nothing


class RandomValues:
    """Makes every value that must not be guessed.

    Args:
        random_bytes: Takes a number of bytes, returns that many random ones.
    """

    __slots__ = ("_random_bytes",)

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes

    def hexadecimal(self) -> str:
        """Return 64 hexadecimal digits: Procore's form of a code and of a refresh token."""
        return self._random_bytes(32).hex()

    def access_token(self, client_id: str) -> str:
        """Return an access token in Procore's form: a JWT header, a payload that begins with `aid`.

        The payload says that it is not Procore's, and the signature is random bytes: it cannot be
        mistaken for a real one, and no client can verify it, so it stays opaque.
        """
        payload = json.dumps(
            {"aid": client_id, "iss": "local-emulator", "jti": self._random_bytes(16).hex()},
            separators=(",", ":"),
        )
        signature = self._random_bytes(_ES512_SIGNATURE_BYTES)
        return f"{_JWT_HEADER}.{_base64url(payload.encode())}.{_base64url(signature)}"

    def request_id(self) -> str:
        """Return an `x-request-id`, in the form of a UUID."""
        digits = self._random_bytes(16).hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def chance(self) -> float:
        """Return a number from 0 to 1, 1 excluded."""
        return int.from_bytes(self._random_bytes(6), "big") / (1 << 48)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
