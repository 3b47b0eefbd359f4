"""The table of what browsers send gets its verdicts from every framework, and from the application.

docs/explanation/browsers.md shows the same table. Requests go over a raw socket, as in
`test_same_verdict.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import browsers
import pytest
from browsers import CALLBACK, HOSTS, SIGN_IN, SIGN_OUT, TABLES, Named, Sent
from hosts import COMMANDS, EVERYWHERE, Host, running, wait_until_ready
from person import Person
from ports import free_port
from running import application, settings_for

from procore_signin._store.migrate import upgrade
from procore_signin.emulator import Emulator

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "browsers.md"
READY_APPLICATION = "ready application"


@dataclass(frozen=True)
class Place:
    """An application, and where in it the sign-in's pages are."""

    host: Host
    prefix: str
    who: str

    def fill(self, value: str) -> str:
        port = urlsplit(self.host.url).port
        for name, origin in (
            ("{origin}", self.host.url),
            ("{sibling}", f"http://sibling.localhost:{port}"),
            ("{foreign}", "https://evil.example"),
        ):
            value = value.replace(name, origin)
        return value

    def send(self, row: Sent, path: str, cookies: str) -> tuple[int, str]:
        """Send the request of a row; return the status and the head of the response."""
        lines = [
            f"{row.method} {path} HTTP/1.1",
            f"Host: {urlsplit(self.host.url).netloc}",
            "Connection: close",
            "Accept: text/html",
            *([f"Cookie: {cookies}"] if cookies and row.cookies else []),
            *(["Content-Length: 0"] if row.method == "POST" else []),
            *(f"{name}: {self.fill(value)}" for name, value in row.headers.items()),
        ]
        return answered(self.host, lines)

    def person(self, emulator: Emulator) -> Person:
        return Person(self.host.url, emulator)


def answered(host: Host, lines: list[str]) -> tuple[int, str]:
    answer = host.raw("\r\n".join([*lines, "", ""]).encode("latin-1")).decode("latin-1")
    found = re.match(r"HTTP/1\.[01] ([0-9]{3})", answer)
    assert found, answer[:200]
    return int(found[1]), answer.partition("\r\n\r\n")[0].lower()


def cookies_of(person: Person) -> str:
    return "; ".join(f"{name}={value}" for name, value in person.http.cookies.items())


@pytest.fixture(scope="session")
def emulator(emulator_of_hosts: Emulator) -> Emulator:
    return emulator_of_hosts


@pytest.fixture(scope="module")
def places(
    emulator: Emulator, everywhere: dict[str, Host], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Place]]:
    folder, port = tmp_path_factory.mktemp("places"), free_port()
    (folder / "ready").mkdir()
    emulator.client(
        "ready", "fake-secret-of-a-host", f"http://localhost:{port}/callback", name="Ready"
    )
    own = {"PROCORE_CLIENT_ID": "ready", "PROCORE_CLIENT_SECRET": "fake-secret-of-a-host"}
    with application(emulator.url, port, folder / "ready", **own) as ready:
        found = {name: Place(host, "/procore", "/me") for name, host in everywhere.items()}
        found[READY_APPLICATION] = Place(Host(ready.url, ready.folder, ready.process), "", "/home")
        yield found


def callback(place: Place, emulator: Emulator, row: Sent) -> str:
    with place.person(emulator) as person:
        address = person.callback_address(f"{place.prefix}/signin?return_to={place.who}")
        status, head = place.send(row, address, cookies_of(person))
        if status == 303 and f"location: {place.who}" in head:
            return browsers.FINISHES
        # Nothing is used up: the person themself still comes in.
        assert "set-cookie: procore_signin_session" not in head
        assert person.http.get(address).headers["location"] == place.who
        return browsers.REFUSED if status >= 400 else f"{status}"


def sign_in(place: Place, _emulator: Emulator, row: Sent) -> str:
    status, head = place.send(row, f"{place.prefix}/signin", "")
    if "set-cookie" not in head:
        return browsers.BEGINS_NOTHING
    return browsers.BEGINS if status == 200 else f"{status}"


