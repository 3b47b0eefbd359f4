"""What the emulator is for: procore-signin itself, over its real transport, meets each fault.

The security rows that need a fault on the wire are shown here where no other folder shows them
against the emulator: `tests/app`, `tests/api` and `tests/reliability` hold the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from scripted import KEYS, NOW

from procore_signin import environments
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import new_attempt
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted, parse_authorization_response
from procore_signin._protocol.secret import Secret
from procore_signin._store.migrate import upgrade
from procore_signin._store.records import User
from procore_signin.emulator import DEMO_LOGIN, DEMO_PASSWORD, Emulator
from procore_signin.errors import (
    AttemptInvalid,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    UnexpectedResponse,
)

Door = Callable[..., ProcoreSignIn]
SignIn = Callable[[ProcoreSignIn, Emulator], User]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """Open the front door of an application that trusts an emulator and its clock."""
    with ExitStack() as stack:

        def open_door(emulator: Emulator, **changes: Any) -> ProcoreSignIn:
            url = f"sqlite:///{tmp_path / 'test.db'}"
            upgrade(url)
            opened = ProcoreSignIn(
                environment=environments.emulator(emulator.url),
                client_id=emulator.options.client_id,
                client_secret=Secret(emulator.options.client_secret, "client secret"),
                redirect_uri=emulator.options.redirect_uris[0],
                keys=KEYS,
                database_url=url,
                clock=emulator.now,
                **changes,
            )
            return stack.enter_context(opened)

        yield open_door


@pytest.fixture
def signs_in(http_of: Callable[[Emulator], httpx2.Client]) -> SignIn:
    """Go through the pages as a browser does, and finish as the callback does."""

    def perform(door: ProcoreSignIn, emulator: Emulator) -> User:
        attempt = new_attempt(door.context, return_to="/")
        parts = urlsplit(attempt.authorization_url(door.context))
        continue_to = f"{parts.path}?{parts.query}"
        http = http_of(emulator)
        form = {"login": DEMO_LOGIN, "password": DEMO_PASSWORD, "continue_to": continue_to}
        http.post("/login", data=form)
        consent = {"continue_to": continue_to, "decision": "allow"}
        location = http.post("/oauth/authorize", data=consent).headers["location"]
        answer = parse_authorization_response(urlsplit(location).query.encode())
        assert isinstance(answer, CodeGranted)
        browser = Browser(user_agent=None, session_hash=None)
        return door.run(finish_sign_in(door.context, attempt, answer, browser)).user

    return perform


def refreshes(emulator: Emulator) -> int:
    return [one.grant_type for one in emulator.token_requests].count("refresh_token")


@pytest.mark.parametrize(("pkce", "sent"), [("ignore", True), ("enforce", True), ("reject", False)])
def test_A4_it_signs_in_whatever_procore_does_with_pkce(
    emulated: Callable[..., Emulator],
    door: Door,
    signs_in: SignIn,
    pkce: str,
    sent: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    emulator = emulated(pkce=pkce)
    assert 11111 == signs_in(door(emulator, pkce=sent), emulator).procore_id


@pytest.mark.parametrize("iss", [True, False])
def test_C6_an_issuer_that_is_right_or_absent_is_accepted(
    emulated: Callable[..., Emulator],
    door: Door,
    signs_in: SignIn,
    iss: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    emulator = emulated(iss=iss)
    assert 11111 == signs_in(door(emulator), emulator).procore_id


def test_C6_an_answer_of_another_issuer_is_refused_and_nothing_is_sent(
    emulator: Emulator, door: Door, signs_in: SignIn
) -> None:
    emulator.fault(
        "POST /oauth/authorize", "override", members={"iss": "https://elsewhere.invalid"}
    )
    with pytest.raises(AttemptInvalid):
        signs_in(door(emulator), emulator)
    assert [] == emulator.token_requests


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", ["/oauth/token", "/rest/v1.0/me"])
def test_T2_no_redirect_is_followed(
    emulated: Callable[..., Emulator], door: Door, signs_in: SignIn, path: str, status: int
) -> None:
    emulator, elsewhere = emulated(), emulated()
    emulator.fault(path, "redirect", location=f"{elsewhere.url}{path}", status=status)
    with pytest.raises(UnexpectedResponse):
        signs_in(door(emulator), emulator)
    assert [] == elsewhere.requests


def test_T5_without_a_lifetime_a_token_is_taken_to_be_short_lived(
    emulator: Emulator, door: Door, signs_in: SignIn
) -> None:
    emulator.fault("POST /oauth/token", "override", remove=["expires_in"])
    opened = door(emulator)
    user = signs_in(opened, emulator)
    assert 0 < opened.fresh_tokens(user).expires_in <= 900


def test_T5_a_refresh_that_brings_no_refresh_token_keeps_the_old_one(
    emulated: Callable[..., Emulator], door: Door, signs_in: SignIn
) -> None:
    emulator = emulated(rotation="grace")
    opened = door(emulator)
    user = signs_in(opened, emulator)
    emulator.advance(5400)
    emulator.fault("POST /oauth/token", "override", remove=["refresh_token"])
    opened.fresh_tokens(user)
    emulator.advance(5400)
    opened.fresh_tokens(user)
    assert 2 == refreshes(emulator)


@pytest.mark.parametrize(
    ("kind", "settings", "error"),
    [
        ("html", {}, UnexpectedResponse),
        ("html", {"status": 502}, ProcoreUnavailable),
        ("malformed-json", {}, UnexpectedResponse),
        ("truncate", {}, ProcoreUnavailable),
        ("status", {"status": 204}, UnexpectedResponse),
        ("status", {"status": 401}, UnexpectedResponse),
        ("status", {"status": 503}, ProcoreUnavailable),
        ("status", {"status": 500, "commit": True}, ProcoreUnavailable),
        ("rate-limit", {"reset": "garbage"}, ProcoreUnavailable),
        ("override", {"members": {"access_token": 7}}, UnexpectedResponse),
        ("huge", {"bytes": 200_000}, UnexpectedResponse),
        ("drop-before-commit", {}, ProcoreUnavailable),
        ("drop-after-commit", {"reset": True}, ProcoreUnavailable),
        ("refuse", {"seconds": 0.2}, ProcoreUnavailable),
    ],
)
def test_T7_every_misbehaviour_of_the_token_endpoint_is_a_typed_error(
    emulator: Emulator,
    door: Door,
    signs_in: SignIn,
    kind: str,
    settings: dict[str, Any],
    error: type[ProcoreSignInError],
) -> None:
    emulator.fault("POST /oauth/token", kind, **settings)
    opened = door(emulator)
    with pytest.raises(error):
        signs_in(opened, emulator)
    assert [] == list(opened.users())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("content-length", {"length": 1_000}),
        ("override", {"members": {"error": "invalid_client"}}),
        ("override", {"members": {"expires_in": "5400"}}),
    ],
)
def test_T9_an_odd_answer_whose_tokens_can_be_read_signs_in(
    emulator: Emulator, door: Door, signs_in: SignIn, kind: str, settings: dict[str, Any]
) -> None:
    emulator.fault("POST /oauth/token", kind, **settings)
    opened = door(emulator)
    assert [signs_in(opened, emulator)] == list(opened.users())


@pytest.mark.parametrize(("rotation", "survives"), [("grace", True), ("immediate", False)])
def test_R5_a_lost_answer_is_asked_for_once_more(
    emulated: Callable[..., Emulator],
    door: Door,
    signs_in: SignIn,
    rotation: str,
    survives: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    emulator = emulated(rotation=rotation, now=lambda: NOW)
    opened = door(emulator)
    user = signs_in(opened, emulator)
    emulator.advance(5400)
    emulator.fault("POST /oauth/token", "drop-after-commit")
    if survives:
        assert 5400 == opened.fresh_tokens(user).expires_in
    else:
        with pytest.raises(GrantLost):
            opened.fresh_tokens(user)
    assert 2 == refreshes(emulator)


def test_R6_a_grant_that_the_person_revoked_is_asked_for_once(
    emulator: Emulator, door: Door, signs_in: SignIn
) -> None:
    opened = door(emulator)
    user = signs_in(opened, emulator)
    emulator.revoke(login=DEMO_LOGIN)
    emulator.advance(5400)
    for _ in range(5):
        with pytest.raises(GrantLost):
            opened.fresh_tokens(user)
    assert 1 == refreshes(emulator)


def test_R7_ten_minutes_without_procore_sign_nobody_out(
    emulator: Emulator, door: Door, signs_in: SignIn
) -> None:
    opened = door(emulator)
    user = signs_in(opened, emulator)
    emulator.advance(5400)
    emulator.fault("POST /oauth/token", "status", status=503, times=None)
    for _ in range(60):
        with pytest.raises(ProcoreUnavailable):
            opened.fresh_tokens(user)
        emulator.advance(10)
    assert refreshes(emulator) <= 120
    emulator.clear_faults()
    emulator.advance(60)
    assert 5400 == opened.fresh_tokens(user).expires_in


def test_R11_a_token_that_procore_handed_out_again_is_not_revoked(
    emulated: Callable[..., Emulator], door: Door, signs_in: SignIn
) -> None:
    emulator = emulated(reuse_access_token=True)
    opened = door(emulator)
    signs_in(opened, emulator)
    user = signs_in(opened, emulator)
    token = opened.fresh_tokens(user).access_token.reveal()
    headers = {"authorization": f"Bearer {token}"}
    me = httpx2.get(f"{emulator.url}/rest/v1.0/me", headers=headers, trust_env=False)
    assert 200 == me.status_code
