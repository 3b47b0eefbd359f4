from __future__ import annotations

from importlib import util
from pathlib import Path

import pytest

from procore_signin.store.address import parse_address


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
    monkeypatch.setattr("procore_signin.store.address.find_spec", lambda _name: None)
    extra = "postgresql" if scheme == "postgresql" else "mysql"
    with pytest.raises(ValueError, match=rf"pip install 'procore-signin\[{extra}\]'"):
        parse_address(f"{scheme}://u@db/x")


def test_the_drivers_that_are_asked_for_exist() -> None:
    assert all(util.find_spec(name) for name in ("psycopg", "pymysql", "sqlite3"))
