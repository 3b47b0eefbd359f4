import pytest
from scripted import Clock

from procore_signin._web.http.limits import ADDRESSES, RateLimit, network_of


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


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:0DB8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9b:1::1", "64:ff9b:1::/64"),
        ("unix:", "unix:"),
        ("no address", "no address"),
        ("", ""),
    ],
)
def test_O4_an_ipv6_network_counts_as_one_and_ipv4_in_any_spelling_as_itself(
    address: str, network: str
) -> None:
    assert network_of(address) == network


def test_A11_a_subscriber_with_a_whole_network_is_limited_as_one(clock: Clock) -> None:
    limit = RateLimit(3, clock)
    assert sum(limit.admits(f"2001:db8::{number:x}") for number in range(1, 100)) == 3
    assert limit.admits("2001:db8:0:1::1")
    assert sum(limit.admits(f"::ffff:192.0.2.{number}") for number in range(1, 100)) == 99
    assert limit.admits("192.0.2.1")
    assert limit.admits("::ffff:192.0.2.1")
    assert not limit.admits("192.0.2.1")
