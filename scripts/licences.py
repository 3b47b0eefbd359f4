"""Prints the licence of each package of requirements/app.txt, as the package itself declares it.

It reads what is installed in .venv, which has the versions of the lock. Exit status 1 if a package
declares none, or one that no one has looked at.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, files, metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALLOWED = re.compile(
    r"0BSD|Apache|BSD|ISC|MIT|MPL-2\.0|Mozilla Public License 2\.0|PSF|Python Software Foundation"
)
OPTIONAL = {"async-timeout", "colorama", "httpx2-jsfetch", "tzdata"}
"""In the lock for other systems or Pythons, and not installed on this one."""


def licence_of(name: str) -> str:
    """Return what the package declares; empty if it declares nothing."""
    declared = metadata(name)
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in declared.get_all("Classifier") or ()
        if each.startswith("License :: ")
    ]
    text = (declared.get("License") or "").strip().partition("\n")[0]
    return declared.get("License-Expression") or ", ".join(classifiers) or text or heading(name)


def heading(name: str) -> str:
    """Return the first lines of the licence that is in the package; empty if there is none."""
    for file in files(name) or ():
        if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            return " ".join(file.read_text("utf-8").split()[:4])
    return ""


def main() -> int:
    """Print the table."""
    wrong = 0
    lock = (ROOT / "requirements" / "app.txt").read_text("utf-8")
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE):
        try:
            licence = licence_of(name)
        except PackageNotFoundError:
            licence = "" if name not in OPTIONAL else "not needed on this system"
        if not ALLOWED.search(licence) and not licence.startswith("not needed"):
            wrong += 1
            licence += " (to be looked at)"
        print(f"{name:24} {version:18} {licence}")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
