"""A runner whose process can die, and that does everything on one thread, one after the other."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

from procore_signin._flow.running.background import Asked
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.steps import Flow, Later, Step
from procore_signin._store import Store
from procore_signin._transport.contract import Transport
from procore_signin.errors import ProcoreSignInError

T = TypeVar("T")


class Killed(BaseException):
    """This process is dead: a flow that meets it is never resumed, and cleans nothing up."""


class MortalRunner(Runner):
    """As `Runner`, but nothing of a flow survives `Killed`, raised by a transport or a store."""

    _dead: list[Flow[Any]]

    def _drive(self, flow: Flow[T], asked: Asked | None) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._perform(step, asked)
                except Killed:
                    self.__dict__.setdefault("_dead", []).append(flow)  # not even closed
                    raise
                except BaseException as error:  # noqa: BLE001 - as `Runner`
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            value: T = end.value
            return value

    def _perform(self, step: Step, asked: Asked | None) -> Any:
        if not isinstance(step, Later):
            return super()._perform(step, asked)
        try:
            return self._drive(step.flow, None)
        except ProcoreSignInError:
            return None

    def _carried(self, flow: Flow[Any]) -> Any:
        return self._drive(flow, None)

    def _share(self, key: Hashable, flow: Flow[Any]) -> Any:  # noqa: ARG002 - as `Runner`
        return self._drive(flow, None)


class PostponingRunner(MortalRunner):
    """It does nothing of what may wait, and notes under which keys that would wait as one.

    Attributes:
        keys: The keys, in the order in which flows asked.
    """

    def __init__(self, store: Store, transport: Transport) -> None:
        super().__init__(store, transport)
        self.keys: list[Hashable] = []

    def _perform(self, step: Step, asked: Asked | None) -> Any:
        if not isinstance(step, Later):
            return super()._perform(step, asked)
        self.keys.append(step.key)
        return step.flow.close()
