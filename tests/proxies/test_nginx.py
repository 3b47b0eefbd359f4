"""What takes an nginx of its own: one that caches all it may, and one before a strict limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from person import Person
from ports import free_port
from proxied import Certificate, Upstream, start_nginx
from running import Application, application

from procore_signin.emulator import DEMO_LOGIN, Emulator

Enter = Callable[..., Person]
ARCHITECT = "sandbox+arch@example.com"
CACHE = "proxy_cache_path {folder}/cache keys_zone=all:1m;\n"
# As careless as a cache can be that still reads Cache-Control.
CACHING = (
    "proxy_cache all;\nproxy_cache_valid any 10m;\nproxy_ignore_headers Vary Set-Cookie;\n"
    "add_header X-Cache $upstream_cache_status always;\n"
)


def address_of(app: Application) -> str:
    return app.url.removeprefix("http://").replace("localhost", "127.0.0.1")


@pytest.fixture
def _caching(
    folder: Path,
    public_port: int,
    app: Application,
    running_upstream: Upstream,
    certificate: Certificate,
) -> Iterator[None]:
    with start_nginx(
        folder,
        public_port,
        address_of(app),
        running_upstream,
        certificate,
        http=CACHE.format(folder=folder),
        server=CACHING,
    ):
        yield


@pytest.mark.usefixtures("_caching")
def test_K7_a_caching_proxy_never_shows_one_persons_page_to_another(person: Enter) -> None:
    joe, arch, nobody = person(), person(login=ARCHITECT), person()
    joe.sign_in("/procore/signin")
    arch.sign_in("/procore/signin")
    own = {joe: (DEMO_LOGIN, "Joe Contractor"), arch: (ARCHITECT, "Test Architect")}
    caches = set()

    for _ in range(3):
        for someone, (login, name) in own.items():
            for path in ("/procore/home", "/procore/sessions", "/procore/"):
                page = someone.http.get(path)
                caches.add(page.headers["x-cache"])
                assert [each for _, each in own.values() if each in page.text] == [name]
            row = someone.http.get("/procore/home", headers={"accept": "application/json"})
            assert row.json()[2] == login
            reports = someone.http.get("/reports")
            assert dict(reports.json()["headers"])["x-procore-email"] == login
        assert nobody.http.get("/procore/home").status_code == 303
        assert nobody.http.get("/reports").status_code == 303

    assert "HIT" not in caches


@pytest.mark.usefixtures("_caching")
def test_K7_what_is_nobodys_is_cached_and_what_begins_a_sign_in_is_not(person: Enter) -> None:
    """Without the first half the test above would also pass with a cache that is switched off."""
    someone = person()
    found = re.search(r'href="(/procore/static/app\.css[^"]*)"', someone.http.get("/procore/").text)
    assert found

    shown = [someone.http.get(found[1]).headers["x-cache"] for _ in range(2)]
    buttons = {someone.button("/procore/signin") for _ in range(3)}

    assert shown == ["MISS", "HIT"]
    assert len(buttons) == 3


@pytest.fixture(params=["127.0.0.1", ""], ids=["trusted", "not trusted"])
def limited(
    request: pytest.FixtureRequest,
    running_emulator: Emulator,
    origin: str,
    tmp_path: Path,
    folder: Path,
    public_port: int,
    running_upstream: Upstream,
    certificate: Certificate,
) -> Iterator[tuple[Application, bool]]:
    with ExitStack() as stack:
        app = stack.enter_context(
            application(
                running_emulator.url,
                free_port(),
                tmp_path,
                PROCORE_REDIRECT_URI=f"{origin}/procore/callback",
                PROCORE_TRUSTED_PROXIES=request.param,
                PROCORE_RATE_LIMIT="3",
            )
        )
        stack.enter_context(
            start_nginx(folder, public_port, address_of(app), running_upstream, certificate)
        )
        yield app, bool(request.param)


def test_O4_limits_and_logs_go_by_the_client_and_nobody_can_be_somebody_else(
    limited: tuple[Application, bool], person: Enter
) -> None:
    app, trusted = limited
    greedy, other = person("127.0.0.2"), person("127.0.0.3")
    spoofed = [{"x-forwarded-for": f"198.51.100.{number}"} for number in range(8)]

    statuses = [
        greedy.http.get("/procore/signin", headers=headers).status_code for headers in spoofed
    ]
    others = other.http.get("/procore/signin").status_code
    direct = [
        httpx2.get(
            f"{app.url}/procore/signin",
            headers={"host": greedy.http.base_url.netloc.decode(), "x-forwarded-for": "127.0.0.9"},
        ).status_code
        for _ in range(4)
    ]
    app.stop()
    log = app.output.decode()

    assert statuses[:3] == [200, 200, 200]
    assert 429 in statuses[3:5]
    if trusted:
        # Someone on the proxy's own machine is taken at their word: that is what trust means.
        assert (others, direct[0]) == (200, 200)
        assert "127.0.0.2" in log
    else:
        assert (others, direct) == (429, [429] * 4)
        assert "127.0.0.2" not in log
    assert "198.51.100." not in log
