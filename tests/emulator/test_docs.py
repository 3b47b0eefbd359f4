"""The pages about the emulator: their examples run, and their tables are complete."""

from __future__ import annotations

import inspect
import re
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from pages import DOCS, run_by
from starlette.applications import Starlette

from procore_signin._emulator.faults.kinds import KINDS
from procore_signin.emulator import Emulator, EmulatorOptions, read_population

TEXT = (DOCS / "reference" / "emulator.md").read_text(encoding="utf-8")
pytest_plugins = ["pytester"]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def run(program: str, source: str, emulator: Emulator, folder: Path) -> list[str]:
    """Run a program on a file with the emulator's address in it; returns the lines it prints."""
    file = folder / f"snippet{'.mjs' if program.endswith('node') else ''}"
    file.write_text(source.replace("http://127.0.0.1:4568", emulator.url))
    done = subprocess.run(
        [program, str(file)],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "NO_PROXY": "*"},
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout.splitlines()


@pytest.mark.parametrize("interpreter", ["node", "ruby"])
def test_the_snippets_of_other_languages_sign_in_refresh_and_revoke(
    emulator: Emulator,
    program: Callable[[str], str],
    tmp_path: Path,
    interpreter: str,
) -> None:
    [snippet] = {"node": run_by("node"), "ruby": run_by("ruby")}[interpreter]
    login = "joecontractor@procore.com"
    expected = [login, login, "The access token was revoked"]
    assert expected == run(program(interpreter), snippet.text, emulator, tmp_path)
    assert [] == emulator.live_grants()


def test_the_commands_for_curl_run_in_their_order(
    emulator: Emulator, program: Callable[[str], str], tmp_path: Path
) -> None:
    program("curl")
    [commands] = run_by("curl")
    said = "".join(run("/bin/sh", commands.text, emulator, tmp_path))
    assert '{"id":7,"login":"ada@example.com","name":"Ada Lovelace"}{"now":' in said
    assert '"kind":"drop-after-commit"' in said
    assert '"target":"/rest/v1.0/me"' in said
    assert '"login":"ada@example.com","created_at"' in said
    assert said.endswith('{"revoked":1}{}')
    assert [] == emulator.requests


def test_the_examples_for_pytest_run(pytester: pytest.Pytester) -> None:
    [tests] = run_by("pytest")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nfilterwarnings = error\n")
    pytester.makepyfile(f"import httpx2\nimport pytest\n\n{tests.text}")
    plugins = ("-p", "no:cacheprovider", "-p", "asyncio", "-p", "procore_signin.pytest_plugin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        done = pytester.runpytest_subprocess(
            *plugins, "-o", "asyncio_default_fixture_loop_scope=function", timeout=60
        )
    done.assert_outcomes(passed=4)


def test_the_example_of_an_application_mounts_the_emulator() -> None:
    [example] = run_by("mount")
    names: dict[str, object] = {}
    exec(compile(example.text, "example", "exec"), names)  # noqa: S102 - our own page
    assert isinstance(names["app"], Starlette)


def test_the_examples_of_faults_are_accepted(emulator: Emulator) -> None:
    examples = "".join(block.text for block in run_by("faults"))
    exec(compile(examples, "examples", "exec"), {"emulator": emulator})  # noqa: S102 - our own page
    assert 5 == len(list(emulator.faults()))


def test_the_example_of_a_seed_file_can_be_read(tmp_path: Path) -> None:
    [example] = run_by("seed-file")
    path = tmp_path / "people.yaml"
    path.write_text(example.text)
    assert ["Ada Lovelace"] == [person.name for person in read_population(path).people]


def test_every_switch_is_listed_with_its_values_the_default_first() -> None:
    listed = {name: cells[1] for cells in rows("Switches") for name in named(cells[0])}
    of_the_client = {"client_id", "client_secret", "client_name", "redirect_uris"}
    switches = {field.name: field.default for field in fields(EmulatorOptions)}
    assert switches.keys() - of_the_client == listed.keys()
    words = {True: "on", False: "off", None: "none"}
    for name, values in listed.items():
        default = switches[name]
        first = values.split(",")[0].strip("`")
        assert str(words.get(default) if default in (True, False, None) else default) == first, name


def test_every_fault_is_listed_with_every_setting_it_takes() -> None:
    listed = {named(cells[0])[0]: set(named(cells[2])) for cells in rows("Faults")}
    assert KINDS.keys() == listed.keys()
    for kind, make in KINDS.items():
        source = inspect.getsource(make)
        taken = {name or "headers" for name in re.findall(r'read\.\w+\((?:"(\w+)")?', source)}
        assert taken == listed[kind], kind
