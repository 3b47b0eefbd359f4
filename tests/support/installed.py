"""What pip would install with an extra, taken from this environment without the network."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OURS = PROJECT["name"]


def required(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """Return what a distribution requires on this machine, with these extras."""
    if name == OURS:  # not from what was installed, which may be older
        yield from map(Requirement, PROJECT["dependencies"])
        for extra in extras:
            yield from map(Requirement, PROJECT["optional-dependencies"][extra])
        return
    for line in distribution(name).requires or []:
        wanted = Requirement(line)
        chosen = {"", *extras}
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": each}) for each in chosen):
            yield wanted


def distributions_of(extra: str | None) -> set[str]:
    """Return the names of all distributions that come with the project and this extra."""
    seen: dict[str, frozenset[str]] = {}
    waiting = [(OURS, frozenset({extra} if extra else ()))]
    while waiting:
        name, extras = waiting.pop()
        extras |= seen.get(name, frozenset())
        if seen.get(name) == extras:
            continue
        seen[name] = extras
        waiting += [(each.name.lower(), frozenset(each.extras)) for each in required(name, extras)]
    return set(seen)


def environment_of(extra: str | None, folder: Path) -> Path:
    """Fill `folder` with links to exactly what pip would install with `extra`, and return it."""
    (folder / "procore_signin").symlink_to(ROOT / "src" / "procore_signin")
    for name in distributions_of(extra):
        for place in places_of(name):
            if not (folder / place.name).exists():
                (folder / place.name).symlink_to(place)
    return folder


@cache
def places_of(name: str) -> list[Path]:
    """Return the files and folders at the top of a distribution."""
    found = distribution(name)
    tops = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
    return [Path(str(found.locate_file(top))) for top in sorted(tops)]


def python_of(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a Python that has only what `folder` has."""
    return [sys.executable, "-S"], {"PYTHONPATH": str(folder)}
