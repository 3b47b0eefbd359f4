"""From what Django gives its database driver to what ours are given.

`get_connection_params` has Django's own arguments in it, and those of the driver that Django uses,
which may be another one than ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from sqlalchemy.engine import URL

from procore_signin._store.engine.address import Backend

_DJANGOS_OWN: Final = {
    # psycopg's, as Django uses it
    "context",
    "cursor_factory",
    "prepare_threshold",
    "client_encoding",
    # MySQLdb's
    "conv",
    "client_flag",
    "charset",
    "use_unicode",
    "init_command",
    "sql_mode",
    "connect_timeout",
    "read_timeout",
    "write_timeout",
    "autocommit",
}
"""What stays behind: the sign-in has its own."""

_NAMES: Final = {
    "dbname": "database",
    "db": "database",
    "user": "username",
    "passwd": "password",
}
_PARTS: Final = ("username", "password", "host", "port", "database")
_FOR_PYMYSQL: Final = frozenset(
    {"unix_socket", "read_default_file", "read_default_group", "bind_address"}
)
_TLS: Final = ("ca", "cert", "key", "capath", "cipher")


class WrongParameterError(Exception):
    """A database of the project cannot be reached with what its settings say."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what, cure)
        self.what = what
        self.cure = cure


def url_of(connection: BaseDatabaseWrapper) -> tuple[Backend, URL, Path | None]:
    """Return which kind of database it is, how to connect to it, and SQLite's file.

    Raises:
        WrongParameterError: The sign-in cannot use it, or cannot reach it so.
        ImproperlyConfigured: As Django says.
    """
    given = connection.get_connection_params()
    if connection.vendor == "sqlite":
        return _sqlite(str(given["database"]))
    if connection.vendor == "postgresql":
        return "postgresql", _postgresql(given, connection.settings_dict["OPTIONS"]), None
    if connection.vendor == "mysql":
        return "mysql", _mysql(given), None
    raise WrongParameterError(
        f"is a database of {connection.display_name}, which the sign-in cannot use",
        'Name another one of DATABASES in PROCORE_SIGNIN["DATABASE"], on PostgreSQL, MariaDB, '
        "MySQL or SQLite.",
    )


def _sqlite(name: str) -> tuple[Backend, URL, Path | None]:
    if name.startswith("file:"):
        raise WrongParameterError(
            "names a file of SQLite by a URI, which the sign-in cannot use", "Write its path."
        )
    return "sqlite", URL.create("sqlite", database=name), Path(name).absolute()


def _postgresql(given: Mapping[str, Any], options: Mapping[str, Any]) -> URL:
    _need("psycopg", "postgresql")
    if options.get("assume_role"):
        role = f"-c role={options['assume_role']}"
        given = {**given, "options": f"{given.get('options', '')} {role}".strip()}
    hosts, ports = str(given.get("host", "")).split(","), str(given.get("port", "")).split(",")
    if len(hosts) == 1:
        return _url("postgresql+psycopg", given, given)
    each = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    one = {name: value for name, value in given.items() if name not in {"host", "port"}}
    url = _url("postgresql+psycopg", one, one)
    named = [f"{host}:{port or 5432}" for host, port in zip(hosts, each, strict=True)]
    return url.update_query_dict({"host": named})


def _mysql(given: Mapping[str, Any]) -> URL:
    _need("pymysql", "mysql")
    query = {name: value for name, value in given.items() if name in _FOR_PYMYSQL}
    tls = given.get("ssl") or {}
    query |= {f"ssl_{name}": tls[name] for name in _TLS if name in tls}
    # mysqlclient's word for how strict to be; PyMySQL takes two switches.
    mode = str(given.get("ssl_mode", "")).upper()
    if mode in {"VERIFY_CA", "VERIFY_IDENTITY"}:
        query["ssl_verify_cert"] = "true"
    if mode == "VERIFY_IDENTITY":
        query["ssl_verify_identity"] = "true"
    known = {*_FOR_PYMYSQL, *_DJANGOS_OWN, *_NAMES, *_PARTS, "ssl", "ssl_mode"}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise WrongParameterError(
            f"has options that the sign-in does not know: {', '.join(unknown)}",
            "Leave them out, or give the sign-in a database of its own in DATABASES.",
        )
    return _url("mysql+pymysql", given, query)


def _url(driver: str, given: Mapping[str, Any], query: Mapping[str, Any]) -> URL:
    named = {_NAMES.get(name, name): value for name, value in given.items()}
    parts = {name: named[name] for name in _PARTS if named.get(name)}
    if "port" in parts:
        parts["port"] = int(parts["port"])
    if str(parts.get("host", "")).startswith("/"):  # a folder of sockets has no place in a URL
        query = {**query, "host": parts.pop("host")}
    left = {
        name: str(value)
        for name, value in query.items()
        if (name not in parts and name not in _NAMES and name not in _DJANGOS_OWN)
        and value is not None
    }
    return URL.create(driver, **parts, query=left)


def _need(module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise WrongParameterError(
            f"needs the Python library {module}, which is not installed",
            f"Run: pip install 'procore-signin[{extra}]'",
        )
