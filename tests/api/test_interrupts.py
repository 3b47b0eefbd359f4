"""An interrupt in a call of the API costs that call, and no other."""

from __future__ import annotations

import pytest
from tests.api.world import ME, World

from procore_signin import api
from procore_signin.api import Wire

only_sync = pytest.mark.parametrize("new_world", ["sync"], indirect=True)


class InterruptError(BaseException):
    """As a signal handler raises it, in the middle of the pool's own work."""


def interrupted(*_: object, **__: object) -> None:
    raise InterruptError


@pytest.fixture
def wire() -> Wire:
    return Wire()


@only_sync
def test_R13_a_pool_that_an_interrupt_has_met_is_not_used_again(world: World, wire: Wire) -> None:
    """It may have a place taken, or its lock held, for good."""
    client = api.client_for(world.spare_door(), world.user, wire=wire)
    client.get(ME)
    met = wire._pool
    assert met is not None
    met.handle_request = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(InterruptError):
        client.get(ME)
    assert client.get(ME).status_code == 200
    assert wire._pool is not met
    met.close()
    wire.close()


@only_sync
def test_R13_a_pool_whose_response_was_interrupted_is_not_used_again(
    world: World, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = api.client_for(world.spare_door(), world.user, wire=wire)
    client.get(ME)
    met = wire._pool
    assert met is not None
    with monkeypatch.context() as patched:
        patched.setattr("httpcore2._sync.connection_pool.PoolByteStream.close", interrupted)
        with pytest.raises(InterruptError):
            client.get(ME)
    assert client.get(ME).status_code == 200
    assert wire._pool is not met
    met.close()
    wire.close()
