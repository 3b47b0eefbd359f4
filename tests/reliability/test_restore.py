"""A backup is restored while Procore has moved on."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from tests.reliability.conftest import NewWorld, Report
from tests.reliability.settings import size
from tests.reliability.world import ACCESS_TOKEN_LIFETIME, World

from procore_signin._store.engine.address import parse_address

PEOPLE: Final = size(8, 60)
PROCESSES: Final = 4
DAY: Final = 86_400


def copy_to(world: World, target: Path) -> None:
    """Copy the database as a backup does, while it is in use."""
    with (
        closing(sqlite3.connect(file_of(world))) as here,
        closing(sqlite3.connect(target)) as there,
    ):
        here.backup(there)


def restore_from(world: World, source: Path) -> None:
    """Put a copy in the place of the database, which no one uses."""
    file = file_of(world)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    file.write_bytes(source.read_bytes())


def file_of(world: World) -> Path:
    path = parse_address(world.database.url).path
    assert path is not None
    return path


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_V5_a_restored_backup_asks_once_for_each_person_and_then_never_again(
    new_world: NewWorld, report: Report, tmp_path: Path
) -> None:
    world = new_world()
    people = {number: world.sign_in(number) for number in range(PEOPLE)}
    active = {user for number, user in people.items() if number % 4}
    copy_to(world, tmp_path / "backup.db")

    worker = world.worker()
    for _ in range(2):
        world.expire()
        for user in active:
            assert worker.ask("fresh", user=user)["api"] == 200
    world.pass_time(DAY - 2 * ACCESS_TOKEN_LIFETIME)
    world.leave()

    restore_from(world, tmp_path / "backup.db")
    world.come_back()
    for _ in range(PROCESSES):
        world.worker()
    world.witness.look()
    told: Counter[tuple[bool, str]] = Counter()
    for _ in range(3):
        for user in world.chance.sample(sorted(people.values()), PEOPLE):
            for worker in world.workers:
                worker.tell("fresh", user=user)
            for answer in world.answers(world.workers).values():
                outcome = "usable" if answer.get("api") == 200 else answer["error"]
                told[user in active, outcome] += 1
    sight = world.witness.look()
    report(
        "a copy one day old was put back under {people} people: {requests} refreshes for"
        " {questions} questions of {processes} processes, at most {most} for one person;"
        " {lost} people have to sign in again, {kept} whose grant had not moved on do not",
        people=PEOPLE,
        processes=PROCESSES,
        questions=sum(told.values()),
        requests=sight.refresh_tokens.total(),
        most=max(sight.refresh_tokens.values()),
        lost=sight.invalid_grants,
        kept=sight.refreshes,
    )
    asked = 3 * PROCESSES
    assert told == {
        (True, "GrantLost"): asked * len(active),
        (False, "usable"): asked * (PEOPLE - len(active)),
    }
    assert set(sight.refresh_tokens.values()) == {1}
    assert sight.invalid_grants == len(active)
    world.sign_in(1)
    assert world.workers[0].ask("fresh", user=people[1])["api"] == 200
