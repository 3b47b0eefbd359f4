"""Whether the database has the tables that this version needs (row O14)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from sqlalchemy import Column, MetaData, Table, false, select

from procore_signin._store.engine.address import Label
from procore_signin._store.engine.command import LookUp, Query
from procore_signin._store.engine.statement import Row, Sql, Statements, Values, many
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.schema import SCHEMA_REVISION, VERSION_TABLE, metadata
from procore_signin.errors import StoreUnavailable


@dataclass(frozen=True, slots=True, repr=False)
class Revision(LookUp[str | None]):
    """The revision of the tables, or None."""

    by_key: ClassVar = True
    sql: ClassVar = Sql(select(Table(VERSION_TABLE, MetaData(), Column("version_num")).c[0]))

    def values(self) -> Values:
        return {}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> str | None:
        return str(rows[0][0]) if rows else None


_NONE_OF_IT: Final = {
    table.name: Sql(select(*table.columns).where(false())) for table in metadata.sorted_tables
}


@dataclass(frozen=True, slots=True, repr=False)
class ColumnsOf(Query[None]):
    """Fails where a table has not all the columns that this version uses."""

    table: str

    def run(self, seal: TokenSeal) -> Statements[None]:
        yield from many(_NONE_OF_IT[self.table], {})


def check_tables(ask: Callable[[Query[Any]], Any], label: Label) -> None:
    """Make sure that the tables are this version's, or a newer one's that only added to them.

    A rolling upgrade migrates first, and this version goes on until its replica is replaced.

    Args:
        ask: Asks the store.
        label: The database's name for messages.

    Raises:
        StoreUnavailable: They are not.
    """
    revision = ask(Revision())
    if revision == SCHEMA_REVISION:
        return
    if revision is None or revision < SCHEMA_REVISION:
        cure = f"Run: {label.upgrade}"
        raise StoreUnavailable(
            f"The database {label} has tables of revision {revision}, and this version needs "
            f"{SCHEMA_REVISION}. {cure}",
            hint=cure,
            reason="unmigrated",
        )
    for table in _NONE_OF_IT:
        try:
            ask(ColumnsOf(table))
        except StoreUnavailable as error:
            if error.reason != "unmigrated":
                raise
        else:
            continue
        cure = "Run the newer version."
        raise StoreUnavailable(
            f"The database {label} was migrated by a newer version, whose table `{table}` lacks "
            f"what this version needs. {cure}",
            hint=cure,
            reason="unmigrated",
        )
