"""What both runners keep to when their process ends."""

from __future__ import annotations

from typing import Final

from procore_signin._flow.steps import Wait
from procore_signin.errors import ProcoreUnavailable

LONGEST_FLOW_SECONDS: Final = 60.0


def end_idle(step: Wait, *, closing: bool) -> None:
    """End a wait for others when the process ends: the process that goes on does their work."""
    if step.idle and closing:
        raise ProcoreUnavailable(
            "This process is ending; another one goes on", retry_after=1, ambiguous=False
        )
