"""A real proxy before a real application and another one, for the tests of one file."""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
import trustme
from person import Person
from ports import free_port
from proxied import UNPRIVILEGED, Certificate, Echo, Upstream
from running import Application, application

from procore_signin.emulator import DEMO_LOGIN, Emulator

Enter = Callable[..., Person]


@pytest.fixture(scope="module")
def running_upstream() -> Iterator[Upstream]:
    upstream = Upstream(0)
    handler = type("Handler", (Echo,), {"upstream": upstream})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        upstream.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield upstream
        server.shutdown()
        thread.join()


@pytest.fixture
def upstream(running_upstream: Upstream) -> Upstream:
    running_upstream.asked.clear()
    return running_upstream


@pytest.fixture(scope="module")
def public_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def origin(public_port: int) -> str:
    return f"https://localhost:{public_port}"


@pytest.fixture(scope="module")
def running_emulator(origin: str) -> Iterator[Emulator]:
    with Emulator.started(redirect_uris=(f"{origin}/procore/callback",)) as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator: Emulator) -> Emulator:
    running_emulator.reset()
    return running_emulator


@pytest.fixture(scope="module")
def app(
    running_emulator: Emulator, origin: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Application]:
    with application(
        running_emulator.url,
        free_port(),
        tmp_path_factory.mktemp("app"),
        PROCORE_REDIRECT_URI=f"{origin}/procore/callback",
        PROCORE_TRUSTED_PROXIES="127.0.0.1",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def certificate() -> Certificate:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    return Certificate(authority, chain, issued.private_key_pem.bytes())


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that a proxy without privileges may write to: pytest's own lie below closed ones."""
    with tempfile.TemporaryDirectory(prefix="procore-signin-proxy-") as name:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam(UNPRIVILEGED)
            os.chown(name, nobody.pw_uid, nobody.pw_gid)
        yield Path(name)


@pytest.fixture
def person(origin: str, emulator: Emulator, certificate: Certificate) -> Iterator[Enter]:
    """Return a function that opens someone's browser at the proxy."""
    with contextlib.ExitStack() as stack:

        def enter(address: str = "127.0.0.2", login: str = DEMO_LOGIN) -> Person:
            someone = stack.enter_context(Person(origin, emulator, login))
            someone.http.close()
            someone.http = httpx2.Client(
                base_url=origin,
                timeout=40,
                headers={"accept": "text/html", "user-agent": "Firefox/150.0"},
                transport=httpx2.HTTPTransport(verify=certificate.trusted, local_address=address),
            )
            return someone

        yield enter
