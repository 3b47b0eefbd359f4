from __future__ import annotations

import pickle
import string
from contextlib import suppress
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procore_signin._protocol.pkce import base64url
from procore_signin._protocol.secret import Secret
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.keys.seal import decode

ONE = "fake1:" + "A" * 42 + "E"
TWO = "fake2:" + "B" * 42 + "E"


def parse(text: str) -> KeyRing:
    return KeyRing.parse(Secret(text, "keys"))


def test_the_first_key_is_the_active_one() -> None:
    assert ("fake2", "fake1") == parse(f"{TWO},{ONE}").ids


def test_padding_and_white_space_around_entries_are_accepted() -> None:
    assert ("fake1", "fake2") == parse(f" {ONE}= ,\n{TWO}\n").ids


def test_a_generated_key_is_read_back() -> None:
    text = KeyRing.generate(lambda size: bytes(range(size)), key_id="k20270131")
    assert ("k20270131",) == KeyRing.parse(text).ids
    assert bytes(range(32)) == decode(text.reveal().partition(":")[2])


@pytest.mark.parametrize("key_id", ["", "a.b", "a:b", "a,b", "ü", "x" * 33])
def test_a_key_is_not_generated_under_an_id_that_could_not_be_read_back(key_id: str) -> None:
    with pytest.raises(ValueError, match="A key id has 1 to 32"):
        KeyRing.generate(bytes, key_id=key_id)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "entry 1 does not start with a key id"),
        ("A" * 43, "entry 1 does not start with a key id"),
        (f"{ONE},", "entry 2 does not start with a key id"),
        (f"a.b:{'A' * 43}", "entry 1 does not start with a key id"),
        (f"{'x' * 33}:{'A' * 43}", "entry 1 does not start with a key id"),
        ("fake1:", "entry 1 is not a key of 32 bytes"),
        (f"fake1:{'A' * 42}", "entry 1 is not a key of 32 bytes"),
        (f"fake1:{'A' * 44}", "entry 1 is not a key of 32 bytes"),
        (f"fake1:{'A' * 42}+", "entry 1 is not a key of 32 bytes"),
        (f"{ONE},fake2:{'é' * 43}", "entry 2 is not a key of 32 bytes"),
        (f"{ONE}:more", "entry 1 is not a key of 32 bytes"),
        (f"fake1:{'A' * 42}F", "entry 1 is no canonical base64url"),
        (f"{ONE},fake1:{'B' * 42}E", "two keys have the same id"),
        (f"{ONE},fake2:{'A' * 42}E", "one key stands there twice"),
    ],
)
def test_a_malformed_ring_is_refused_by_the_rule_it_breaks(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "S3cretS3cretS3cretS3cretS3cretS3cretS3cretX",
        "S3cret:S3cret",
        f"fake1:S3cret{'A' * 36}F",
        f"fake1:S3cret{'A' * 36}E,fake1:{'B' * 42}E",
    ],
)
def test_V6_no_part_of_the_text_shows_in_the_refusal(text: str) -> None:
    with pytest.raises(ValueError, match="PROCORE_KEYS") as refusal:
        parse(text)
    assert "S3cret" not in str(refusal.value)


def test_V6_a_ring_shows_its_ids_only() -> None:
    ring = parse(f"{ONE},{TWO}")
    shown = f"{ring!r} {ring.derive('store')!r}"
    assert "<key ring fake1, fake2>" in shown
    assert "AAAA" not in shown
    assert "\\x" not in shown


def test_V6_a_ring_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="keys do not leave the process"):
        pickle.dumps(parse(ONE))


def test_each_purpose_and_each_key_has_its_own_subkey() -> None:
    ring = parse(f"{ONE},{TWO}")
    subkeys = [*ring.derive("store"), *ring.derive("attempt cookie")]
    assert ["fake1", "fake2", "fake1", "fake2"] == [key.id for key in subkeys]
    assert 4 == len({key.raw for key in subkeys})
    assert {32} == {len(key.raw) for key in subkeys}
    assert ring.derive("store") == ring.derive("store")


@pytest.mark.parametrize(
    "text", ["A", "AB", "é", "AA\n", "A=", "=", "+///", "AAA=", "AA==", "AAAA====", "AAAB=", "AA A"]
)
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padded|characters"):
        decode(text)


def test_base64url_is_read_as_it_was_written() -> None:
    assert all(bytes([byte] * 3) == decode(base64url(bytes([byte] * 3))) for byte in range(256))


def test_what_base64url_reads_is_what_it_writes() -> None:
    letters = string.ascii_letters + string.digits + "-_+/="
    for ending in map("".join, product(letters, repeat=2)):
        for text in (ending, "A" + ending, "AA" + ending, "AAA" + ending):
            with suppress(ValueError):
                assert base64url(decode(text)) == text


@given(st.binary(max_size=9))
def test_base64url_reads_all_that_it_writes(raw: bytes) -> None:
    assert decode(base64url(raw)) == raw


def test_a_new_key_prints_as_a_key() -> None:
    assert repr(KeyRing.generate(bytes, key_id="k1")) == "<key>"
