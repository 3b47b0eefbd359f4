"""The command line: `procore-signin demo | serve | emulator | init | doctor | db`.

Commands import the rooms that they need when they run, so that `--help` stays quick.
"""

from __future__ import annotations

from procore_signin._cli.program import main

__all__ = ["main"]
