"""An authorization code that the person copies from Procore's page: the out-of-band answer.

The redirect URI `urn:ietf:wg:oauth:2.0:oob` leads nowhere: Procore shows the code on a page of its
own. No state comes back with it; the code verifier alone ties it to the attempt (RFC 7636).
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
    """Return the code in what was pasted, or None where there is none.

    Some copy the address of the page in place of the code that it shows: that has it too, as
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
