"""docs/how-to/test-your-application.md is done, on the applications of the other pages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pages import DOCS, Block, blocks_of, path_of, run_by

PYTEST = (sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir=.")
OURS = ("-p", "no:cacheprovider", "-p", "procore_signin.pytest_plugin")
PLUGINS = (*OURS, "-p", "pytest_asyncio.plugin")


def application_of(framework: str, folder: Path) -> None:
    """Write the files that the page of a framework shows."""
    if framework == "django":
        do(["django-admin", "startproject", "mysite", "."], folder)
    for block in blocks_of(DOCS / "how-to" / f"{framework}.md"):
        if block.title is not None:
            path = folder / block.title
            before = path.read_text() if "append" in block.words else ""
            path.write_text(before + block.text)


def write(block: Block, folder: Path) -> None:
    """Write a block into the file that its first line names."""
    first = block.text.partition("\n")[0]
    (folder / first.removeprefix("# ")).write_text(block.text)


def do(words: Sequence[str], folder: Path, **more: str) -> str:
    """Run a command, which has to succeed; return what it printed."""
    done = subprocess.run(
        words,
        cwd=folder,
        env={
            "PATH": path_of(sys.executable),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
            **more,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_fastapi(tmp_path: Path) -> None:
    application_of("fastapi", tmp_path)
    [settings], [first] = run_by("own-settings"), run_by("own-first")
    [tests], [faults] = run_by("own-fastapi"), run_by("own-faults")
    for block in (settings, tests, faults):
        write(block, tmp_path)
    with (tmp_path / "test_main.py").open("a") as file:
        file.write(first.text.replace("def test_projects", "\ndef test_of_the_first_screen"))

    assert "9 passed" in do([*PYTEST, *PLUGINS], tmp_path)


def test_flask(tmp_path: Path) -> None:
    application_of("flask", tmp_path)
    [settings], [tests] = run_by("own-settings"), run_by("own-flask")
    for block in (settings, tests):
        write(block, tmp_path)

    assert "2 passed" in do([*PYTEST, *PLUGINS], tmp_path)


@pytest.mark.parametrize("more", [[], ["--parallel", "2"]], ids=["alone", "parallel"])
def test_django(tmp_path: Path, more: list[str]) -> None:
    application_of("django", tmp_path)
    [tests] = run_by("own-django")
    write(tests, tmp_path)

    assert "Ran 3 tests" in do([sys.executable, "manage.py", "test", *more], tmp_path)


@pytest.mark.parametrize("more", [[], ["-p", "xdist", "-n", "2"]], ids=["alone", "xdist"])
def test_pytest_django(tmp_path: Path, more: list[str]) -> None:
    application_of("django", tmp_path)
    [settings], [tests] = run_by("own-settings"), run_by("own-pytest-django")
    for block in (settings, tests):
        write(block, tmp_path)
    command = [*PYTEST, *PLUGINS, "-p", "pytest_django.plugin", *more]

    said = do(command, tmp_path, DJANGO_SETTINGS_MODULE="mysite.settings")
    assert "1 passed" in said
