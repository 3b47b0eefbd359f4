import pytest
from scripted import Clock

from procore_signin.web.limits import ADDRESSES, RateLimit


@pytest.fixture
def clock() -> Clock:
    return Clock(0)


def test_A11_an_address_is_admitted_up_to_its_limit_and_again_as_time_passes(clock: Clock) -> None:
    limit = RateLimit(3, clock)
    assert [limit.admits("192.0.2.1") for _ in range(4)] == [True, True, True, False]
    clock.advance(19.9)
    assert not limit.admits("192.0.2.1")
    clock.advance(0.2)
    assert limit.admits("192.0.2.1")


def test_A11_one_address_does_not_use_up_the_limit_of_another(clock: Clock) -> None:
    limit = RateLimit(1, clock)
    assert limit.admits("192.0.2.1")
    assert not limit.admits("192.0.2.1")
    assert limit.admits("192.0.2.2")


def test_A11_zero_switches_the_limit_off(clock: Clock) -> None:
    limit = RateLimit(0, clock)
    assert all(limit.admits("192.0.2.1") for _ in range(1000))


def test_A11_a_hundred_thousand_addresses_take_bounded_memory(clock: Clock) -> None:
    limit = RateLimit(10, clock)
    for number in range(100_000):
        limit.admits(f"address {number}")
    assert len(limit._buckets) == ADDRESSES
