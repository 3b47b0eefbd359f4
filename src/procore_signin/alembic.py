"""For an application's own Alembic: leave the sign-in's tables alone.

`alembic revision --autogenerate` proposes to drop every table that the application's models do not
have. In `env.py`:

```python
from procore_signin.alembic import include_name

context.configure(..., include_name=include_name)
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from procore_signin._settings import is_given, read_naming
from procore_signin._settings.env_file import where_looked_for
from procore_signin._settings.settings import ENV_FILE
from procore_signin._store.engine.address import Naming
from procore_signin._store.schema import VERSION_TABLE, metadata
from procore_signin.errors import Problem, SettingsInvalid

__all__ = ["include_name", "include_name_beside"]

IncludeName = Callable[[str | None, str, Mapping[str, str | None]], bool]

_SAY_NAMES: Final = ("PROCORE_TABLE_PREFIX", "PROCORE_DATABASE_SCHEMA")
_DEFAULT_SCHEMA: Final = "public"
"""PostgreSQL's, which Alembic calls None, as long as `search_path` is what it usually is."""


def include_name_beside(table_prefix: str = "", database_schema: str | None = None) -> IncludeName:
    """Return an `include_name` for tables that are called so, as the front door was told.

    Args:
        table_prefix: As `PROCORE_TABLE_PREFIX`.
        database_schema: As `PROCORE_DATABASE_SCHEMA`.

    Raises:
        ValueError: One of them cannot be part of a name.
    """
    naming = Naming(table_prefix, database_schema)
    ours = {naming.name(plain) for plain in (*metadata.tables, VERSION_TABLE)}
    schemas = {naming.schema}
    if naming.schema in {None, _DEFAULT_SCHEMA}:
        schemas = {None, _DEFAULT_SCHEMA}

    def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
        is_ours = type_ == "table" and name in ours and parent_names.get("schema_name") in schemas
        return not is_ours

    return include_name


@cache
def _by_the_settings() -> IncludeName:
    if not any(map(is_given, _SAY_NAMES)):
        # Guessed names would have the sign-in's tables dropped, and the application's overlooked.
        # That PROCORE_DATABASE_URL is set says nothing: the prefix may be in the code.
        what = f"is not set, and neither is {_SAY_NAMES[1]}: the tables' names are not known here"
        cure = (
            "Start where `.env` is, or set what your application sets. If its code gives the "
            'prefix, write include_name_beside("procore_signin_") instead of include_name, with '
            "that prefix; if there is none, write include_name_beside()."
        )
        hint = where_looked_for(ENV_FILE)
        raise SettingsInvalid((Problem(_SAY_NAMES[0], what, cure),), hint=hint)
    naming = read_naming()
    return include_name_beside(naming.prefix, naming.schema)


def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """Return whether Alembic is to look at something: at everything but the sign-in's tables.

    The prefix and the schema are read once, from the environment and `.env`, as everywhere. Where
    the application gives them itself, in its code or in Flask's `app.config`, or has neither, use
    `include_name_beside`. To combine it with a rule of yours,
    write `lambda *what: include_name(*what) and mine(*what)`.

    Args:
        name: As Alembic calls it; None for the default schema.
        type_: `schema`, `table`, `column`, `index`, ….
        parent_names: Where it is.

    Raises:
        SettingsInvalid: Prefix or schema is wrong, or neither is set: no names are guessed,
            because Alembic would drop the tables.
    """
    return _by_the_settings()(name, type_, parent_names)


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
