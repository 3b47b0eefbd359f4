from __future__ import annotations

import json
import sqlite3

from commands import Command


def test_upgrade_makes_the_tables_of_the_tutorials_database(command: Command) -> None:
    done = command("db", "upgrade")

    assert (done.status, "up to date" in done.out) == (0, True)
    with sqlite3.connect(command.folder / "test.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(users)")]
    database.close()
    assert columns[:3] == ["id", "procore_id", "email"]


def test_upgrade_twice_is_fine(command: Command) -> None:
    command("db", "upgrade")

    assert "was already up to date" in command("db", "upgrade").out


def test_current_tells_whether_an_upgrade_is_needed(command: Command) -> None:
    before = command("db", "current", "--json")
    command("db", "upgrade")
    after = command("db", "current", "--json")

    assert (before.status, json.loads(before.out)["current"]) == (1, None)
    assert after.status == 0
    assert json.loads(after.out)["current"] == json.loads(after.out)["needed"]


def test_in_a_django_project_the_command_that_acts_on_its_database_is_named(
    command: Command,
) -> None:
    assert "manage.py" not in command("db", "current").err
    (command.folder / "manage.py").touch()
    for words in (("db", "current"), ("users", "list"), ("doctor",)):
        assert "python manage.py procore_signin" in command(*words).err
    url = f"sqlite:///{command.folder / 'its.db'}"  # as `manage.py procore_signin` sets it
    assert "manage.py" not in command("db", "current", PROCORE_DATABASE_URL=url).err


def test_current_makes_no_file(command: Command) -> None:
    command("db", "current")

    assert list(command.folder.iterdir()) == []


def test_downgrade_asks_first(command: Command) -> None:
    command("db", "upgrade")

    refused = command("db", "downgrade", "base", stdin="n\n")

    assert (refused.status, command("db", "current").status) == (1, 0)


def test_downgrade_takes_the_tables_away(command: Command) -> None:
    command("db", "upgrade")

    done = command("db", "downgrade", "base", "--yes", "--json")

    assert json.loads(done.out)["current"] is None


def test_the_database_can_be_named_in_the_environment_or_the_file(command: Command) -> None:
    (command.folder / ".env").write_text("PROCORE_DATABASE_URL=sqlite:///a.db\n", encoding="utf-8")

    command("db", "upgrade")
    command("db", "upgrade", PROCORE_DATABASE_URL="sqlite:///b.db")
    command("db", "upgrade", "--database-url", "sqlite:///c.db")

    assert {path.name for path in command.folder.glob("*.db")} == {"a.db", "b.db", "c.db"}


def test_a_foreign_table_is_refused_and_left_alone(command: Command) -> None:
    """As the Ruby application of the tutorial leaves it."""
    with sqlite3.connect(command.folder / "test.db") as database:
        database.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, procore_id, email)")
        database.execute("INSERT INTO users VALUES (1, 11111, 'joecontractor@procore.com')")
    database.close()

    done = command("db", "upgrade")

    assert (done.status, "procore-signin did not make" in done.err) == (1, True)
    with sqlite3.connect(command.folder / "test.db") as database:
        assert database.execute("SELECT count(*) FROM users").fetchone() == (1,)
    database.close()


def test_O1_a_password_in_the_address_is_not_shown(command: Command) -> None:
    address = "postgresql://someone:fake-password@127.0.0.1:1/none"

    done = command("db", "current", "--database-url", address)

    assert (done.status, "fake-password" in done.out + done.err) == (1, False)
