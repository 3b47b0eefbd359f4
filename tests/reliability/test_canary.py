"""Whatever the vault meets, it says at DEBUG, and says no secret (row O1)."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest
from canary import secrets_that_passed, shown
from tests.reliability.conftest import NewWorld, Report
from tests.reliability.settings import CLIENT_SECRET, KEYS
from tests.reliability.world import TOKEN_ENDPOINT, World

from procore_signin._store.rotation.rewrap import rewrap
from procore_signin.errors import ProcoreSignInError
from procore_signin.events import Event


def meet_everything(world: World) -> None:
    """Drive the vault through what it is for, and through every fault that it knows."""
    door = world.door
    user = world.sign_in()
    world.expire()
    with door.api(user) as api:
        api.get("/rest/v1.0/me")
        world.emulator.fault("GET /rest/v1.0/me", "status", status=401)
        api.get("/rest/v1.0/me")
        world.emulator.fault("GET /rest/v1.0/me", "rate-limit", reset="soon", seconds=300)
        api.get("/rest/v1.0/me")
    for kind in ("malformed-json", "html", "huge", "redirect", "drop-before-commit"):
        world.emulator.fault(TOKEN_ENDPOINT, kind)
        world.expire()
        with suppress(ProcoreSignInError):
            door.fresh_tokens(user)
        world.emulator.clear_faults()
        world.sign_in()
    world.emulator.fault(TOKEN_ENDPOINT, "drop-after-commit", times=2)
    world.expire()
    for _ in range(2):
        with suppress(ProcoreSignInError):
            door.fresh_tokens(user)
    world.emulator.clear_faults()
    world.sign_in()
    world.emulator.fault("POST /oauth/revoke", "drop-before-commit", times=None)
    door.disable(user)
    world.emulator.clear_faults()
    world.sweep_later()
    with suppress(ProcoreSignInError):
        world.sign_in()
    door.enable(user)
    world.sign_in()
    list(rewrap(door.store))
    world.database.run("UPDATE token_sets SET access_token = 'v1.fake1.garbage'")
    with suppress(ProcoreSignInError):
        door.fresh_tokens(user)
    world.sign_in()
    door.disconnect(user)
    world.sign_in()
    door.end_sessions(user)
    door.delete(user)


def test_O1_the_vault_says_much_at_debug_and_no_secret(
    new_world: NewWorld,
    report: Report,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    world = new_world()
    meet_everything(world)
    printed = capfd.readouterr()
    facts = [str(vars(record)) for record in caplog.records]
    output = "\n".join([caplog.text, *facts, printed.out, printed.err]).encode()
    secrets = secrets_that_passed(world.emulator)
    secrets |= {CLIENT_SECRET.reveal(), KEYS.reveal(), KEYS.reveal().partition(":")[2]}
    names = {record.getMessage().partition(" ")[0] for record in caplog.records}
    events = names & {event.value for event in Event}
    report(
        "{secrets} secrets passed on {database} at DEBUG: {records} records, {events} kinds of"
        " events, {shown} secrets shown",
        database=world.database.kind,
        secrets=len(secrets),
        records=len(caplog.records),
        events=len(events),
        shown=len(shown(secrets, output)),
    )
    assert shown(secrets, output) == set()
    assert len(secrets) > 30
    assert events >= {
        "sign_in.succeeded",
        "tokens.refreshed",
        "tokens.refresh_failed",
        "tokens.grant_lost",
        "tokens.sealed",
        "tokens.revocation_failed",
        "tokens.revoked",
        "tokens.disconnected",
        "user.disabled",
        "user.enabled",
        "user.deleted",
        "session.revoked",
        "api.rate_limited",
        "api.token_renewed",
    }
    assert b"person0@example.invalid" not in output
