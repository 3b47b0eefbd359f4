"""Files that Procore keeps elsewhere."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import httpx2
import pytest
import trustme
from tests.api.conftest import Answering, MakeAnswer, Serve
from tests.api.server import Server
from tests.api.test_bounds import drip
from tests.api.world import COMPANY, World

from procore_signin._api.downloads import _next, follow_download
from procore_signin._api.http.origin import Origin
from procore_signin._api.http.transport import ROUTE, Route
from procore_signin.api import ApiOptions, ApiUnreachable, UnexpectedAnswer, Wire

FILE = "/rest/v1.0/files/1"
SIGNED = "?X-Fake-Signature=fake-signature"


def pointing_to(world: World, place: str) -> httpx2.Response:
    world.emulator.fault(f"GET {FILE}", "redirect", location=place)
    return world.client(COMPANY).get(FILE)


def test_P3_a_file_is_followed_without_the_token(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    storage = answering(answer(200, b"the file", content_type="image/png"))
    client = world.client(COMPANY)
    response = pointing_to(world, f"{storage.origin}/bucket/1{SIGNED}")

    assert b"the file" == client.download(response)
    sent = storage.requests[0].lower()
    assert sent.startswith(b"get /bucket/1?x-fake-signature=fake-signature ")
    assert [] == [
        name
        for name in (b"authorization", b"procore-company-id", b"cookie", b"referer")
        if name in sent
    ]
    assert world.bearer.encode() not in storage.requests[0]


def test_P3_a_chain_of_redirects_is_followed_to_its_end_and_no_longer(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    storage = answering(answer(302, location="/b"), answer(307, location="/c"), answer(200, b"it"))
    endless = answering(answer(302, location="/again"))
    client = world.client()

    assert b"it" == client.download(pointing_to(world, f"{storage.origin}/a"))
    with pytest.raises(UnexpectedAnswer, match="leads through too many redirects"):
        client.download(pointing_to(world, f"{endless.origin}/"))
    assert len(endless.requests) == 5


@pytest.mark.parametrize(
    "place",
    [
        "http://storage.example/1",
        "https://127.0.0.1/1",
        "https://localhost/1",
        "https://10.0.0.1/1",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/1",
        "https://[fd00::1]/1",
        "https://2130706433/1",
        "https://127.1/1",
        "https://metadata.localhost/1",
        "https://user:word@storage.example/1",
        "ftp://storage.example/1",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ],
)
def test_P3_N5_beside_the_real_procore_a_file_is_at_a_public_https_address_only(place: str) -> None:
    response = moved(place, "https://api.procore.com")
    with pytest.raises(UnexpectedAnswer, match=r"leads to"):
        _next(response, response.extensions[ROUTE])


@pytest.mark.parametrize(
    ("place", "followed"),
    [
        ("https://storage.example/1?a=b", "https://storage.example/1?a=b"),
        ("//storage.example/1", "https://storage.example/1"),
        ("/elsewhere", "https://api.procore.com/elsewhere"),
    ],
)
def test_a_public_https_address_is_followed(place: str, followed: str) -> None:
    response = moved(place, "https://api.procore.com")

    assert followed == str(_next(response, response.extensions[ROUTE]).url)


NO_NAMES = """
2130706433 0x7f000001 0xa9fea9fe 0x0 0 017700000001 127.1 10.1 0x7f.1 0x7f.0.0.0x1 0X7F.0.0.1
0177.0.0.1 0177.0x0.0.1 0.0.0.0 1.2.3.4.5 127.0.0.1 127.0.0.1. 169.254.169.254. 127.0.0.1..
127。0。0。1 %31%32%37.0.0.1 127%2e0.0.1 127.0.0.1%20 %6cocalhost １２７.0.0.1 ١٢٧.٠.٠.١
①②⑦.0.0.1 ⓛocalhost lo\u00adcalhost [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1]
[::127.0.0.1] [fe80::1%25eth0] [64:ff9b::7f00:1] [fd00:ec2::254] [2001:db8::1] 8.8.8.8
localhost LOCALHOST localhost. a.localhost a.LocalHost. localhost.localdomain printer.local
metadata.google.internal nas.lan x.corp router.home.arpa storage storage.example.
storage.example。 storage.example.. storage.example%00 a..example -a.example a-.example a.1
a.0x7f a.example:0x50 .example
"""
TOO_LONG = ("a" * 64 + ".example", "a." * 127 + "example")
LOCAL = {"127.0.0.1", "localhost", "[::1]", "a.localhost"}


@pytest.mark.parametrize("host", [*NO_NAMES.split(), "a b.example", *TOO_LONG])
@pytest.mark.parametrize("origin", ["https://api.procore.com", "http://127.0.0.1:4568"])
def test_P3_N5_a_file_is_never_at_what_is_no_name_of_the_public_dns(host: str, origin: str) -> None:
    response = moved(f"https://{host}/1", origin)
    if origin.startswith("http:") and host.lower().replace("。", ".") in LOCAL:
        return  # beside a local Procore
    with pytest.raises(UnexpectedAnswer, match=r"leads to"):
        _next(response, response.extensions[ROUTE])


@pytest.mark.parametrize(
    "host",
    [
        "files.example.invalid",
        "s3.amazonaws.com",
        "a_b.s3.us-east-1.amazonaws.com",
        "127.0.0.1.storage.example",
        "0x7f.example",
        "storage.xn--p1ai",
        "STORAGE.example",
        "bücher.example",
        "local.example",
        "localhost.example",
        "a" * 63 + ".example",
    ],
)
def test_N5_the_name_of_a_storage_host_is_followed(host: str) -> None:
    response = moved(f"https://{host}:9/1", "https://api.procore.com")

    assert str(_next(response, response.extensions[ROUTE]).url).endswith(":9/1")


def test_N5_a_name_that_leads_into_the_own_network_ends_at_the_certificate(
    answering: Answering, answer: MakeAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = answering(answer(200, b"the secret of an internal service"))
    response = leading_to(inside, monkeypatch)

    with pytest.raises(ApiUnreachable) as raised, follow_download(response):
        pass

    assert raised.value.ambiguous is False
    assert not [each for each in inside.requests if b"GET" in each]


def test_N5_a_certificate_of_an_authority_that_no_one_trusts_gets_no_request(
    serve: Serve, answer: MakeAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("storage.example").configure_cert(tls)

    def behave(sock: socket.socket, server: Server) -> None:
        server.read(sock)
        sock.sendall(answer(200, b"the secret of an internal service"))

    inside = serve(behave, tls)
    response = leading_to(inside, monkeypatch)

    with pytest.raises(ApiUnreachable) as raised, follow_download(response):
        pass

    assert raised.value.ambiguous is False
    assert (inside.connections, inside.requests) == (1, [])


def leading_to(inside: Server, patch: pytest.MonkeyPatch) -> httpx2.Response:
    """Return a response to a file at a public name that leads to `inside`."""
    look_up = socket.getaddrinfo

    def lead_inside(host: Any, *more: Any, **options: Any) -> Any:
        named = host in {"storage.example", b"storage.example"}
        return look_up("127.0.0.1" if named else host, *more, **options)

    patch.setattr(socket, "getaddrinfo", lead_inside)
    return moved(
        f"https://storage.example:{inside.port}/1",
        "https://api.procore.com",
        ApiOptions(timeout=0.5),
    )


@pytest.mark.parametrize("place", ["http://storage.example/1", "http://10.0.0.1/1"])
def test_P3_beside_an_emulator_it_is_on_this_machine_or_https(place: str) -> None:
    response = moved(place, "http://127.0.0.1:4568")

    with pytest.raises(UnexpectedAnswer):
        _next(response, response.extensions[ROUTE])


def moved(place: str, origin: str, options: ApiOptions | None = None) -> httpx2.Response:
    return httpx2.Response(
        302,
        headers=[(b"location", place.encode())],
        request=httpx2.Request("GET", f"{origin}{FILE}"),
        extensions={ROUTE: Route(Origin.of(origin), Wire(), options or ApiOptions())},
    )


def test_an_answer_that_points_nowhere_is_refused(world: World) -> None:
    client = world.client()

    with pytest.raises(UnexpectedAnswer, match="leads nowhere"):
        client.download(client.get("/rest/v1.0/me"))


def test_an_answer_of_another_client_is_refused() -> None:
    with (
        pytest.raises(TypeError, match="client_for"),
        follow_download(httpx2.Response(302, headers={"location": "https://x"})),
    ):
        pass


def test_P5_a_file_has_a_size_and_a_time_as_well(
    world: World, answering: Answering, answer: MakeAnswer, serve: Serve
) -> None:
    large = answering(answer(200, b"x" * 1001))
    slow = serve(drip(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"))
    client = world.client()

    with pytest.raises(UnexpectedAnswer, match="larger than 1000"):
        client.download(pointing_to(world, large.origin), max_body=1000)
    with pytest.raises(ApiUnreachable):
        client.download(pointing_to(world, slow.origin), deadline=0.3)


def test_a_file_may_be_larger_than_an_answer(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    storage = answering(answer(200, b"x" * 5000))
    client = world.client(options=ApiOptions(max_body=1000))
    world.emulator.fault(f"GET {FILE}", "redirect", location=storage.origin)

    assert 5000 == len(client.download(client.get(FILE)))


def test_O1_a_storage_address_is_neither_in_an_error_nor_in_the_log(
    world: World, answering: Answering, answer: MakeAnswer, caplog: pytest.LogCaptureFixture
) -> None:
    storage = answering(answer(200, b"x" * 100), answer(302, location="http://10.0.0.1/b"))
    client = world.client()
    response = pointing_to(world, f"{storage.origin}/secret-path{SIGNED}")
    caplog.set_level("INFO")
    client.download(response)

    with pytest.raises(UnexpectedAnswer) as raised:
        client.download(response)
    shown = f"{raised.value!r} {raised.value.__dict__} {caplog.text}"
    assert "fake-signature" not in shown
    assert "secret-path" not in shown
