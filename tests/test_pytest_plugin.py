"""The fixture `procore_emulator`, as the test suite of another project uses it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PLUGIN = "procore_signin.pytest_plugin"
ALONE = ("-p", "no:cacheprovider", "-p", PLUGIN)
"""The plugin by name and no other: those that happen to be installed are not what is tested."""

HELPERS = """
import json
import urllib.parse
import urllib.request

CALLBACK = "http://localhost:4567/callback"

def authorize_url(base, client_id="emulator-client-id", redirect_uri=CALLBACK):
    asked = {"client_id": client_id, "response_type": "code", "redirect_uri": redirect_uri}
    return f"{base}/oauth/authorize?{urllib.parse.urlencode(asked)}"

def exchange_form(location):
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)
    return {
        "grant_type": "authorization_code",
        "client_id": "emulator-client-id",
        "client_secret": "emulator-client-secret",
        "code": query["code"][0],
        "redirect_uri": CALLBACK,
    }

def sign_in(emulator):
    form = exchange_form(emulator.approve(authorize_url(emulator.url)))
    sent = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(f"{emulator.url}/oauth/token", sent) as response:
        return json.load(response)

def me(emulator, token):
    headers = {"authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{emulator.url}/rest/v1.0/me", headers=headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with helpers and no configuration of its own."""
    pytester.makepyfile(helpers=HELPERS)
    pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n")
    return pytester


def passed(project: pytest.Pytester, number: int) -> None:
    """Run the project's tests in a process of their own; all of them must pass."""
    project.runpytest_subprocess(*ALONE, timeout=60).assert_outcomes(passed=number)


def test_a_test_signs_in_over_a_real_socket_and_every_test_has_its_own(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        """
        import pytest
        from helpers import me, sign_in

        urls = []

        @pytest.mark.parametrize("run", [1, 2])
        def test_sign_in(procore_emulator, run):
            urls.append(procore_emulator.url)
            assert 11111 == me(procore_emulator, sign_in(procore_emulator)["access_token"])["id"]
            assert 1 == len(procore_emulator.live_grants())
            asked = [request.target for request in procore_emulator.requests]
            assert ["/oauth/token", "/rest/v1.0/me"] == asked
        """
    )
    passed(project, 2)


def test_a_test_signs_in_inside_its_process_and_both_ways_are_one_server(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        """
        import asyncio

        import httpx2
        from helpers import authorize_url, exchange_form, me

        def test_sign_in(procore_emulator):
            async def run():
                transport = httpx2.ASGITransport(app=procore_emulator.app)
                base_url = procore_emulator.url
                async with httpx2.AsyncClient(transport=transport, base_url=base_url) as http:
                    form = exchange_form(procore_emulator.approve(authorize_url(base_url)))
                    return (await http.post("/oauth/token", data=form)).json()

            tokens = asyncio.run(run())
            assert 11111 == me(procore_emulator, tokens["access_token"])["id"]
        """
    )
    passed(project, 1)


def test_a_mark_and_a_fixture_choose_how_it_behaves(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import pytest

        @pytest.fixture
        def procore_emulator_options():
            return {"doorkeeper": 5, "pkce": "enforce"}
        """
    )
    project.makepyfile(
        """
        import pytest

        def test_of_the_fixture(procore_emulator):
            options = procore_emulator.options
            assert (5, "enforce") == (options.doorkeeper, options.pkce)

        @pytest.mark.procore_emulator(pkce="reject", rotation="grace")
        class TestMarked:
            def test_of_the_class(self, procore_emulator):
                options = procore_emulator.options
                assert (5, "reject", "grace") == (
                    options.doorkeeper, options.pkce, options.rotation
                )

            @pytest.mark.procore_emulator(pkce="ignore")
            def test_of_the_nearest(self, procore_emulator):
                options = procore_emulator.options
                assert ("ignore", "immediate") == (options.pkce, options.rotation)
        """
    )
    passed(project, 3)


def test_a_seed_file_is_found_from_the_root_of_the_tests(project: pytest.Pytester) -> None:
    people = project.mkdir("data").joinpath("people.yaml")
    people.write_text("people: [{id: 7, login: ada@example.com}]")
    project.makepyfile(
        """
        import pytest
        from helpers import authorize_url

        @pytest.mark.procore_emulator(seed_file="data/people.yaml")
        def test_people(procore_emulator):
            url = authorize_url(procore_emulator.url)
            assert procore_emulator.approve(url, login="ada@example.com")
        """
    )
    passed(project, 1)


def test_a_wrong_option_is_an_error_that_says_so(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.procore_emulator(pkce="maybe")
        def test_it(procore_emulator):
            pass
        """
    )
    result = project.runpytest_subprocess(*ALONE)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pkce is 'maybe': choose one of ignore, enforce, reject*"])


def test_a_suite_that_does_not_ask_for_it_does_not_load_the_emulator() -> None:
    program = (
        f"import sys, {PLUGIN}\n"
        "loaded = [name for name in sys.modules if name.startswith('procore_signin.')]\n"
        f"assert loaded == ['{PLUGIN}'], loaded\n"
        "assert not {'jinja2', 'httptools', 'yaml', 'sqlalchemy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_pytest_finds_the_plugin_wherever_the_package_is_installed() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert {"procore_signin": PLUGIN} == project["entry-points"]["pytest11"]
