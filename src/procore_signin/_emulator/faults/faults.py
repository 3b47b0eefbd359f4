"""The list of faults: their route, number and probability."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import UnionType
from typing import Any, Final

from procore_signin._emulator.faults.kinds import BadFault, Effect, effect
from procore_signin._emulator.world.random_values import RandomValues, seeded_bytes

_LONGEST_ROUTE: Final = 500
"""Characters: a path is held against each of them."""


@dataclass(slots=True)
class Fault:
    """One fault.

    Attributes:
        number: Its number, from 1.
        route: Such as `POST /oauth/token`, `/rest/*` for any method, or `*`.
        kind: One of `effects.KINDS`.
        settings: The settings of the kind.
        times: How often it may still happen, or None for always.
        probability: From 0 to 1.
        happened: How often it has happened.
    """

    number: int
    route: str
    kind: str
    settings: Mapping[str, Any]
    times: int | None
    probability: float
    effect: Effect = field(repr=False)
    chance: Callable[[], float] = field(repr=False)
    happened: int = 0

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request is on this fault's route."""
        wanted, space, pattern = self.route.partition(" ")
        if not space:
            return fnmatchcase(path, self.route)
        return method == wanted and fnmatchcase(path, pattern)


class Faults:
    """The faults of one emulator, in the order in which they were added."""

    __slots__ = ("_faults", "_mint", "_next")

    def __init__(self, random_values: RandomValues) -> None:
        self._mint = random_values
        self._faults: list[Fault] = []
        self._next = 1

    def __bool__(self) -> bool:
        """Say whether there is any fault, spent or not."""
        return bool(self._faults)

    def add(
        self,
        route: str,
        kind: str,
        /,
        *,
        times: int | None = 1,
        probability: float = 1.0,
        seed: int | None = None,
        **settings: Any,
    ) -> Fault:
        """Add a fault.

        Args:
            route: Such as `POST /oauth/token`; `*` in the path stands for anything.
            kind: One of `effects.KINDS`.
            times: How often, or None for always.
            probability: Of each request on the route, from 0 to 1.
            seed: The seed of its random numbers; by default the emulator's.
            settings: The settings of the kind.

        Raises:
            BadFault: Any of these is wrong.
        """
        if not route.rpartition(" ")[2].startswith(("/", "*")):
            raise BadFault("A fault's route is a path, with or without a method: POST /oauth/token")
        if len(route) > _LONGEST_ROUTE:
            raise BadFault(f"A fault's route has {_LONGEST_ROUTE} characters at most")
        if times is not None and (not _is(int, times) or times < 1):
            raise BadFault("times is how often the fault happens: 1 or more, or null for always")
        if not _is(int | float, probability) or not 0 <= probability <= 1:
            raise BadFault("probability is a number from 0 to 1")
        if seed is not None and not _is(int, seed):
            raise BadFault("seed is a whole number")
        random_values = self._mint if seed is None else RandomValues(seeded_bytes(seed))
        fault = Fault(
            self._next,
            route,
            kind,
            settings,
            times,
            probability,
            effect(kind, settings),
            random_values.chance,
        )
        self._next += 1
        self._faults.append(fault)
        return fault

    def concern(self, method: str, path: str) -> bool:
        """Say whether a fault may happen to such a request, without counting it."""
        return any(fault.times != 0 and fault.matches(method, path) for fault in self._faults)

    def take(self, method: str, path: str) -> Fault | None:
        """Return the first fault that happens to a request, counting it, or None."""
        for fault in self._faults:
            if fault.times == 0 or not fault.matches(method, path):
                continue
            if fault.probability < 1 and fault.chance() >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
            fault.happened += 1
            return fault
        return None

    def put_back(self, fault: Fault) -> None:
        """Uncount a fault that was taken and did not happen after all."""
        fault.happened -= 1
        if fault.times is not None:
            fault.times += 1

    def all(self) -> list[Fault]:
        """Return every fault, also those that cannot happen any more."""
        return list(self._faults)

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()


def _is(kind: type | UnionType, value: object) -> bool:
    """Say whether a value is a number of that kind; true and false are none."""
    return isinstance(value, kind) and not isinstance(value, bool)
