"""The command line: `procore-signin demo | serve | emulator | init | doctor | db`.

Commands import the rooms that they need when they run, so that `--help` stays quick, and so that a
command needs no extra that only another one uses.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from procore_signin._extras import MissingExtra as _MissingExtra
from procore_signin._extras import missing as _missing

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and end the process.

    Exit statuses: 0 done; 1 it could not be done, or `doctor` found a problem; 2 wrong usage;
    130 stopped by Ctrl-C.
    """
    try:
        from procore_signin._cli.program import run  # noqa: PLC0415  # it needs an extra

        run()
    except _MissingExtra as error:
        named = error
    except ModuleNotFoundError as error:
        extra = _missing(error, "app")
        if extra is None:
            raise
        named = extra
    # Not by `failure.complain`, which itself needs an extra.
    sys.exit(f"{named.what}.\n  Why:  {named.why}\n  Cure: {named.cure}")
