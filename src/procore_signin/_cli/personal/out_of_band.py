"""An authorization code that the user copies from Procore's page: the out-of-band response.

The redirect URI `urn:ietf:wg:oauth:2.0:oob` has no page here: Procore shows the code on its own
page. No state comes back with it; only the code verifier ties it to the attempt (RFC 7636).
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

from procore_signin._protocol.secret import Secret

OUT_OF_BAND: Final = "urn:ietf:wg:oauth:2.0:oob"
_CODE: Final = re.compile(r"[\x21-\x7e]{1,2048}")
_PAGE: Final = "/oauth/authorize/"


def pasted_code(text: str) -> Secret | None:
    """Return the code in the pasted text, or None.

    Some users copy the page's address instead of the code. It contains the code too, as
    `/oauth/authorize/<code>` or `/oauth/authorize/native?code=<code>`.
    """
    text = text.strip().strip("'\"")
    if text.startswith(("http://", "https://")):
        try:
            parts = urlsplit(text)
        except ValueError:
            return None
        named = parse_qs(parts.query).get("code", [])
        if len(named) > 1:
            return None
        text = named[0] if named else parts.path.partition(_PAGE)[2]
    return Secret(text, "code") if _CODE.fullmatch(text) else None