def sign_out(place: Place, emulator: Emulator, row: Sent) -> str:
    with place.person(emulator) as person:
        person.sign_in(f"{place.prefix}/signin")
        status, _ = place.send(row, f"{place.prefix}/sign-out", cookies_of(person))
        accept = {"accept": "application/json"}
        inside = person.http.get(place.who, headers=accept).status_code == 200
    if status == 200 and not inside:
        return browsers.SIGNS_OUT
    return browsers.REFUSED if status >= 400 and inside else f"{status}, {inside}"


Try = Callable[[Place, Emulator, Sent], str]
ROWS = [
    pytest.param(attempt, row, id=f"{name}: {row.browser}: {row.what}")
    for name, attempt, rows in (
        ("callback", callback, CALLBACK),
        ("sign-in", sign_in, SIGN_IN),
        ("sign-out", sign_out, SIGN_OUT),
    )
    for row in rows
]


@pytest.mark.parametrize(("attempt", "row"), ROWS)
def test_K10_every_framework_answers_each_browser_as_the_table_says(
    places: dict[str, Place], emulator: Emulator, attempt: Try, row: Sent
) -> None:
    found = {name: attempt(place, emulator, row) for name, place in places.items()}
    assert found == dict.fromkeys(places, row.verdict)


@pytest.fixture(scope="module")
def over_https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Host]]:
    """Each framework at https://app.example.com, behind a proxy that is not there."""
    commands = {name: COMMANDS[name] for name in EVERYWHERE} | {
        READY_APPLICATION: "procore_signin serve --port {port}"
    }
    with ExitStack() as stack:
        found = {}
        for name, command in commands.items():
            port, folder = free_port(), tmp_path_factory.mktemp("https")
            prefix = "" if name == READY_APPLICATION else "/procore"
            environment = settings_for(
                "",
                port,
                folder,
                PROCORE_ENVIRONMENT="sandbox",
                PROCORE_CLIENT_ID="fake-client-id",
                PROCORE_CLIENT_SECRET="fake-client-secret",
                PROCORE_REDIRECT_URI=f"https://app.example.com{prefix}/callback",
                PYTHONPATH=str(Path(__file__).parent / "hosts"),
            )
            del environment["PROCORE_EMULATOR_URL"]
            upgrade(environment["PROCORE_DATABASE_URL"])
            found[name] = stack.enter_context(running(command, port, folder, environment))
        for name, host in found.items():
            wait_until_ready(host, "/readyz" if name == READY_APPLICATION else "/")
        yield found
        for host in found.values():
            host.process.terminate()  # all at once, before each is waited for


@pytest.mark.parametrize("row", HOSTS, ids=lambda row: row.what)
def test_A10_K10_one_origin_is_served_in_all_its_spellings_and_no_other(
    over_https: dict[str, Host], row: Named
) -> None:
    served = {}
    for name, host in over_https.items():
        prefix = "" if name == READY_APPLICATION else "/procore"
        lines = [
            f"GET {prefix}/signin {row.version}",
            *(f"Host: {line}" for line in row.lines),
            "Connection: close",
            "Accept: text/html",
        ]
        status, head = answered(host, lines)
        served[name] = status == 200
        # Refused means refused: nowhere else to go, and nothing that an address is echoed in.
        assert status in {200, 400}
        assert ("set-cookie" in head) == served[name]
    assert served == dict.fromkeys(over_https, row.served)


@pytest.mark.parametrize("name", TABLES)
def test_K10_the_page_shows_the_table_that_is_tested(name: str) -> None:
    assert browsers.as_markdown(TABLES[name]) in PAGE.read_text("utf-8")


def test_K10_the_page_shows_the_hosts_that_are_tested() -> None:
    assert browsers.hosts_as_markdown() in PAGE.read_text("utf-8")
