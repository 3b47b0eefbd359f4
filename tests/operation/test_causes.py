"""What is wrong with a database is told by its cause, with the cure (row O13)."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import trustme
from migrated import migrated
from own_postgres import OwnPostgres
from ports import free_port
from tests.operation.conftest import NewStore

from procore_signin._store.ledger import TakeAttempt
from procore_signin.errors import StoreUnavailable


def refusal(new_store: NewStore, url: str) -> StoreUnavailable:
    store = new_store(url)
    with pytest.raises(StoreUnavailable) as refused:
        store.probe()
    told = str(refused.value)
    assert refused.value.hint is not None
    assert told.endswith(refused.value.hint)
    assert not re.search(r"S3cret|someone", told)
    return refused.value


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("?sslmod=require", "parameter"),
        ("?options=-c%20no_such=1", "parameter"),
        ("?sslmode=require", "no_tls_there"),
    ],
)
def test_O13_a_parameter_or_tls_that_the_server_does_not_have_is_named(
    options: str, reason: str, server: OwnPostgres, new_store: NewStore
) -> None:
    assert refusal(new_store, server.address("signin", options=options)).reason == reason


@pytest.fixture
def with_tls(server: OwnPostgres, tmp_path: Path) -> Iterator[str]:
    """The file of the authority that the server's certificate is from."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    data = server.folder / "data"
    for name, blob in (
        ("server.crt", certificate.cert_chain_pems[0]),
        ("server.key", certificate.private_key_pem),
        ("root.crt", authority.cert_pem),
    ):
        blob.write_to_path(str(data / name))
        (data / name).chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(data / name, "postgres")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server.sql("ALTER SYSTEM SET ssl_ca_file = 'root.crt'")
    server.sql("ALTER SYSTEM SET ssl = on")
    server.admit("hostssl signin all all cert", "hostnossl signin all all reject")
    yield str(tmp_path / "ca.pem")
    server.sql("ALTER SYSTEM SET ssl = off")
    server.admit()


def test_O13_each_lack_of_a_certificate_is_told_with_its_own_cure(
    server: OwnPostgres, with_tls: str, new_store: NewStore
) -> None:
    wanted = {
        "?sslmode=disable": ("no_encryption", "?sslmode=verify-full"),
        "?sslmode=require": ("no_certificate", "?sslcert=<file>"),
        "": ("no_certificate", "?sslcert=<file>"),
        "?sslmode=require&sslcert=/missing&sslkey=/missing": ("no_certificate", "sslkey=<file>"),
        "?sslmode=verify-ca&sslrootcert=/missing": ("untrusted", "?sslrootcert=<file>"),
        f"?sslmode=verify-full&sslrootcert={with_tls}": ("untrusted", "the host as it stands"),
    }
    found = {
        options: refusal(new_store, server.address("signin", options=options)) for options in wanted
    }
    assert {options: error.reason for options, error in found.items()} == {
        options: reason for options, (reason, _) in wanted.items()
    }
    for options, (_, cure) in wanted.items():
        assert cure in str(found[options])


def test_O13_mariadb_names_an_unknown_parameter_and_a_port_where_nothing_listens(
    new_store: NewStore,
) -> None:
    unknown = refusal(new_store, "mariadb://root@127.0.0.1:3306/mysql?ssl_certt=x")
    assert unknown.reason == "parameter"
    down = refusal(new_store, f"mariadb://root@127.0.0.1:{free_port()}/mysql")
    assert (down.reason, down.hint) == (
        "unavailable",
        "Start it, or correct PROCORE_DATABASE_URL.",
    )


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("host signin someone 127.0.0.1/32 scram-sha-256",), "refused"),
        (("host signin someone 127.0.0.1/32 reject",), "no_encryption"),
    ],
)
def test_O13_who_is_not_let_in_is_told_what_to_correct(
    lines: tuple[str, ...], reason: str, server: OwnPostgres, new_store: NewStore
) -> None:
    server.sql("DROP ROLE IF EXISTS someone")
    server.sql("CREATE ROLE someone LOGIN PASSWORD 'other'")
    server.admit(*lines)
    try:
        error = refusal(new_store, server.address("signin", user="someone:S3cret"))
    finally:
        server.admit()
    assert error.reason == reason


