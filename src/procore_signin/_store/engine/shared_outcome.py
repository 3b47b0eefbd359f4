"""What those get who wait for an outcome that others wait for as well."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from procore_signin.errors import ProcoreUnavailable


def copy_of(error: BaseException) -> BaseException:
    """Return the same error for one more waiter.

    One error raised by a thousand waiters would collect all of their frames. An error of someone
    else's that cannot be copied without loss is shared all the same.
    """
    # Copying an exception calls its class with `args`. A class whose constructor takes something
    # else raises then, or makes an error that says something else: such an error is not copied.
    try:
        same = copy.copy(error)
    except Exception:  # noqa: BLE001  # their class may want arguments that no one kept
        return error
    if type(same) is not type(error) or str(same) != str(error):
        return error
    same.__cause__ = error  # a copy has no traceback: this one shows where it happened
    return same


def for_another(error: BaseException) -> BaseException:
    """Return what another waiter gets: a copy, or an error of ours for another's interrupt."""
    if isinstance(error, Exception):
        return copy_of(error)
    return ProcoreUnavailable(
        "What this call waited for was interrupted. Try again.", retry_after=1, ambiguous=True
    )


def tell(waiter: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    """Give a waiter the outcome or the error, unless it has gone away meanwhile."""
    if waiter.done():
        return
    if error is None:
        waiter.set_result(outcome)
    else:
        waiter.set_exception(error)
