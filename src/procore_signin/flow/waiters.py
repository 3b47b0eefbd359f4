"""What those get who wait for an outcome that others wait for as well."""

from __future__ import annotations

import asyncio
from typing import Any


def copy_of(error: BaseException) -> BaseException:
    """Return the same error for one more waiter.

    One error raised by a thousand waiters would collect all of their frames.
    """
    copy = type(error).__new__(type(error))
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error
    return copy


def tell(waiter: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    """Give a waiter the outcome or the error, unless it has gone away meanwhile."""
    if waiter.done():
        return
    if error is None:
        waiter.set_result(outcome)
    else:
        waiter.set_exception(error)
