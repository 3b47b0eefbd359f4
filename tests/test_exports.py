"""`__all__` of every package says exactly what the package offers."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import procore_signin

PACKAGES = [
    procore_signin.__name__,
    *(
        module.name
        for module in pkgutil.walk_packages(procore_signin.__path__, "procore_signin.")
        # Django imports its own parts, when it is configured.
        if module.ispkg and ".migrations" not in module.name and ".django" not in module.name
    ),
]


def public_names(package: ModuleType) -> set[str]:
    """Return what the package's own file takes from our modules or defines without underscore.

    Read from the source, because some packages load their names when they are first used.
    """
    tree = ast.parse(Path(package.__file__ or "").read_text(encoding="utf-8"))
    found = set[str]()
    for node in [*tree.body, *under_type_checking(tree)]:
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("procore_signin"):
                found |= {alias.asname or alias.name for alias in node.names}
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return {name for name in found if not name.startswith("_")}


def under_type_checking(tree: ast.Module) -> list[ast.stmt]:
    """Return what stands below `if TYPE_CHECKING:`."""
    return [inner for node in tree.body if isinstance(node, ast.If) for inner in node.body]


def as_sorted(name: str) -> tuple[int, str]:
    """CONSTANTS first, then Classes, then functions: the order that ruff keeps (RUF022)."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_lists_all_that_it_offers_in_order(name: str) -> None:
    package = importlib.import_module(name)

    listed = getattr(package, "__all__", [])
    assert sorted(public_names(package), key=as_sorted) == list(listed)
    assert [name for name in listed if isinstance(getattr(package, name), ModuleType)] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_a_star_import_works_in_a_fresh_process(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"from {name} import *"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
