"""Who may import whom, read from the source. docs/explanation/architecture.md has the table."""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "procore_signin"
OURS = "procore_signin"

# A room is a folder or file directly below the package. Each may import what is listed: a room, or
# one module of it. `""` is the package itself, which only names what it makes public. A room whose
# name begins with an underscore is private: users import nothing from it.
BASE = {"errors", "_extras", "_forks", "_program", "_public"}
CORE = {*BASE, "_protocol", "environments", "events"}
MAY_IMPORT: dict[str, set[str]] = {
    "": {
        "_client",
        "environments",
        "errors",
        "events",
        "_flow",
        "_protocol",
        "_store",
        "_web.options",
        "_web.embedded.login",
    },
    "__main__": {"_cli"},
    "errors": set(),
    "environments": set(),
    "events": {"_forks"},
    "_extras": set(),
    "_forks": set(),
    "_program": set(),
    "_public": set(),
    "_protocol": {"errors", "_public"},
    "_transport": {*BASE, "_protocol"},
    "_store": {*BASE, "_protocol"},
    "_flow": {*CORE, "_store"},
    "_settings": {"_program", "_protocol", "_store", "environments", "errors"},
    "_client": {*CORE, "_settings", "_flow", "_transport", "_store", "api"},
    "_api": {*CORE, "_flow", "_transport"},
    "_web": {
        *CORE - {"_protocol"},
        "_settings",
        "_client",
        "_flow",
        "_protocol.authorization",
        "_protocol.secret",
        "_protocol.value",
        "_store.records",
        "_store.sessions",
    },
    "_app": {
        *CORE,
        "_settings",
        "web.starlette",
        "_web",
        "_client",
        "_flow",
        "_store",
        "_transport",
    },
    "_emulator": {"_extras", "environments"},
    "_cli": {
        *CORE,
        "api",
        "_api",
        "app",
        "_app",
        "_settings",
        "_web",
        "_client",
        "emulator",
        "_emulator",
        "_flow",
        "_store",
        "_transport",
    },
    "alembic": {"_settings", "_store", "errors"},
    "api": {"_api"},
    "app": {"_app", "_extras"},
    "emulator": {"_emulator", "_extras"},
    "web": {
        "_web",
        "_settings",
        "_client",
        "_flow",
        "_store.records",
        "_store.probe",
        "_store.sessions",
        "_store.users",
        "environments",
        "errors",
        "_extras",
        "events",
        "_forks",
        "_program",
    },
    "testing": {"_extras", "_testing"},
    "_testing": {
        *CORE - {"events", "_forks"},
        "_api",
        "_client",
        "_emulator",
        "_flow",
        "_store",
        "_transport",
        "_web",
        "web",
    },
    "pytest_plugin": {"emulator", "_extras", "testing"},
}
# Inside a room that has folders: which folder may import which other. `""` are the files that
# stand directly in the room.
INNER_DOORS: dict[str, dict[str, set[str]]] = {
    "_api": {"": {"http"}, "http": {""}},
    "_cli": {
        "": {"run", "setup", "operator", "personal"},
        "run": {"", "setup"},
        "setup": {"", "run"},
        "operator": {"", "run", "setup"},
        "personal": {"", "setup"},
    },
    "_flow": {"": set(), "running": {""}},
    "_store": {
        "": {"engine", "keys", "linking", "postgresql", "sqlite"},
        "engine": {"keys", "postgresql"},
        "keys": set(),
        "linking": {"", "engine", "keys"},
        "postgresql": {"", "engine", "keys"},
        "rotation": {"", "engine", "keys"},
        "sqlite": {"", "engine", "keys"},
        "migrations": {"", "engine"},
    },
    "_web": {
        "": {"http", "embedded", "json", "look"},
        "http": {""},
        "embedded": {"", "http", "json", "look"},
        "json": {"", "http", "look"},
        "look": set(),
    },
    "_emulator": {
        "": {"world", "wire", "oauth", "rest", "files", "faults"},
        "world": set(),
        "wire": {"", "world", "rest", "faults", "control", "inspector"},
        "oauth": {"", "world", "wire", "rest"},
        "rest": {"", "world", "wire", "oauth"},
        "files": {"", "world"},
        "faults": {"world", "wire"},
        "control": {"", "world", "wire", "oauth", "files", "faults", "openapi"},
        "openapi": set(),
        "inspector": {"journal", "json_depth"},
    },
}
MOST_MODULES = 16
"""In one folder: about a dozen, and what a newcomer can still take in."""
# Single files that may do more than their room.
EXCEPTIONS: dict[str, set[str]] = {
    "_flow/running/runner.py": {"_transport"},
    "_flow/running/async_runner.py": {"_transport", "_store.sqlite"},
    # Its tables are in the project's database, which Django has open already.
    "web/django/database.py": {"_store"},
    "web/django/installed.py": {"_protocol.secret", "_store.engine.address"},
    "web/django/parameters.py": {"_store.engine.address"},
    "web/django/tables.py": {"_store.migrate"},
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


def test_a_file_imports_only_the_rooms_it_may() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), name)
        for path in modules()
        for name in trespasses(path.read_text(encoding="utf-8"), path)
    }

    assert found == set()


