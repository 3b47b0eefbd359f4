"""Login, whoami and logout as a person starts them, against a Procore on a real socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from playwright.sync_api import Page
from terminal import Terminal

from procore_signin import environments
from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.personal.login import Wishes, registration
from procore_signin._cli.personal.out_of_band import pasted_code
from procore_signin._cli.personal.profile import Profile, Registration
from procore_signin._protocol.secret import Secret
from procore_signin.emulator import DEMO_LOGIN, DEMO_PASSWORD, OUT_OF_BAND, Emulator

ARCHITECT = "sandbox+arch@example.com"


@pytest.fixture
def port(free_port: Callable[[], int]) -> int:
    return free_port()


@pytest.fixture
def redirect_uri(port: int) -> str:
    return f"http://localhost:{port}/callback"


@pytest.fixture
def emulator(redirect_uri: str) -> Iterator[Emulator]:
    with Emulator.started(redirect_uris=(redirect_uri, OUT_OF_BAND)) as emulator:
        yield emulator


@pytest.fixture
def terminal(emulator: Emulator, tmp_path: Path) -> Terminal:
    return Terminal(emulator, tmp_path)


def tokens_of(emulator: Emulator) -> set[str]:
    """Return every token that the emulator ever gave out."""
    bodies = [
        json.loads(exchange.response_body)
        for exchange in emulator.requests
        if exchange.target == "/oauth/token" and exchange.status == 200
    ]
    return {body[name] for body in bodies for name in ("access_token", "refresh_token")}


def refreshes(emulator: Emulator) -> int:
    return sum(each.grant_type == "refresh_token" for each in emulator.token_requests)


def test_a_pasted_code_logs_in_with_nothing_configured(terminal: Terminal) -> None:
    done = terminal.log_in()

    assert (done.status, done.out) == (
        0,
        f"Signed in as Joe Contractor <{DEMO_LOGIN}> (emulator).\n",
    )
    assert [DEMO_LOGIN] == [grant.login for grant in terminal.emulator.live_grants()]
    shown = terminal.run("whoami")
    assert (shown.status, shown.out) == (
        0,
        f"Joe Contractor <{DEMO_LOGIN}>, 11111 at Procore (emulator)\n",
    )


def test_A1_A3_A4_A12_the_address_is_the_web_applications(terminal: Terminal) -> None:
    with terminal.login() as login:
        query = parse_qs(urlsplit(login.address).query)

    assert list(query) == [
        *("client_id", "response_type", "redirect_uri", "state"),
        *("code_challenge", "code_challenge_method"),
    ]
    assert (query["redirect_uri"], query["response_type"]) == ([OUT_OF_BAND], ["code"])
    assert len(query["state"][0]) == 64


@pytest.mark.parametrize("pkce", ["ignore", "enforce"])
@pytest.mark.parametrize("way", ["pasted", "caught"])
def test_A4_both_ways_work_where_the_proof_is_asked_for(
    tmp_path: Path, redirect_uri: str, pkce: str, way: str
) -> None:
    uris = (redirect_uri, OUT_OF_BAND)
    with Emulator.started(redirect_uris=uris, pkce=pkce) as emulator:
        terminal = Terminal(emulator, tmp_path)
        if way == "pasted":
            assert terminal.log_in().status == 0
        else:
            with terminal.login("--redirect-uri", redirect_uri) as login:
                assert httpx2.get(emulator.approve(login.address)).status_code == 200
                assert login.end().status == 0
        assert terminal.run("whoami").status == 0


def test_the_address_of_the_page_may_be_pasted_in_place_of_its_code(terminal: Terminal) -> None:
    with terminal.login() as login:
        page = terminal.emulator.approve(login.address)
        login.type(f"{terminal.emulator.url}{page}")

        assert login.end().status == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("  f00d \n", "f00d"),
        ("'f00d'", "f00d"),
        ("https://login.procore.com/oauth/authorize/f00d", "f00d"),
        ("https://login.procore.com/oauth/authorize/native?code=f%2Bd", "f+d"),
        ("https://login.procore.com/oauth/authorize/native?code=a&code=b", None),
        ("https://login.procore.com/", None),
        ("https://[login/", None),
        ("", None),
        ("two words", None),
        ("ünlesbar", None),
        ("f" * 2049, None),
    ],
)
def test_a_code_is_found_in_what_people_paste(text: str, code: str | None) -> None:
    found = pasted_code(text)

    assert (found.reveal() if found else None) == code


def test_what_is_no_code_is_asked_for_again_and_sends_nothing(terminal: Terminal) -> None:
    with terminal.login() as login:
        for word in ("no code", "neither is this", "nor that"):
            login.type(word)
        done = login.end()

    assert (done.status, done.out) == (1, "")
    assert "No authorization code was pasted" in done.err
    assert terminal.emulator.token_requests == []


def test_a_code_that_procore_refuses_is_explained(terminal: Terminal) -> None:
    with terminal.login() as login:
        login.type("f00d")
        done = login.end()

    assert done.status == 1
    assert "Procore did not accept the code" in done.err
    assert terminal.run("whoami").status == 3


def test_a_loopback_answer_is_caught_and_the_browser_says_so(
    terminal: Terminal, redirect_uri: str
) -> None:
    with terminal.login("--redirect-uri", redirect_uri) as login:
        page = httpx2.get(terminal.emulator.approve(login.address))
        done = login.end()

    assert (done.status, page.status_code) == (0, 200)
    assert "You are signed in" in page.text
    assert DEMO_LOGIN in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "set-cookie" not in page.headers
    with pytest.raises(httpx2.ConnectError):  # it was there for one response
        httpx2.get(redirect_uri)


@pytest.mark.parametrize("fragment", [False, True], ids=["query", "fragment"])
def test_a_person_goes_through_it_in_chromium(
    new_page: Callable[[], Page],
    tmp_path: Path,
    redirect_uri: str,
    fragment: bool,  # noqa: FBT001  # a case
) -> None:
    with Emulator.started(redirect_uris=(redirect_uri,), fragment=fragment) as emulator:
        terminal = Terminal(emulator, tmp_path)
        with terminal.login("--redirect-uri", redirect_uri) as login:
            page = new_page()
            page.goto(login.address)
            page.get_by_label("Email address").fill(DEMO_LOGIN)
            page.get_by_label("Password").fill(DEMO_PASSWORD)
            page.get_by_role("button", name="Log in", exact=True).click()
            page.get_by_role("button", name="Allow").click()
            page.get_by_role("heading", name="You are signed in").wait_for()

            assert login.end().status == 0


def test_A5_C1_C3_an_answer_with_another_state_is_refused_and_ends_nothing(
    terminal: Terminal, redirect_uri: str
) -> None:
    with terminal.login("--redirect-uri", redirect_uri) as login:
        location = terminal.emulator.approve(login.address)
        login.read_until("Waiting for the response")
        state = parse_qs(urlsplit(location).query)["state"][0]
        for wrong in (
            location.replace(state, "0" * 64),
            f"{redirect_uri}?code=f00d",
            f"{redirect_uri}?code=f00d&state=",
            f"{location}&state={state}",
            f"{redirect_uri}?error=access_denied&state={'0' * 64}",
        ):
            page = httpx2.get(wrong)
            assert (page.status_code, "belongs to no sign-in" in page.text) == (400, True)
        assert terminal.emulator.token_requests == []
        assert httpx2.get(location).status_code == 200
        assert login.end().status == 0


def test_C8_C9_A10_only_a_window_that_goes_there_brings_the_answer(
    terminal: Terminal, redirect_uri: str
) -> None:
    with terminal.login("--redirect-uri", redirect_uri) as login:
        location = terminal.emulator.approve(login.address)
        login.read_until("Waiting for the response")
        refused = {
            "frame": httpx2.get(location, headers={"sec-fetch-dest": "iframe"}).status_code,
            "prefetch": httpx2.get(location, headers={"sec-purpose": "prefetch"}).status_code,
            "rebound": httpx2.get(location, headers={"host": "evil.example"}).status_code,
            "two hosts": _asked_with_two_hosts(location, "evil.example"),
            "other path": httpx2.get(location.replace("/callback", "/x")).status_code,
            "head": httpx2.head(location).status_code,
            "post": httpx2.post(location).status_code,
            "other name": httpx2.get(location.replace("localhost", "127.0.0.1")).status_code,
        }
        assert terminal.emulator.token_requests == []
        httpx2.get(location)
        assert login.end().status == 0

    assert refused == {
        "frame": 403,
        "prefetch": 403,
        "rebound": 400,
        "two hosts": 400,
        "other path": 404,
        "head": 501,
        "post": 501,
        "other name": 400,
    }


def _asked_with_two_hosts(address: str, other: str) -> int:
    """Return the status of a request that names `other` and then the right host."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    connection.putrequest("GET", f"{parts.path}?{parts.query}", skip_host=True)
    for host in (other, parts.netloc):
        connection.putheader("host", host)
    connection.endheaders()
    with closing(connection):
        return connection.getresponse().status


