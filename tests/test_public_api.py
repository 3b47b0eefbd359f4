"""What users may import: it says so itself, stays as promised, and is all that the docs use."""

from __future__ import annotations

import difflib
import importlib
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from raising import made
from reference import (
    CHANGELOG,
    COMMAND,
    ERROR_PAGE,
    MODULES,
    ROOT,
    SNAPSHOT,
    TELL,
    error_classes,
    error_page,
    is_a,
    mark,
    meaning_and_cure,
    public_api,
)

import procore_signin
from procore_signin import (
    SANDBOX,
    Candidate,
    Company,
    FreshToken,
    Hooks,
    KeyRing,
    Me,
    Options,
    Secret,
    Session,
    User,
    __version__,
    api,
)
from procore_signin.environments import emulator
from procore_signin.errors import ApiError, Problem, ProcoreSignInError

ANN = User(1, 2, "ann@example.com", "Ann", "sandbox", 0, 0, None)
BASES = {ProcoreSignInError, ApiError}
ERRORS = error_classes()
OUR_ERRORS = [kind for kind in ERRORS if issubclass(kind, ProcoreSignInError)]

PRIVATE = re.compile(
    r"procore_signin(?:\.\w+)*\._\w+|from procore_signin(?:\.\w+)* import .*\b_\w+"
)
FENCED = re.compile(r"^[ \t]*```[^\n]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WHOLE = [
    path
    for folder in ("examples", "deploy")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix != ".pyc" and "node_modules" not in path.parts
]


def private_names(text: str) -> list[str]:
    return [found.group() for found in PRIVATE.finditer(text)]


def what_a_reader_copies() -> Iterator[tuple[str, str]]:
    """Yield each code block of a page, and each file of an example, with where it is."""
    for page in PAGES:
        for block in FENCED.findall(page.read_text("utf-8")):
            yield page.relative_to(ROOT).as_posix(), block
    for path in WHOLE:
        yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


@pytest.mark.parametrize("name", MODULES)
def test_a_public_module_shows_its_public_names_and_no_others(name: str) -> None:
    module = importlib.import_module(name)

    shown = dir(module)

    assert [each for each in shown if not each.startswith("__")] == sorted(module.__all__)
    assert {"__all__", "__doc__", "__file__", "__name__"} <= set(shown)
    assert [each for each in module.__all__ if each.startswith("_")] == []
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


def test_no_other_module_looks_public() -> None:
    source = Path(procore_signin.__file__).parent
    files = {path.relative_to(source) for path in source.rglob("*.py")}
    looks_public = {
        ".".join(["procore_signin", *path.with_suffix("").parts]).removesuffix(".__init__")
        for path in files
        if not any(part.startswith("_") and part != "__init__.py" for part in path.parts)
    }

    parts_of_a_django_app = {each for each in looks_public if ".web.django." in each}
    assert looks_public - parts_of_a_django_app - {"procore_signin.web"} == set(MODULES)


def test_the_version_is_the_one_of_the_distribution() -> None:
    assert __version__ == version("procore-signin")
    assert "__version__" in dir(procore_signin)


def test_a_star_import_of_the_package_needs_no_extra() -> None:
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"jinja2", "markupsafe", "starlette", "flask", "django", "yaml"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from procore_signin import *
print(Options(first_page="/projects").first_page)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )

    assert (done.stdout, done.stderr) == ("/projects\n", "")


def test_the_local_procore_is_an_environment_like_the_others() -> None:
    local = emulator("http://127.0.0.1:9292")

    assert type(local) is type(SANDBOX)
    assert local.api_origin == "http://127.0.0.1:9292"


def test_a_public_class_says_where_users_import_it_from() -> None:
    wrong = [
        f"{value.__module__}.{name}"
        for module in map(importlib.import_module, MODULES)
        for name, value in ((name, getattr(module, name)) for name in module.__all__)
        if is_a(value, type) and value.__module__.startswith("procore_signin._")
        # Values of the emulator stay in the test that made them.
        if not value.__module__.startswith("procore_signin._emulator")
    ]

    assert wrong == []


def test_what_says_a_public_home_is_there() -> None:
    kinds = [*ERRORS, User, Session, Hooks, Candidate, FreshToken, Options, KeyRing, Secret]
    kinds += [procore_signin.ProcoreSignIn, procore_signin.AccessEnded, api.ApiOptions, api.Wire]

    for kind in kinds:
        home = importlib.import_module(kind.__module__)
        assert kind.__module__ in MODULES
        assert getattr(home, kind.__name__) is kind
        assert kind.__name__ in home.__all__


