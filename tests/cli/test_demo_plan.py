from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.run import demo
from procore_signin._cli.run.demo import Plan, Wishes, kept_key, make_plan
from procore_signin._protocol.secret import Secret
from procore_signin._settings import EMULATOR_CLIENT_ID, EMULATOR_CLIENT_SECRET
from procore_signin._store.keys.keyring import KeyRing
from procore_signin.emulator import DEMO_LOGIN, DEMO_PASSWORD, EmulatorOptions

REAL = {
    "PROCORE_ENVIRONMENT": "sandbox",
    "PROCORE_CLIENT_ID": "fake-id",
    "PROCORE_CLIENT_SECRET": "fake-secret",
    "PROCORE_KEYS": "k1:fake",
}


def plan(settings: dict[str, str], folder: Path, **wishes: Any) -> Plan:
    chosen = Wishes(**{"port": 0, "emulator_port": 0, **wishes})
    return make_plan(chosen, settings, folder=folder, environ={"PATH": "/bin", **settings})


def test_without_settings_the_local_procore_and_the_application_run(tmp_path: Path) -> None:
    made = plan({}, tmp_path)

    assert [program.name for program in made.programs] == ["application", "emulator"]
    assert made.headline.endswith("on a local Procore: no account, no network.")


def test_the_two_agree_on_addresses_and_client_whatever_the_ports(tmp_path: Path) -> None:
    application, emulator = plan({}, tmp_path).programs
    settings, told = application.environment, set(emulator.arguments)

    assert {
        f"--client-id={settings['PROCORE_CLIENT_ID']}",
        f"--client-secret={settings['PROCORE_CLIENT_SECRET']}",
        f"--redirect-uri={settings['PROCORE_REDIRECT_URI']}",
    } <= told
    assert emulator.url == f"{settings['PROCORE_EMULATOR_URL']}/_emulator/"
    assert settings["PROCORE_REDIRECT_URI"] == application.url.replace("/healthz", "/callback")


def test_the_demo_knows_the_emulators_person_and_client() -> None:
    options = EmulatorOptions()

    assert (demo.LOGIN, demo.PASSWORD) == (DEMO_LOGIN, DEMO_PASSWORD)
    assert options.client_id == EMULATOR_CLIENT_ID
    assert options.client_secret == EMULATOR_CLIENT_SECRET


def test_a_real_environment_with_credentials_runs_the_application_alone(tmp_path: Path) -> None:
    made = plan(REAL, tmp_path)

    assert [program.name for program in made.programs] == ["application"]
    assert "SANDBOX" in made.headline
    assert made.programs[0].environment["PROCORE_CLIENT_ID"] == "fake-id"


def test_offline_uses_the_local_procore_and_no_real_secret(tmp_path: Path) -> None:
    real = REAL | {"PROCORE_DATABASE_URL": "postgresql://user:pw@db/real"}
    application, emulator = plan(real, tmp_path, offline=True).programs

    assert emulator.environment["PROCORE_ENVIRONMENT"] == "emulator"
    assert application.environment["PROCORE_CLIENT_SECRET"] == "emulator-client-secret"
    assert application.environment["PROCORE_DATABASE_URL"] == "sqlite:///test.db"


@pytest.mark.parametrize("missing", ["PROCORE_CLIENT_ID", "PROCORE_CLIENT_SECRET"])
def test_a_real_environment_without_credentials_is_explained(tmp_path: Path, missing: str) -> None:
    made = plan({k: v for k, v in REAL.items() if k != missing}, tmp_path)

    assert made.emulator_url is not None
    assert "not both set: the local Procore is used" in made.notes[0]


def test_credentials_without_an_environment_are_explained(tmp_path: Path) -> None:
    made = plan({k: v for k, v in REAL.items() if k != "PROCORE_ENVIRONMENT"}, tmp_path)

    assert made.emulator_url is not None
    assert "does not say of which environment" in made.notes[0]


def test_a_misspelt_environment_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as refused:
        plan(REAL | {"PROCORE_ENVIRONMENT": "sandbx"}, tmp_path)

    assert "production, sandbox, monthly, federal, emulator" in refused.value.cure


def test_a_real_environment_listens_where_the_redirect_uri_leads(tmp_path: Path) -> None:
    uri = {"PROCORE_REDIRECT_URI": "http://localhost:47113/callback"}
    application = plan(REAL | uri, tmp_path, port=None).programs[0]

    assert "--port=47113" in application.arguments


def test_another_port_than_the_registered_one_is_pointed_out(tmp_path: Path) -> None:
    made = plan(REAL, tmp_path)

    assert "http://localhost:4567/callback, but the application listens at" in made.notes[-1]


def test_a_shared_database_is_not_migrated_unasked(tmp_path: Path) -> None:
    shared = {"PROCORE_DATABASE_URL": "postgresql://user:pw@db/shared"}

    assert "--migrate" not in plan(shared, tmp_path).programs[0].arguments
    assert "--migrate" in plan({}, tmp_path).programs[0].arguments


def test_a_key_is_made_once_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    first, second = (plan({}, tmp_path).programs[0].environment for _ in range(2))
    kept = tmp_path / "test.db.keys"

    assert first["PROCORE_KEYS"] == second["PROCORE_KEYS"]
    assert len(KeyRing.parse(Secret(first["PROCORE_KEYS"], "keys")).ids) == 1
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_key_lies_beside_its_database(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    plan({"PROCORE_DATABASE_URL": "sqlite:///data/mine.db"}, tmp_path)

    assert (tmp_path / "data" / "mine.db.keys").is_file()


def test_a_key_of_the_settings_is_used_and_none_is_made(tmp_path: Path) -> None:
    made = plan({"PROCORE_KEYS": "k1:fake"}, tmp_path)

    assert made.programs[0].environment["PROCORE_KEYS"] == "k1:fake"
    assert list(tmp_path.iterdir()) == []


def test_V1_a_plan_shows_no_secret(tmp_path: Path) -> None:
    made = plan({}, tmp_path)

    assert kept_key(tmp_path / "test.db.keys") not in repr(made)
    assert "emulator-client-secret" not in repr(made)
