"""The sync runner: performs each step of a flow on the caller's thread, and waits for it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Final, TypeVar

from procore_signin._flow.running.background import Asked, Background, stayed_in_the_parent
from procore_signin._flow.running.closing import LONGEST_FLOW_SECONDS, end_idle
from procore_signin._flow.running.database_state import DatabaseState, is_told_by_state
from procore_signin._flow.running.outcome import Outcome
from procore_signin._flow.running.probing import probe
from procore_signin._flow.steps import (
    Ask,
    Call,
    Dismiss,
    Do,
    Flow,
    Later,
    Once,
    Probe,
    Send,
    Shield,
    Step,
)
from procore_signin._forks import look_after
from procore_signin._store import Store
from procore_signin._store.engine.shared_outcome import for_another
from procore_signin._transport.contract import Transport
from procore_signin.errors import ProcoreSignInError, StoreUnavailable

T = TypeVar("T")

LOGGER: Final = logging.getLogger("procore_signin")


class Runner:
    """Runs flows and waits for each step, on the caller's thread.

    Args:
        store: Runs commands and answers queries.
        transport: Sends requests.
        sleep: Lets seconds pass.
        complete: Runs a coroutine of the application's to its end.
        background: Has the threads for what runs beside its caller; by default, a new one.
    """

    def __init__(
        self,
        store: Store,
        transport: Transport,
        *,
        sleep: Callable[[float], None] = time.sleep,
        complete: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run,
        background: Background | None = None,
    ) -> None:
        self._store = store
        self._transport = transport
        self._sleep = sleep
        self._complete = complete
        self._background = background or Background()
        self._database: Final = DatabaseState()
        self.after_fork()
        look_after(self)

    def after_fork(self) -> None:
        """Begin anew in a child: what is under way is so in the parent."""
        self._under_way: dict[Hashable, Asked] = {}

    def run(self, flow: Flow[T]) -> T:
        """Run `flow` to its end and return its value. Raises what the flow raises."""
        return self._drive(flow, None)

    def _drive(self, flow: Flow[T], asked: Asked | None) -> T:
        """Run `flow` here.

        Args:
            flow: The flow.
            asked: Where it is carried on for someone: through it they are reached. None where it
                runs on the thread of its caller, who may be interrupted.
        """
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._perform(step, asked)
                except BaseException as error:  # noqa: BLE001  # the flow decides what each error means
                    if isinstance(error, StoreUnavailable):
                        self._database.failed(error)
                    step = flow.throw(error)
                else:
                    if self._database.failing is not None and isinstance(step, (Do, Ask)):
                        self._database.worked(wrote=isinstance(step, Do))
                    step = flow.send(outcome)
        except StopIteration as end:
            value: T = end.value
            return value

    def _perform(self, step: Step, asked: Asked | None) -> Any:  # noqa: PLR0911  # one a step
        match step:
            case Ask(query=query):
                return self._store.ask(query)
            case Do(command=command):
                return self._store.do(command)
            case Send(request=request):
                return self._transport.send(request)
            case Shield(flow=flow):
                return self._carried(flow) if asked is None else self._drive(flow, asked)
            case Later(flow=flow, key=key):
                return self._background.later(partial(self._finish_quietly, flow), key)
            case Once(key=key, flow=flow):
                return self._share(key, flow)
            case Dismiss(error=error):
                return None if asked is None else asked.tell(None, error)
            case Probe():
                return self._probe()
            case Call():
                return self._call(step) if asked is None else asked.call(step)
            case _:
                self._sleep(step.seconds)
                end_idle(step, closing=self._background.closing)
                return self._background.ending()

    def _call(self, step: Call) -> Any:
        outcome = step.function(*step.arguments)
        return self._complete(outcome) if inspect.iscoroutine(outcome) else outcome

    def _probe(self) -> StoreUnavailable | None:
        error = probe(self._store)
        self._database.note(error)
        return error

    def _carried(self, flow: Flow[Any]) -> Any:
        """Have `flow` carried to its end whatever happens here, and wait for its outcome."""
        asked = Asked(self._call, listening=True)
        try:
            if self._background.start(partial(self._carry, flow, asked)):
                return asked.wait()
        finally:
            asked.leave()
        return self._drive(flow, asked)

    def _share(self, key: Hashable, flow: Flow[Any]) -> Any:
        """Have `flow` run for every thread that asks for `key` meanwhile, or wait for who does."""
        shared = self._under_way.get(key)
        if shared is None:
            asked = Asked(self._call, listening=False)
            carry = partial(self._carry_for_all, key, flow, asked)
            if not self._background.start(carry):
                carry()
            shared = asked
        return _outcome(shared.outcome)

    def _carry_for_all(self, key: Hashable, flow: Flow[Any], asked: Asked) -> None:
        # Here and not where it is asked for: who is interrupted there would leave it forever.
        first = self._under_way.setdefault(key, asked)
        if first is not asked:
            flow.close()
            asked.outcome.follow(first.outcome)
            return
        try:
            self._carry(flow, asked)
        finally:
            if self._under_way.get(key) is asked:
                del self._under_way[key]

    def _carry(self, flow: Flow[Any], asked: Asked) -> None:
        value, failed = None, None
        try:
            value = self._drive(flow, asked)
        except BaseException as error:  # noqa: BLE001  # whatever it is, those who wait must know
            failed = error
        if not asked.tell(value, failed) and failed is not None:
            LOGGER.warning("Work that no one waited for any more failed: %s", failed)

    def _finish_quietly(self, flow: Flow[Any]) -> None:
        """Run what no one waits for: its failure is logged, and harms no response."""
        try:
            self._drive(flow, Asked(self._call, listening=False))
        except ProcoreSignInError as error:
            if not is_told_by_state(error):
                LOGGER.warning("Postponed work failed: %s", error)
        except Exception:  # a defect of ours, or of what the application brought
            LOGGER.exception("Postponed work failed")

    def settle(self, seconds: float = LONGEST_FLOW_SECONDS) -> int:
        """Wait until nothing runs beside its caller, and return how much still does after that."""
        return self._background.settle(seconds)

    def close(self) -> None:
        """Wait for what other threads must not lose, no longer than that can take."""
        left = self._background.close(LONGEST_FLOW_SECONDS)
        if left:
            LOGGER.warning("Closed while %d flow(s) had not ended", left)


def _outcome(outcome: Outcome[Any]) -> Any:
    """Return what a shared flow returned, or raise a copy of what it raised."""
    if not outcome.wait():
        raise stayed_in_the_parent()
    error = outcome.error
    if error is not None:
        raise for_another(error)
    return outcome.result()
