"""`procore-signin users`, as an operator runs it. Rows I2, I5, S6, V4, V6."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator

import pytest
import warm
from commands import PROGRAM, Command, clean_environment
from operating import (
    NEW,
    OLD,
    add_person,
    rows,
    sign_in_at,
    store_in,
    tokens,
    write_settings,
)

from procore_signin._store import Store
from procore_signin._store.linking.links import Link, ReferencesOf
from procore_signin._store.records import NewLink, User
from procore_signin._store.refresh import TakeLease, TokenRowOf
from procore_signin._store.tokens import TokensOf
from procore_signin._store.users import UserOf
from procore_signin.emulator import Emulator

NOW = 1_800_000_000


@pytest.fixture
def store(command: Command) -> Iterator[Store]:
    """The database of a folder whose Procore does not answer."""
    write_settings(command.folder)
    store = store_in(command.folder, OLD)
    yield store
    store.close()


@pytest.fixture
def people(store: Store) -> list[User]:
    return [
        add_person(store, 11, email="ann@example.com", name="Ann"),
        add_person(store, 12, email="bob@example.com", name=None),
        add_person(store, 11, email="ann@example.com", name="Ann", environment="monthly"),
    ]


def test_people_are_listed(command: Command, people: list[User]) -> None:
    done = command("users", "list")

    head, *lines = done.out.splitlines()
    assert (done.status, head.split()[0], len(lines)) == (0, "ID", 3)
    assert "ann@example.com" in lines[0]
    assert "enabled" in lines[0]
    assert lines[2].split()[:3] == [str(people[2].id), "11", "monthly"]


def test_a_long_list_comes_in_pages(command: Command, people: list[User]) -> None:
    first = json.loads(command("users", "list", "--limit", "2", "--json").out)
    told = command("users", "list", "--limit", "2")
    rest = json.loads(command("users", "list", "--after", str(people[1].id), "--json").out)

    assert [each["id"] for each in first["users"]] == [people[0].id, people[1].id]
    assert (first["more"], f"--after {people[1].id}" in told.err) == (True, True)
    assert ([each["id"] for each in rest["users"]], rest["more"]) == ([people[2].id], False)


def test_a_list_can_be_narrowed(command: Command, people: list[User]) -> None:
    by_email = json.loads(command("users", "list", "--email", "BOB@example.com", "--json").out)
    elsewhere = json.loads(command("users", "list", "--environment", "monthly", "--json").out)

    assert [each["id"] for each in by_email["users"]] == [people[1].id]
    assert [each["id"] for each in elsewhere["users"]] == [people[2].id]
    assert command("users", "list", "--email", "nobody@example.com").out == "Nobody.\n"


def test_one_person_is_shown(command: Command, people: list[User]) -> None:
    shown = command("users", "show", str(people[1].id)).out
    document = json.loads(command("users", "show", str(people[1].id), "--json").out)

    assert "Procore's id:  12\n" in shown
    assert "Name:          -\n" in shown
    assert (document["id"], document["open_sessions"]) == (people[1].id, 1)
    assert [each["status"] for each in document["tokens"]] == ["ok"]


def test_a_person_is_found_by_procores_id_in_the_environment_of_the_settings(
    command: Command, people: list[User]
) -> None:
    document = json.loads(command("users", "show", "--procore-id", "11", "--json").out)

    assert document["id"] == people[0].id


def test_I2_an_email_that_several_have_lists_them_and_nothing_is_done(
    command: Command, store: Store, people: list[User]
) -> None:
    done = command("users", "disable", "--email", "ann@example.com", "--yes")

    assert done.status == 1
    assert "Several users" in done.err
    for each in (people[0], people[2]):
        assert f"\n{each.id} " in done.err
        now = store.ask(UserOf(each.id))
        assert now is not None
        assert now.disabled_at is None


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("999",), "the id 999"),
        (("--procore-id", "999"), "Procore's id 999 in emulator"),
        (("--email", "x@\u202eexample.com"), "the e-mail address x@\ufffdexample.com"),
    ],
)
@pytest.mark.usefixtures("people")
def test_somebody_who_is_not_there_is_told(
    command: Command, words: tuple[str, ...], named: str
) -> None:
    for verb in ("show", "tokens"):
        done = command("users", verb, *words)
        assert (done.status, named in done.err) == (1, True)


@pytest.mark.parametrize("words", [(), ("1", "--procore-id", "11"), ("0",), ("--procore-id", "0")])
@pytest.mark.usefixtures("people")
def test_a_person_is_named_in_one_way(command: Command, words: tuple[str, ...]) -> None:
    assert command("users", "show", *words).status == 2


def test_V6_the_state_of_tokens_is_told_and_never_a_token(
    command: Command, store: Store, people: list[User]
) -> None:
    user = people[0]
    row = store.ask(TokenRowOf(user.id, "emulator", now=int(time.time())))
    assert row is not None
    store.do(TakeLease(row, owner="somebody", seconds=30, now=int(time.time())))
    rows(command.folder, "UPDATE token_sets SET ambiguous = 3 WHERE user_id = ?", user.id)

    shown = command("users", "tokens", str(user.id))
    document = json.loads(command("users", "tokens", str(user.id), "--json").out)

    (state,) = document["tokens"]
    assert (state["status"], state["generation"], state["ambiguous"]) == ("ok", 1, 3)
    assert (state["key_ids"], 0 < state["leased_for"] <= 30) == (["old"], True)
    assert 5300 < state["expires_in"] <= 5400
    (line,) = shown.out.splitlines()[1:]
    assert {"emulator", "ok", "1", "old", "3"} <= set(line.split())
    sealed = rows(command.folder, "SELECT access_token, refresh_token FROM token_sets")
    for secret in ("canary", *(cell.split(".")[2] for row in sealed for cell in row)):
        assert secret not in shown.out + json.dumps(document)


def test_V4_an_unreadable_value_is_told(command: Command, people: list[User]) -> None:
    rows(command.folder, "UPDATE token_sets SET access_token = 'garbage'")
    assert "UNREADABLE, old" in command("users", "tokens", str(people[0].id)).out


def test_somebody_without_tokens_is_told(command: Command, people: list[User]) -> None:
    rows(command.folder, "DELETE FROM token_sets")
    assert "There are no tokens" in command("users", "tokens", str(people[0].id)).out


def test_a_name_moves_no_cursor(command: Command, store: Store) -> None:
    user = add_person(store, 66, name="\x1b[2J\u202e evil\nline")
    for words in (("list",), ("show", str(user.id))):
        shown = command("users", *words).out
        assert "evil" in shown
        assert not {"\x1b", "\u202e"} & set(shown)


@pytest.fixture
def emulator(command: Command) -> Iterator[Emulator]:
    """A Procore for the folder's settings."""
    with Emulator.started(doorkeeper=4) as emulator:
        write_settings(command.folder, emulator_url=emulator.url)
        yield emulator


