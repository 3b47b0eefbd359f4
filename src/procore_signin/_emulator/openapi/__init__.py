"""OpenAPI documents of the emulator: of the emulated Procore and of the control API.

They are for developers in other languages, for generators of clients, and for the test that sends
what they allow and what they forbid. Another test compares their paths with the served ones.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["control_document", "procore_document"]


def control_document(url: str) -> dict[str, Any]:
    """Return the document of the control API, `url` being the emulator's own."""
    return _at(url, "control.yaml")


def procore_document(url: str) -> dict[str, Any]:
    """Return the document of Procore, `url` being the emulator's own: login and API in one."""
    return _at(url, "procore.yaml")


def _at(url: str, name: str) -> dict[str, Any]:
    return {**_read(name), "servers": [{"url": url}]}


@cache
def _read(name: str) -> dict[str, Any]:
    """Return a document from its file, read once, at its first use: few emulators are asked."""
    import yaml  # noqa: PLC0415 - as above

    document: dict[str, Any] = yaml.safe_load((files(__name__) / name).read_bytes())
    del document["x-shared"]
    return document
