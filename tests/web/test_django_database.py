"""The tables in a Django project's own database, as `migrate` makes them and its tests see them."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, inspect, text
from sqlalchemy.engine import Engine

from procore_signin.emulator import Emulator

HOSTS = Path(__file__).parent / "hosts"
SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/",
    "mariadb": "mariadb+pymysql://root@127.0.0.1:3306/",
}
KINDS = ["sqlite", "sqlite-file", "postgresql", "mariadb"]
OURS = {"users", "sessions", "token_sets", "sign_in_ledger", "procore_signin_alembic_version"}


@contextmanager
def server(kind: str) -> Iterator[tuple[Engine, str]]:
    """Connect to a server, give the name of a database to come, and drop what was made."""
    homes = {"postgresql": "postgres", "mariadb": "mysql"}
    engine = create_engine(
        SERVERS[kind] + homes[kind], isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    name = f"procore_signin_host_{os.getpid()}_{secrets.token_hex(3)}"
    yield engine, name
    with engine.connect() as connection:
        for each in (name, f"test_{name}"):
            connection.execute(text(f"DROP DATABASE IF EXISTS {each}"))


def environment(kind: str, folder: Path, name: str = "", **more: str) -> dict[str, str]:
    """Return the environment of a process of the project."""
    settings = {
        "DJANGO_SETTINGS_MODULE": "existing_django.settings",
        "DJANGO_KIND": kind,
        "DJANGO_FOLDER": str(folder),
        "DJANGO_NAME": name,
        "PYTHONPATH": str(HOSTS),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PROCORE_")}
    return kept | settings | more


def manage(*command: str, **where: Any) -> str:
    """Run a command of the project in a process of its own, and return all that it says."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", *command],
        env=environment(**where),
        cwd=where["folder"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def django(*command: str, **more: Any) -> str:
    return manage("-m", "django", *command, **more)


@contextmanager
def place(kind: str) -> Iterator[str]:
    if kind not in SERVERS:
        yield ""
        return
    with server(kind) as (_, name):
        yield name


@contextmanager
def existing_database(kind: str) -> Iterator[str]:
    if kind not in SERVERS:
        yield ""
        return
    with server(kind) as (engine, name):
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        yield name


@pytest.mark.parametrize(("kind", "workers"), [("sqlite", "1"), *((kind, "2") for kind in KINDS)])
def test_O16_the_projects_own_tests_run_with_people_signed_in(
    kind: str, workers: str, tmp_path: Path
) -> None:
    """Each kind of test class, with rows gone after each: see `hosts/existing_django`."""
    with place(kind) as name:
        said = django(
            "test",
            "existing_django.own_tests",
            f"--parallel={workers}",
            "--noinput",
            kind=kind,
            folder=tmp_path,
            name=name,
        )

    assert "Ran 10 tests" in said
    assert "OK" in said


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("option", ["no-migrations", "atomic-requests"])
def test_the_projects_own_tests_run_however_they_are_set_up(
    kind: str, option: str, tmp_path: Path
) -> None:
    with place(kind) as name:
        said = django(
            "test",
            "existing_django.own_tests",
            "--noinput",
            kind=kind,
            folder=tmp_path,
            name=name,
            DJANGO_WITH=option,
        )

    assert "Ran 10 tests" in said


def test_our_own_connections_are_told_what_djangos_are(tmp_path: Path) -> None:
    """See `hosts/existing_django/parameter_tests.py`."""
    tests = "existing_django.parameter_tests"
    assert "Ran 6 tests" in django("test", tests, kind="sqlite", folder=tmp_path)


def test_commands_act_on_the_projects_users(tmp_path: Path) -> None:
    where: Any = {
        "kind": "sqlite-file",
        "folder": tmp_path,
        "PROCORE_ENVIRONMENT": "emulator",
        "PROCORE_REDIRECT_URI": "http://localhost:8000/procore/callback",
        "PROCORE_KEYS": "k1:" + "A" * 43,
    }
    assert "W002" in django("check", "--database", "default", **where)
    assert "W002" not in django("migrate", "--run-syncdb", **where)
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as database:
        database.execute(
            "INSERT INTO procore_signin_users"
            " (procore_id, email, environment, created_at, last_signed_in_at)"
            " VALUES (7, 'ann@example.com', 'emulator', 1, 1)"
        )
        database.commit()

    assert "ann@example.com" in django("procore_signin", "users", "list", "--json", **where)
    assert "up to date" in django("procore_signin", "db", "current", **where)


def test_cures_name_the_projects_own_commands_and_settings(tmp_path: Path) -> None:
    where: Any = {
        "kind": "sqlite-file",
        "folder": tmp_path,
        "PROCORE_ENVIRONMENT": "emulator",
        "PROCORE_REDIRECT_URI": "http://localhost:8000/procore/callback",
        "PROCORE_KEYS": "k1:" + "A" * 43,
    }
    with pytest.raises(AssertionError, match=r"Create it: python manage\.py procore_signin db "):
        django("procore_signin", "doctor", **where)
    django("procore_signin", "db", "upgrade", **where)
    with pytest.raises(AssertionError, match=r"users: python manage\.py procore_signin users l"):
        django("procore_signin", "users", "show", "7", **where)
    (tmp_path / "db.sqlite3").write_text("no database")
    with pytest.raises(AssertionError, match="Name another one, or restore it"):
        django("procore_signin", "users", "list", **where)


def test_what_builds_and_migrates_a_project_needs_no_settings_of_ours(tmp_path: Path) -> None:
    where: Any = {"kind": "sqlite-file", "folder": tmp_path}

    assert "No changes" in django("makemigrations", "--check", "procore_signin", **where)
    django("migrate", "--run-syncdb", **where)
    django("migrate", "--check", **where)
    django("collectstatic", "--noinput", "--verbosity=0", **where)
    assert "PROCORE_KEYS" in django("check", "--database", "default", **where)

    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as database:
        found = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    assert {f"procore_signin_{plain}" for plain in OURS} <= found
    assert {"users", "sessions", "auth_user"} <= found  # the project's own


def test_a_deployment_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"procore_signin.E005\) PROCORE_KEYS"):
        django("check", "--deploy", kind="sqlite-file", folder=tmp_path)