def test_I5_disabling_ends_sessions_and_revokes_at_procore(
    command: Command, emulator: Emulator
) -> None:
    user = sign_in_at(emulator, command.folder, OLD)
    sign_in_at(emulator, command.folder, OLD)

    done = command("users", "disable", str(user.id), "--yes", "--json")

    assert json.loads(done.out) == {
        "user": user.id,
        "sessions": 2,
        "revocation": "confirmed",
        "refresh_under_way": False,
        "sign_in_under_way": False,
        "certain": True,
    }
    assert (done.status, emulator.live_grants()) == (0, [])
    assert '"event": "user.disabled"' in done.err
    assert "joecontractor" not in done.err
    assert rows(command.folder, "SELECT count(*) FROM sessions") == [(0,)]


def test_L7_an_operator_undoes_the_connection_of_a_user(
    command: Command, emulator: Emulator
) -> None:
    user = sign_in_at(emulator, command.folder, OLD)
    store = store_in(command.folder, OLD)
    store.do(Link(user.id, NewLink("42"), now=NOW))

    done = command("users", "disconnect", str(user.id), "--yes")

    assert (done.status, emulator.live_grants()) == (0, [])
    assert done.out.startswith(f"Disconnected user {user.id} ")
    assert '"event": "user.unlinked"' in done.err
    assert store.ask(ReferencesOf(user.id)) == []
    store.close()


