"""Small worlds, of which every order is tried."""

from __future__ import annotations

from tests.simulation.world import Scenario


def _of(
    start: str, *actors: tuple[int, str, int], ills: tuple[str, ...] = (), grace: bool = True
) -> Scenario:
    return Scenario(
        start=start,
        rotation="grace" if grace else "immediate",
        early=True,
        actors=actors,
        trouble=1 if ills else 0,
        kinds=frozenset(ills),
    )


_LOST = ("lose answer", "lose commit", "kill")
SMALL: dict[str, Scenario] = {
    "two refreshes": _of("expired", (0, "refresh", 1), (1, "refresh", 1), ills=_LOST, grace=False),
    "two refreshes under grace": _of("chain", (0, "refresh", 1), (1, "refresh", 1), ills=_LOST),
    "a refresh and a disabling": _of("expired", (0, "refresh", 1), (1, "disable", 1), ills=_LOST),
    "a refresh and a disconnecting, interrupted": _of(
        "expired", (0, "refresh", 1), (1, "disconnect", 1), ills=("interrupt",), grace=False
    ),
    "a sign-in and its double": _of(
        "nobody", (0, "sign-in", 1), (1, "join", 1), ills=("lose commit", "kill")
    ),
    "a sign-in and a disabling": _of("chain", (0, "new sign-in", 1), (1, "disable", 1), ills=_LOST),
    "two endings": _of("expired", (0, "disable", 1), (1, "delete", 1), ills=("lose answer",)),
    "a refresh and a fork": _of("expired", (0, "refresh", 1), ills=("fork", "interrupt")),
}
