import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from scripted import Clock

from procore_signin import environments
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import (
    LIFETIME,
    Bound,
    OwnLogin,
    SignInAttempt,
    attempt_name,
    check_attempt,
    check_login,
    new_attempt,
    open_attempt,
    seal_attempt,
)
from procore_signin._flow.context import Context
from procore_signin.errors import AttemptInvalid


@pytest.fixture
def context(door: ProcoreSignIn) -> Context:
    return door.context


def test_A1_the_button_leads_to_the_authorization_page_of_the_tutorial(context: Context) -> None:
    url = urlsplit(new_attempt(context, return_to="/home").authorization_url(context))
    query = parse_qs(url.query)
    assert f"{url.scheme}://{url.netloc}{url.path}" == "http://127.0.0.1:4568/oauth/authorize"
    assert query["client_id"] == ["fake-client-id"]
    assert query["response_type"] == ["code"]
    assert query["redirect_uri"] == ["http://localhost:4567/callback"]


def test_A3_every_attempt_has_its_own_alphanumeric_state(context: Context) -> None:
    states = {new_attempt(context, return_to="/").state for _ in range(10_000)}
    assert len(states) == 10_000
    assert all(re.fullmatch(r"[0-9a-f]{64}", state) for state in states)


def test_A4_the_challenge_is_the_hash_of_the_verifier_which_stays_here(context: Context) -> None:
    attempt = new_attempt(context, return_to="/")
    url = attempt.authorization_url(context)
    assert attempt.code_verifier is not None
    verifier = attempt.code_verifier.reveal()
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert parse_qs(urlsplit(url).query)["code_challenge"] == [challenge]
    assert verifier not in url
    assert verifier not in repr(attempt)


def test_A4_the_state_which_is_public_tells_nothing_of_the_verifier(context: Context) -> None:
    def attempt(of_state: bytes, of_verifier: bytes) -> SignInAttempt:
        random = of_state * 32 + of_verifier * 32
        return new_attempt(replace(context, random_bytes=lambda _: random), return_to="/")

    one, same_state, same_verifier = attempt(b"a", b"b"), attempt(b"a", b"c"), attempt(b"d", b"b")
    assert one.state == same_state.state != same_verifier.state
    assert one.code_verifier == same_verifier.code_verifier != same_state.code_verifier


def test_A4_pkce_can_be_left_out_for_a_server_that_refuses_it(context: Context) -> None:
    plain = replace(context, pkce=False)
    attempt = new_attempt(plain, return_to="/")
    assert attempt.code_verifier is None
    assert "code_challenge" not in attempt.authorization_url(plain)


def test_a_sealed_attempt_opens_as_it_was(context: Context) -> None:
    attempt = new_attempt(context, return_to="/projects?id=1")
    name = attempt_name(attempt.state)
    opened = open_attempt(context, name, seal_attempt(context, attempt))
    assert opened == attempt
    assert repr(opened) == repr(attempt)  # the verifier is called by its name too


def test_A4_an_attempt_without_pkce_opens_as_it_was(context: Context) -> None:
    without = replace(context, pkce=False)
    attempt = new_attempt(without, return_to="/")
    opened = open_attempt(without, attempt_name(attempt.state), seal_attempt(without, attempt))
    assert opened == attempt
    assert opened.code_verifier is None


def test_K5_an_attempt_that_was_changed_anywhere_is_no_attempt(context: Context) -> None:
    attempt = new_attempt(context, return_to="/")
    name, sealed = attempt_name(attempt.state), seal_attempt(context, attempt)
    for position, letter in enumerate(sealed):
        other = "A" if letter != "A" else "B"
        changed = sealed[:position] + other + sealed[position + 1 :]
        # The last character of unpadded base64 has bits that mean nothing.
        opened = open_attempt(context, name, changed)
        assert opened is None or (position == len(sealed) - 1 and opened == attempt)


def test_K5_an_attempt_under_another_name_is_no_attempt(context: Context) -> None:
    one, two = (new_attempt(context, return_to="/") for _ in range(2))
    assert open_attempt(context, attempt_name(two.state), seal_attempt(context, one)) is None


@pytest.mark.parametrize("sealed", ["", "v1", "v1.k1.", "v1.k2.AAAA", "v2.k1.AAAA", "é", "v1.k1.!"])
def test_K5_what_was_never_sealed_is_no_attempt(context: Context, sealed: str) -> None:
    assert open_attempt(context, "a_000000000000", sealed) is None


def test_C3_an_attempt_expires_after_half_an_hour(context: Context, clock: Clock) -> None:
    attempt = new_attempt(context, return_to="/")
    clock.advance(LIFETIME - 1)
    check_attempt(context, attempt)
    clock.advance(1)
    with pytest.raises(AttemptInvalid) as caught:
        check_attempt(context, attempt)
    assert caught.value.reason == "expired"
    assert str(caught.value) == "The sign-in attempt is older than 30 minutes"


def test_C3_an_attempt_of_the_future_is_refused_beyond_the_skew_of_replicas(
    context: Context, clock: Clock
) -> None:
    attempt = new_attempt(context, return_to="/")
    clock.advance(-300)
    check_attempt(context, attempt)
    clock.advance(-1)
    with pytest.raises(AttemptInvalid):
        check_attempt(context, attempt)


@pytest.mark.parametrize(
    "elsewhere",
    [
        lambda c: replace(c, environment=environments.MONTHLY),
        lambda c: replace(c, client=replace(c.client, client_id="another")),
        lambda c: replace(c, client=replace(c.client, redirect_uri="http://localhost:1/callback")),
    ],
    ids=["environment", "client", "redirect URI"],
)
def test_A6_an_attempt_belongs_to_one_environment_client_and_redirect_uri(
    context: Context, elsewhere: Callable[[Context], Context]
) -> None:
    attempt = new_attempt(context, return_to="/")
    with pytest.raises(AttemptInvalid) as caught:
        check_attempt(elsewhere(context), attempt)
    assert caught.value.reason == "mismatch"
    assert "made for another environment or client" in str(caught.value)


def test_L3_an_attempt_of_one_login_is_not_finished_under_another() -> None:
    ann, bob = OwnLogin("ann"), OwnLogin("bob")
    check_login(Bound(login=ann.mark), ann)
    with pytest.raises(AttemptInvalid) as caught:
        check_login(Bound(login=ann.mark), bob)
    assert caught.value.reason == "other_login"
    assert "not the one who is logged in now" in str(caught.value)


def test_C3_states_are_compared_in_constant_time(context: Context, compared: list[bool]) -> None:
    attempt = new_attempt(context, return_to="/home")
    assert attempt.has_state(attempt.state)
    assert not attempt.has_state("0" * 64)
    assert compared == [True, False]
