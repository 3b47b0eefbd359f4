"""What is installed and what is built: pinned, complete, and naming no place on the network."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCKS = [
    ROOT / "requirements" / f"{name}.txt"
    for name in ("app", "test", "docs", "lowest", "dist", "types")
]


def requirements(lock: Path) -> dict[str, list[str]]:
    """Return the hashes of each pinned requirement, by its whole line."""
    joined = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    return {
        line.split("--hash")[0].strip(): re.findall(r"--hash=sha256:[0-9a-f]{64}\b", line)
        for line in joined.splitlines()
        if line.strip()
    }


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_O7_every_requirement_is_pinned_and_has_hashes(lock: Path) -> None:
    wrong = [
        requirement
        for requirement, hashes in requirements(lock).items()
        if not re.match(r"[a-z0-9-]+==[0-9]", requirement) or not hashes
    ]

    assert wrong == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_a_lock_names_no_index_and_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    options = [line for line in text.splitlines() if line.startswith("-")]

    assert (options, re.findall(r"https?:|file:|@", text)) == ([], [])


def test_tests_run_with_the_versions_that_people_run() -> None:
    app, test, *_ = ({line.split()[0] for line in requirements(lock)} for lock in LOCKS)

    assert app - test == set()


def test_the_lowest_versions_are_those_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    declared = map(Requirement, {*project["dependencies"], *itertools.chain(*extras)})
    pinned = dict(
        line.split(";")[0].strip().split("==")
        for line in requirements(ROOT / "requirements/lowest.txt")
    )

    wrong = [
        (str(each), pinned.get(each.name))
        for each in declared
        if each.name != "procore-signin"
        and [Version(pinned[each.name])]
        != [Version(one.version) for one in each.specifier if one.operator == ">="]
    ]

    assert wrong == []


def test_what_an_existing_application_pins_is_allowed() -> None:
    pinned = ROOT / "examples" / "existing" / "fastapi" / "requirements.txt"
    theirs = {each.name: each.specifier for each in map(Requirement, pinned.read_text().split())}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    ours = [*project["dependencies"], *extras["app"], *extras["fastapi"]]
    bounds = {each.name: each.specifier for each in map(Requirement, ours)}

    for name, version in (("fastapi", "0.128.0"), ("sqlalchemy", "2.0.40"), ("cryptography", "46")):
        assert version in theirs[name]
        assert version in bounds[name]


def test_every_package_that_an_application_runs_with_has_a_known_licence() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "licences.py"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert listed == {line.split("==")[0] for line in requirements(LOCKS[0])}


def test_a_release_is_tried_with_each_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    fresh = importlib.import_module("fresh")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    tried = {each for name in (*fresh.SERVERS, *fresh.PROGRAMS) for each in name.split(",")}
    assert tried - {fresh.BESIDE_PINS} == set(project["optional-dependencies"])


def test_O7_two_builds_in_two_folders_have_the_same_bytes(tmp_path: Path) -> None:
    files = subprocess.run(
        ["git", "ls-files", "-z", "README.md", "LICENSE", "pyproject.toml", "scripts", "src"],  # noqa: S607
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    made = []
    for name in ("first", "another-one"):
        for file in filter(None, files):
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes((ROOT / file).read_bytes())
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path / f"{name}-dist")],
            check=True,
            cwd=tmp_path / name,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1800000000"},
            capture_output=True,
        )
        made.append({it.name: it.read_bytes() for it in (tmp_path / f"{name}-dist").iterdir()})

    assert sorted(name.rpartition(".")[2] for name in made[0]) == ["gz", "whl"]
    assert made[0] == made[1]


def test_the_lock_holds_every_dependency_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    wanted = {
        LOCKS[0]: [*project["project"]["dependencies"], *extras["app"], *groups["build"]],
        LOCKS[1]: [*extras["postgresql"], *extras["mysql"], *groups["test"]],
        LOCKS[2]: [*project["project"]["dependencies"], *extras["django"], *groups["docs"]],
    }
    missing = []
    for lock, declared in wanted.items():
        pinned = {re.split(r"==|\s", line)[0] for line in requirements(lock)}
        names = {re.split(r"[^A-Za-z0-9_.-]", each)[0].lower() for each in declared}
        missing += sorted(names - {"procore-signin"} - pinned)

    assert missing == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        check=True,
        cwd=ROOT,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "procore_signin").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert wanted - set(zipfile.ZipFile(wheel).namelist()) == set()


@pytest.mark.parametrize(
    "pattern",
    [
        r"procore_signin/py\.typed",
        r"procore_signin/_web/templates/.+\.html",
        r"procore_signin/_web/locale/(es|fr)\.po",
        r"procore_signin/web/django/templates/procore_signin/signin\.html",
        r"procore_signin/_web/static/.+\.css",
        r"procore_signin/_emulator/templates/.+\.html",
        r"procore_signin/_emulator/static/.+\.css",
        r"procore_signin/_emulator/openapi/.+\.yaml",
        r"procore_signin/_store/migrations/versions/.+\.py",
        r"procore_signin-.+\.dist-info/licenses/LICENSE",
    ],
)
def test_the_wheel_holds_what_is_not_python_code(wheel: Path, pattern: str) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert [name for name in names if re.fullmatch(pattern, name)] != []


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert [
        name for name in names if not name.startswith(("procore_signin/", "procore_signin-"))
    ] == []


def test_the_wheel_promises_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))

    assert b"procore-signin = procore_signin._cli:main" in archive.read(name)


def test_every_link_of_the_packages_page_is_a_whole_address(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    headers, _, page = archive.read(name).decode().partition("\n\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    source = project["urls"]["Source"]
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", page)

    assert "Description-Content-Type: text/markdown" in headers
    assert page.startswith("# procore-signin\n")
    assert [link for _, link in links if not link.startswith("https://")] == []
    inside = [(picture, link) for picture, link in links if link.startswith(source)]
    assert len(inside) > 10
    for picture, link in inside:
        kind = "raw" if picture else "blob"
        assert (ROOT / link.removeprefix(f"{source}/{kind}/HEAD/")).exists(), link
