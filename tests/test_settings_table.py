"""A setting is one row: everything else that is said about it comes from there."""

from __future__ import annotations

import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from procore_signin._cli.setup.checks_local import check_settings
from procore_signin._protocol.secret import Secret
from procore_signin._settings import Settings, default_of
from procore_signin._settings.parsers import WrongError
from procore_signin._settings.row import PREFIX, Row, Values, setting
from procore_signin._store.keys.keyring import KeyRing
from procore_signin.errors import Problem, SettingsInvalid
from procore_signin.web.django.checks import _hint

SCRIPT = Path(__file__).parents[1] / "scripts" / "settings_page.py"
PAGES = runpy.run_path(str(SCRIPT))
ROWS = tuple(Settings.rows().values())
GOOD = {
    "PROCORE_ENVIRONMENT": "production",
    "PROCORE_CLIENT_ID": "fake-id-0123456789",
    "PROCORE_CLIENT_SECRET": "fake-secret-0123456789",
    "PROCORE_KEYS": KeyRing.generate(lambda count: b"\x07" * count, key_id="k1").reveal(),
}


def colour(text: str, _: Values) -> str:
    if not text.isalpha():
        raise WrongError("is no colour", "Write a colour, such as orange.")
    return text


@dataclass(frozen=True, slots=True)
class MoreSettings(Settings):
    """The settings with one row more, as a change that adds one has it."""

    colour: str = setting(
        Row(
            name="PROCORE_COLOUR",
            parse=colour,
            meaning="The colour of the `button`.",
            accepts="A colour.",
            needed_by="Painters.",
            example="green",
            default="orange",
            secret=True,
        )
    )


@dataclass(frozen=True, slots=True)
class BareSettings(MoreSettings):
    """The same, where no colour is a default."""

    colour: str = setting(
        Row(
            name="PROCORE_COLOUR",
            parse=colour,
            meaning="The colour of the `button`.",
            accepts="A colour.",
            needed_by="Painters.",
            missing="Choose one.",
        )
    )


MORE = tuple(MoreSettings.rows().values())


@pytest.mark.parametrize("what", ["page", "example"])
def test_what_is_made_from_the_table_is_up_to_date(what: str) -> None:
    written = PAGES["PAGE" if what == "page" else "EXAMPLE"].read_text(encoding="utf-8")

    assert written == PAGES[what](ROWS), "Run: .venv/bin/python scripts/settings_page.py"


def test_a_row_more_is_a_setting_more() -> None:
    assert MoreSettings.load(GOOD, None).colour == "orange"
    assert MoreSettings.load(GOOD | {"PROCORE_COLOUR": "red"}, None).colour == "red"


def test_a_row_more_is_read_from_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROCORE_COLOUR=blue\n", encoding="utf-8")

    assert MoreSettings.load(GOOD, tmp_path / ".env").colour == "blue"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("7", Problem("PROCORE_COLOUR", "is no colour", "Write a colour, such as orange.")),
        (
            "red\r",
            Problem(
                "PROCORE_COLOUR",
                "has spaces or quotes around it",
                "Remove them: it ends with \\r, half of a line end of Windows.",
            ),
        ),
    ],
)
def test_the_problems_of_a_row_more_are_named(text: str, problem: Problem) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        MoreSettings.load(GOOD | {"PROCORE_COLOUR": text}, None)

    assert refused.value.problems == (problem,)


def test_a_name_like_that_of_a_row_more_is_named_where_its_value_is_missing() -> None:
    given = GOOD | {"PROCORE_COLOR": "red"}
    with pytest.raises(SettingsInvalid, match=r"COLOUR: is not set \(is PROCORE_COLOR a missp"):
        BareSettings.load(given, None)
    assert MoreSettings.load(given, None).colour == "orange", "there it is the application's"


def test_a_row_that_is_secret_is_in_no_repr() -> None:
    assert "orange" not in repr(MoreSettings.load(GOOD, None))


def test_a_row_more_is_in_the_example_file() -> None:
    assert PAGES["example"](MORE).endswith(
        "\n# The colour of the button.\n# A colour.\n#PROCORE_COLOUR=orange\n"
    )


def test_a_row_more_is_on_the_page() -> None:
    page = PAGES["page"](MORE)

    assert (
        "\n| [`PROCORE_COLOUR`](#procore_colour) | The colour of the `button`. | `orange` |" in page
    )
    assert page.endswith(
        "## `PROCORE_COLOUR`\n\nThe colour of the `button`.\n\n"
        "| | |\n|---|---|\n"
        "| Accepts | A colour. |\n"
        "| Default | `orange` |\n"
        "| Needed by | Painters. |\n"
        "| Example | `PROCORE_COLOUR=green` |\n"
        '| In Django | `PROCORE_SIGNIN["COLOUR"]` |\n'
        "| Secret | yes: it is never shown |\n"
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_row_says_what_it_has_to(row: Row[Any]) -> None:
    sentences = (row.meaning, row.accepts, row.needed_by, row.missing or ".")

    assert row.name.startswith(PREFIX)
    assert all(sentence.endswith(".") for sentence in sentences)
    assert row.example or row.secret or row.emulators
    assert not (row.missing and row.default)


@pytest.mark.parametrize("row", [row for row in ROWS if row.example], ids=lambda row: row.name)
def test_each_example_is_one_that_works(row: Row[Any]) -> None:
    on_a_server = {"PROCORE_DATABASE_URL": "postgresql://db.example/app"}
    Settings.load(GOOD | on_a_server | {row.name: row.example}, None)


def test_what_holds_a_secret_is_marked_as_one() -> None:
    settings = Settings.load(GOOD | {"PROCORE_METRICS_TOKEN": "0123456789abcdef"}, None)
    secrets = {
        row.name
        for field, row in Settings.rows().items()
        if isinstance(getattr(settings, field), Secret)
    }

    assert secrets | {"PROCORE_DATABASE_URL"} == {row.name for row in ROWS if row.secret}


def test_doctor_names_each_row_with_its_cure(tmp_path: Path) -> None:
    quoted = {row.name: '"x"' for row in ROWS}

    settings, findings = check_settings(quoted, tmp_path / ".env")

    assert settings is None
    assert [finding.what for finding in findings] == [
        f"{row.name} has spaces or quotes around it." for row in ROWS
    ]


def test_django_names_each_row_without_the_prefix() -> None:
    for row in ROWS:
        hint = _hint(row.name, "Correct it.")
        assert hint == f'Correct it. In settings.py it is PROCORE_SIGNIN["{row.key}"].'


def test_the_default_of_a_setting_is_asked_by_its_name() -> None:
    assert default_of("PROCORE_DATABASE_URL") == "sqlite:///test.db"
    with pytest.raises(KeyError):
        default_of("PROCORE_COLOUR")


def test_reading_the_table_loads_no_database_library() -> None:
    program = (
        "import sys, procore_signin._cli.run.demo as demo, procore_signin._settings as settings\n"
        "settings.default_of('PROCORE_KEYS')\n"
        "print(sorted({'sqlalchemy', 'cryptography'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert shown.stdout == "[]\n"
