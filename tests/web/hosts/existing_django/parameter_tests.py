"""From `DATABASES` to our own connections: what each driver is given, and what stays behind."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pymysql
from django.test import SimpleTestCase
from sqlalchemy import NullPool, create_engine
from sqlalchemy.engine import URL

from procore_signin._store.engine.address import parse_address
from procore_signin.web.django.parameters import WrongParameterError
from procore_signin.web.django.parameters import url_of as our_url_of

pymysql.install_as_MySQLdb()


def url_of(engine: str, **given: Any) -> URL:
    backend = import_module(f"django.db.backends.{engine}.base")
    defaults = {"NAME": "app", "USER": "", "PASSWORD": "", "HOST": "", "PORT": "", "OPTIONS": {}}
    more = {"TIME_ZONE": None, "CONN_MAX_AGE": 0, "AUTOCOMMIT": True}
    return our_url_of(backend.DatabaseWrapper({**defaults, **more, **given}))[1]


def given_to_psycopg(url: URL) -> dict[str, Any]:
    _, given = create_engine(url, poolclass=NullPool).dialect.create_connect_args(url)
    parts = {name: value for name, value in given.items() if name != "context"}  # SQLAlchemy's
    psycopg.conninfo.make_conninfo(**parts)  # libpq knows each of them
    return parts


class Parameters(SimpleTestCase):
    def test_psycopg_is_given_what_django_gives_it_but_for_djangos_own(self) -> None:
        options = {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "connect_timeout": 10}
        djangos_own = {"isolation_level": 2, "pool": True, "server_side_binding": True}
        url = url_of(
            "postgresql",
            USER="ann",
            PASSWORD="p@ss:/%",  # made up
            HOST="db.example",
            PORT="6432",
            OPTIONS=options | djangos_own,
        )

        assert given_to_psycopg(url) == {
            "dbname": "app",
            "user": "ann",
            "password": "p@ss:/%",
            "host": "db.example",
            "port": 6432,
            "sslmode": "verify-full",
            "sslrootcert": "/ca.pem",
        }

    def test_each_way_to_name_a_postgresql_server_is_kept(self) -> None:
        for given, expected in (
            ({"HOST": ""}, {"dbname": "app"}),  # libpq's own default: a socket
            ({"HOST": "/var/run/pg"}, {"dbname": "app", "host": "/var/run/pg"}),
            ({"NAME": "", "OPTIONS": {"service": "mine"}}, {"service": "mine"}),
            ({"OPTIONS": {"assume_role": "app"}}, {"dbname": "app", "options": "-c role=app"}),
            (
                {"HOST": "one,two", "PORT": "5432,5433"},
                {"dbname": "app", "host": "one,two", "port": "5432,5433"},
            ),
        ):
            with self.subTest(given):
                assert given_to_psycopg(url_of("postgresql", **given)) == expected

    def test_its_text_is_read_back_as_the_same(self) -> None:
        """As the environment of a command has it."""
        for given in (
            {"HOST": "/var/run/postgresql"},
            {"USER": "a", "PASSWORD": "p@:/%", "HOST": "h"},
        ):
            url = url_of("postgresql", **given)
            text = url.render_as_string(hide_password=False)
            assert given_to_psycopg(parse_address(text).url) == given_to_psycopg(url)

    def test_pymysql_is_given_what_mysqlclient_is_given_under_its_own_names(self) -> None:
        url = url_of(
            "mysql",
            USER="ann",
            PASSWORD="p@ss",  # made up
            HOST="db.example",
            PORT="3307",
            OPTIONS={
                "charset": "utf8mb4",
                "init_command": "SET sql_mode='STRICT_TRANS_TABLES'",
                "isolation_level": "repeatable read",
                "ssl": {"ca": "/ca.pem"},
                "ssl_mode": "VERIFY_IDENTITY",
            },
        )

        assert url.render_as_string(hide_password=False) == (
            "mysql+pymysql://ann:p%40ss@db.example:3307/app"
            "?ssl_ca=%2Fca.pem&ssl_verify_cert=true&ssl_verify_identity=true"
        )
        socket = url_of("mysql", HOST="/run/mysqld.sock")
        assert dict(socket.query) == {"unix_socket": "/run/mysqld.sock"}

    def test_an_option_that_means_nothing_to_us_is_refused_by_name(self) -> None:
        with self.assertRaisesRegex(WrongParameterError, "does not know: local_infile"):  # noqa: PT027  # unittest's
            url_of("mysql", OPTIONS={"local_infile": True})

    def test_sqlites_file_is_the_projects(self) -> None:
        assert url_of("sqlite3", NAME=Path("/srv/db.sqlite3")).database == "/srv/db.sqlite3"
        with self.assertRaisesRegex(WrongParameterError, "by a URI"):  # noqa: PT027  # as above
            url_of("sqlite3", NAME="file:x?mode=ro")