def test_O1_a_request_that_cannot_be_read_is_not_shown_in_the_terminal(
    terminal: Terminal, redirect_uri: str, port: int
) -> None:
    with terminal.login("--redirect-uri", redirect_uri) as login:
        location = terminal.emulator.approve(login.address)
        login.read_until("Waiting for the response")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as browser:
            browser.sendall(b"GET /callback?code=fake-code y z HTTP/1.1\r\n\r\n")
            assert b"400" in browser.recv(65_536)
        httpx2.get(location)
        done = login.end()

    assert (done.status, "fake-code" in done.err, "callback?" in done.err) == (0, False, False)


def test_C4_a_second_answer_is_not_taken(terminal: Terminal, redirect_uri: str) -> None:
    exchange = terminal.emulator.fault("POST /oauth/token", "latency", seconds=1.0)
    with terminal.login("--redirect-uri", redirect_uri) as login, ThreadPoolExecutor() as threads:
        location = terminal.emulator.approve(login.address)
        login.read_until("Waiting for the response")
        first = threads.submit(httpx2.get, location, timeout=30)
        _wait_until(lambda: exchange.happened == 1)
        assert httpx2.get(location).status_code == 410
        assert login.end().status == 0

    assert first.result().status_code == 200
    assert len(terminal.emulator.token_requests) == 1