def test_I5_disabling_revokes_also_when_the_access_token_has_expired(
    command: Command, emulator: Emulator
) -> None:
    user = sign_in_at(emulator, command.folder, OLD)
    emulator.advance(5400)

    done = command("users", "disable", "--procore-id", str(user.procore_id), "--yes")

    assert done.status == 0
    assert "Procore confirmed that the tokens are revoked." in done.out
    assert emulator.live_grants() == []


def test_I5_when_procore_does_not_answer_the_person_is_disabled_and_the_purge_revokes_later(
    command: Command, emulator: Emulator
) -> None:
    user = sign_in_at(emulator, command.folder, OLD)
    with emulator.refusing():
        done = command("users", "disable", str(user.id), "--yes")
    assert (done.status, "NOT confirmed" in done.out) == (1, True)
    assert len(emulator.live_grants()) == 1
    rows(command.folder, "UPDATE sign_in_ledger SET escrowed_at = escrowed_at - 301")

    purged = command("purge", "--revoke-orphans", "--json")

    assert json.loads(purged.out)["orphans_revoked"] == 1
    assert emulator.live_grants() == []


def test_an_enabled_person_has_to_sign_in_again(command: Command, emulator: Emulator) -> None:
    user = sign_in_at(emulator, command.folder, OLD)
    command("users", "disable", str(user.id), "--yes")

    done = command("users", "enable", str(user.id))
    document = json.loads(command("users", "enable", str(user.id), "--json").out)

    assert (done.status, "sign in again" in done.out) == (0, True)
    assert '"event": "user.enabled"' in done.err
    assert document["disabled_at"] is None
    assert sign_in_at(emulator, command.folder, OLD).id == user.id


def test_deleting_leaves_nothing(command: Command, emulator: Emulator) -> None:
    user = sign_in_at(emulator, command.folder, OLD)

    done = command("users", "delete", str(user.id), "--yes")

    assert (done.status, emulator.live_grants()) == (0, [])
    assert "Deleted user" in done.out
    assert '"event": "user.deleted"' in done.err
    for table in ("users", "sessions", "token_sets"):
        assert rows(command.folder, f"SELECT count(*) FROM {table}") == [(0,)]


def test_V4_tokens_that_cannot_be_opened_are_deleted_only_if_that_is_said(
    command: Command, people: list[User]
) -> None:
    write_settings(command.folder, keys=NEW)
    who = str(people[0].id)

    refused = command("users", "delete", who, "--yes")
    assert (refused.status, "cannot be opened" in refused.err) == (1, True)
    disabled = command("users", "disable", who, "--yes", "--json")
    assert json.loads(disabled.out)["revocation"] == "sealed"
    deleted = command("users", "delete", who, "--yes", "--unrevoked")

    assert (deleted.status, "NOT be opened" in deleted.out) == (1, True)
    assert rows(command.folder, "SELECT count(*) FROM users WHERE id = ?", who) == [(0,)]


@pytest.mark.parametrize("verb", ["disable", "delete"])
@pytest.mark.parametrize(("answer", "said"), [("n\n", "Nothing was done"), ("", "Add --yes")])
def test_what_cannot_be_undone_asks_first(
    command: Command, store: Store, people: list[User], verb: str, answer: str, said: str
) -> None:
    done = command("users", verb, str(people[0].id), stdin=answer)

    assert (done.status, said in done.err) == (1, True)
    now = store.ask(UserOf(people[0].id))
    assert now is not None
    assert now.disabled_at is None
    assert tokens(11).access_token == _kept(store, people[0])


def _kept(store: Store, user: User) -> object:
    found = store.ask(TokensOf(user.id, user.environment))
    return None if found is None else found.access_token


def test_at_a_terminal_a_person_says_yes(
    command: Command, store: Store, people: list[User]
) -> None:
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "users", "disable", str(people[0].id)],
        cwd=command.folder,
        env=clean_environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        seen = ""
        while "[y/N]" not in seen:
            ready, _, _ = select.select([person], [], [], 20)
            assert ready, seen
            seen += os.read(person, 4096).decode()
        os.write(person, b"y\n")
        while process.poll() is None:
            ready, _, _ = select.select([person], [], [], 0.1)
            if ready:
                seen += _read(person)
    finally:
        process.kill()
        process.wait()
        os.close(person)

    assert f"Disable user {people[0].id} (ann@example.com, emulator)" in seen
    now = store.ask(UserOf(people[0].id))
    assert now is not None
    assert now.disabled_at is not None


