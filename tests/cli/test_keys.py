"""`procore-signin keys`, as an operator runs it: the whole life of a key. Rows V1, V3, V4, O1."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import stat
import subprocess

import pytest
from commands import PROGRAM, Command, clean_environment
from operating import (
    NEW,
    OLD,
    add_many,
    add_person,
    keys_in,
    ring,
    rows,
    store_in,
    tokens,
    write_settings,
)

MANY = 12_000


def test_V3_a_new_key_is_put_in_front_and_the_older_one_stays(command: Command) -> None:
    path = write_settings(command.folder)

    done = command("keys", "generate")

    ids = ring(keys_in(command.folder)).ids
    assert (done.status, len(ids), ids[1]) == (0, 2, "old")
    assert re.fullmatch(r"k20\d{6}-[0-9a-f]{4}", ids[0])
    assert f"Made the key {ids[0]}." in done.out
    assert keys_in(command.folder).endswith(f",{OLD}")
    assert path.read_text(encoding="utf-8").startswith("# mine\n")
    assert "\nOTHER=1\n" in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_V3_the_first_key_of_all_makes_the_file(command: Command) -> None:
    done = command("keys", "generate", "--json")

    document = json.loads(done.out)
    assert ring(keys_in(command.folder)).ids == (document["key"],)
    assert (document["file"], document["line"]) == (".env", None)


def test_O1_a_key_in_the_file_is_neither_printed_nor_logged(command: Command) -> None:
    write_settings(command.folder)

    done = command("keys", "generate")

    for entry in keys_in(command.folder).split(","):
        assert entry.partition(":")[2] not in done.out + done.err
    assert '"event": "key.generated"' in done.err


def test_V3_where_the_process_environment_has_the_keys_the_line_is_printed_and_not_logged(
    command: Command,
) -> None:
    before = write_settings(command.folder).read_bytes()

    done = command("keys", "generate", PROCORE_KEYS=NEW)
    document = json.loads(command("keys", "generate", "--json", PROCORE_KEYS=NEW).out)

    (line,) = [line for line in done.out.splitlines() if line.startswith("PROCORE_KEYS=")]
    new, older = ring(line.removeprefix("PROCORE_KEYS=")).ids
    assert (older, f"Made the key {new}." in done.out) == ("new", True)
    assert "process environment sets PROCORE_KEYS" in done.err
    assert line.partition(":")[2].partition(",")[0] not in done.err
    assert (document["file"], document["line"].endswith(f",{NEW}")) == (None, True)
    assert (command.folder / ".env").read_bytes() == before


def test_V3_a_key_that_only_opens_is_put_behind_and_promoted_later(command: Command) -> None:
    write_settings(command.folder)

    made = command("keys", "generate", "--open-only")
    older, new = ring(keys_in(command.folder)).ids
    promoted = command("keys", "promote", new)
    again = command("keys", "promote", new)

    assert (made.status, older) == (0, "old")
    assert f"procore-signin keys promote {new}" in made.out
    assert (promoted.status, ring(keys_in(command.folder)).ids) == (0, (new, "old"))
    assert "procore-signin keys rotate" in promoted.out
    assert '"event": "key.promoted"' in promoted.err
    assert (again.status, "already the active one" in again.out) == (0, True)
    assert ring(keys_in(command.folder)).ids == (new, "old")


def test_V3_a_key_that_the_ring_lacks_is_not_promoted(command: Command) -> None:
    write_settings(command.folder)

    done = command("keys", "promote", "new")

    assert (done.status, keys_in(command.folder)) == (1, OLD)
    assert "There is no key new" in done.err


def test_V3_where_the_process_environment_has_the_keys_promoting_prints_the_line(
    command: Command,
) -> None:
    before = write_settings(command.folder).read_bytes()

    done = command("keys", "promote", "new", PROCORE_KEYS=f"{OLD},{NEW}")
    document = json.loads(
        command("keys", "promote", "new", "--json", PROCORE_KEYS=f"{OLD},{NEW}").out
    )

    assert f"PROCORE_KEYS={NEW},{OLD}\n" in done.out
    assert NEW not in done.err
    assert (document["file"], document["line"]) == (None, f"PROCORE_KEYS={NEW},{OLD}")
    assert (command.folder / ".env").read_bytes() == before


def test_V3_a_ring_that_breaks_a_rule_is_not_made_worse(command: Command) -> None:
    write_settings(command.folder, keys="old:tooshort")

    done = command("keys", "generate")

    assert (done.status, keys_in(command.folder)) == (1, "old:tooshort")
    assert ("is not a key of 32 bytes" in done.err, "tooshort" in done.err) == (True, False)


def test_V3_the_list_tells_what_each_key_is_needed_for(command: Command) -> None:
    write_settings(command.folder, keys=f"{NEW},{OLD}")
    add_many(command.folder, 3, OLD)

    done = command("keys", "list")
    document = json.loads(command("keys", "list", "--json").out)

    assert done.status == 0
    assert [line.split() for line in done.out.splitlines()[1:]] == [
        ["new", "active", "0", "0", "0"],
        ["old", "open-only", "3", "3", "0"],
    ]
    assert document["keys"][1] == {
        "key_id": "old",
        "access_tokens": 3,
        "refresh_tokens": 3,
        "escrows": 0,
        "role": "open-only",
    }


def test_V3_a_key_that_the_ring_lacks_raises_an_alarm(command: Command) -> None:
    write_settings(command.folder, keys=NEW)
    add_many(command.folder, 2, OLD)

    done = command("keys", "list")
    document = command("keys", "list", "--json")

    assert (done.status, document.status) == (1, 1)
    assert "ALARM: 4 values in the database need the key old" in done.err
    assert [each["role"] for each in json.loads(document.out)["keys"]] == ["active", "missing"]


def test_V3_the_application_does_not_start_without_a_key_that_is_needed(command: Command) -> None:
    write_settings(command.folder, keys=NEW)
    add_many(command.folder, 2, OLD)

    for words in (("serve", "--port", "0"), ("serve", "--port", "0", "--migrate")):
        done = command(*words)
        assert done.status == 1
        assert "PROCORE_KEYS lacks a key that the database needs: old." in done.err
        assert "keys retire old --give-up" in done.err


def test_V4_the_application_starts_although_a_value_is_unreadable(command: Command) -> None:
    write_settings(command.folder)
    add_many(command.folder, 2, OLD)
    rows(command.folder, "UPDATE token_sets SET access_token = 'garbage' WHERE id = 1")

    running = command.start("serve", "--port", "0")

    running.read_until(r"Ctrl-C stops it\.\n")


def test_V3_a_rotation_seals_everything_anew_and_the_old_key_can_go(command: Command) -> None:
    write_settings(command.folder, keys=f"{NEW},{OLD}")
    add_many(command.folder, 250, OLD)

    rotated = command("keys", "rotate")
    again = command("keys", "rotate", "--json")
    retired = command("keys", "retire", "old", "--yes")

    assert (rotated.status, again.status, retired.status) == (0, 0, 0)
    assert "250 token sets sealed again with the key new." in rotated.out
    assert "Sealing again: 100 of 250\n" in rotated.err
    assert '"event": "key.rewrapped"' in rotated.err
    assert json.loads(again.out) == {
        "key": "new",
        "done": 0,
        "users": [],
        "attempts": [],
        "left": 0,
    }
    assert keys_in(command.folder) == NEW
    assert '"event": "key.retired"' in retired.err
    store = store_in(command.folder, NEW)
    for number in (1, 125, 250):
        found = store.tokens(number, "emulator")
        assert found is not None
        assert found.refresh_token == tokens(number).refresh_token
    store.close()


def test_V3_a_rotation_that_is_killed_loses_nothing_and_is_finished_by_the_next(
    command: Command,
) -> None:
    write_settings(command.folder, keys=f"{NEW},{OLD}")
    add_many(command.folder, MANY, OLD)

    running = command.start("keys", "rotate")
    running.read_until(rf"Sealing again: \d+ of {MANY}\n")
    running.stop(signal.SIGKILL)

    store = store_in(command.folder, NEW, OLD)
    left = store.older_token_sets()
    assert 0 < left < MANY
    for number in range(1, MANY, 97):
        found = store.tokens(number, "emulator")
        assert found is not None
        assert found.access_token == tokens(number).access_token
    done = command("keys", "rotate", "--json")
    assert (done.status, json.loads(done.out)["done"]) == (0, left)
    store.close()
    store = store_in(command.folder, NEW)
    for number in range(1, MANY, 97):
        found = store.tokens(number, "emulator")
        assert found is not None
        assert found.refresh_token == tokens(number).refresh_token
    store.close()


def test_V4_what_cannot_be_opened_is_named_and_left_and_fails_the_rotation(
    command: Command,
) -> None:
    write_settings(command.folder, keys=f"{NEW},{OLD}")
    add_many(command.folder, 30, OLD)
    rows(
        command.folder,
        "UPDATE token_sets SET access_token = substr(access_token, 1, 60) WHERE id IN (7, 21)",
    )
    damaged = rows(command.folder, "SELECT * FROM token_sets WHERE id IN (7, 21)")

    done = command("keys", "rotate")
    document = json.loads(command("keys", "rotate", "--json").out)

    assert done.status == 1
    assert "28 token sets sealed again" in done.out
    assert "2 token sets cannot be opened" in done.out
    assert re.findall(r"^  user (\d+)$", done.out, re.MULTILINE) == ["7", "21"]
    assert "older setting" not in done.err
    assert (document["users"], document["left"], document["done"]) == ([7, 21], 2, 0)
    assert rows(command.folder, "SELECT * FROM token_sets WHERE id IN (7, 21)") == damaged


def test_at_a_terminal_a_bar_shows_how_far_it_is(command: Command) -> None:
    write_settings(command.folder, keys=f"{NEW},{OLD}")
    add_many(command.folder, 250, OLD)
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "keys", "rotate"],
        cwd=command.folder,
        env=clean_environment(TERM="xterm", COLUMNS="100"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    seen = ""
    try:
        while "sealed again with" not in seen:
            ready, _, _ = select.select([person], [], [], 20)
            assert ready, seen
            seen += os.read(person, 4096).decode(errors="replace")
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(person)

    assert re.search(r"Sealing again.*250/250", seen)


def test_V3_a_key_in_use_is_not_retired(command: Command) -> None:
    write_settings(command.folder, keys=f"{NEW},{OLD}")
    add_many(command.folder, 4, OLD)

    done = command("keys", "retire", "old", "--yes")

    assert (done.status, keys_in(command.folder)) == (1, f"{NEW},{OLD}")
    assert "in use by 8 sealed values" in done.err
    assert "keys rotate" in done.err


def test_V3_one_escrow_is_use_enough(command: Command) -> None:
    write_settings(command.folder, keys=f"{NEW},{OLD}")
    store = store_in(command.folder, OLD)
    store.take_attempt("0" * 64, environment="emulator", now=1, expires_at=2)
    store.escrow("0" * 64, tokens("escrow"), environment="emulator", now=1)
    store.close()

    done = command("keys", "retire", "old", "--yes")

    assert (done.status, "in use by 1 sealed value." in done.err) == (1, True)


def test_V3_the_active_key_is_not_retired(command: Command) -> None:
    write_settings(command.folder, keys=f"{NEW},{OLD}")

    for words in (("new", "--yes"), ("new", "--yes", "--give-up")):
        done = command("keys", "retire", *words)
        assert (done.status, "is the active key" in done.err) == (1, True)
    assert keys_in(command.folder) == f"{NEW},{OLD}"


def test_V3_a_key_that_nobody_knows_is_not_retired(command: Command) -> None:
    write_settings(command.folder)

    for words in (("gone", "--yes"), ("gone", "--yes", "--give-up")):
        done = command("keys", "retire", *words)
        assert (done.status, "There is no key gone." in done.err) == (1, True)


def test_V3_where_the_process_environment_has_the_keys_retiring_prints_the_line(
    command: Command,
) -> None:
    before = write_settings(command.folder).read_bytes()

    done = command("keys", "retire", "old", "--yes", PROCORE_KEYS=f"{NEW},{OLD}")

    assert (done.status, f"PROCORE_KEYS={NEW}\n" in done.out) == (0, True)
    assert NEW not in done.err
    assert (command.folder / ".env").read_bytes() == before


@pytest.mark.parametrize("words", [("old",), ("old", "--give-up")])
def test_retiring_asks_first(command: Command, words: tuple[str, ...]) -> None:
    write_settings(command.folder, keys=f"{NEW},{OLD}")
    if "--give-up" in words:
        add_many(command.folder, 1, OLD)

    done = command("keys", "retire", *words, stdin="n\n")

    assert (done.status, keys_in(command.folder)) == (1, f"{NEW},{OLD}")
    assert rows(command.folder, "SELECT count(*) FROM token_sets") == [
        (1 if "--give-up" in words else 0,)
    ]


def test_V3_a_key_that_is_lost_for_good_can_be_given_up_and_the_application_starts_again(
    command: Command,
) -> None:
    write_settings(command.folder, keys=NEW)
    lost = store_in(command.folder, OLD)
    for number in (1, 2):
        add_person(lost, number)
    lost.close()
    store = store_in(command.folder, NEW)
    safe = add_person(store, 3)

    done = command("keys", "retire", "old", "--give-up", "--yes", "--json")

    assert (done.status, json.loads(done.out)["given_up"]) == (0, 2)
    assert done.err.count('"event": "key.given_up"') == 2
    kept = store.tokens(safe.id, "emulator")
    assert kept is not None
    assert kept.access_token == tokens(3).access_token
    assert rows(command.folder, "SELECT count(*) FROM users") == [(3,)]
    store.close()
    running = command.start("serve", "--port", "0")
    running.read_until(r"Ctrl-C stops it\.\n")


def test_V3_giving_up_a_key_saves_what_it_still_opens(command: Command) -> None:
    write_settings(command.folder, keys=f"{NEW},{OLD}")
    add_many(command.folder, 5, OLD)
    rows(command.folder, "UPDATE token_sets SET refresh_token = 'v1.old.AAAA' WHERE id = 2")

    done = command("keys", "retire", "old", "--give-up", "--yes")

    assert (done.status, keys_in(command.folder)) == (0, NEW)
    assert "1 token set given up" in done.out
    assert rows(command.folder, "SELECT user_id FROM token_sets ORDER BY id") == [
        (1,),
        (3,),
        (4,),
        (5,),
    ]
    store = store_in(command.folder, NEW)
    assert store.tokens(5, "emulator") is not None
    store.close()


def test_V3_the_whole_life_of_a_key(command: Command) -> None:
    """Made, used, followed by another, emptied, retired: and everyone's tokens still open."""
    write_settings(command.folder)
    add_many(command.folder, 3, OLD)

    for _ in range(2):
        before = ring(keys_in(command.folder)).ids[0]
        assert command("keys", "generate").status == 0
        assert command("keys", "retire", before, "--yes").status == 1
        assert command("keys", "rotate").status == 0
        assert command("keys", "retire", before, "--yes").status == 0

    assert len(ring(keys_in(command.folder)).ids) == 1
    store = store_in(command.folder, keys_in(command.folder))
    assert all(store.tokens(number, "emulator") is not None for number in (1, 2, 3))
    store.close()
