"""The doctor at work: against the emulator all is well; each test makes one thing wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from commands import Command
from migrated import migrated
from ports import free_port as a_free_port

from procore_signin._cli.setup.doctor import examine
from procore_signin._cli.setup.finding import Finding
from procore_signin._cli.setup.tls import Handshake
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.me import Me
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import KeyRing, NewSession, Store
from procore_signin._store.ledger import TakeAttempt
from procore_signin._store.sign_in import CompleteSignIn
from procore_signin.emulator import Emulator
from procore_signin.errors import ProcoreUnavailable

KEYS = f"new:{'B' * 42}A,old:{'A' * 43}"
Settings = dict[str, str]
ALL_CHECKS = [
    "settings",
    "redirect-uri",
    "database",
    "keys",
    "tls",
    "server",
    "clock",
    "client",
    "authorization-page",
    "api",
]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.started() as started:
        yield started


@pytest.fixture
def settings(emulator: Emulator, tmp_path: Path) -> Settings:
    url = migrated(tmp_path / "test.db")
    return {
        "PROCORE_ENVIRONMENT": "emulator",
        "PROCORE_EMULATOR_URL": emulator.url,
        "PROCORE_DATABASE_URL": url,
        "PROCORE_KEYS": KEYS,
    }


def look(settings: Mapping[str, str], *, port: int = 4567) -> list[Finding]:
    return list(examine(settings, Path("/nonexistent/.env"), port=port))


def not_ok(findings: list[Finding]) -> dict[str, str]:
    return {each.check: each.level for each in findings if each.level != "ok"}


def only(findings: list[Finding]) -> Finding:
    (found,) = (each for each in findings if each.level != "ok")
    assert found.what
    assert found.why
    assert found.cure
    return found


def sign_in(settings: Settings) -> None:
    """Leave someone's sealed tokens in the database."""
    store = Store(settings["PROCORE_DATABASE_URL"], KeyRing.parse(Secret(KEYS, "keys")))
    store.do(TakeAttempt("a" * 64, environment="emulator", now=1, expires_at=100))
    store.do(
        CompleteSignIn(
            "a" * 64,
            me=Me(11111, "joecontractor@procore.com", None, "{}"),
            environment="emulator",
            tokens=TokenSet(Secret("fake-access", "access token"), None, 5400),
            session=NewSession("b" * 64, "{}", None, 50, 100),
            replaces=None,
            now=2,
        )
    )
    store.close()


def test_against_the_emulator_every_check_passes(settings: Settings) -> None:
    findings = look(settings)

    assert not_ok(findings) == {}
    assert [each.check for each in findings] == ALL_CHECKS


def test_with_people_in_the_database_their_tokens_are_tried_too(settings: Settings) -> None:
    sign_in(settings)

    findings = look(settings)

    assert not_ok(findings) == {}
    assert "The keys open the tokens in the database." in [each.what for each in findings]


def test_settings_that_are_missing_are_all_named(tmp_path: Path) -> None:
    findings = look({"PROCORE_DATABASE_URL": "nonsense"})

    assert [each.what.partition(" ")[0] for each in findings] == [
        "PROCORE_ENVIRONMENT",
        "PROCORE_CLIENT_ID",
        "PROCORE_CLIENT_SECRET",
        "PROCORE_DATABASE_URL",
        "PROCORE_KEYS",
    ]
    assert {each.level for each in findings} == {"problem"}
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_text_is_one_of_the_problems(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes("PROCORE_ENVIRONMENT=sandbox".encode("utf-16"))

    found = [finding.what for finding in examine({}, path, port=4567)]

    assert found[0] == ".env is not UTF-8 text."
    assert "PROCORE_ENVIRONMENT is not set." in found


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://sandbox.procore.com", "sandbox"),
        ("login-sandbox.procore.com", "sandbox"),
        ("monthly-sandbox.procore.com", "monthly"),
        ("https://api-sandbox-monthly.procore.com/", "monthly"),
        ("https://us02.procore.com", "production"),
        ("https://login.procore.com/oauth/authorize", "production"),
        ("api.procoregov.com", "federal"),
    ],
)
def test_a_host_in_place_of_an_environment_is_understood(written: str, meant: str) -> None:
    findings = look({"PROCORE_ENVIRONMENT": written})

    assert findings[0].cure == f"Write a name, not a host: PROCORE_ENVIRONMENT={meant}"


def test_a_host_that_is_not_procores_is_not_guessed_at() -> None:
    assert "A name is wanted" not in look({"PROCORE_ENVIRONMENT": "example.com"})[0].cure


