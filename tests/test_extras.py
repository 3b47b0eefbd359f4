"""Every command and every mapping works, or names the extra that it needs. Never a traceback.

Each test runs in a folder of links to what pip would install with one extra.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import ending
import pytest
from installed import environment_of, python_of
from packaging.requirements import Requirement

from procore_signin._extras import BRINGS

NAMED = re.compile(
    r"(\w+) is needed here, and is not installed.*?the extra \[([\w-]+)\]", re.DOTALL
)
ROOT = Path(__file__).parents[1]
EXTRAS = [None, *BRINGS]
MODULES = {"pyyaml": "yaml"}
COMMANDS = {
    "help": ["--help"],
    "version": ["--version"],
    "demo": ["demo", "--port", "0", "--emulator-port", "0"],
    "serve": ["serve", "--port", "0", "--as-child"],
    "emulator": ["emulator", "--port", "0", "--as-child"],
    "init": ["init", "--environment", "emulator"],
    "doctor": ["doctor"],
    "db upgrade": ["db", "upgrade"],
    "keys generate": ["keys", "generate"],
    "keys list": ["keys", "list"],
    "users list": ["users", "list"],
    "purge": ["purge"],
    "login": ["login", "--help"],
    "whoami": ["whoami"],
    "api": ["api", "/rest/v1.0/me"],
}
"""Those that would serve end by themselves: as children they stop where standard input ends."""

EMBEDDED = set(COMMANDS) - {"demo", "serve", "emulator", "api"}
EMULATOR = set(COMMANDS) - {"demo", "serve", "api", "keys generate", "keys list", "purge"}
WORK = {
    "app": set(COMMANDS),
    "emulator": EMULATOR,
    "pytest": EMULATOR,
    "fastapi": EMBEDDED,
    "flask": EMBEDDED,
    "flask-login": EMBEDDED,
    "django": EMBEDDED,
}
"""The commands that each extra alone brings everything for."""

# Each command runs in a child, because a server that ends takes its process with it. What they
# share is imported once.
RUN = f"""{inspect.getsource(ending)}
import contextlib, importlib, json, traceback
from functools import partial
from procore_signin._cli import main

def imported(module):
    try:
        importlib.import_module(module)
    except Exception:
        traceback.print_exc()

ours = ("_store.migrate", "_client", "_cli.program", "emulator")
for shared in (
    *("procore_signin." + name for name in ours),
    *("alembic.command", "httpx2", "pydantic.main", "rich.table", "structlog", "typer._adapters"),
):
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(shared)

for name, command in json.loads(sys.argv[1]).items():
    if not os.fork():
        file = os.open(name, os.O_CREAT | os.O_WRONLY)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.argv[1:] = command
        end_after(partial(imported, command) if isinstance(command, str) else main)
    os.wait()
"""


def declared(extra: str) -> set[str]:
    """Return the modules that pyproject.toml says an extra brings, on every machine."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    modules: set[str] = set()
    for each in map(Requirement, extras[extra]):
        if each.name == "procore-signin":
            modules = modules.union(*map(declared, each.extras))
        elif each.marker is None:
            modules.add(MODULES.get(each.name, each.name.replace("-", "_")))
    return modules


def test_the_table_is_what_pyproject_declares() -> None:
    assert {extra: set(modules) for extra, modules in BRINGS.items()} == {
        extra: declared(extra) for extra in BRINGS
    }


def run(extra: str | None, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "installed").mkdir()
    (tmp_path / "work").mkdir()
    python, more = python_of(environment_of(extra, tmp_path / "installed"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROCORE_")}
    return subprocess.run(
        [*python, *arguments],
        check=False,
        cwd=tmp_path / "work",
        env={**clean, "HOME": str(tmp_path), **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )


MAPPINGS = {
    "fastapi": {"fastapi"},
    "starlette": {"fastapi", "app"},
    "flask": {"flask", "flask-login"},
    "django": {"django"},
}
"""The modules below `procore_signin.web`, and the extras that each is imported with."""


def said_by(extra: str | None, tmp_path: Path, tried: dict[str, list[str] | str]) -> dict[str, str]:
    """Return what each command, or import of a module, printed."""
    done = run(extra, tmp_path, "-c", RUN, json.dumps(tried))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return {name: (tmp_path / "work" / name).read_text() for name in tried}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_command_or_mapping_works_or_names_the_extra(extra: str | None, tmp_path: Path) -> None:
    # With all that it needs, the demo would run until somebody stops it.
    tried = {each: line for each, line in COMMANDS.items() if (extra, each) != ("app", "demo")}
    mappings = {name: f"procore_signin.web.{name}" for name in MAPPINGS}

    said = said_by(extra, tmp_path, {**tried, **mappings})

    assert_commands_work_or_name_the_extra({name: said[name] for name in tried}, extra)
    assert_mappings_work_or_name_the_extra({name: said[name] for name in MAPPINGS}, extra)


def assert_commands_work_or_name_the_extra(said: dict[str, str], extra: str | None) -> None:
    works = WORK.get(extra or "", set())
    assert [text for text in said.values() if "Traceback" in text] == []
    assert {name for name, text in said.items() if not NAMED.search(text)} == works & set(said)
    for text in said.values():
        if named := NAMED.search(text):
            module, wanted = named.groups()
            assert module in BRINGS[wanted]
            assert f"Cure: Run: pip install 'procore-signin[{wanted}]'" in text


def assert_mappings_work_or_name_the_extra(said: dict[str, str], extra: str | None) -> None:
    for name, brought_by in MAPPINGS.items():
        if extra in brought_by:
            assert said[name] == ""
        else:
            wanted = "fastapi" if name == "starlette" else name
            last = said[name].splitlines()[-1]
            assert "MissingExtra: " in last
            assert last.endswith(f"Run: pip install 'procore-signin[{wanted}]'")


def test_the_application_names_the_extra(tmp_path: Path) -> None:
    done = run("fastapi", tmp_path, "-c", "from procore_signin.app import create_app")

    assert "Run: pip install 'procore-signin[app]'" in done.stderr


def test_an_address_names_the_extra_of_its_driver(tmp_path: Path) -> None:
    address = "postgresql://localhost/app"
    done = run(
        "fastapi", tmp_path, "-m", "procore_signin", "db", "current", "--database-url", address
    )

    assert "Run: pip install 'procore-signin[postgresql]'" in done.stderr
    assert "Traceback" not in done.stderr
