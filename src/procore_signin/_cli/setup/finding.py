"""One thing that the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A result of a check. It contains no secrets.

    Attributes:
        check: Name of the check, fixed for scripts, such as `clock`.
        level: `ok`; `warning`: signing in may work; `problem`: it will not.
        what: What was found, as a sentence.
        why: The reason or the consequence; empty when all is well.
        cure: What to do; empty when all is well.
    """

    check: str
    level: Level
    what: str
    why: str = ""
    cure: str = ""