def test_another_port_than_that_of_the_redirect_uri_is_a_warning(settings: Settings) -> None:
    found = only(look(settings, port=4599))

    assert (found.check, found.level) == ("redirect-uri", "warning")
    assert found.cure is not None
    assert found.cure.startswith("Start it with: procore-signin serve --port 4567 ")


def test_the_application_of_a_prefix_is_ones_own_whatever_port_serve_would_have(
    settings: Settings,
) -> None:
    settings["PROCORE_REDIRECT_URI"] = "http://localhost:8000/procore/callback"
    found = {each.check: each for each in look(settings)}["redirect-uri"]

    assert found.level == "ok"
    assert "the sign-in's pages at /procore and its server at port 8000" in found.what


def test_the_command_for_the_emulator_is_the_one_for_this_application() -> None:
    port = a_free_port()
    found = look_offline(
        real(
            PROCORE_ENVIRONMENT="emulator",
            PROCORE_EMULATOR_URL=f"http://127.0.0.1:{port}",
            PROCORE_REDIRECT_URI="http://localhost:8000/procore/callback",
        )
    )

    assert found["server"].cure == (
        f"Start it: procore-signin emulator --port {port} "
        "--redirect-uri http://localhost:8000/procore/callback"
    )


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({"PROCORE_ENVIRONMENT": "production"}, True),
        ({"PROCORE_ENVIRONMENT": "federal"}, True),
        ({"PROCORE_ENVIRONMENT": "production", "PROCORE_APP_NAME": "Site Diary"}, False),
        ({"PROCORE_ENVIRONMENT": "sandbox"}, False),
    ],
)
def test_in_production_an_application_without_a_name_is_told_so(
    changes: Settings,
    is_told: bool,  # noqa: FBT001  # a parameter
) -> None:
    assert ("app-name" in look_offline(real(**changes))) is is_told


def real(**changes: str) -> Settings:
    return {
        "PROCORE_ENVIRONMENT": "sandbox",
        "PROCORE_CLIENT_ID": "fake-id",
        "PROCORE_CLIENT_SECRET": "fake-secret",
        "PROCORE_KEYS": KEYS,
        "PROCORE_DATABASE_URL": "sqlite:////nonexistent/test.db",
    } | changes


class NobodyThere:
    """A transport that reaches nothing: these tests leave this machine for no reason."""

    def send(self, request: HttpRequest) -> HttpResponse:
        raise ProcoreUnavailable(f"{request!r} was not sent", ambiguous=False)

    def close(self) -> None:
        pass


def look_offline(settings: Settings) -> dict[str, Finding]:
    def shake_hands(_origin: str) -> Handshake:
        raise ConnectionRefusedError(111, "Connection refused")

    findings = examine(
        settings,
        Path("/nonexistent/.env"),
        port=4567,
        transport=NobodyThere(),
        shake_hands=shake_hands,
    )
    return {each.check: each for each in findings}


@pytest.mark.parametrize(
    ("uri", "level"),
    [
        ("http://localhost:4567/callback", "ok"),
        ("http://127.0.0.1:4567/callback", "warning"),
        ("https://app.example.com/callback", "ok"),
        ("https://sandbox.procore.com/callback", "problem"),
        ("https://monthly-sandbox.procore.com/callback", "problem"),
        ("https://login.procoregov.com/callback", "problem"),
        ("https://notprocore.com/callback", "ok"),
    ],
)
def test_a_redirect_uri_has_to_lead_to_this_application(uri: str, level: str) -> None:
    assert look_offline(real(PROCORE_REDIRECT_URI=uri))["redirect-uri"].level == level


def test_without_a_network_each_server_is_one_problem_and_no_more() -> None:
    found = look_offline(real())

    assert {check: each.level for check, each in found.items() if each.level != "ok"} == {
        "database": "problem",
        "tls": "problem",
        "server": "problem",
        "api": "problem",
    }


def test_a_database_without_tables_is_a_problem_and_is_not_made(
    settings: Settings, tmp_path: Path
) -> None:
    missing = tmp_path / "other.db"
    found = only(look(settings | {"PROCORE_DATABASE_URL": f"sqlite:///{missing}"}))

    assert (found.check, found.cure) == ("database", "Create it: procore-signin db upgrade")
    assert not missing.exists()


def test_a_database_that_does_not_answer_is_a_problem(
    settings: Settings, free_port: Callable[[], int]
) -> None:
    address = f"postgresql://someone:fake-password@127.0.0.1:{free_port()}/none"
    findings = look(settings | {"PROCORE_DATABASE_URL": address})

    assert only(findings).check == "database"
    assert "fake-password" not in repr(findings)


