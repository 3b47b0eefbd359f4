from __future__ import annotations

import re
from importlib import util
from pathlib import Path

import pytest

from procore_signin._store.engine.address import parse_address


@pytest.mark.parametrize(
    ("text", "drivername", "label"),
    [
        ("postgresql://u:p@db/signin", "postgresql+psycopg", "postgresql://db/signin"),
        ("postgres://u:p@db:6432/signin", "postgresql+psycopg", "postgres://db:6432/signin"),
        ("postgresql+psycopg:///signin", "postgresql+psycopg", "postgresql://localhost/signin"),
        ("mysql://u:p@db/signin", "mysql+pymysql", "mysql://db/signin"),
        ("mariadb://u:p@db/signin", "mariadb+pymysql", "mariadb://db/signin"),
        ("mysql+pymysql://u:p@db/signin?ssl_ca=x", "mysql+pymysql", "mysql://db/signin"),
    ],
)
def test_a_server_is_reached_by_the_installed_driver(
    text: str, drivername: str, label: str
) -> None:
    address = parse_address(text)
    assert (drivername, label) == (address.url.drivername, address.label)
    assert "p@" not in f"{address!r} {address.label}"


def test_a_sqlite_file_is_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = parse_address("sqlite:///test.db")
    assert ("sqlite", tmp_path / "test.db") == (address.backend, address.path)
    assert address.label == "sqlite:///test.db"


def test_a_sqlite_file_may_stand_anywhere(tmp_path: Path) -> None:
    assert tmp_path / "a b.db" == parse_address(f"sqlite:///{tmp_path / 'a b.db'}").path


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("", "cannot be read"),
        ("test.db", "cannot be read"),
        ("postgresql://u:S3cret@db:port/x", "cannot be read"),
        ("oracle://u:S3cret@db/x", "unknown scheme"),
        ("postgresql+asyncpg://u:S3cret@db/x", "through psycopg only"),
        ("mysql+mysqldb://u:S3cret@db/x", "through pymysql only"),
        ("sqlite+aiosqlite:///x.db", "through pysqlite only"),
        ("postgresql://u:S3cret@db", "names no database"),
        ("sqlite://", "SQLite needs a file"),
        ("sqlite:///:memory:", "SQLite needs a file"),
        ("sqlite:///file:x?mode=memory", "SQLite needs a file"),
        ("sqlite:///x.db?mode=ro", "sqlite:/// and the file, without anything else"),
        ("sqlite://host/x.db", "sqlite:/// and the file, without anything else"),
    ],
)
def test_another_address_is_refused_with_the_cure(text: str, cure: str) -> None:
    with pytest.raises(ValueError, match=cure) as refusal:
        parse_address(text)
    assert "S3cret" not in str(refusal.value)
    assert refusal.value.__context__ is None


@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "mariadb"])
def test_a_driver_that_is_not_installed_is_named_by_its_extra(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procore_signin._store.engine.address.find_spec", lambda _name: None)
    extra = "postgresql" if scheme == "postgresql" else "mysql"
    with pytest.raises(ValueError, match=rf"pip install 'procore-signin\[{extra}\]'"):
        parse_address(f"{scheme}://u@db/x")


def test_the_drivers_that_are_asked_for_exist() -> None:
    assert all(util.find_spec(name) for name in ("psycopg", "pymysql", "sqlite3"))


SCHEMES = ("postgresql", "postgres", "mysql", "mariadb", "postgresql+psycopg", "mysql+pymysql")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "rest",
    [
        "app:HEAD@TAIL@db/app",
        "app:HEAD@TAIL@db:5432/app",
        "app:@TAIL@db/app",
        "app:TAIL@@db/app",
        "app:HEAD@ta/TAIL@db/app",
        "app:HEAD@ta?TAIL@db/app",
        "app:HEAD@ta#TAIL@db/app",
        "app:HEAD@ta:TAIL@db/app",
        "app:HEAD@1:5/TAIL@db/app",
        "app:HEAD@[::1]:5/TAIL@db/app",
        "app/x:TAIL@db/app",
        "app/x:5/TAIL@db/app",
        "TAIL/@db/app",
        "ap@p:TAIL@db/app",
        "app:TAIL@db/app?password=HEAD@x",
    ],
)
def test_N3_no_part_of_a_password_with_a_raw_at_is_taken_for_a_host_and_the_cure_is_named(
    scheme: str, rest: str
) -> None:
    with pytest.raises(ValueError, match="percent-encoded: @ as %40") as refusal:
        parse_address(f"{scheme}://{rest}")
    assert not {"TAIL", "HEAD"} & set(re.findall("[A-Z]+", str(refusal.value)))
    assert refusal.value.__context__ is None


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("p%40w", "p@w"),
        ("p/w", "p/w"),
        ("p:w", "p:w"),
        ("p?w", "p?w"),
        ("p#w", "p#w"),
        ("p%25w", "p%w"),
        ("p%zz", "p%zz"),
        ("%40%3A%2F%3F%23%25", "@:/?#%"),
        ("p w", "p w"),
    ],
)
def test_N3_a_password_is_taken_whole_and_shown_nowhere(
    scheme: str, written: str, meant: str
) -> None:
    address = parse_address(f"{scheme}://app:{written}@db:5432/app")

    assert (address.url.password, address.url.host, address.url.port) == (meant, "db", 5432)
    assert address.label == f"{scheme.partition('+')[0]}://db:5432/app"
    assert written not in f"{address!r} {address.url!r}"


def test_N3_an_at_in_the_name_of_a_file_is_no_password() -> None:
    assert parse_address("sqlite:////srv/app@night/test.db").path == Path("/srv/app@night/test.db")


@pytest.mark.parametrize("edge", ["\r", "\n", " ", "\t", "\u00a0", "\ufeff", "\u200b"])
@pytest.mark.parametrize("text", ["sqlite:///test.db", "postgresql://u:S3cret@db/x"])
def test_N4_an_address_that_begins_or_ends_with_what_nobody_sees_is_refused(
    text: str, edge: str
) -> None:
    for each in (text + edge, edge + text):
        with pytest.raises(ValueError, match="a blank, a line end or an invisible") as refusal:
            parse_address(each)
        assert "S3cret" not in str(refusal.value)


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
@pytest.mark.parametrize("password", ["Zq7tRXk9\u65e5", "Zq7tRXk9%E6%97%A5", "Zq7tRXk9\udcff"])
def test_N3_a_password_that_the_driver_cannot_send_is_refused_without_a_letter_of_it(
    scheme: str, password: str
) -> None:
    with pytest.raises(ValueError, match="beyond Latin-1") as refused:
        parse_address(f"{scheme}://app:{password}@127.0.0.1/app")
    said = f"{refused.value!r} {refused.value.__cause__!r}"
    assert "Zq7" not in said
    assert "\u65e5" not in said
    assert "u65e5" not in said


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_a_password_of_latin_1_is_taken(scheme: str) -> None:
    assert (
        parse_address(f"{scheme}://app:g\u00fcnther@127.0.0.1/app").url.password == "g\u00fcnther"
    )


def test_N3_a_servers_address_behind_sqlite_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="a password behind sqlite://") as refusal:
        parse_address("sqlite:///app:Zq7tRXk9@h/x.db")
    assert "Zq7t" not in str(refusal.value)
