"""Files that Procore keeps elsewhere."""

from __future__ import annotations

import httpx2
import pytest
from tests.api.conftest import Answering, MakeAnswer, Serve
from tests.api.test_bounds import drip
from tests.api.world import COMPANY, World

from procore_signin.api import ApiOptions, ApiUnreachable, UnexpectedAnswer, Wire
from procore_signin.api.downloads import _next, follow_download
from procore_signin.api.transport import ROUTE, Route

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
    with pytest.raises(UnexpectedAnswer, match="leads on and on"):
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
def test_P3_beside_the_real_procore_a_file_is_at_a_public_https_address_only(place: str) -> None:
    response = moved(place, "https://api.procore.com")
    with pytest.raises(UnexpectedAnswer, match=r"leads where|no address"):
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


@pytest.mark.parametrize("place", ["http://storage.example/1", "http://10.0.0.1/1"])
def test_P3_beside_an_emulator_it_is_on_this_machine_or_https(place: str) -> None:
    response = moved(place, "http://127.0.0.1:4568")

    with pytest.raises(UnexpectedAnswer):
        _next(response, response.extensions[ROUTE])


def moved(place: str, origin: str) -> httpx2.Response:
    return httpx2.Response(
        302,
        headers={"location": place},
        request=httpx2.Request("GET", f"{origin}{FILE}"),
        extensions={ROUTE: Route(httpx2.Origin(origin), Wire(), ApiOptions())},
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