def test_V1_keys_that_do_not_open_the_tokens_are_a_problem(settings: Settings) -> None:
    sign_in(settings)

    found = only(look(settings | {"PROCORE_KEYS": f"other:{'C' * 42}A"}))

    assert (found.check, found.level) == ("keys", "problem")
    assert "Put the key back" in found.cure


def test_a_server_that_is_down_is_one_problem(
    settings: Settings, free_port: Callable[[], int]
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    found = only(look(settings | {"PROCORE_EMULATOR_URL": url}))

    assert found.check == "server"
    assert found.cure == f"Start it: procore-signin emulator --port {port}"


@pytest.mark.parametrize(
    ("ahead", "level"), [(20, "ok"), (60, "warning"), (290, "warning"), (400, "problem")]
)
def test_a_clock_that_is_behind_the_servers_is_found(
    settings: Settings, emulator: Emulator, ahead: int, level: str
) -> None:
    emulator.advance(ahead)

    findings = {each.check: each for each in look(settings)}

    assert findings["clock"].level == level


def test_other_credentials_than_the_servers_are_a_problem(settings: Settings) -> None:
    findings = look(settings | {"PROCORE_CLIENT_SECRET": "not-the-emulators"})

    assert only(findings).check == "client"
    assert "not-the-emulators" not in repr(findings)


def test_a_client_id_that_the_server_does_not_know_is_a_problem(settings: Settings) -> None:
    wrong = {"PROCORE_CLIENT_ID": "not-registered", "PROCORE_CLIENT_SECRET": "fake"}

    assert not_ok(look(settings | wrong))["client"] == "problem"


def test_a_redirect_uri_that_is_not_registered_is_a_problem(settings: Settings) -> None:
    wrong = {"PROCORE_REDIRECT_URI": "http://localhost:4567/other/callback"}

    found = only(look(settings | wrong))

    assert (found.check, found.level) == ("authorization-page", "problem")
    assert f" --redirect-uri {wrong['PROCORE_REDIRECT_URI']}. Or set" in found.cure
    assert found.cure.startswith("Start the emulator again: procore-signin emulator --port")


@pytest.mark.parametrize("doorkeeper", [4, 5])
def test_both_generations_of_the_server_are_understood(settings: Settings, doorkeeper: int) -> None:
    with Emulator.started(doorkeeper=doorkeeper) as emulator:
        good = look(settings | {"PROCORE_EMULATOR_URL": emulator.url})
        wrong = {"PROCORE_EMULATOR_URL": emulator.url, "PROCORE_CLIENT_SECRET": "wrong"}
        bad = look(settings | wrong)

    assert (not_ok(good), not_ok(bad)) == ({}, {"client": "problem"})


@pytest.mark.parametrize("kind", ["html", "malformed-json", "redirect", "drop-before-commit"])
def test_a_strange_answer_is_a_finding_and_no_crash(
    settings: Settings, emulator: Emulator, kind: str
) -> None:
    emulator.fault("POST /oauth/token", kind)

    assert "problem" in not_ok(look(settings)).values()


def test_nothing_is_changed_at_procore(settings: Settings, emulator: Emulator) -> None:
    look(settings)

    assert emulator.live_grants() == []


def test_the_command_tells_programs_by_its_status_and_as_json(
    command: Command, settings: Settings
) -> None:
    good = command("doctor", "--json", **settings)
    bad = command("doctor", "--json", **settings | {"PROCORE_CLIENT_SECRET": "wrong"})

    assert (good.status, json.loads(good.out)["ok"]) == (0, True)
    assert (bad.status, json.loads(bad.out)["ok"]) == (1, False)
    assert set(json.loads(bad.out)["findings"][0]) == {"check", "level", "what", "why", "cure"}


def test_the_command_tells_people_what_why_and_the_cure(
    command: Command, settings: Settings
) -> None:
    shown = command("doctor", **settings | {"PROCORE_CLIENT_SECRET": "wrong"}).out

    assert "problem  client: Procore (emulator) does not accept" in shown
    assert "Why:  It responded with invalid_client" in shown
    assert "Cure: Copy the client id and the client secret again" in shown
    assert shown.endswith("1 problem to fix before users can sign in.\n")


def test_a_warning_alone_ends_with_0(command: Command, settings: Settings) -> None:
    done = command("doctor", "--port", "4599", **settings)

    assert (done.status, "with 1 warning" in done.out) == (0, True)


def test_it_takes_no_longer_than_a_person_waits(settings: Settings) -> None:
    begun = time.monotonic()
    look(settings)

    assert time.monotonic() - begun < 5
