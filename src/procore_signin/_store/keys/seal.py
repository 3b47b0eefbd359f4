"""The seal: a text that only a key of the ring opens, and only where it was put (rows V1, V2)."""

from __future__ import annotations

import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from procore_signin._protocol.pkce import TO_BASE64URL
from procore_signin._protocol.secret import Secret
from procore_signin.errors import VaultSealed

if TYPE_CHECKING:
    from procore_signin._store.keys.keyring import KeyRing  # it reads its keys with `decode`

VERSION: Final = "v1"
_BOUND_VERSION: Final = len(VERSION).to_bytes(4, "big") + VERSION.encode()
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_PARTS: Final = 3
_TO_BASE64: Final = bytes.maketrans(b"-_+/=", b"+/---")
"""To the alphabet of base64. What base64url has not becomes `-`, which base64 refuses."""
_LAST: Final = (None, frozenset[str](), frozenset("AQgw"), frozenset("AEIMQUYcgkosw048"))
"""Which characters set no bit beyond the last byte, by how many stand in the last group of four."""


class Seal:
    """AES-256-GCM under the ring's subkeys for one purpose. Safe to use from any thread.

    A sealed value is `v1.<key id>.<base64url of nonce, ciphertext and tag>`. Its context is not
    stored in it but must be told again to open it, so a value that is moved to another row, column,
    user, environment or cookie does not open.
    """

    __slots__ = ("_active", "_ciphers", "_random_bytes")

    def __init__(
        self,
        keys: KeyRing,
        *,
        purpose: str,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        subkeys = keys.derive(purpose)
        self._ciphers: Final = {key.id: AESGCM(key.raw) for key in subkeys}
        self._active: Final = subkeys[0].id
        self._random_bytes: Final = random_bytes

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the ring's keys, the active one first."""
        return tuple(self._ciphers)

    def seal(self, plain: bytes | str, *, context: tuple[str, ...]) -> str:
        """Return `plain` sealed with the active key for `context`, as ASCII without spaces."""
        raw = plain.encode() if isinstance(plain, str) else plain
        nonce = self._random_bytes(_NONCE_BYTES)
        ciphertext = self._ciphers[self._active].encrypt(nonce, raw, _associated_data(context))
        body = b2a_base64(nonce + ciphertext, newline=False).translate(TO_BASE64URL, b"=").decode()
        return f"{VERSION}.{self._active}.{body}"

    def open(self, sealed: str, *, context: tuple[str, ...]) -> bytes:
        """Return what was sealed for `context`.

        Raises:
            VaultSealed: Another version, a key that is not in the ring, or a value that was
                changed, or sealed for another context.
        """
        parts = sealed.split(".")
        if len(parts) != _PARTS or parts[0] != VERSION:
            raise _sealed(
                "A sealed value has a form that this version does not know.",
                "Look for a damaged row, or run the newer version of procore-signin that wrote it.",
            )
        _, key_id, body = parts
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise _sealed(
                "A sealed value was made with a key that is not in PROCORE_KEYS.",
                "Put the older key back, behind the active one.",
            )
        raw = _sealed_bytes(body)
        nonce, ciphertext = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, ciphertext, _associated_data(context))
        except InvalidTag:
            raise _damaged() from None

    def open_secret(self, sealed: str, *, context: tuple[str, ...], label: str) -> Secret:
        """Return what was sealed for `context` as a `Secret` that prints as `label`.

        Raises:
            VaultSealed: As `open`, or it is no UTF-8 text.
        """
        try:
            return Secret(self.open(sealed, context=context).decode(), label)
        except UnicodeDecodeError:
            raise _damaged() from None


def decode(text: str) -> bytes:
    """Return the bytes of base64url without padding, the only spelling that `base64url` makes.

    Raises:
        ValueError: Another alphabet, or bits that `base64url` would not set: two spellings of the
            same bytes would let a sealed value be changed without a trace.
    """
    over = len(text) % 4
    last = _LAST[over]
    if not text.isascii() or (last is not None and text[-1] not in last):
        raise ValueError("not the canonical base64url")
    return a2b_base64(text.encode().translate(_TO_BASE64) + b"=" * (-over % 4), strict_mode=True)


def _sealed_bytes(body: str) -> bytes:
    try:
        raw = decode(body)
    except ValueError:
        raise _damaged() from None
    if len(raw) < _NONCE_BYTES + _TAG_BYTES:
        raise _damaged()
    return raw


def _damaged() -> VaultSealed:
    return _sealed(
        "A sealed value was changed, or is not where it was sealed for.",
        "Look for a damaged or edited row, or for another key under the same id.",
    )


def _sealed(what: str, cure: str) -> VaultSealed:
    return VaultSealed(f"{what} {cure}", hint=cure)


@lru_cache(maxsize=1024)  # a user's tokens are opened again and again
def _associated_data(context: tuple[str, ...]) -> bytes:
    """Bind the version and the context: each with its length, so that no two contexts collide."""
    bound = _BOUND_VERSION
    for part in context:
        raw = part.encode()
        bound += len(raw).to_bytes(4, "big") + raw
    return bound
