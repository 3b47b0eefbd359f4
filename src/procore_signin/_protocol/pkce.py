"""Proof Key for Code Exchange (RFC 7636): a code stolen on its way back cannot be redeemed.

Procore does not say whether it verifies the proof; a server without PKCE ignores it (RFC 6749
§3.1). So it is always sent and never relied on (row A4).
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from typing import Final

from procore_signin._protocol.secret import Secret

TO_BASE64URL: Final = bytes.maketrans(b"+/", b"-_")
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
    return Secret(base64url(random), "code verifier")


def code_challenge(verifier: Secret) -> str:
    """Return the S256 challenge of `verifier`: 43 characters, fit for a URL (RFC 7636 §4.2)."""
    return base64url(hashlib.sha256(verifier.reveal().encode("ascii")).digest())


def base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7636 appendix A, RFC 4648 §5)."""
    return b2a_base64(data, newline=False).translate(TO_BASE64URL, b"=").decode("ascii")
