"""`scripts/environment` with a Python that is a few lines of shell: no network, no minutes."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "cat", "chmod", "cksum", "cp", "dirname", "grep", "mkdir", "pwd", "rm", "tail")
FAKE_PYTHON = """\
#!/bin/sh
case "$*" in
*"sys.version_info < (3, 11)"*)
	[ -z "${FAKE_OLD:-}" ] || exit 1
	echo 3 12 1 /fake ;;
*-V*) echo "Python ${FAKE_OLD:-3.12.1}" ;;
*"%d.%d"*) echo 3.12 ;;
*"import venv, ensurepip"*) exit "${FAKE_WITHOUT_VENV:-0}" ;;
*"-m venv"*)
	echo venv >>"$FAKE_LOG"
	rm -rf .venv
	mkdir -p .venv/bin
	cp "$0" .venv/bin/python ;;
*find_spec*pip) [ -z "${FAKE_WITHOUT_PIP:-}" ] ;;
*find_spec*) [ -f .venv/installed ] ;;
*"-m pip"*)
	echo "pip $*" >>"$FAKE_LOG"
	if [ -n "${FAKE_PIP_SAYS:-}" ]; then echo "$FAKE_PIP_SAYS"; exit 1; fi
	case "$*" in *"-e ."*) echo >.venv/installed ;; esac ;;
*) echo "unexpected: $*" >>"$FAKE_LOG"; exit 9 ;;
esac
"""


@dataclass
class Place:
    """A checkout in a folder, on a machine with the tools listed above and no others."""

    folder: Path
    tools: Path
    log: Path

    def run(self, wanted: str = "app", **settings: str) -> tuple[int, str]:
        """Run the script; return its exit status and its words."""
        done = subprocess.run(
            ["/bin/sh", str(self.folder / "scripts" / "environment"), wanted],
            cwd="/",
            env={"PATH": str(self.tools), "FAKE_LOG": str(self.log)} | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr

    def done(self) -> list[str]:
        """Return what was made or installed since the last look."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return [
            next((name for name in ("app.txt", "test.txt", "-e .") if name in line), line)
            for line in lines
        ]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder, tools = tmp_path / "a check out", tmp_path / "bin"
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        (tools / name).symlink_to(found)
    python = tools / "python3.12"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return Place(folder, tools, tmp_path / "log")


def test_the_first_start_makes_the_environment_and_says_so(place: Place) -> None:
    status, said = place.run()

    assert (status, place.done()) == (0, ["venv", "app.txt", "-e ."])
    assert "Making .venv with Python 3.12 (once)" in said
    assert "pinned packages into .venv (once; downloads about 25 MB)" in said


def test_only_pinned_packages_with_hashes_are_installed(place: Place) -> None:
    place.run()

    pinned, own = (line for line in place.log.read_text().splitlines() if line != "venv")
    assert "--require-hashes -r requirements/app.txt" in pinned
    assert "--no-index --no-deps --no-build-isolation -e ." in own


def test_the_second_start_does_nothing_and_is_silent(place: Place) -> None:
    place.run()
    place.done()

    assert (place.run(), place.done()) == ((0, ""), [])


def test_an_environment_for_tests_serves_the_application_too(place: Place) -> None:
    place.run("test")
    place.done()

    assert (place.run("app"), place.done()) == ((0, ""), [])


def test_an_environment_for_the_application_does_not_serve_tests(place: Place) -> None:
    place.run("app")
    place.done()
    place.run("test")

    assert place.done() == ["test.txt", "-e ."]


@pytest.mark.parametrize("changed", ["requirements/app.txt", "pyproject.toml"])
def test_a_change_of_what_is_needed_installs_again(place: Place, changed: str) -> None:
    place.run()
    place.done()
    path = place.folder / changed
    path.write_text(path.read_text() + "\n")
    place.run()

    assert place.done() == ["app.txt", "-e ."]


def test_an_interrupted_install_is_done_again(place: Place) -> None:
    place.run(FAKE_PIP_SAYS="Interrupted")
    place.done()

    assert (place.run()[0], place.done()) == (0, ["app.txt", "-e ."])


def test_a_folder_that_was_moved_gets_a_new_environment(place: Place) -> None:
    place.run()
    place.done()
    place.folder = place.folder.rename(place.folder.with_name("elsewhere"))
    place.run()

    assert place.done() == ["venv", "app.txt", "-e ."]


def test_an_environment_that_is_a_link_is_left_alone(place: Place, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "kept").touch()
    (place.folder / ".venv").symlink_to(shared)

    status, words = place.run()
    assert (status, list(shared.iterdir())) == (1, [shared / "kept"])
    assert ".venv is a link" in words


def test_an_environment_whose_python_is_gone_is_made_again(place: Place) -> None:
    place.run()
    place.done()
    (place.folder / ".venv" / "bin" / "python").unlink()
    place.run()

    assert place.done() == ["venv", "app.txt", "-e ."]


def test_an_environment_without_pip_is_made_again(place: Place) -> None:
    place.run()
    place.done()
    (place.folder / ".venv" / "ready-app").unlink()
    place.run(FAKE_WITHOUT_PIP="1")

    assert place.done() == ["venv", "app.txt", "-e ."]


def test_a_machine_without_a_new_enough_python_is_told_what_to_install(place: Place) -> None:
    (place.tools / "python3.12").rename(place.tools / "python3")

    status, said = place.run(FAKE_OLD="3.9.2")

    assert status == 1
    assert "Python 3.11 or newer is needed" in said
    assert "(Found: python3 is Python 3.9.2.)" in said
    assert "apt-get install python3 python3-venv" in said


def test_a_machine_without_any_python_is_told_the_same(place: Place) -> None:
    (place.tools / "python3.12").unlink()

    status, said = place.run()

    assert (status, "Found" in said) == (1, False)
    assert "Python 3.11 or newer is needed, and none is on the PATH." in said


def test_a_python_that_was_named_and_is_none_is_refused(place: Place) -> None:
    status, said = place.run(PYTHON="/nonexistent/python")

    assert (status, "PYTHON=/nonexistent/python is not a Python 3.11" in said) == (1, True)


def test_a_python_without_its_venv_module_names_debians_package(place: Place) -> None:
    status, said = place.run(FAKE_WITHOUT_VENV="1")

    assert (status, "apt-get install python3.12-venv" in said) == (1, True)


def test_without_a_network_it_says_so_instead_of_pips_last_words_alone(place: Place) -> None:
    status, said = place.run(FAKE_PIP_SAYS="NewConnectionError: Failed to establish a connection")

    assert status == 1
    assert "there seems to be no way to the package index" in said
    assert "The first start needs the network once." in said
    assert not (place.folder / ".venv" / "ready-app").exists()


def test_another_failure_of_pip_is_shown(place: Place) -> None:
    status, said = place.run(FAKE_PIP_SAYS="THESE PACKAGES DO NOT MATCH THE HASHES")

    assert (status, "THESE PACKAGES DO NOT MATCH THE HASHES" in said) == (1, True)
    assert "no way to the package index" not in said


def test_the_scripts_can_be_read_by_any_posix_shell() -> None:
    for script in ("scripts/environment", "scripts/lock"):
        subprocess.run(["/bin/sh", "-n", str(ROOT / script)], check=True)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on the PATH")
def test_make_alone_explains_its_targets() -> None:
    shown = subprocess.run(
        [shutil.which("make") or "make", "--no-print-directory", "-C", str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    ).stdout

    assert {"demo", "test", "lint", "lock", "clean"} <= {
        line.split()[1] for line in shown.splitlines() if line.startswith("make ")
    }
