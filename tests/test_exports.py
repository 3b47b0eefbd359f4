"""`__all__` of every package says exactly what the package offers."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import procore_signin

PACKAGES = [
    procore_signin.__name__,
    *(
        module.name
        for module in pkgutil.walk_packages(procore_signin.__path__, "procore_signin.")
        if module.ispkg and ".migrations" not in module.name
    ),
]


def public_names(package: ModuleType) -> set[str]:
    return {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }


def as_sorted(name: str) -> tuple[int, str]:
    """CONSTANTS first, then Classes, then functions: the order that ruff keeps (RUF022)."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_lists_all_that_it_offers_in_order(name: str) -> None:
    package = importlib.import_module(name)

    listed = getattr(package, "__all__", [])
    assert sorted(public_names(package), key=as_sorted) == list(listed)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_star_import_works_in_a_fresh_process(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"from {name} import *"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
