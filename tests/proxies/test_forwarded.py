"""Who the client is when proxies stand in front, and when someone says that they do."""

from __future__ import annotations

import pytest

from procore_signin._settings import Settings
from procore_signin._settings.trusted_proxies import MOST_HOPS, TrustedProxies
from procore_signin._web.http.asgi_wsgi import of_environ, of_scope
from procore_signin._web.http.messages import BrowserRequest
from procore_signin.errors import SettingsInvalid

OURS = TrustedProxies.parse("10.0.0.0/8, 192.0.2.1, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # the peer is no one of ours: whatever it sends is its own word
        ("203.0.113.9", [b"198.51.100.7"], "203.0.113.9"),
        ("203.0.113.9", [b"10.0.0.1"], "203.0.113.9"),
        ("192.0.2.2", [b"198.51.100.7"], "192.0.2.2"),
        ("", [b"198.51.100.7"], ""),
        ("unix:", [b"198.51.100.7"], "unix:"),
        # one proxy of ours
        ("10.0.0.1", [b"198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b""], "10.0.0.1"),
        ("fd00::1", [b"2001:db8::5"], "2001:db8::5"),
        # what the client sent itself stands to the left, and is not believed
        ("10.0.0.1", [b"1.2.3.4, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [b"1.2.3.4", b"198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [b"10.9.9.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [b"garbage, 198.51.100.7"], "198.51.100.7"),
        # several proxies of ours
        ("10.0.0.1", [b"1.2.3.4, 198.51.100.7, 192.0.2.1,10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", [b"198.51.100.7, 192.0.2.9, 10.0.0.2"], "192.0.2.9"),
        ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # forms of an address
        ("10.0.0.1", [b"198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", [b"[2001:db8::5]:4711"], "2001:db8::5"),
        ("10.0.0.1", [b"[2001:db8::5]"], "2001:db8::5"),
        ("10.0.0.1", [b"2001:DB8:0::5"], "2001:db8::5"),
        ("::ffff:10.0.0.1", [b"::ffff:198.51.100.7"], "198.51.100.7"),
        # what cannot be read ends the reading: the proxy that passed it on is all that is known
        ("10.0.0.1", [b"198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.7, _hidden, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [b"198.51.100.7, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [b"198.51.100.7\n"], "10.0.0.1"),
        ("10.0.0.1", [b"\xff"], "10.0.0.1"),
        ("10.0.0.1", [b"1.2.3.4, " + b"10.0.0.2," * MOST_HOPS + b"10.0.0.3"], "10.0.0.2"),
    ],
)
def test_O4_the_client_is_the_right_most_address_that_is_none_of_ours(
    peer: str, forwarded: list[bytes], client: str
) -> None:
    assert OURS.client_address(peer, forwarded) == client


def test_O4_without_a_list_the_peer_is_the_client() -> None:
    assert TrustedProxies().client_address("127.0.0.1", [b"198.51.100.7"]) == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.0/33", "neither an address nor a network"),
        ("10.0.0.1/8", "neither an address nor a network"),
        ("localhost", "neither an address nor a network"),
        ("10.0.0.1 10.0.0.2", "neither an address nor a network"),
        ("0.0.0.0/0", "trusts all addresses"),
        ("127.0.0.1, ::/0", "trusts all addresses"),
    ],
)
def test_O4_a_list_that_would_trust_anybody_by_mistake_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrustedProxies.parse(text)


def settings(**more: str) -> Settings:
    given = {"PROCORE_ENVIRONMENT": "emulator", "PROCORE_KEYS": "k1:" + "A" * 43, **more}
    return Settings.load(given, None)


def test_the_list_is_a_setting_and_empty_by_default() -> None:
    assert settings().trusted_proxies == TrustedProxies()
    named = settings(PROCORE_TRUSTED_PROXIES="127.0.0.1,::1")
    assert named.trusted_proxies == TrustedProxies.parse("127.0.0.1, ::1")


def test_a_wrong_list_is_named_with_its_cure() -> None:
    with pytest.raises(SettingsInvalid) as invalid:
        settings(PROCORE_TRUSTED_PROXIES="nginx")

    problem = invalid.value.problems[0]
    assert (problem.setting, problem.what) == (
        "PROCORE_TRUSTED_PROXIES",
        "has an entry that is neither an address nor a network",
    )


def of_both_gateways(peer: str, **headers: str) -> list[BrowserRequest]:
    """Return what came from `peer`, through an ASGI server and through a WSGI server."""
    scope = {
        "client": (peer, 4711) if peer else None,
        "headers": [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()],
    }
    environ = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    environ |= {"REQUEST_METHOD": "GET", "REMOTE_ADDR": peer}
    return [
        of_scope(scope, path="/", trusted=OURS),
        of_environ(environ, path="/", trusted=OURS),
    ]


@pytest.mark.parametrize(
    ("peer", "client"),
    [("10.0.0.1", "198.51.100.7"), ("203.0.113.9", "203.0.113.9"), ("", "")],
)
def test_O4_behind_every_gateway_the_client_is_the_one_that_our_proxy_names(
    peer: str, client: str
) -> None:
    forwarded = "1.2.3.4, 198.51.100.7"
    seen = of_both_gateways(peer, x_forwarded_for=forwarded, x_forwarded_host="evil.example")

    assert [request.client_address for request in seen] == [client, client]
    assert [request.header(b"x-forwarded-for") for request in seen] == [forwarded, forwarded]


def test_O4_nobody_is_believed_where_no_proxy_is_named() -> None:
    scope = {"client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", b"198.51.100.7")]}

    assert of_scope(scope, path="/").client_address == "127.0.0.1"


@pytest.mark.parametrize("peer", ["", "unix:", "/run/app.sock"])
def test_O4_a_proxy_on_a_unix_socket_is_believed_where_it_is_named(peer: str) -> None:
    trusted = TrustedProxies.parse("unix, 10.0.0.0/8")
    assert trusted.client_address(peer, [b"198.51.100.7, 10.0.0.1"]) == "198.51.100.7"
    assert trusted.client_address(peer, [b"no address"]) == peer
    assert trusted.client_address("203.0.113.9", [b"198.51.100.7"]) == "203.0.113.9"
    assert TrustedProxies.parse("10.0.0.0/8").client_address(peer, [b"198.51.100.7"]) == peer
    assert TrustedProxies.parse("unix") != TrustedProxies()
