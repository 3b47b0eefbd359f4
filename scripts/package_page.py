"""Makes the README the page of the package: what links into the repository gets its address.

Hatchling calls this when it builds; the address is `Source` in `[project.urls]`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)]+)\)")


def absolute(text: str, source: str) -> str:
    """Return the text of a page whose links lead to the repository at `source`."""
    return LINK.sub(
        lambda link: (
            f"{link[1]}[{link[2]}]({source}/{'raw' if link[1] else 'blob'}/HEAD/{link[3]})"
        ),
        text,
    )


class PackagePage(MetadataHookInterface):
    """The hook: `readme` in `dynamic` of pyproject.toml says that it decides."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the page to what the package says of itself."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, metadata["urls"]["Source"]),
        }
