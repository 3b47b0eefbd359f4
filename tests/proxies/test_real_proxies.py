"""The shipped configurations of nginx, Caddy and Traefik, in the real programs.

The application behind them knows nothing of Procore: it reads headers.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from person import Person
from proxied import IDENTITY, Certificate, Upstream, start_caddy, start_nginx, start_traefik
from running import Application

from procore_signin.emulator import DEMO_LOGIN, Emulator

STARTS = {"nginx": start_nginx, "caddy": start_caddy, "traefik": start_traefik}
Enter = Callable[..., Person]
ARCHITECT = "sandbox+arch@example.com"
JOE = {
    "x-procore-user-id": "1",
    "x-procore-id": "11111",
    "x-procore-email": DEMO_LOGIN,
    "x-procore-name": "Joe%20Contractor",
    "x-procore-environment": "emulator",
}
SPELLINGS = (
    *("X-Procore-Email", "x-procore-email", "X-PROCORE-ID", "X-Procore-User-Id"),
    *(
        "X-Procore-Name",
        "X-Procore-Environment",
    ),
    *("X_Procore_Email", "X-Procore_Email", "X_Procore-Id", "x_procore_user_id"),
)


@pytest.fixture(scope="module", params=["nginx", "caddy", "traefik"], autouse=True)
def _front(
    request: pytest.FixtureRequest,
    folder: Path,
    public_port: int,
    app: Application,
    running_upstream: Upstream,
    certificate: Certificate,
) -> Iterator[None]:
    start: Any = STARTS[request.param]
    host = urlsplit(app.url).netloc.replace("localhost", "127.0.0.1")
    with start(folder, public_port, host, running_upstream, certificate):
        yield


def test_signed_out_people_sign_in_and_come_back_to_where_they_were_going(
    person: Enter, origin: str, upstream: Upstream
) -> None:
    joe = person()
    turned = joe.http.get("/reports?year=2026&of=me")
    assert turned.status_code == 303
    page = turned.headers["location"]
    assert page == f"{origin}/procore/signin?return_to=/reports%3Fyear%3D2026%26of%3Dme"
    assert upstream.asked == []

    answer = joe.sign_in(page.removeprefix(origin))

    assert (answer.status_code, answer.headers["location"]) == (303, "/reports?year=2026&of=me")
    assert joe.http.get("/reports?year=2026&of=me").json()["path"] == "/reports?year=2026&of=me"


def test_the_application_sees_who_it_is_and_nothing_more(person: Enter, upstream: Upstream) -> None:
    joe = person()
    joe.sign_in("/procore/signin")

    joe.http.get("/reports")

    user_id = upstream.identity["x-procore-user-id"]
    assert upstream.identity == JOE | {"x-procore-user-id": user_id}
    assert tuple(sorted(upstream.identity)) == tuple(sorted(IDENTITY))


def test_what_somebody_claims_to_be_is_gone(person: Enter, upstream: Upstream) -> None:
    joe = person()
    joe.sign_in("/procore/signin")
    spoofed = [(spelling, "evil") for spelling in SPELLINGS]

    joe.http.get("/reports", headers=[*spoofed, ("X-Procore-Email", "twice")])

    assert "evil" not in repr(upstream.asked[-1]).lower()
    assert "twice" not in repr(upstream.asked[-1])
    assert upstream.identity == JOE | {"x-procore-user-id": upstream.identity["x-procore-user-id"]}


@pytest.mark.parametrize(
    "named",
    [
        ("keep-alive, X-Procore-Email, Cookie",),
        ("close, X-Procore-User-Id",),
        ("close", "x-procore-user-id", "X-PROCORE-ID"),
        ("x-procore-user-id,x-procore-id,x-procore-email,x-procore-name,x-procore-environment",),
        ("close,\tX-Procore-User-Id ,,",),
        ("Upgrade, X-Procore-User-Id",),
        ("keep-alive, UPGRADE", "X-Procore-User-Id"),
        ("X-Procore-User-Id, close, Connection",),
        ("close, X-Forwarded-For, X-Forwarded-Uri, Host",),
    ],
)
@pytest.mark.parametrize("upgrade", [(), (("Upgrade", "websocket"),)])
def test_N6_a_header_that_is_called_a_matter_of_the_connection_reaches_the_application(
    person: Enter, upstream: Upstream, named: tuple[str, ...], upgrade: tuple[tuple[str, str], ...]
) -> None:
    """RFC 9110 §7.6.1 lets a client have any header dropped, also one that the proxy has set."""
    joe = person()
    joe.sign_in("/procore/signin")
    joe.http.get("/reports")
    known, asked = upstream.identity, len(upstream.asked)
    assert known == JOE | {"x-procore-user-id": known["x-procore-user-id"]}

    joe.http.get(
        "/reports",
        headers=[
            *(("connection", each) for each in named),
            ("X-Procore-Email", "evil"),
            *upgrade,
        ],
    )

    for each in upstream.asked[asked:]:  # a proxy may refuse it
        upstream.asked.append(each)
        assert upstream.identity == known
        assert "evil" not in repr(each)


def test_a_web_socket_can_be_asked_for_where_the_proxy_passes_them_on(
    request: pytest.FixtureRequest,
    person: Enter,
    upstream: Upstream,
    certificate: Certificate,
    origin: str,
) -> None:
    joe = person()
    joe.sign_in("/procore/signin")
    cookie = "; ".join(f"{name}={value}" for name, value in joe.http.cookies.items())
    more = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"

    raw_get(certificate, origin, "/socket", cookie, more)

    asked = dict(upstream.asked[-1]["headers"])  # type: ignore[call-overload]
    assert upstream.identity["x-procore-email"] == DEMO_LOGIN
    if "nginx" not in request.node.name:  # where it takes two lines more
        assert (asked["connection"].lower(), asked["upgrade"]) == ("upgrade", "websocket")


def test_a_name_that_procore_does_not_tell_cannot_be_claimed(
    person: Enter, emulator: Emulator, upstream: Upstream
) -> None:
    emulator.person(11111, name=None)
    joe = person()
    joe.sign_in("/procore/signin")

    joe.http.get("/reports", headers={"X-Procore-Name": "evil"})

    assert upstream.identity.get("x-procore-name", "") == ""


def test_a_claim_does_not_sign_anybody_in(person: Enter, upstream: Upstream) -> None:
    headers = dict.fromkeys(SPELLINGS, "1") | {"X-Forwarded-Uri": "//evil.example/"}

    answer = person().http.get("/reports", headers=headers)

    assert answer.status_code == 303
    assert answer.headers["location"].endswith("/procore/signin?return_to=/reports")
    assert upstream.asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_passes_with_its_body_when_signed_in_and_none_otherwise(
    person: Enter, upstream: Upstream, method: str
) -> None:
    joe = person()
    content = b'{"a": 1}' if method not in {"GET", "HEAD"} else None
    turned = joe.http.request(method, "/things", content=content)
    assert (turned.status_code, upstream.asked) == (303, [])
    if content is not None:
        assert turned.headers["location"].endswith("/procore/signin")
    joe.sign_in("/procore/signin")

    answer = joe.http.request(method, "/things", content=content)

    assert answer.status_code == 200
    asked = upstream.asked[-1]
    assert (asked["method"], asked["path"]) == (method, "/things")
    assert asked["body"] == (content or b"").decode()


def test_a_program_that_is_not_signed_in_gets_401(person: Enter, upstream: Upstream) -> None:
    answer = person().http.get("/things", headers={"accept": "application/json"})

    assert (answer.status_code, "location" in answer.headers, upstream.asked) == (401, False, [])


def test_S3_signing_out_counts_at_once(person: Enter, upstream: Upstream) -> None:
    joe = person()
    joe.sign_in("/procore/signin")
    cookies = dict(joe.http.cookies)
    assert joe.http.get("/reports").status_code == 200

    assert joe.post("/procore/sign-out").status_code == 200

    joe.http.cookies.update(cookies)
    asked = len(upstream.asked)
    assert joe.http.get("/reports").status_code == 303
    assert len(upstream.asked) == asked


def test_the_end_of_a_session_anywhere_counts_here(person: Enter) -> None:
    here, there = person(), person()
    here.sign_in("/procore/signin")
    there.sign_in("/procore/signin")

    there.post("/procore/sign-out-everywhere")

    assert here.http.get("/reports").status_code == 303


@pytest.mark.parametrize(
    "path",
    [
        "/procore/auth/verify",
        "/procore/auth/verify?signed-out=redirect",
        "/procore/auth/%76erify",
        "/procore/auth%2Fverify",
        "//procore//auth/verify",
        "/procore/./auth/verify",
        "/x/../procore/auth/verify",
    ],
)
def test_nobody_outside_can_ask_the_verify_endpoint(
    person: Enter, certificate: Certificate, origin: str, path: str
) -> None:
    joe = person()
    joe.sign_in("/procore/signin")
    cookie = "; ".join(f"{name}={value}" for name, value in joe.http.cookies.items())

    status, head = raw_get(certificate, origin, path, cookie)

    # What is no path of that endpoint to the proxy is a path of the application's.
    assert status in {404, 200, 301, 308}, head
    assert "x-procore-" not in head.lower()


def raw_get(
    certificate: Certificate,
    origin: str,
    path: str,
    cookie: str,
    more: str = "Connection: close\r\n",
) -> tuple[int, str]:
    """Ask for `path` as it is: a client's library would tidy it up."""
    host, port = urlsplit(origin).netloc.split(":")
    with (
        socket.create_connection(("127.0.0.1", int(port))) as plain,
        certificate.trusted.wrap_socket(plain, server_hostname=host) as wire,
    ):
        head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n"
        wire.sendall(f"{head}{more}\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (piece := wire.recv(65_536)):
            answer += piece
    text = answer.partition(b"\r\n\r\n")[0].decode()
    return int(text.split()[1]), text


def test_A10_the_redirect_uri_is_that_of_the_settings_whatever_is_sent(
    person: Enter, origin: str
) -> None:
    joe = person()

    joe.http.headers |= {
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "http",
        "x-forwarded-port": "1",
        "forwarded": "host=evil.example;proto=http",
    }
    button = joe.button("/procore/signin")

    assert dict(httpx2.URL(button).params)["redirect_uri"] == f"{origin}/procore/callback"
    refused = joe.http.get("/procore/signin", headers={"host": "evil.example"})
    assert "oauth/authorize" not in refused.text


def test_K1_cookies_of_the_sign_in_are_bound_to_the_host(person: Enter) -> None:
    joe = person()

    joe.sign_in("/procore/signin")

    names = list(joe.http.cookies)
    assert names
    assert all(name.startswith("__Host-") for name in names)


def test_two_people_are_two_people(person: Enter) -> None:
    joe, arch = person(), person(login=ARCHITECT)
    joe.sign_in("/procore/signin")
    arch.sign_in("/procore/signin")

    seen = [
        dict(each.http.get("/reports").json()["headers"])["x-procore-email"] for each in (joe, arch)
    ]

    assert seen == [DEMO_LOGIN, ARCHITECT]


def test_O8_a_client_with_a_thousand_half_sent_forms_stops_no_one(
    request: pytest.FixtureRequest, person: Enter, certificate: Certificate, origin: str
) -> None:
    """It is signed in, so that its forms are read; it shares the proxy with everyone else."""
    # nginx reads a form before it passes it on, and has 256 places in these tests.
    many = 100 if "nginx" in request.node.name else 1100
    joe, arch = person(), person("127.0.0.3", ARCHITECT)
    joe.sign_in("/procore/signin")
    cookie = "; ".join(f"{name}={value}" for name, value in joe.http.cookies.items())
    host, port = urlsplit(origin).netloc.split(":")
    form = (
        f"POST /procore/sessions/end HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n"
        "Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        "Content-Length: 20\r\n\r\nsession_id=1"
    ).encode()
    trusted, source = certificate.trusted, ("127.0.0.2", 0)
    with ExitStack() as stack:
        for _ in range(many):
            plain = socket.create_connection(("127.0.0.1", int(port)), 10, source)
            wire = stack.enter_context(trusted.wrap_socket(plain, server_hostname=host))
            wire.sendall(form)
        for _ in range(5):
            began = time.monotonic()
            assert arch.http.get("/procore/signin").status_code == 200
            assert time.monotonic() - began < 2
