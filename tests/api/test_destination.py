"""Where the bearer goes, and where it does not."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import httpx2
import pytest
import trustme
from tests.api.conftest import Answering, MakeAnswer, Serve
from tests.api.server import Server
from tests.api.world import COMPANY, ME, World

from procore_signin._api.http.origin import Origin, refuse_ambiguous, refuse_elsewhere, shown
from procore_signin.api import ApiUnreachable, NotSent


def test_a_call_carries_the_bearer_of_the_person(world: World) -> None:
    response = world.client().get(ME)

    assert {"id": 11111, "login": "joecontractor@procore.com", "name": "Joe Contractor"} == (
        response.json()
    )
    assert f"Bearer {world.bearer}" == world.asked(ME)[-1]["authorization"]


ELSEWHERE = [
    "http://127.0.0.1:{other}/rest/v1.0/me",
    "https://127.0.0.1:{port}/rest/v1.0/me",
    "http://localhost:{port}/rest/v1.0/me",
    "http://127.0.0.1.attacker.example/rest/v1.0/me",
    "http://[::1]:{port}/rest/v1.0/me",
    "http://127.0.0.1:{port}@127.0.0.1:{other}/rest/v1.0/me",
    "http://user:word@127.0.0.1:{port}/rest/v1.0/me",
    "http://user@127.0.0.1:{port}/rest/v1.0/me",
    "//127.0.0.1:{other}/rest/v1.0/me",
    "///127.0.0.1:{other}/rest/v1.0/me",
    "/\\127.0.0.1:{other}/rest/v1.0/me",
    "\\\\127.0.0.1:{other}/rest/v1.0/me",
    "http:127.0.0.1:{other}/rest/v1.0/me",
    "https:/127.0.0.1:{other}/rest/v1.0/me",
    "http://127.0.0.1:{port}\\@127.0.0.1:{other}/",
    "http://127.0.0.1",
    "ws://127.0.0.1:{port}/rest/v1.0/me",
    "ftp://127.0.0.1:{port}/rest/v1.0/me",
    "javascript:alert(1)",
    "http://\u0441\u0430lhost:{other}/",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_P1_no_other_place_gets_a_request(
    world: World, answering: Answering, answer: MakeAnswer, url: str
) -> None:
    attacker = answering(answer(200, b"{}"))
    port = world.emulator.url.rpartition(":")[2]
    client = world.client()
    before = len(world.emulator.requests)

    with pytest.raises(NotSent):
        client.get(url.format(port=port, other=attacker.port))

    assert (0, before) == (attacker.connections, len(world.emulator.requests))


@pytest.mark.parametrize(
    "url",
    [
        "https://api.procore.com.attacker.example/rest",
        "https://attacker.example/rest",
        "https://sub.api.procore.com/rest",
        "https://api.procore.com:8443/rest",
        "http://api.procore.com/rest",
        "https://procore.com/rest",
        "https://login.procore.com/rest",
        "https://sandbox.procore.com/rest",
        "https://app.procore.com/rest",
        "https://api.procore.com./rest",
        "https://\u0430pi.procore.com/rest",  # a Cyrillic a
        "https://xn--pi-6kc.procore.com/rest",
        "https://api.procore.com@attacker.example/rest",
        "https://api.procore.com%2eattacker.example/rest",
        "https://api-procore.com/rest",
        "wss://api.procore.com/rest",
    ],
)
def test_P1_a_name_that_only_looks_like_the_api_is_refused(url: str) -> None:
    with pytest.raises((NotSent, httpx2.InvalidURL)):
        refuse_elsewhere(httpx2.Request("GET", url), Origin.of("https://api.procore.com"))


@pytest.mark.parametrize(
    "url",
    [
        "https://api.procore.com/rest/v1.0/me",
        "https://API.procore.COM/rest/v1.0/me",
        "https://api.procore.com:443/rest/v1.0/me",
    ],
)
def test_the_api_itself_is_not_refused_however_it_is_written(url: str) -> None:
    refuse_ambiguous("GET", url)
    refuse_elsewhere(httpx2.Request("GET", url), Origin.of("https://api.procore.com"))


def test_P1_a_base_url_that_was_changed_afterwards_leads_nowhere(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    attacker = answering(answer(200, b"{}"))
    client: Any = world.client()
    client.client.base_url = attacker.origin

    with pytest.raises(NotSent):
        client.get(ME)
    assert attacker.connections == 0


def test_P1_a_hook_that_changes_the_address_sends_nothing(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    attacker = answering(answer(200, b"{}"))
    face: Any = world.client()

    def lead_away(request: httpx2.Request) -> None:
        request.url = httpx2.URL(f"{attacker.origin}{ME}")

    async def lead_away_too(request: httpx2.Request) -> None:
        lead_away(request)

    hook = lead_away if world.colour == "sync" else lead_away_too
    face.client.event_hooks = {"request": [hook]}

    with pytest.raises(NotSent):
        face.get(ME)
    assert attacker.connections == 0


def test_P1_a_host_header_cannot_name_another_host(world: World) -> None:
    world.client().get(ME, headers={"host": "attacker.example"})

    assert world.emulator.url == f"http://{world.asked(ME)[-1]['host']}"


def test_P1_an_extension_cannot_name_another_target_or_certificate(world: World) -> None:
    world.client().get(
        ME, extensions={"target": b"http://attacker.example/", "sni_hostname": "attacker.example"}
    )

    assert world.statuses(ME)[-1] == 200


def test_P1_a_call_cannot_bring_an_authentication_of_its_own(world: World) -> None:
    before = len(world.asked(ME))

    with pytest.raises(NotSent, match="not one that the token was given for"):
        world.client().get(ME, auth=("somebody", "fake-password"))
    with pytest.raises(NotSent):
        world.client().get(ME, auth=None)
    assert before == len(world.asked(ME))


def test_P1_an_authorization_header_of_the_callers_is_replaced(world: World) -> None:
    world.client().get(ME, headers={"authorization": "Bearer fake-other"})

    sent = [
        value
        for name, value in world.emulator.requests[-1].request_headers
        if name.lower() == "authorization"
    ]
    assert [f"Bearer {world.bearer}"] == sent


def test_P1_the_token_is_in_no_query_and_no_body(world: World) -> None:
    world.client(COMPANY).get(ME)

    sent = world.emulator.requests[-1]
    assert world.bearer not in sent.target
    assert b"" == sent.request_body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "{attacker}/rest/v1.0/me",
        "//127.0.0.1:{port}/rest/v1.0/me",
        "https://127.0.0.1:{port}/rest/v1.0/me",
        "/rest/v1.0/companies",
    ],
)
def test_P3_a_redirect_is_returned_and_never_followed(
    world: World, answering: Answering, answer: MakeAnswer, status: int, location: str
) -> None:
    attacker = answering(answer(200, b"{}"))
    place = location.format(attacker=attacker.origin, port=attacker.port)
    world.emulator.fault(f"GET {ME}", "redirect", status=status, location=place)
    response = world.client().get(ME)

    assert (status, place) == (response.status_code, response.headers["location"])
    assert (0, 0) == (attacker.connections, len(world.asked("/rest/v1.0/companies")))


@pytest.mark.parametrize("same_origin", [True, False])
def test_P3_asking_httpx2_to_follow_is_refused(
    world: World, answering: Answering, answer: MakeAnswer, *, same_origin: bool
) -> None:
    attacker = answering(answer(200, b"{}"))
    place = "/rest/v1.0/companies" if same_origin else f"{attacker.origin}{ME}"
    world.emulator.fault(f"GET {ME}", "redirect", location=place)

    with pytest.raises(NotSent):
        world.client().get(ME, follow_redirects=True)
    assert (0, 0) == (attacker.connections, len(world.asked("/rest/v1.0/companies")))


def test_P3_the_request_that_httpx2_prepares_for_a_redirect_has_no_token(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    attacker = answering(answer(200, b"{}"))
    world.emulator.fault(f"GET {ME}", "redirect", location=f"{attacker.origin}{ME}")
    client = world.client()
    prepared = client.get(ME).next_request
    assert prepared is not None

    assert "authorization" not in prepared.headers
    with pytest.raises(NotSent):
        client.send(prepared)
    assert attacker.connections == 0


def test_a_cookie_is_not_kept_and_not_sent(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    server = answering(answer(200, b"{}", set_cookie="session=fake; Path=/"))
    client = world.client(at=server.origin)
    client.get(ME)
    client.get(ME)

    assert b"cookie:" not in server.requests[-1].lower()


def test_no_proxy_of_the_surroundings_is_used(
    world: World, answering: Answering, answer: MakeAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = answering(answer(200, b"{}"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.origin)
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert world.client().get(ME).status_code == 200
    assert proxy.connections == 0


def test_a_server_without_a_trusted_certificate_gets_nothing(world: World, serve: Serve) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def behave(sock: socket.socket, server: Server) -> None:
        server.read(sock)

    server = serve(behave, tls=context)

    with pytest.raises(ApiUnreachable, match="not sent") as raised:
        world.client(at=server.origin).get(ME)
    assert not raised.value.ambiguous
    assert server.requests == []


def test_a_certificate_for_another_name_is_refused_and_the_right_one_taken(
    world: World, serve: Serve, answer: MakeAnswer
) -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def behave(sock: socket.socket, server: Server) -> None:
        server.read(sock)
        sock.sendall(answer(200, b"[]"))

    def server(name: str) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        return serve(behave, context)

    good, bad = server("127.0.0.1"), server("api.procore.com")

    assert world.client(at=good.origin, tls=trusting).get(ME).json() == []
    with pytest.raises(ApiUnreachable, match="not sent"):
        world.client(at=bad.origin, tls=trusting).get(ME)
    assert bad.requests == []


@pytest.mark.parametrize(
    "origin", ["https://api.procore.com", "http://127.0.0.1:4568", "http://[::1]:4568"]
)
def test_an_origin_is_shown_as_it_is_written(origin: str) -> None:
    assert origin == shown(Origin.of(origin))
