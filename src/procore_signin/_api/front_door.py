"""What the API clients need from a front door, sync or async; `_client.py` has both."""

from __future__ import annotations

from typing import Protocol, TypeAlias, TypeVar

import httpx2

from procore_signin._flow.context import Context
from procore_signin._flow.refresh import FreshToken
from procore_signin._flow.steps import Flow

T = TypeVar("T")


class SyncDoor(Protocol):
    """A sync front door."""

    @property
    def context(self) -> Context:
        """The surroundings of every flow."""

    @property
    def wire(self) -> httpx2.BaseTransport | httpx2.AsyncBaseTransport | None:
        """The connections for calls, or None for connections of their own."""

    def fresh_tokens(self, user: int, *, rejected: int | None = None) -> FreshToken:
        """Return a valid access token of `user`."""

    def run(self, flow: Flow[T]) -> T:
        """Run `flow` to its end."""


class AsyncDoor(Protocol):
    """An async front door."""

    @property
    def context(self) -> Context:
        """The surroundings of every flow."""

    @property
    def wire(self) -> httpx2.BaseTransport | httpx2.AsyncBaseTransport | None:
        """The connections for calls, or None for connections of their own."""

    async def fresh_tokens(self, user: int, *, rejected: int | None = None) -> FreshToken:
        """Return a valid access token of `user`."""

    async def run(self, flow: Flow[T]) -> T:
        """Run `flow` to its end."""


FrontDoor: TypeAlias = SyncDoor | AsyncDoor
