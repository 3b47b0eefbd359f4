"""The key ring: the keys that seal what is stored, kept outside the database (row V1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from procore_signin._protocol.pkce import base64url
from procore_signin._protocol.secret import Secret
from procore_signin._public import public_in
from procore_signin._store.keys.seal import decode

KEY_BYTES: Final = 32
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KEY_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{43}=?")
_CURE: Final = "`procore-signin init` writes a good one."


@dataclass(frozen=True, slots=True)
class Key:
    """32 bytes and the id that sealed values name them by. The repr shows the id."""

    id: str
    raw: bytes = field(repr=False)


@public_in("procore_signin")
class KeyRing:
    """Keys in order: the first seals and opens, the others only open what they sealed before.

    One key may seal 2^32 values before random 96-bit nonces become likely to repeat
    (NIST SP 800-38D §8.3); at a thousand sign-ins a minute that is eight years.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys: Final = keys

    @classmethod
    def parse(cls, text: Secret | str) -> KeyRing:
        """Read the setting `PROCORE_KEYS`: `<id>:<key>[,<older id>:<key>…]`.

        Args:
            text: Ids of 1 to 32 letters, digits, `_` and `-`; keys of 32 bytes in base64url, with
                or without the `=` at the end. White space around an entry is ignored.

        Raises:
            ValueError: The text breaks a rule. The message names the rule and the entry's place,
                never a part of the text.
            TypeError: It is no text.
        """
        text = Secret.of(text, argument="keys")
        try:
            keys = tuple(
                _parse_key(place, entry.strip())
                for place, entry in enumerate(text.reveal().split(","), start=1)
            )
        except ValueError as error:
            broken = str(error)
        else:
            return cls(_all_different(keys))
        # Here, where no frame of the traceback has a part of the text among its variables.
        raise ValueError(broken)

    @staticmethod
    def generate(random_bytes: Callable[[int], bytes], *, key_id: str) -> Secret:
        """Return the text of one new key, `<key id>:<43 characters>`, for `PROCORE_KEYS`.

        Args:
            random_bytes: A cryptographic source, such as `secrets.token_bytes`.
            key_id: 1 to 32 letters, digits, `_` and `-`, unused in the ring, such as `k20270131`.

        Raises:
            ValueError: `key_id` is none.
        """
        if not _KEY_ID.fullmatch(key_id):
            raise ValueError("A key id has 1 to 32 letters, digits, _ and -.")
        return Secret(f"{key_id}:{base64url(random_bytes(KEY_BYTES))}", "key")

    @property
    def ids(self) -> tuple[str, ...]:
        """The keys' ids, the active one first."""
        return tuple(key.id for key in self._keys)

    def derive(self, purpose: str) -> tuple[Key, ...]:
        """Return one subkey for each key, in order, that serves `purpose` alone.

        HKDF-SHA256 (RFC 5869) with the purpose as `info`, so that a value sealed for one purpose
        never opens for another, whatever its context says.
        """
        info = f"procore-signin {purpose}".encode()
        return tuple(
            Key(key.id, HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(key.raw))
            for key in self._keys
        )

    def __repr__(self) -> str:
        return f"<key ring {', '.join(self.ids)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled: keys do not leave the process")


def _all_different(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    if len({key.id for key in keys}) < len(keys):
        raise ValueError("PROCORE_KEYS: two keys have the same id. Give each its own.")
    if len({key.raw for key in keys}) < len(keys):
        raise ValueError("PROCORE_KEYS: one key stands there twice. Keep it under one id.")
    return keys


def _parse_key(place: int, entry: str) -> Key:
    key_id, colon, key_text = entry.partition(":")
    where = f"PROCORE_KEYS: entry {place}"
    if not colon or not _KEY_ID.fullmatch(key_id):
        raise ValueError(
            f"{where} does not start with a key id of 1 to 32 letters, digits, _ and -, "
            f"followed by a colon. {_CURE}"
        )
    if not _KEY_TEXT.fullmatch(key_text):
        raise ValueError(f"{where} is not a key of 32 bytes in base64url. {_CURE}")
    try:
        raw = decode(key_text.rstrip("="))
    except ValueError:
        raise ValueError(
            f"{where} is no canonical base64url: its last character is mistyped. {_CURE}"
        ) from None
    return Key(key_id, raw)
