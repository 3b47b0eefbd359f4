from __future__ import annotations

import re
from pathlib import Path

from procore_signin._cli.setup.init import Given, answers
from procore_signin._settings import Settings, env_file

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_the_example_names_every_setting_and_no_other() -> None:
    named = re.findall(r"^#?(PROCORE_[A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(named) == sorted(row.name for row in Settings.rows().values())


def test_the_example_has_a_place_for_each_secret_and_holds_none() -> None:
    values = env_file.read(EXAMPLE)

    assert "PROCORE_CLIENT_SECRET" not in values
    assert "PROCORE_KEYS" not in values


def test_init_completes_a_copy_of_the_example() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    given = Given(client_id="fake-id", client_secret="fake-secret")

    completed = env_file.complete(text, answers(given, env_file.values_of(text), None))

    assert "\nPROCORE_CLIENT_ID=fake-id\n" in completed.text
    assert "\nPROCORE_CLIENT_SECRET=fake-secret\n" in completed.text
    assert len(completed.text.splitlines()) == len(text.splitlines())
