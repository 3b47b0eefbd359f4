"""OpenAPI documents of the emulator: of the emulated Procore and of the control API.

They are for people who write in other languages, for generators of clients, and for the test that
sends what they allow and what they forbid. Another test compares their paths with what is answered.
"""

from __future__ import annotations

from procore_signin._emulator.openapi.control import control_document
from procore_signin._emulator.openapi.procore import procore_document

__all__ = ["control_document", "procore_document"]
