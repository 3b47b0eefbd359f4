from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable

import pytest

from procore_signin._protocol.secret import Secret

CANARY = "c4n4ry-access-token"


def secret() -> Secret:
    return Secret(CANARY, "access token")


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        format,
        ascii,
        "{}".format,
        "{!s:>40}".format,
        lambda s: f"{s}",
        lambda s: f"{s!r}",
    ],
)
def test_V6_a_secret_prints_as_its_label(show: Callable[[Secret], str]) -> None:
    assert show(secret()).strip() == "<access token>"


def test_V6_a_secret_inside_a_container_prints_as_its_label() -> None:
    assert f"{[secret()]} { ({'a': secret()}) }" == "[<access token>] {'a': <access token>}"


@pytest.mark.parametrize(
    "export",
    [
        lambda s: json.dumps({"token": s}),
        pickle.dumps,
        lambda s: pickle.dumps(s, protocol=0),
        copy.copy,
        copy.deepcopy,
        lambda s: format(s, ">40"),
    ],
)
def test_V6_a_secret_does_not_leave_the_process(export: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as refusal:
        export(secret())
    assert CANARY not in str(refusal.value)


def test_V6_a_traceback_that_prints_local_variables_shows_the_label() -> None:
    def fails(token: Secret) -> None:
        raise RuntimeError(f"something is wrong with {token}")

    with pytest.raises(RuntimeError) as failure:
        fails(secret())
    shown = "".join(
        traceback.TracebackException.from_exception(failure.value, capture_locals=True).format()
    )
    assert "token = <access token>" in shown
    assert CANARY not in shown


def test_V6_a_log_record_shows_the_label(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("exchanged %s", secret())
    assert caplog.messages == ["exchanged <access token>"]


def test_a_secret_has_no_dictionary_of_attributes() -> None:
    with pytest.raises(TypeError):
        vars(secret())


def test_reveal_hands_out_the_text() -> None:
    assert secret().reveal() == CANARY


def test_secrets_compare_by_text_alone() -> None:
    assert secret() == Secret(CANARY, "another label")
    assert secret() != Secret(CANARY + "x", "access token")
    assert secret() != CANARY


def test_secrets_that_no_encoding_can_spell_still_compare() -> None:
    assert Secret("\ud800", "code") == Secret("\ud800", "code")
    assert Secret("\ud800", "code") != Secret("\ud801", "code")


def test_a_secret_is_no_dictionary_key() -> None:
    with pytest.raises(TypeError):
        hash(secret())


@pytest.mark.parametrize(
    ("text", "kind", "cure"),
    [
        (CANARY.encode(), "bytes", ", decoded"),
        (bytearray(CANARY, "ascii"), "bytearray", ", decoded"),
        (None, "NoneType", "; None often means that a setting is missing"),
        (5, "int", ""),
        (secret(), "Secret", ""),
    ],
)
def test_N2_what_is_no_text_makes_no_secret_and_is_not_shown(
    text: object, kind: str, cure: str
) -> None:
    words = rf"^client secret must be text, not {kind}\. Pass the text itself{cure}\.$"
    with pytest.raises(TypeError, match=words) as refusal:
        Secret(text, "client secret")  # type: ignore[arg-type]

    assert CANARY not in str(refusal.value)


def test_a_secret_that_nobody_named_prints_as_one() -> None:
    assert repr(Secret(CANARY)) == "<secret>"


def test_N2_a_setting_given_as_text_or_as_a_secret_is_named_after_its_argument() -> None:
    assert repr(Secret.of(CANARY, argument="client_secret")) == "<client secret>"
    given = secret()
    assert Secret.of(given, argument="keys") is given
    with pytest.raises(
        TypeError, match=r"^client_secret must be text or a Secret, not int"
    ) as error:
        Secret.of(55555, argument="client_secret")  # type: ignore[arg-type]
    assert "55555" not in str(error.value)
