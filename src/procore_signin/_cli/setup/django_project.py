"""Whether a Django project is here, whose database the commands cannot know by themselves.

The tables are in Django's `DATABASES` where nothing else is set; `manage.py procore_signin` sets
it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import typer

from procore_signin._settings import default_of, is_given

DATABASE: Final = "PROCORE_DATABASE_URL"


def is_here() -> bool:
    """Return whether a Django project is here, and nothing says where the tables are."""
    return Path("manage.py").is_file() and not is_given(DATABASE)


def tell() -> None:
    """Say which command acts on the database of the Django project that is here, if one is."""
    if is_here():
        typer.secho(
            f"Note: a Django project is here, and this command acts on {default_of(DATABASE)}. For "
            "the project's own database write: python manage.py procore_signin …",
            fg="yellow",
            err=True,
        )
