"""`procore-signin sessions`, as an operator runs it. Row S6."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from commands import Command
from operating import OLD, add_person, rows, store_in, write_settings
from scripted import Clock, ScriptedProcore, front_door

from procore_signin._cli.operator import sessions
from procore_signin._store import Store
from procore_signin._store.records import User


@pytest.fixture
def store(command: Command) -> Iterator[Store]:
    write_settings(command.folder)
    store = store_in(command.folder, OLD)
    yield store
    store.close()


@pytest.fixture
def ann(store: Store) -> User:
    """Someone with three sessions."""
    for session in (1, 2):
        add_person(store, 11, email="ann@example.com", session=session)
    return add_person(store, 11, email="ann@example.com", session=3, user_agent="Lynx\x1b[31m")


@pytest.fixture
def bob(store: Store) -> User:
    return add_person(store, 12, email="bob@example.com")


def ids(command: Command, *words: str) -> list[int]:
    document = json.loads(command("sessions", "list", "--json", *words).out)
    return [each["id"] for each in document["sessions"]]


def test_S6_everybodys_sessions_are_listed(command: Command, ann: User, bob: User) -> None:
    done = command("sessions", "list")

    head, *lines = done.out.splitlines()
    assert (done.status, head.split()[0], len(lines)) == (0, "SESSION", 4)
    assert [line.split()[1] for line in lines] == [str(ann.id)] * 3 + [str(bob.id)]
    assert "Lynx" in lines[2]
    assert "\x1b" not in done.out


def test_S6_a_list_is_narrowed_and_comes_in_pages(command: Command, ann: User, bob: User) -> None:
    everybody = ids(command)
    of_ann = ids(command, "--user", str(ann.id))

    assert (ids(command, "--email", "ann@example.com"), len(of_ann)) == (of_ann, 3)
    assert ids(command, "--procore-id", str(bob.procore_id)) == everybody[3:]
    for narrowed, all_of_them in (((), everybody), (("--user", str(ann.id)), of_ann)):
        first = ids(command, *narrowed, "--limit", "2")
        assert first == all_of_them[:2]
        assert ids(command, *narrowed, "--after", str(first[-1])) == all_of_them[2:]
    told = command("sessions", "list", "--limit", "2")
    assert f"--after {everybody[1]}" in told.err


@pytest.mark.usefixtures("ann")
def test_S6_no_hash_of_a_cookie_and_no_answer_of_procore_is_shown(command: Command) -> None:
    document = json.loads(command("sessions", "list", "--json").out)

    assert set(document["sessions"][0]) == {
        *("id", "user", "environment", "user_agent", "reference"),
        *("created_at", "last_seen_at", "idle_expires_at", "absolute_expires_at"),
    }


@pytest.mark.usefixtures("store")
def test_an_empty_list_is_told(command: Command) -> None:
    assert command("sessions", "list").out == "No open session.\n"


@pytest.mark.usefixtures("bob")
def test_S6_one_session_ends_and_the_others_stay(command: Command, ann: User) -> None:
    before = ids(command)

    done = command("sessions", "revoke", str(before[1]), "--yes")

    assert (done.status, "1 session ended" in done.out) == (0, True)
    assert '"event": "session.revoked"' in done.err
    assert f'"user": {ann.id}' in done.err
    assert ids(command) == [before[0], *before[2:]]


@pytest.mark.usefixtures("ann")
def test_S6_all_sessions_of_a_person_end_and_the_tokens_stay(command: Command, bob: User) -> None:
    others = ids(command, "--user", str(bob.id))

    done = command("sessions", "revoke", "--email", "ann@example.com", "--yes", "--json")

    assert json.loads(done.out) == {"ended": 3}
    assert ids(command) == others
    assert rows(command.folder, "SELECT count(*) FROM token_sets WHERE status = 'ok'") == [(2,)]


@pytest.mark.usefixtures("ann", "bob")
def test_S6_everybody_is_signed_out(command: Command) -> None:
    done = command("sessions", "revoke", "--everybody", "--yes")

    assert (done.status, "4 sessions ended" in done.out) == (0, True)
    assert "Ending sessions: 4" in done.err
    assert ids(command) == []


@pytest.mark.usefixtures("ann", "bob")
def test_S6_everybody_is_signed_out_in_more_batches_than_one(
    command: Command, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_BATCH", 2)
    add_person(store, 13, email="cyd@example.com")
    assert len(ids(command)) == 5

    with front_door(command.folder, ScriptedProcore(), Clock()) as door:
        assert sessions._end_all(door) == 5
    assert ids(command) == []


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(
    "words", [(), ("1", "--everybody"), ("1", "--user", "1"), ("--user", "1", "--email", "a@b.c")]
)
def test_it_is_said_in_one_way_which_end(command: Command, words: tuple[str, ...]) -> None:
    done = command("sessions", "revoke", *words, "--yes")

    assert (done.status, len(ids(command))) == (2, 3)


@pytest.mark.usefixtures("ann")
def test_a_session_that_is_over_is_told(command: Command) -> None:
    rows(command.folder, "UPDATE sessions SET idle_expires_at = 1 WHERE id = 1")

    for session_id in ("1", "999"):
        done = command("sessions", "revoke", session_id, "--yes")
        assert (done.status, f"No open session has the id {session_id}" in done.err) == (1, True)


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("words", [("1",), ("--user", "1"), ("--everybody",)])
def test_it_asks_first(command: Command, words: tuple[str, ...]) -> None:
    done = command("sessions", "revoke", *words, stdin="n\n")

    assert (done.status, "Nothing was done" in done.err, len(ids(command))) == (1, True, 3)