def folder_of(room: str, parts: Sequence[str]) -> str:
    """Return the folder of `room` in which a module or name of it is; `""` for the room itself."""
    return parts[0] if parts and (SOURCE / room / parts[0]).is_dir() else ""


def inner_trespasses(source: str, path: Path) -> list[str]:
    """Return what the file at `path` imports through an inner door that is shut."""
    room, relative = room_of(path), path.relative_to(SOURCE)
    doors = INNER_DOORS.get(room)
    if doors is None:
        return []
    here = folder_of(room, relative.parts[1:])
    found = []
    for name in imports(source, OURS, is_package=True):
        top, _, inner = name.partition(".")
        parts = inner.split(".")
        if top != OURS or parts[0] != room:
            continue
        there = folder_of(room, parts[1:])
        is_open = there in {here, *doors[here]} or (not there and parts[1] in doors[here])
        if not is_open:
            found.append(name)
    return found


def test_a_folder_of_a_room_imports_only_the_folders_it_may() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), name)
        for path in modules()
        for name in inner_trespasses(path.read_text(encoding="utf-8"), path)
    }

    assert found == set()


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("_emulator/world/people.py", "from procore_signin._emulator.wire.messages import Reply"),
        ("_emulator/world/people.py", "from procore_signin._emulator import state"),
        (
            "_emulator/inspector/story.py",
            "from procore_signin._emulator import procore",
        ),
        ("_emulator/inspector/story.py", "from procore_signin._emulator.rest import unserved"),
        ("_flow/refresh.py", "from procore_signin._flow.running.runner import Runner"),
        ("_store/engine/clock.py", "from procore_signin._store.schema import users"),
    ],
)
def test_an_inner_trespass_is_seen(place: str, source: str) -> None:
    assert len(inner_trespasses(source, SOURCE / place)) == 1


def test_no_folder_is_a_heap() -> None:
    counted = Counter(path.parent.relative_to(SOURCE).as_posix() for path in modules())

    assert {folder: n for folder, n in counted.items() if n > MOST_MODULES} == {}


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("_protocol/pkce.py", "from procore_signin._store import Store"),
        ("_protocol/pkce.py", "from .._store.keys.keyring import KeyRing"),
        ("_protocol/pkce.py", "from .. import _store"),
        ("_protocol/pkce.py", "def f():\n    import procore_signin._client"),
        ("_flow/sign_in.py", "from procore_signin._transport import Transport"),
        ("web/starlette.py", "from procore_signin._protocol.token_set import TokenSet"),
        ("_emulator/world/options.py", "from procore_signin.errors import SettingsInvalid"),
        ("_client.py", "import importlib\nimportlib.import_module('procore_signin.app')"),
        ("_store/store.py", "from procore_signin import Secret"),
    ],
)
def test_a_trespass_is_seen_however_it_is_written(place: str, source: str) -> None:
    assert len(trespasses(source, SOURCE / place)) == 1


def test_the_protocol_needs_the_standard_library_only() -> None:
    foreign = {
        name
        for path in modules()
        if room_of(path) in {"_protocol", "errors", "environments", "events", "_forks", "_public"}
        for name in imports(path.read_text(encoding="utf-8"), OURS, is_package=True)
        if name.split(".")[0] not in {*sys.stdlib_module_names, OURS}
    }

    assert set() == foreign


def test_only_the_mapping_of_a_framework_imports_it() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), top)
        for path in modules()
        if room_of(path) not in {"_app", "_emulator", "_cli", "_testing", "pytest_plugin"}
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
