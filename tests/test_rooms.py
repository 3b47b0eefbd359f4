"""Who may import whom, read from the source. docs/architecture.md draws the same table."""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "procore_signin"
OURS = "procore_signin"

# A room is a folder or file directly below the package. Each may import what is listed: a room, or
# one module of it. `""` is the package itself, which only names what it makes public.
MAY_IMPORT: dict[str, set[str]] = {
    "": {"client", "environments", "errors", "events", "flow", "protocol", "store", "transport"},
    "__main__": {"cli"},
    "errors": set(),
    "environments": set(),
    "events": {"forks"},
    "forks": set(),
    "protocol": {"errors"},
    "transport": {"protocol", "errors", "forks"},
    "store": {"protocol", "errors", "forks"},
    "flow": {"protocol", "store", "environments", "errors", "events", "forks"},
    "settings": {"protocol", "store", "environments", "errors"},
    "client": {
        "settings",
        "api",
        "flow",
        "transport",
        "store",
        "protocol",
        "environments",
        "errors",
        "events",
        "forks",
    },
    "api": {
        "client",
        "flow",
        "transport",
        "protocol",
        "environments",
        "errors",
        "events",
        "forks",
    },
    "web": {
        "settings",
        "client",
        "flow",
        "protocol.authorization",
        "protocol.secret",
        "store.records",
        "environments",
        "errors",
        "events",
        "forks",
    },
    "app": {
        "settings",
        "web",
        "client",
        "flow",
        "store",
        "protocol.secret",
        "protocol.wire",
        "transport",
        "environments",
        "errors",
        "events",
        "forks",
    },
    "emulator": {"environments"},
    "cli": {
        "api",
        "app",
        "settings",
        "web",
        "client",
        "emulator",
        "flow",
        "store",
        "transport",
        "protocol",
        "environments",
        "errors",
        "events",
        "forks",
    },
    "pytest_plugin": {"emulator", "client", "store"},
}
# Single files that may do more than their room.
EXCEPTIONS: dict[str, set[str]] = {
    "flow/runners.py": {"transport"},
    "web/django/management/commands/procore_signin_upgrade.py": {"store.migrate"},
}

FRAMEWORKS = {"starlette", "fastapi", "flask", "django", "litestar", "quart"}
# Each mapping imports its own framework; FastAPI is Starlette underneath.
MAPPINGS = {
    "web/starlette.py": {"starlette"},
    "web/fastapi.py": {"fastapi", "starlette"},
    "web/flask.py": {"flask"},
    "web/django": {"django"},
}


def mapping_of(place: str) -> set[str]:
    """Return the frameworks that the file at `place` maps to; its folder speaks for it."""
    folder = "/".join(place.split("/")[:2])
    return MAPPINGS.get(place) or MAPPINGS.get(folder) or set()


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    first = relative.parts[0] if len(relative.parts) > 1 else relative.stem
    return "" if first == "__init__" else first


def imports(source: str, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield every module or name that `source` imports, absolute, wherever it stands."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                kept = parents[: len(parents) - node.level + 1]
                base = ".".join([*kept, *([base] if base else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (
                a.value
                for a in node.args
                if isinstance(a, ast.Constant) and isinstance(a.value, str)
            )


def trespasses(source: str, path: Path) -> list[str]:
    """Return what the file at `path` imports of ours without being allowed to."""
    room, relative = room_of(path), path.relative_to(SOURCE).as_posix()
    module = ".".join([OURS, *path.relative_to(SOURCE).with_suffix("").parts])
    allowed = MAY_IMPORT[room] | EXCEPTIONS.get(relative, set())
    found = []
    for name in imports(
        source, module.removesuffix(".__init__"), is_package=path.stem == "__init__"
    ):
        top, _, inner = name.partition(".")
        if top != OURS or inner.split(".")[0] == room:
            continue
        if not any(f"{inner}.".startswith(f"{door}.") for door in allowed):
            found.append(name)
    return found


def test_every_room_has_a_line_in_the_table() -> None:
    rooms = {room_of(path) for path in modules()}

    assert set() == rooms - MAY_IMPORT.keys()


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_a_file_imports_only_the_rooms_it_may(path: Path) -> None:
    assert trespasses(path.read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("protocol/pkce.py", "from procore_signin.store import Store"),
        ("protocol/pkce.py", "from ..store.keyring import KeyRing"),
        ("protocol/pkce.py", "from .. import store"),
        ("protocol/pkce.py", "def f():\n    import procore_signin.client"),
        ("flow/sign_in.py", "from procore_signin.transport import Transport"),
        ("web/starlette.py", "from procore_signin.protocol.token_set import TokenSet"),
        ("emulator/options.py", "from procore_signin.errors import SettingsInvalid"),
        ("client.py", "import importlib\nimportlib.import_module('procore_signin.app')"),
        ("store/store.py", "from procore_signin import Secret"),
    ],
)
def test_a_trespass_is_seen_however_it_is_written(place: str, source: str) -> None:
    assert len(trespasses(source, SOURCE / place)) == 1


def test_the_protocol_needs_the_standard_library_only() -> None:
    foreign = {
        name
        for path in modules()
        if room_of(path) in {"protocol", "errors", "environments", "events", "forks"}
        for name in imports(path.read_text(encoding="utf-8"), OURS, is_package=True)
        if name.split(".")[0] not in {*sys.stdlib_module_names, OURS}
    }

    assert set() == foreign


def test_only_the_mapping_of_a_framework_imports_it() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), top)
        for path in modules()
        if room_of(path) not in {"app", "emulator", "cli", "pytest_plugin"}
        for name in imports(path.read_text(encoding="utf-8"), OURS, is_package=True)
        if (top := name.split(".")[0]) in FRAMEWORKS
    }

    assert set() == {(place, top) for place, top in found if top not in mapping_of(place)}


def test_importing_the_package_imports_no_framework_and_no_driver() -> None:
    program = f"import json, sys, {OURS}; print(json.dumps(sorted(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    loaded = {name.split(".")[0] for name in json.loads(shown.stdout)}

    unwanted = FRAMEWORKS | {"sqlite3", "psycopg", "pymysql", "alembic", "granian", "typer"}
    unwanted |= {"jinja2", "structlog", "rich", "prometheus_client"}
    assert set() == loaded & unwanted


def test_every_import_of_the_library_is_a_declared_dependency() -> None:
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    required = {
        re.split(r"[^A-Za-z0-9_.-]", requirement)[0].replace("-", "_").lower()
        for requirement in [*project["project"]["dependencies"], *itertools.chain(*extras)]
    }
    required |= {"dotenv", "yaml"}  # the modules of python-dotenv and PyYAML
    imported = {
        top
        for path in modules()
        for name in imports(path.read_text(encoding="utf-8"), OURS, is_package=True)
        if (top := name.split(".")[0]) not in {*sys.stdlib_module_names, OURS}
    }

    assert imported - required == set()