def _read(descriptor: int) -> str:
    try:
        return os.read(descriptor, 4096).decode()
    except OSError:  # on Linux, how a terminal says that its other end is closed
        return ""


def test_without_settings_the_cure_is_told(command: Command) -> None:
    done = command("users", "list")

    assert (done.status, "PROCORE_KEYS" in done.err, "Cure" in done.err) == (1, True, True)


def test_without_tables_the_cure_is_told(command: Command) -> None:
    write_settings(command.folder)
    (command.folder / "test.db").unlink()

    done = command("users", "list")

    assert (done.status, "db upgrade" in done.err) == (1, True)
    assert not (command.folder / "test.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        *[("users", verb) for verb in ("list", "show", "tokens")],
        *[("users", verb) for verb in ("disable", "enable", "disconnect", "delete")],
        *[("sessions", verb) for verb in ("list", "revoke")],
        *[("keys", verb) for verb in ("generate", "list", "promote", "rotate", "retire")],
        ("purge",),
    ],
    ids=" ".join,
)
def test_each_command_explains_itself_and_prints_json(
    command: Command, words: tuple[str, ...]
) -> None:
    done = command(*words, "--help")

    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"Usage: procore-signin {' '.join(words)} ")
    assert "--json" in done.out


NAMES = ["Żółta Łódź", "範例一", "مثال ثان", "Zoë 👷🏽\u200d♀️", "Ana \u202egnp.exe"]
LISTS = [("users", "list"), ("users", "list", "--json")]
ENCODINGS = [
    {"PYTHONIOENCODING": "cp437"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "utf-8"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]
COMMANDS = [
    *LISTS,
    ("users", "show", "2"),
    ("users", "enable", "2"),
    ("users", "disable", "--email", "ann@example.com"),
    ("sessions", "list"),
]


@pytest.mark.parametrize(
    ("encoding", "arguments"),
    [
        *(({"PYTHONIOENCODING": "cp1252"}, arguments) for arguments in COMMANDS),
        *((encoding, arguments) for encoding in ENCODINGS for arguments in LISTS),
    ],
    ids=lambda each: " ".join(each.values() if isinstance(each, dict) else each),
)
def test_N7_a_name_that_the_console_has_no_letters_for_stops_no_command(
    command: Command, store: Store, encoding: dict[str, str], arguments: tuple[str, ...]
) -> None:
    for number, name in enumerate(NAMES, 11):
        add_person(store, number, email="ann@example.com", name=name)
    unset = ("LC_", "LANG", "PYTHONIOENCODING", "PYTHONUTF8")
    environment = {k: v for k, v in clean_environment().items() if not k.startswith(unset)}
    environment |= encoding

    # Each encoding once in a Python that starts with it.
    if arguments == ("users", "list") or "PYTHONIOENCODING" not in encoding:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            cwd=command.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        forked = warm.interpreter().start(arguments, environment, command.folder)
        out, err = forked.communicate()
        status = forked.wait()

    several = "--email" in arguments  # it fits all of them, who are listed
    assert (status, b"Traceback" in err) == (int(several), False)
    if arguments == ("users", "list", "--json"):
        assert [each["name"] for each in json.loads(out)["users"]] == NAMES
    if arguments == ("users", "list") or several:
        assert (err if several else out).count(b"@example.com") >= len(NAMES)
    assert "\u202e".encode() not in out + err


def test_N7_a_letter_that_the_console_lacks_is_printed_as_an_escape(
    command: Command, store: Store
) -> None:
    add_person(store, 11, email="ann@example.com", name="Zoë Żółta")

    done = subprocess.run(
        [*PROGRAM, "users", "list"],
        cwd=command.folder,
        env=clean_environment(PYTHONIOENCODING="latin-1"),
        capture_output=True,
        check=True,
    )

    assert "Zoë \\u017bó\\u0142ta" in done.stdout.decode("latin-1")
