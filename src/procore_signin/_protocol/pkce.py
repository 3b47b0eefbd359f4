"""Proof Key for Code Exchange (RFC 7636): a code stolen on its way back cannot be redeemed.

Procore does not say whether it verifies the proof; a server without PKCE ignores it (RFC 6749
§3.1). So it is always sent and never relied on (row A4).
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from procore_signin._protocol.secret import Secret

_FEWEST_BYTES: Final = 32  # 43 characters: the least that RFC 7636 §4.1 allows
_MOST_BYTES: Final = 96  # 128 characters: the most


def code_verifier(random: bytes) -> Secret:
    """Return a code verifier (RFC 7636 §4.1).

    Args:
        random: 32 to 96 bytes from a cryptographic random generator, fresh for each attempt.

    Returns:
        43 to 128 characters of the base64url alphabet.

    Raises:
        ValueError: Too few or too many bytes: a bug in the calling code.
    """
    if not _FEWEST_BYTES <= len(random) <= _MOST_BYTES:
        raise ValueError(f"A code verifier takes {_FEWEST_BYTES} to {_MOST_BYTES} random bytes")
    return Secret(_base64url(random), "code verifier")


def code_challenge(verifier: Secret) -> str:
    """Return the S256 challenge of `verifier`: 43 characters, fit for a URL (RFC 7636 §4.2)."""
    return _base64url(hashlib.sha256(verifier.reveal().encode("ascii")).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
