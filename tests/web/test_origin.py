"""Which `Host` and `Origin` headers are this application's own."""

from __future__ import annotations

import pytest

from procore_signin._web.http.origin import hosts_of, origin_of


@pytest.mark.parametrize(
    ("redirect_uri", "origin", "hosts"),
    [
        (
            "https://app.example.com/callback",
            "https://app.example.com",
            {"app.example.com", "app.example.com:443"},
        ),
        (
            "https://App.Example.Com:443/procore/callback",
            "https://app.example.com",
            {"app.example.com", "app.example.com:443"},
        ),
        (
            "https://app.example.com:8443/callback",
            "https://app.example.com:8443",
            {"app.example.com:8443"},
        ),
        (
            "https://app.example.com:80/callback",
            "https://app.example.com:80",
            {"app.example.com:80"},
        ),
        ("http://localhost/callback", "http://localhost", {"localhost", "localhost:80"}),
        ("http://localhost:443/callback", "http://localhost:443", {"localhost:443"}),
        ("http://localhost:4567/callback", "http://localhost:4567", {"localhost:4567"}),
        ("http://[::1]/callback", "http://[::1]", {"[::1]", "[::1]:80"}),
        ("http://[::1]:4567/callback", "http://[::1]:4567", {"[::1]:4567"}),
        (
            "https://[2001:DB8::80]/callback",
            "https://[2001:db8::80]",
            {"[2001:db8::80]", "[2001:db8::80]:443"},
        ),
    ],
)
def test_A10_an_origin_is_known_with_and_without_its_default_port(
    redirect_uri: str, origin: str, hosts: set[str]
) -> None:
    assert origin_of(redirect_uri) == origin
    assert hosts_of(redirect_uri) == hosts
