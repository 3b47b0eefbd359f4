"""The settings with which an application is loaded in its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from procore_signin._settings import read_settings
from procore_signin._testing import settings as module
from procore_signin.testing import settings_for_tests

CALLBACK = "http://localhost:8000/procore/callback"


def test_they_stand_beside_an_own_setting_that_names_a_schema(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PROCORE_DATABASE_SCHEMA=procore\nPROCORE_DATABASE_URL=postgresql://db/site\n")

    settings = read_settings(environ=settings_for_tests(CALLBACK), env_file=file)

    assert settings.database_schema == "procore"
    assert "procore_signed_in-gives-each-test-a-store" in settings.database_url


def test_without_the_driver_of_postgresql_they_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)

    settings = read_settings(environ=settings_for_tests(CALLBACK), env_file=tmp_path / ".env")

    assert settings.database_url.startswith("sqlite:///")
