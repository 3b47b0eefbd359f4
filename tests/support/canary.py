"""The secrets that passed through an emulated Procore, and how they could be shown."""

from __future__ import annotations

import base64
import contextlib
import json
from urllib.parse import parse_qs, quote

from procore_signin.emulator import Emulator


def spellings(secret: str) -> set[bytes]:
    """Return the forms in which a secret could hide: as it is, escaped, and in base64."""
    raw = secret.encode()
    encoded = {base64.b64encode(raw[shift:]).rstrip(b"=")[:-2] for shift in range(3)}
    return {raw, quote(secret, safe="").encode(), *(each for each in encoded if len(each) > 8)}


def shown(secrets: set[str], output: bytes) -> set[str]:
    """Return the beginnings of those `secrets` that stand in `output`, however they are spelled."""
    return {each[:6] + "…" for each in secrets for form in spellings(each) if form in output}


def secrets_that_passed(emulator: Emulator) -> set[str]:
    """Return every code, verifier, token and client secret that was sent to or fro."""
    secrets: set[str] = set()
    for exchange in emulator.requests:
        form = parse_qs(exchange.request_body.decode("latin-1"))
        for name in ("code", "code_verifier", "refresh_token", "token", "client_secret"):
            secrets.update(form.get(name, ()))
        with contextlib.suppress(ValueError):
            answer = json.loads(exchange.response_body)
            if isinstance(answer, dict):
                for name in ("access_token", "refresh_token"):
                    secrets.add(str(answer.get(name) or "nothing-of-the-kind"))
    return secrets
