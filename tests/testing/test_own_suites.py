"""Test suites of applications, each in a process of its own, as a developer runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PLUGINS = ("-p", "no:cacheprovider", "-p", "procore_signin.pytest_plugin")
PARALLEL = ("-p", "xdist", "-n", "2")

NO_SOCKET = """
import os
import sys
from procore_signin.testing import settings_for_tests

os.environ.update(settings_for_tests("http://localhost:8000/procore/callback"))

def watch(event, arguments):
    if event in {"socket.connect", "socket.bind", "socket.getaddrinfo"}:
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(watch)
"""

FASTAPI = """
from fastapi import FastAPI
from procore_signin import AsyncProcoreSignIn
from procore_signin.web.fastapi import CurrentUser, sign_in_routes

procore = AsyncProcoreSignIn.from_env()
app = FastAPI()
app.include_router(sign_in_routes(procore), prefix="/procore")

@app.get("/companies")
async def companies(user: CurrentUser):
    async with procore.api(user) as api:
        return (await api.get("/rest/v1.0/companies")).json()
"""

FLASK = """
from flask import Flask
from procore_signin.web.flask import SignIn, current_user, procore, signed_in

app = Flask(__name__)
SignIn(app)

@app.get("/companies")
@signed_in
def companies():
    with procore.api(current_user) as api:
        return api.get("/rest/v1.0/companies").json()
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.mark.parametrize("more", [(), PARALLEL], ids=["alone", "xdist"])
def test_a_suite_opens_no_socket(pytester: pytest.Pytester, more: tuple[str, ...]) -> None:
    pytester.makeconftest(NO_SOCKET)
    pytester.makepyfile(fastapi_main=FASTAPI, flask_main=FLASK)
    pytester.makepyfile(
        """
        import asyncio
        import fastapi_main
        import flask_main
        import httpx2
        import pytest
        from fastapi.testclient import TestClient

        @pytest.fixture(params=["fastapi", "lifespan", "flask"])
        def client(request):
            if request.param == "flask":
                yield flask_main.app.test_client()
            elif request.param == "fastapi":
                yield TestClient(fastapi_main.app)
            else:
                with TestClient(fastapi_main.app) as client:
                    yield client

        @pytest.mark.parametrize("run", range(3))
        def test_one_line(client, procore_signed_in, run):
            ann = procore_signed_in(client, "ann@example.com", companies=["Acme"])
            assert client.get("/companies").status_code == 200
            assert ann.user.id == 1

        @pytest.mark.parametrize("run", range(3))
        def test_asgi(procore_signed_in, run):
            async def test():
                transport = httpx2.ASGITransport(app=fastapi_main.app)
                async with httpx2.AsyncClient(transport=transport, base_url="http://t") as client:
                    procore_signed_in(client, companies=["Acme"])
                    return (await client.get("/companies")).json()

            assert [company["name"] for company in asyncio.run(test())] == ["Acme"]
        """
    )

    pytester.runpytest_subprocess(*PLUGINS, *more, timeout=100).assert_outcomes(passed=12)


def test_two_emulators_of_two_workers_do_not_meet(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import urllib.request
        import pytest

        @pytest.mark.parametrize("run", range(4))
        def test_it(procore_emulator, run):
            before = len(procore_emulator.people)
            ann = procore_emulator.new_person("ann@example.com")
            procore_emulator.new_company("Acme", people=[ann], projects=["Mill"])
            assert len(procore_emulator.people) == before + 1
            with urllib.request.urlopen(procore_emulator.url) as page:
                assert b"ann@example.com" in page.read()
        """
    )

    pytester.runpytest_subprocess(*PLUGINS, *PARALLEL, timeout=60).assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("example", "number"), [("fastapi_projects", 5), ("flask_projects", 4), ("react", 2)]
)
def test_the_tests_of_an_example_pass(example: str, number: int) -> None:
    command = ("-m", "pytest", "-q", "-c", os.devnull, "--rootdir=.", *PLUGINS)
    done = subprocess.run(
        [sys.executable, "-B", *command],
        cwd=EXAMPLES / example,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert f"{number} passed" in done.stdout, done.stdout


@pytest.mark.parametrize("more", [(), ("--parallel", "2")], ids=["alone", "parallel"])
def test_the_tests_of_the_django_example_pass(more: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "manage.py", "test", *more],
        cwd=EXAMPLES / "django_projects",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Ran 4 tests" in done.stderr