def test_a_denial_is_told_in_both_places(terminal: Terminal, redirect_uri: str) -> None:
    with terminal.login("--redirect-uri", redirect_uri) as login:
        page = httpx2.get(terminal.emulator.deny(login.address))
        done = login.end()

    assert "You are not signed in" in page.text
    assert (done.status, "access was not allowed" in done.err) == (1, True)
    assert terminal.emulator.token_requests == []


def test_nobody_is_waited_for_for_ever(terminal: Terminal, redirect_uri: str) -> None:
    with terminal.login("--redirect-uri", redirect_uri, "--timeout", "1") as login:
        done = login.end()

    assert (done.status, "within 1 seconds" in done.err) == (1, True)


def test_ctrl_c_ends_the_waiting(terminal: Terminal, redirect_uri: str) -> None:
    with terminal.login("--redirect-uri", redirect_uri) as login:
        login.read_until("Waiting for the response")
        login.process.send_signal(signal.SIGINT)

        assert login.end().status == 130


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_K9_a_taken_port_is_told_whichever_address_of_localhost_is_taken(
    terminal: Terminal, redirect_uri: str, port: int, address: str
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as other:
        other.bind((address, port))
        other.listen()
        with terminal.login("--redirect-uri", redirect_uri) as login:
            done = login.end()

    shown = f"[{address}]" if ":" in address else address
    said = " ".join(done.err.split())
    assert (done.status, f"another program listens there, at {shown}:{port}" in said) == (1, True)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_K9_nobody_else_can_listen_while_an_answer_is_waited_for(
    terminal: Terminal, redirect_uri: str, port: int, address: str
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with terminal.login("--redirect-uri", redirect_uri) as login:
        login.read_until("Waiting for the response")
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            with socket.socket(family) as other:
                other.setsockopt(socket.SOL_SOCKET, option, 1)
                with pytest.raises(OSError, match="in use"):
                    other.bind((address, port))
        login.process.send_signal(signal.SIGINT)
        login.end()


def test_the_browser_is_opened_with_the_address(terminal: Terminal, tmp_path: Path) -> None:
    script = tmp_path / "browser.py"
    script.write_text("import pathlib, sys\npathlib.Path('opened').write_text(sys.argv[1])\n")
    process = terminal.start(
        "login", "--environment", "emulator", BROWSER=f"{sys.executable} {script} %s"
    )
    _, raw = process.communicate()
    err = raw.decode()

    opened = (tmp_path / "opened").read_text()
    assert opened.startswith(f"{terminal.emulator.url}/oauth/authorize?")
    assert opened in err
    assert "Your browser opens Procore" in err


@pytest.mark.parametrize(
    "uri",
    [
        *("https://app.example.com/callback", "https://localhost:4567/callback", "oob", ""),
        *("http://example.com/", "http://localhost:99999/", "http://localhost:0/", "http://[::1/"),
        *(
            "http://joe@localhost:4567/",
            "http://localhost:4567/?a",
            "http://127.0.0.1.evil.example/",
        ),
    ],
)
def test_a_redirect_uri_that_leads_elsewhere_is_refused(uri: str) -> None:
    with pytest.raises(CommandFailed, match="No response can come back"):
        registration(Wishes("emulator", redirect_uri=uri), {}, None)


def test_S1_no_session_is_left_in_the_store(terminal: Terminal) -> None:
    terminal.log_in()

    with closing(sqlite3.connect(terminal.data / "default" / "grants.db")) as database:
        assert database.execute("SELECT count(*) FROM sessions").fetchone() == (0,)


def test_V1_V6_O1_no_token_and_no_secret_is_in_any_file_or_word(terminal: Terminal) -> None:
    terminal.log_in()
    terminal.run("whoami")
    terminal.run("api", "--include", "/rest/v1.0/me")
    terminal.emulator.advance(6000)
    terminal.run("api", "/rest/v1.0/companies")
    kept = b"".join(file.read_bytes() for file in (terminal.data / "default").iterdir())
    said = "".join(terminal.output)

    secrets = {*tokens_of(terminal.emulator), terminal.emulator.options.client_secret}
    assert len(secrets) == 5
    assert [secret for secret in secrets if secret.encode() in kept or secret in said] == []


def test_everything_that_is_kept_is_the_persons_alone(terminal: Terminal) -> None:
    previous = os.umask(0)
    try:
        terminal.log_in()
    finally:
        os.umask(previous)
    folder = terminal.data / "default"

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (terminal.data, folder)}
    assert set(modes.values()) == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert {"profile.json", "grants.db", "key"} <= {path.name for path in folder.iterdir()}


def test_V1_wider_permissions_are_refused_until_they_are_narrowed(terminal: Terminal) -> None:
    terminal.log_in()
    asked = len(terminal.emulator.requests)
    for place, mode, words in (
        (".", 0o750, ("whoami",)),
        ("default", 0o701, ("api", "/rest/v1.0/me")),
        ("default/key", 0o640, ("logout",)),
        ("default/grants.db", 0o604, ("login",)),
        ("default/profile.json", 0o602, ("logout", "--force")),
    ):
        path = terminal.data / place
        narrow = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        done = terminal.run(*words)
        path.chmod(narrow)
        assert (done.status, "Others may read or change" in done.err) == (1, True)
        assert f"chmod {narrow:o} {path.resolve()}. " in done.err

    assert len(terminal.emulator.requests) == asked
    assert terminal.run("whoami").status == 0


def test_a_link_in_place_of_a_file_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    terminal.log_in()
    key = terminal.data / "default" / "key"
    key.rename(tmp_path / "key")
    key.symlink_to(tmp_path / "key")

    done = terminal.run("whoami")

    assert (done.status, "perhaps it is a link" in done.err) == (1, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(terminal: Terminal) -> None:
    terminal.log_in()
    os.chown(terminal.data / "default" / "key", 65534, 65534)

    done = terminal.run("whoami")

    assert (done.status, "belongs to another user" in done.err) == (1, True)


def test_logout_revokes_and_deletes(terminal: Terminal) -> None:
    terminal.log_in()

    done = terminal.run("logout")

    assert done.status == 0
    assert "Procore confirmed" in done.out
    assert terminal.emulator.live_grants() == []
    assert list(terminal.data.iterdir()) == []
    assert terminal.run("api", "/rest/v1.0/me").status == 3


@pytest.mark.parametrize("doorkeeper", [4, 5])
def test_logout_ends_a_grant_whose_access_token_has_expired(
    tmp_path: Path, redirect_uri: str, doorkeeper: int
) -> None:
    with Emulator.started(
        redirect_uris=(redirect_uri, OUT_OF_BAND), doorkeeper=doorkeeper
    ) as emulator:
        terminal = Terminal(emulator, tmp_path)
        terminal.log_in()
        emulator.advance(6000)

        assert terminal.run("logout").status == 0
        assert emulator.live_grants() == []


def test_logout_with_nobody_logged_in_is_fine(terminal: Terminal) -> None:
    done = terminal.run("logout", "--json")

    assert done.status == 0
    assert json.loads(done.out) == {
        "profile": "default",
        "was_there": False,
        "revocation": "none",
    }


def test_S6_while_procore_is_down_logout_keeps_what_it_needs_to_revoke_later(
    terminal: Terminal,
) -> None:
    terminal.log_in()
    with terminal.emulator.refusing():
        done = terminal.run("logout")
        assert (done.status, "did not confirm" in done.err) == (1, True)
        assert terminal.run("api", "/rest/v1.0/me").status == 3  # no one uses it meanwhile
    assert len(terminal.emulator.live_grants()) == 1

    assert terminal.run("logout").status == 0
    assert terminal.emulator.live_grants() == []
    assert list(terminal.data.iterdir()) == []


def test_after_a_logout_that_was_not_finished_a_login_works_and_leaves_one_grant(
    terminal: Terminal,
) -> None:
    terminal.log_in()
    with terminal.emulator.refusing():
        terminal.run("logout")

    assert terminal.log_in().status == 0
    assert terminal.run("whoami").status == 0
    terminal.run("logout")
    assert terminal.emulator.live_grants() == []


def test_a_forced_logout_deletes_and_says_what_is_left_to_do(terminal: Terminal) -> None:
    terminal.log_in()
    with terminal.emulator.refusing():
        done = terminal.run("logout", "--force")

    assert (done.status, "Connected Apps" in done.err) == (1, True)
    assert list(terminal.data.iterdir()) == []


@pytest.mark.parametrize("file", ["key", "profile.json", "grants.db"])
def test_what_was_damaged_is_told_and_can_be_removed(terminal: Terminal, file: str) -> None:
    terminal.log_in()
    (terminal.data / "default" / file).write_text("{" * 4096)

    shown = terminal.run("whoami")
    assert (shown.status in {1, 5}, "Traceback" in shown.err) == (True, False)
    assert terminal.run("logout").status in {1, 5}
    assert terminal.run("logout", "--force").status == 1
    assert terminal.log_in().status == 0


def test_R11_logging_in_again_leaves_one_grant(terminal: Terminal) -> None:
    terminal.log_in()
    terminal.log_in()

    assert [DEMO_LOGIN] == [grant.login for grant in terminal.emulator.live_grants()]


def test_C10_logging_in_as_somebody_else_gives_the_first_grant_back(terminal: Terminal) -> None:
    terminal.log_in()
    terminal.log_in(person=ARCHITECT)

    assert [ARCHITECT] == [grant.login for grant in terminal.emulator.live_grants()]
    assert json.loads(terminal.run("whoami", "--json").out)["login"] == ARCHITECT


def test_profiles_are_apart(terminal: Terminal) -> None:
    terminal.log_in()
    terminal.log_in("--profile", "arch", person=ARCHITECT)
    terminal.run("logout")

    assert terminal.run("whoami").status == 3
    assert ARCHITECT in terminal.run("whoami", "--profile", "arch").out


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", ".hidden", "ä", "x" * 65])
def test_a_profiles_name_never_leads_out_of_its_folder(name: str) -> None:
    with pytest.raises(CommandFailed, match="not a valid profile name"):
        Profile(name, {})


def test_V7_a_profile_that_holds_a_grant_is_not_given_to_another_client(
    terminal: Terminal,
) -> None:
    terminal.log_in()
    terminal.emulator.client("other-id", "other-secret", OUT_OF_BAND, name="Other")

    done = terminal.run("login", "--client-id", "other-id", "--client-secret-stdin", stdin="x\n")

    assert (done.status, "holds a grant of another client" in done.err) == (1, True)
    assert terminal.run("whoami").status == 0


def test_a_wrong_client_id_can_be_corrected(terminal: Terminal) -> None:
    wrong = terminal.run("login", "--environment", "emulator", "--client-id", "wrong")
    assert wrong.status == 1

    assert terminal.log_in("--client-id", "emulator-client-id").status == 0


def test_the_client_of_the_last_login_is_used_again(terminal: Terminal) -> None:
    terminal.emulator.client("other-id", "other-secret", OUT_OF_BAND, name="Other")
    with terminal.login("--client-id", "other-id", "--client-secret-stdin") as login:
        login.type("other-secret")
        login.type(terminal.code(login.address))
        assert login.end().status == 0

    with terminal.login() as login:
        assert "client_id=other-id&" in login.address
        login.type(terminal.code(login.address))
        assert login.end().status == 0


KNOWN = Registration(
    environments.SANDBOX, "known-id", Secret("known", "client secret"), "http://localhost:1/a"
)


@pytest.mark.parametrize(
    ("wishes", "settings", "before", "found"),
    [
        (Wishes("emulator"), {}, None, ("emulator", "emulator-client-id", OUT_OF_BAND)),
        (
            Wishes("emulator"),
            {"PROCORE_ENVIRONMENT": "sandbox", "PROCORE_CLIENT_ID": "real"},
            None,
            ("emulator", "emulator-client-id", OUT_OF_BAND),
        ),
        (
            Wishes(),
            {
                "PROCORE_ENVIRONMENT": "sandbox",
                "PROCORE_CLIENT_ID": "set-id",
                "PROCORE_CLIENT_SECRET": "set",
                "PROCORE_REDIRECT_URI": "http://localhost:4567/callback",
            },
            KNOWN,
            ("sandbox", "set-id", "http://localhost:4567/callback"),
        ),
        (Wishes(), {}, KNOWN, ("sandbox", "known-id", "http://localhost:1/a")),
        (
            Wishes(redirect_uri=OUT_OF_BAND),
            {"PROCORE_REDIRECT_URI": "https://app.example.com/callback"},
            KNOWN,
            ("sandbox", "known-id", OUT_OF_BAND),
        ),
        (Wishes("emulator"), {}, KNOWN, ("emulator", "emulator-client-id", OUT_OF_BAND)),
        (
            Wishes("production", "opt-id", "opt"),
            {"PROCORE_ENVIRONMENT": "sandbox", "PROCORE_REDIRECT_URI": "http://localhost:2/b"},
            KNOWN,
            ("production", "opt-id", OUT_OF_BAND),
        ),
        (
            Wishes("sandbox"),
            {"PROCORE_CLIENT_ID": "set-id", "PROCORE_CLIENT_SECRET": "set"},
            None,
            ("sandbox", "set-id", OUT_OF_BAND),
        ),
        (
            Wishes("emulator"),
            {"PROCORE_CLIENT_ID": "set-id", "PROCORE_CLIENT_SECRET": "set"},
            None,
            ("emulator", "emulator-client-id", OUT_OF_BAND),
        ),
    ],
)
def test_V7_the_client_comes_from_the_nearest_place_that_is_for_the_same_procore(
    wishes: Wishes,
    settings: dict[str, str],
    before: Registration | None,
    found: tuple[str, str, str],
) -> None:
    chosen = registration(wishes, settings, before)

    assert (chosen.environment.name, chosen.client_id, chosen.redirect_uri) == found


@pytest.mark.parametrize(
    ("wishes", "settings", "words"),
    [
        (Wishes(), {}, "The environment is not set"),
        (Wishes("moon"), {}, "There is no such environment"),
        (Wishes("sandbox"), {}, "The client ID is missing"),
        (Wishes("sandbox", "id"), {}, "The client secret is missing"),
        (
            Wishes("production"),
            {"PROCORE_ENVIRONMENT": "sandbox", "PROCORE_CLIENT_ID": "x"},
            "The client ID is missing",
        ),
        (Wishes("emulator", "mine"), {}, "The client secret is missing"),
        (Wishes("sandbox", "a b", "c"), {}, "The client ID cannot be used"),
        (Wishes("sandbox", "a", "c d"), {}, "The client secret cannot be used"),
    ],
)
def test_what_is_missing_or_wrong_is_told(
    wishes: Wishes, settings: dict[str, str], words: str
) -> None:
    with pytest.raises(CommandFailed, match=words):
        registration(wishes, settings, None)


def test_a_relative_data_home_counts_as_none(tmp_path: Path) -> None:
    absolute = Profile("default", {"XDG_DATA_HOME": str(tmp_path)}).folder
    relative = Profile("default", {"XDG_DATA_HOME": "data"}).folder

    assert absolute == tmp_path / "procore-signin" / "default"
    assert relative == Path.home() / ".local/share/procore-signin/default"


def test_two_first_logins_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
    first, second = (Profile("default", {"XDG_DATA_HOME": str(tmp_path)}) for _ in range(2))
    first.make()
    second._make_key()  # it was faster

    first._make_key()

    assert repr(first.keys()) == repr(second.keys()) == "<key ring own>"
    assert len(list(first.folder.iterdir())) == 1


def test_R1_R9_two_calls_with_one_expired_token_refresh_once(terminal: Terminal) -> None:
    terminal.log_in()
    terminal.emulator.advance(6000)
    terminal.emulator.fault("POST /oauth/token", "latency", seconds=1.5)

    calls = [terminal.start("api", "/rest/v1.0/me") for _ in range(2)]
    said = [call.communicate() for call in calls]

    assert [call.returncode for call in calls] == [0, 0], said
    assert refreshes(terminal.emulator) == 1
    assert len(terminal.emulator.live_grants()) == 1


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_R3_R12_a_signal_in_a_refresh_waits_until_the_new_pair_is_written_down(
    terminal: Terminal, number: int, status: int
) -> None:
    terminal.log_in()
    terminal.emulator.advance(6000)
    refresh = terminal.emulator.fault("POST /oauth/token", "latency", seconds=1.5)
    call = terminal.start("api", "/rest/v1.0/me")
    _wait_until(lambda: refresh.happened == 1)

    call.send_signal(number)
    call.communicate()

    assert call.returncode == status
    assert terminal.run("whoami").status == 0
    assert refreshes(terminal.emulator) == 1


def test_C12_C13_logout_gives_back_what_a_login_left_that_was_killed(terminal: Terminal) -> None:
    asked_who = terminal.emulator.fault("GET /rest/v1.0/me", "latency", seconds=20)
    with terminal.login() as login:
        login.type(terminal.code(login.address))
        _wait_until(lambda: asked_who.happened == 1)
        login.process.kill()
        login.process.wait()
    assert len(terminal.emulator.live_grants()) == 1
    assert terminal.run("whoami").status == 3

    assert terminal.run("logout").status == 0
    assert terminal.emulator.live_grants() == []


def test_R6_a_grant_revoked_at_procore_says_log_in_again(terminal: Terminal) -> None:
    terminal.log_in("--profile", "mine")
    terminal.emulator.revoke()

    done = terminal.run("api", "/rest/v1.0/me", "--profile", "mine")

    assert (done.status, done.out) == (3, "")
    assert "Run: procore-signin login --profile mine" in done.err


@pytest.mark.parametrize("word", ["login", "logout", "whoami", "api"])
def test_each_command_explains_itself_and_prints_json_too(terminal: Terminal, word: str) -> None:
    shown = terminal.run(word, "--help")

    assert (shown.status, shown.err) == (0, "")
    assert {"--profile", "--json"} <= set(shown.out.split())


def test_a_login_prints_json_and_nothing_else_on_its_output(terminal: Terminal) -> None:
    assert json.loads(terminal.log_in("--json").out) == {
        "profile": "default",
        "environment": "emulator",
        "procore_id": 11111,
        "login": DEMO_LOGIN,
        "name": "Joe Contractor",
    }


def test_names_move_no_cursor(terminal: Terminal) -> None:
    terminal.emulator.person(11111, name="Joe \x1b[2J\u202econtractor")

    assert "\x1b" not in terminal.log_in().out
    assert "\u202e" not in terminal.run("whoami").out


def _wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