def test_a_class_that_moved_still_knows_the_types_of_its_fields() -> None:
    assert get_type_hints(Candidate)["me"] is Me
    assert get_type_hints(Session)["user"] is User
    assert get_type_hints(FreshToken)["access_token"] is Secret


@pytest.mark.parametrize("kind", OUR_ERRORS, ids=lambda kind: kind.__name__)
def test_a_pickled_error_names_no_private_module(kind: type[ProcoreSignInError]) -> None:
    assert b"procore_signin._" not in pickle.dumps(made(kind))


@pytest.mark.parametrize(
    "value",
    [
        ANN,
        SANDBOX,
        Session(1, ANN, 0, 0, 0, 0, None),
        Problem("PROCORE_KEYS", "is odd", "Mend it"),
        Candidate(
            Me(2, "ann@example.com", "Ann", "{}"), (Company(3, "Us", is_active=True),), "sandbox"
        ),
        Options(first_page="/projects"),
        procore_signin.AccessEnded(ANN, 1, "confirmed", refresh_under_way=False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_pickled_value_names_no_private_module_and_comes_back(value: Any) -> None:
    pickled = pickle.dumps(value)

    assert b"procore_signin._" not in pickled
    assert pickle.loads(pickled) == value  # noqa: S301  # written in the line above


def test_every_public_error_has_a_code_of_its_own() -> None:
    codes = {kind: vars(kind).get("code") for kind in ERRORS}

    assert [
        kind for kind, code in codes.items() if not re.fullmatch("[a-z]+(_[a-z]+)+", str(code))
    ] == []
    assert len(set(codes.values())) == len(codes) > len(BASES)


def test_an_error_of_an_application_keeps_the_code_of_what_it_extends() -> None:
    class OrderLost(procore_signin.GrantLost):
        """An application's own."""

    assert OrderLost("gone").code == "grant_lost"


def test_every_public_error_says_what_it_means_and_what_to_do() -> None:
    silent = [kind for kind in ERRORS if kind not in BASES and not all(meaning_and_cure(kind))]

    assert silent == []


def test_the_page_of_errors_is_what_the_classes_say() -> None:
    assert ERROR_PAGE.read_text("utf-8") == error_page(), f"Run `{COMMAND}`."


def test_the_public_api_is_the_one_that_was_agreed_on() -> None:
    agreed, found = SNAPSHOT.read_text("utf-8"), public_api()

    changes = difflib.unified_diff(agreed.splitlines(), found.splitlines(), n=2, lineterm="")
    assert agreed == found, "\n".join([*changes, "", f"If you mean it, run `{COMMAND}`."])


def test_the_change_log_tells_of_the_newest_public_api() -> None:
    """Nothing but a reader can tell whether the entry is good; but they see both in one diff."""
    newest = re.split(r"^## ", CHANGELOG.read_text("utf-8"), flags=re.MULTILINE)[1]
    wanted = mark(SNAPSHOT.read_text("utf-8"))

    assert wanted in newest.splitlines(), f"{TELL} {wanted}"


def test_the_snapshot_notices_a_parameter_a_base_and_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = public_api()

    def paginate(client: object, path: str) -> None:
        """Do less.

        Raises:
            KeyError: Always.
        """

    monkeypatch.setattr(api, "paginate", paginate)
    monkeypatch.setattr(api.RateLimited, "code", "other")

    changed = set(public_api().splitlines()) - set(before.splitlines())
    assert {line.strip() for line in changed} == {
        "paginate(client: object, path: str)",
        "raises KeyError",
        "code = 'other'",
    }


def test_a_reader_copies_no_private_name() -> None:
    places = list(what_a_reader_copies())

    found = {(place, name) for place, text in places for name in private_names(text)}

    assert found == set()
    assert {
        "README.md",
        "docs/how-to/flask.md",
        "examples/fastapi_projects/main.py",
        "deploy/nginx.conf",
    } <= {place for place, _ in places}


@pytest.mark.parametrize(
    "text",
    [
        "from procore_signin._flow.hooks import Hooks",
        "import procore_signin._client as client",
        "from procore_signin import User, _client",
        'HOOKS = "procore_signin._flow.hooks.Hooks"',
        "granian procore_signin._app.application:from_environment",
    ],
)
def test_a_private_name_is_seen_however_it_is_written(text: str) -> None:
    assert len(private_names(text)) == 1
