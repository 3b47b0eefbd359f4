from tests.reliability.conftest import *
from tests.reliability.test_kill_refresh import *
import pytest
@pytest.mark.parametrize("kind",["sqlite"],indirect=True)
def test_dbg(new_world):
    world=new_world(rotation="immediate")
    others=[world.worker() for _ in range(3)]
    for number, point in enumerate(POINTS[:3]):
        user = world.sign_in(number); world.expire(); world.witness.look()
        die(world, world.worker(), user, point)
        print(point, world.row(user))
        print(world.emulator.faults())
        print([(e.target,e.status,e.note,e.request_body[-120:]) for e in world.emulator.requests][-5:])
        world.pass_time(31)
        for w in others:
            print(w.ask("fresh",user=user))
        print(world.row(user))
        print([(e.target,e.status,e.note,e.request_body[-120:]) for e in world.emulator.requests][-5:])
    assert 0