def test_O13_a_missing_database_and_a_missing_user_are_told_apart(
    server: OwnPostgres, new_store: NewStore
) -> None:
    assert refusal(new_store, server.address("nowhere")).reason == "no_database"
    assert refusal(new_store, server.address("signin", user="nobody")).reason == "refused"


def test_O13_limits_of_connections_are_named_with_the_setting_that_concerns_them(
    server: OwnPostgres, new_store: NewStore
) -> None:
    server.sql("DROP ROLE IF EXISTS limited")
    server.sql("CREATE ROLE limited LOGIN CONNECTION LIMIT 1")
    url = server.address("signin", user="limited")
    with psycopg.connect(url):
        error = refusal(new_store, url)
    assert error.reason == "crowded"
    assert "PROCORE_DATABASE_CONNECTIONS" in str(error)


def test_O13_a_server_that_ends_is_told_from_one_that_is_gone(
    server: OwnPostgres, new_store: NewStore
) -> None:
    server.sql("ALTER DATABASE signin WITH ALLOW_CONNECTIONS false")
    try:
        error = refusal(new_store, server.address("signin"))
    finally:
        server.sql("ALTER DATABASE signin WITH ALLOW_CONNECTIONS true")
    assert error.reason == "starting"


@pytest.mark.parametrize(("state", "reason"), [("53100", "full"), ("53300", "crowded")])
def test_O13_O14_a_write_that_the_server_has_no_room_for_is_told_and_remembered(
    state: str, reason: str, server: OwnPostgres, new_store: NewStore
) -> None:
    server.sql(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$",
        database="signin",
    )
    server.sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON sign_in_ledger EXECUTE FUNCTION refuse()",
        database="signin",
    )
    store = new_store(server.address("signin"))
    with pytest.raises(StoreUnavailable) as refused:
        store.do(TakeAttempt("a" * 64, environment="emulator", now=1, expires_at=2))
    assert refused.value.reason == reason
    assert (vars(store._database)["_full_since"] is not None) == (reason == "full")


def test_O14_a_server_that_may_only_read_is_not_ready_and_is_ready_again_by_itself(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"))
    store.probe()
    server.sql("ALTER DATABASE signin SET default_transaction_read_only = on")
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'signin'")
    with pytest.raises(StoreUnavailable, match="cannot be written to") as refused:
        store.probe()
    assert refused.value.reason == "read_only"
    server.sql("ALTER DATABASE signin RESET default_transaction_read_only")
    store.probe()


def test_O14_after_a_write_found_no_room_the_probe_tries_for_some_and_leaves_none_taken(
    server: OwnPostgres, new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(server.address("signin"))
    database = store._database
    monkeypatch.setattr(database, "_full_since", 0.0)
    store.probe()
    assert vars(database)["_full_since"] is None
    left = server.sql(
        "SELECT count(*) FROM pg_class WHERE relname = 'procore_signin_room'", database="signin"
    )
    assert left == [(0,)]

    full = psycopg.errors.DiskFull("no room")
    monkeypatch.setattr(database, "_full_since", 0.0)
    monkeypatch.setattr("procore_signin._store.engine.server.take_room", raising(full))
    with pytest.raises(StoreUnavailable, match="no room left"):
        store.probe()
    monkeypatch.undo()


def raising(error: Exception) -> object:
    def run(_cursor: object) -> None:
        raise error

    return run


def test_O14_a_file_of_sqlite_that_may_not_be_written_is_not_ready(
    tmp_path: Path, new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(tmp_path / "test.db")
    store = new_store(f"sqlite:///{tmp_path / 'test.db'}")
    store.probe()
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everything
    with pytest.raises(StoreUnavailable, match="cannot be written to"):
        store.probe()
