"""Whether the database answers, and has this version's tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sqlalchemy import Column, MetaData, Table, select

from procore_signin._store.engine.command import LookUp
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.statement import Row, Sql, Values
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.schema import SCHEMA_REVISION, VERSION_TABLE
from procore_signin.errors import StoreUnavailable


@dataclass(frozen=True, slots=True, repr=False)
class Probe(LookUp[None]):
    """Ask the database for a sign of life, and whether its tables are this version's.

    Raises:
        StoreUnavailable: It gives none, or its tables are older or newer.
    """

    sql: ClassVar = Sql(select(Table(VERSION_TABLE, MetaData(), Column("version_num")).c[0]))

    def values(self) -> Values:
        return {}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> None:
        revision = rows[0][0] if rows else None
        if revision != SCHEMA_REVISION:
            raise _OtherTables(revision)


class _OtherTables(Failed):
    def __init__(self, revision: str | None) -> None:
        super().__init__("unmigrated")
        self._revision = revision

    def raised(self, label: str) -> Exception:
        cure = "Run: procore-signin db upgrade. If the tables are newer, run the newer version."
        return StoreUnavailable(
            f"The database {label} has tables of revision {self._revision}, and this "
            f"version needs {SCHEMA_REVISION}. {cure}",
            hint=cure,
        )
