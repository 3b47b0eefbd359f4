"""What a command asks of the database: statements, each compiled once, and the values they want.

SQLAlchemy writes the text for each kind of database. It then runs on the driver's own cursor:
measured on SQLite, a session look-up takes 5 µs instead of 17, and a whole sign-in half the
processor time.

A command is a generator, as a flow is: it yields a statement with its values and is sent what came
of it. So the same command runs on a driver that waits and on one that awaits, and a driver sees
what is wanted before it asks (decision 33). `yield from one(…)` and its siblings keep the type.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Column, Insert, MetaData, Select, Table, insert
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import SchemaConst
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import replacement_traverse

from procore_signin._protocol.value import value
from procore_signin._store.engine.address import PLAIN, Naming

Inserting = TypeVar("Inserting", bound=Insert)
T = TypeVar("T")

Row = Sequence[Any]
Values = Mapping[str, object]


class Statement:
    """The text of one statement for one database, and which values it wants.

    Args:
        element: What SQLAlchemy compiles. Its columns are numbers and texts, which every driver
            takes and gives as they are.
        dialect: For which database.
        columns: The columns that an INSERT or UPDATE writes, each from the value of its name.

    Attributes:
        text: The text.
        arguments: Returns values as the driver wants them. Called once for each statement that
            runs, so it is `itemgetter` itself where that will do.
    """

    __slots__ = ("arguments", "memo", "text")

    def __init__(self, element: ClauseElement, dialect: Dialect, columns: Sequence[str]) -> None:
        compiled = _compiled(element, dialect, columns)
        if dialect.name == "sqlite" and len(compiled.positiontup or ()) == 1:
            # By its name one value is taken as quickly, and `dict` is all that has to be called.
            compiled = _compiled(element, _SQLITE_BY_NAME, columns)
        fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self.text: Final = str(compiled)
        self.memo: Any = None  # what a driver keeps for it
        self.arguments: Final = _arguments(
            fixed, compiled.positiontup or () if compiled.positional else None
        )


_SQLITE_BY_NAME: Final = sqlite.dialect(paramstyle="named")


def _compiled(element: ClauseElement, dialect: Dialect, columns: Sequence[str]) -> SQLCompiler:
    keys = list(columns) or None
    return cast("SQLCompiler", element.compile(dialect=dialect, column_keys=keys))


def _arguments(fixed: Values, order: Sequence[str] | None) -> Callable[[Values], Any]:
    """Return what makes arguments of values, as the driver wants them: in order, or by name.

    Args:
        fixed: Values that never change.
        order: Names in order; None where the driver takes them by name.
    """
    given: Callable[[Values], Any] = dict if order is None else _getter(order)
    return (lambda values: given({**fixed, **values})) if fixed else given


def _getter(names: Sequence[str]) -> Callable[[Values], Sequence[object]]:
    """Return what takes the values of these names, in order."""
    if len(names) > 1:  # then it returns them as a tuple
        return itemgetter(*names)
    return lambda values: [values[name] for name in names]


class Sql:
    """A statement as the store's files write it.

    Values are always bound. Parameters called `which_…` choose rows; one called like a column is a
    value to write.

    Args:
        element: What SQLAlchemy compiles, or a function that returns it for a dialect.
        columns: As for `Statement`.
    """

    __slots__ = ("_columns", "_element")

    def __init__(
        self, element: ClauseElement | Callable[[Dialect], ClauseElement], *columns: str
    ) -> None:
        self._element: Final = element
        self._columns: Final = columns

    def on(self, dialect: Dialect, naming: Naming = PLAIN) -> Statement:
        """Return it as text for a database, where the tables are called by `naming`."""
        element = self._element
        if not isinstance(element, ClauseElement):
            element = element(dialect)
        return Statement(_renamed(element, naming), dialect, self._columns)


def renamed(table: Table, naming: Naming) -> Table:
    """Return `table` as it is called by `naming`; its constraints and indexes are as they were."""
    schema: Any = naming.schema or SchemaConst.RETAIN_SCHEMA
    return table.to_metadata(MetaData(), schema=schema, name=naming.name(table.name))


def _renamed(element: ClauseElement, naming: Naming) -> ClauseElement:
    if naming == PLAIN:
        return element
    known: dict[Table, Table] = {}

    def replace(element: Any, **_: object) -> Any:
        table = element.table if isinstance(element, Column) else element
        if not isinstance(table, Table):
            return None  # it stays, and its parts are looked at
        if table not in known:
            known[table] = renamed(table, naming)
        return known[table] if table is element else known[table].c[element.key]

    return cast("ClauseElement", replacement_traverse(element, {}, replace))


class Texts(dict[Sql, Statement]):
    """The texts of all statements for one kind of database, each compiled when it is first wanted.

    A text never changes, so threads and forked children share them.
    """

    def __init__(self, dialect: Dialect, naming: Naming) -> None:
        super().__init__()
        self._dialect: Final = dialect
        self._naming: Final = naming

    def __missing__(self, sql: Sql) -> Statement:
        """Compile a statement, once."""
        statement = self[sql] = sql.on(self._dialect, self._naming)
        return statement


_texts: Final[dict[tuple[type[Dialect], Naming], Texts]] = {}


def texts_for(dialect: Dialect, naming: Naming = PLAIN) -> Texts:
    """Return the texts for a kind of database, the same for all whose tables are called alike."""
    return _texts.setdefault((type(dialect), naming), Texts(dialect, naming))


def insert_if_absent(
    table: Table, found: Select[Any] | None = None
) -> Callable[[Dialect], ClauseElement]:
    """Return how to INSERT one row where its key is not taken, for `Sql` and `InsertAbsent`.

    Args:
        table: Where.
        found: What finds the row, all its columns in order; None where the values are given.
    """
    return partial(_insert_if_absent, table, found)


def _insert_if_absent(table: Table, found: Select[Any] | None, dialect: Dialect) -> ClauseElement:
    """Return an INSERT of one row that does nothing where its key is taken.

    On MariaDB it raises the duplicate-key error instead, and `Transaction` tells it by its number:
    there INSERT IGNORE hides every other error too, and ON DUPLICATE KEY UPDATE counts a found row
    like a new one as long as SQLAlchemy sets CLIENT.FOUND_ROWS, which it always does.
    """

    def filled(statement: Inserting) -> Inserting:
        return statement if found is None else statement.from_select(list(table.c), found)

    if dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # 20 ms where it is not used

        key = table.primary_key.columns[0]
        return filled(postgresql.insert(table)).on_conflict_do_nothing().returning(key)
    if dialect.name == "sqlite":  # no RETURNING: older SQLites have none
        return filled(sqlite.insert(table)).on_conflict_do_nothing()
    return filled(insert(table))


@value(frozen=True, slots=True)
class One:
    """Find a row; the outcome is the first one, or None."""

    sql: Sql
    values: Values


@value(frozen=True, slots=True)
class Many:
    """Find rows; the outcome is all of them."""

    sql: Sql
    values: Values


@value(frozen=True, slots=True)
class Change:
    """Change rows; the outcome is how many were found."""

    sql: Sql
    values: Values


@value(frozen=True, slots=True)
class ChangeEach:
    """Change rows once for each of several sets of values; the outcome is how many were found."""

    sql: Sql
    each: Sequence[Values]


@value(frozen=True, slots=True)
class InsertAbsent:
    """Insert a row with a statement of `insert_if_absent`.

    The outcome is the number that the database gave the row; None where the row's key was taken.
    """

    sql: Sql
    values: Values


@value(frozen=True, slots=True)
class Together:
    """Run statements in this order, none of which needs the outcome of another.

    The outcome is the list of theirs. A driver may send all of them at once.
    """

    bound: tuple[One | Many | Change | ChangeEach | InsertAbsent, ...]


@value(frozen=True, slots=True)
class Last:
    """Run a statement after which this may be committed, whatever its outcome.

    So a driver may send the COMMIT along with it. What a command yields after that, if anything, is
    as good in a transaction of its own.
    """

    bound: One | Many | Change | ChangeEach | InsertAbsent | Together


Bound = One | Many | Change | ChangeEach | InsertAbsent | Together | Last
"""A statement with its values, which a driver runs."""

Statements = Generator[Bound, Any, T]


def one(sql: Sql, values: Values) -> Statements[Row | None]:
    """Return the first row, or None."""
    row: Row | None = yield One(sql, values)
    return row


def many(sql: Sql, values: Values) -> Statements[Sequence[Row]]:
    """Return every row."""
    rows: Sequence[Row] = yield Many(sql, values)
    return rows


def change(sql: Sql, values: Values) -> Statements[int]:
    """Change rows and return how many were found."""
    found: int = yield Change(sql, values)
    return found


def change_each(sql: Sql, each: Iterable[Values]) -> Statements[int]:
    """Change rows once for each set of values and return how many were found in all."""
    found: int = yield ChangeEach(sql, tuple(each))
    return found


def drive(statements: Statements[T], run: Callable[[Bound], Any]) -> T:
    """Run each statement that is asked for, and return the value that it all comes to.

    A statement that fails ends everything: no command has anything to say to that.
    """
    try:
        bound = next(statements)
        while True:
            bound = statements.send(run(bound))
    except StopIteration as end:
        value: T = end.value
        return value
