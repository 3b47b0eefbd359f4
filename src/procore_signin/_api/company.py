"""The header that names the company of a request."""

from __future__ import annotations

import re
from typing import Final

HEADER: Final = "Procore-Company-Id"
_ID: Final = re.compile(rb"[1-9][0-9]{0,18}")
_MAX_ID: Final = 2**63 - 1


def company_header(company_id: int) -> str:
    """Return the value of `Procore-Company-Id` for `company_id` (row P4).

    Raises:
        ValueError: It is not an integer from 1 to 2**63 - 1. Text is refused, even digits: code
            that reads the id from a form or a URL must convert it, and handle errors, there.
    """
    # Not isinstance: true is an int to Python.
    if type(company_id) is not int or not 1 <= company_id <= _MAX_ID:
        raise ValueError("A company id is an integer from 1 to 2**63 - 1")
    return str(company_id)


def is_company_header(value: bytes) -> bool:
    """Return whether `value` can be the value of a `Procore-Company-Id` header."""
    return _ID.fullmatch(value) is not None and int(value) <= _MAX_ID
