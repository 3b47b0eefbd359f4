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


def test_pytest_django_with_users_of_the_project_in_an_async_test(tmp_path: Path) -> None:
    """The page says it in words: sign in before the test, and with real transactions."""
    application_of("django", tmp_path)
    [settings] = run_by("own-settings")
    write(settings, tmp_path)
    with (tmp_path / "mysite" / "settings.py").open("a") as file:
        file.write('PROCORE_SIGNIN = {"DJANGO_USER": "mysite.people.django_user"}\n')
    (tmp_path / "mysite" / "people.py").write_text(
        "def django_user(user):\n"
        "    from django.contrib.auth.models import User\n"
        "    return User.objects.get_or_create(username=user.email)[0]\n"
    )
    (tmp_path / "test_mysite.py").write_text(
        "import pytest\n"
        "from django.contrib.auth.models import User\n\n"
        "@pytest.fixture\n"
        "def ann(db, async_client, procore_signed_in):\n"
        "    return procore_signed_in(async_client, 'ann@example.com', companies=['Acme'])\n\n"
        "@pytest.mark.asyncio\n"
        "@pytest.mark.django_db(transaction=True)\n"
        "async def test_projects(async_client, ann):\n"
        "    path = f'/projects?company_id={ann.companies[0].id}'\n"
        "    response = await async_client.get(path)\n"
        "    assert response.json() == []\n"
        "    assert await User.objects.filter(username='ann@example.com').acount() == 1\n"
    )
    command = [*PYTEST, *PLUGINS, "-p", "pytest_django.plugin"]

    said = do(command, tmp_path, DJANGO_SETTINGS_MODULE="mysite.settings")
    assert "1 passed" in said


@pytest.mark.parametrize("more", [[], ["-p", "xdist", "-n", "2"]], ids=["alone", "xdist"])
def test_pytest_django(tmp_path: Path, more: list[str]) -> None:
    application_of("django", tmp_path)
    [settings], [tests] = run_by("own-settings"), run_by("own-pytest-django")
    for block in (settings, tests):
        write(block, tmp_path)
    command = [*PYTEST, *PLUGINS, "-p", "pytest_django.plugin", *more]

    said = do(command, tmp_path, DJANGO_SETTINGS_MODULE="mysite.settings")
    assert "1 passed" in said
