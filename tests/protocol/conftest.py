"""What the protocol's tests share."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest


def _chain(error: BaseException) -> list[BaseException]:
    """Return `error` and all that it was raised from or beside, suppressed ones too."""
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        following = waiting.pop()
        if following is not None and following not in chain:
            chain.append(following)
            waiting += [following.__cause__, following.__context__]
    return chain


@pytest.fixture
def everything_shown() -> Callable[[BaseException], str]:
    """Give the test a function that returns all that any log, page or tracker could show.

    Messages, arguments, attributes and tracebacks with the local variables of every frame, of the
    error and of each error in its history. A test that uses it must itself keep the secrets it
    looks for out of its local variables.
    """

    def shown(error: BaseException) -> str:
        return "\n".join(
            text
            for link in _chain(error)
            for text in (
                *traceback.TracebackException.from_exception(link, capture_locals=True).format(),
                repr(link.args),
                repr(vars(link)),
            )
        )

    return shown