@pytest.mark.parametrize(
    ("kind", "schema"), [("postgresql", None), ("postgresql", "procore"), ("mariadb", None)]
)
def test_migrate_makes_the_tables_on_a_server_and_connections_of_our_own_use_them(
    kind: str, schema: str | None, tmp_path: Path
) -> None:
    with server(kind) as (engine, name):
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        where: Any = {"kind": kind, "folder": tmp_path, "name": name}
        if schema is not None:
            where["DJANGO_PROCORE_SIGNIN"] = json.dumps({"DATABASE_SCHEMA": schema})
        django("migrate", "--run-syncdb", "--verbosity=0", **where)
        django("migrate", "--run-syncdb", "--verbosity=0", **where)
        manage(
            "-c",
            "import django; django.setup()\n"
            "from django.db import transaction\n"
            "from procore_signin.web.django import procore\n"
            "with transaction.atomic():\n"
            "    procore.store.probe()\n"
            "    assert list(procore.users()) == []\n"
            "procore.close()\n",
            PROCORE_ENVIRONMENT="emulator",
            PROCORE_KEYS="k1:" + "A" * 43,
            **where,
        )
        looked = create_engine(SERVERS[kind] + name, poolclass=NullPool)
        theirs = set(inspect(looked).get_table_names())
        ours = set(inspect(looked).get_table_names(schema))

    assert {f"procore_signin_{plain}" for plain in OURS} <= ours
    assert {"users", "sessions"} <= theirs
    assert schema is None or not any(each.startswith("procore_signin_") for each in theirs)


@pytest.mark.parametrize(
    ("kind", "option"),
    [("sqlite-file", ""), ("postgresql", ""), ("mariadb", ""), ("mariadb", "atomic-requests")],
)
def test_a_user_of_the_project_connects_an_account_and_signs_in_with_it(
    kind: str, option: str, tmp_path: Path
) -> None:
    """See `hosts/existing_django/connect.py`, which runs as a server would, outside tests."""
    callback = "http://localhost:8000/procore/callback"
    with Emulator.started(redirect_uris=(callback,)) as emulator, existing_database(kind) as name:
        where: Any = {
            "kind": kind,
            "folder": tmp_path,
            "name": name,
            "DJANGO_WITH": option,
            "DJANGO_PROCORE_SIGNIN": json.dumps(
                {"DJANGO_USER": "procore_signin.web.django.connected_user"}
            ),
            "PROCORE_ENVIRONMENT": "emulator",
            "PROCORE_EMULATOR_URL": emulator.url,
            "PROCORE_REDIRECT_URI": callback,
            "PROCORE_KEYS": "k1:" + "A" * 43,
        }
        django("migrate", "--run-syncdb", "--verbosity=0", **where)
        with subprocess.Popen(
            [sys.executable, "-m", "existing_django.connect"],
            env=environment(**where),
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            while (line := process.stdout.readline()).startswith("http"):
                there = emulator.approve(line.strip(), login="joecontractor@procore.com")
                process.stdin.write(there + "\n")
                process.stdin.flush()
            said = line + process.stdout.read()
        assert process.returncode == 0, said
        assert "done with django.db.backends" in said
        assert emulator.live_grants() == []


IN_AN_ATOMIC_REQUEST = """
import sys, time, urllib.parse
import django; django.setup()
from django.db import transaction
from django.test import Client
from existing_django.models import Member
from procore_signin.errors import StoreUnavailable
from procore_signin.web.django import procore

client = Client(headers={"host": "localhost", "accept": "text/html"})
shown = client.get("/procore/signin").content.decode()
print("http" + shown.split('href="http', 1)[1].split('"', 1)[0].replace("&amp;", "&"), flush=True)
back = urllib.parse.urlsplit(sys.stdin.readline().strip())
assert client.get(f"{back.path}?{back.query}").status_code == 303
assert client.get("/companies").status_code == 200  # it writes, then asks with a fresh token
[user] = procore.users()
began = time.monotonic()
try:
    with transaction.atomic():
        Member.objects.create(email="ann@example.com")
        procore.fresh_tokens(user, rejected=1)
except StoreUnavailable as error:
    assert "non_atomic_requests" in str(error), error
else:
    raise SystemExit("it was refreshed")
assert time.monotonic() - began < 2
with transaction.atomic():
    Member.objects.count()
    assert procore.fresh_tokens(user, rejected=1).generation == 2
    transaction.set_rollback(True)
assert procore.fresh_tokens(user).generation == 2, "the project's rollback takes no pair back"
procore.close()
"""


def test_an_atomic_request_on_sqlite_does_not_wait_for_itself(tmp_path: Path) -> None:
    """Nobody but the request's own transaction can give the lock up; nothing was spent."""
    with Emulator.started(redirect_uris=("http://localhost/procore/callback",)) as emulator:
        environ = {
            "DJANGO_SETTINGS_MODULE": "existing_django.settings",
            "DJANGO_KIND": "sqlite-file",
            "DJANGO_FOLDER": str(tmp_path),
            "DJANGO_WITH": "atomic-requests",
            "PYTHONPATH": str(HOSTS),
            "PROCORE_ENVIRONMENT": "emulator",
            "PROCORE_EMULATOR_URL": emulator.url,
            "PROCORE_REDIRECT_URI": "http://localhost/procore/callback",
            "PROCORE_KEYS": "k1:" + "A" * 43,
        }
        django("migrate", "--run-syncdb", kind="sqlite-file", folder=tmp_path)
        with subprocess.Popen(
            [sys.executable, "-c", IN_AN_ATOMIC_REQUEST],
            env=os.environ | environ,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            process.stdin.write(emulator.approve(url, login="joecontractor@procore.com") + "\n")
            process.stdin.close()
            rest = process.stdout.read()
        assert process.returncode == 0, rest
