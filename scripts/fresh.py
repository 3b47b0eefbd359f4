"""Installs the wheel in fresh environments, with each extra on each Python here, and signs in.

So it does beside the versions that an existing application pins, in `examples/existing/fastapi/`.

    PYTHONPATH=tests/support .venv/bin/python scripts/fresh.py dist/*.whl [3.12 …]

The emulator stands in for Procore, `Person` of the tests for a browser. Prints one line for each
environment; exit status 1 if any failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
from person import Person
from ports import free_port
from running import settings_for

from procore_signin.emulator import Emulator

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
BESIDE_PINS = "fastapi beside older versions"
PINS = Path(__file__).parents[1] / "examples" / "existing" / "fastapi" / "requirements.txt"

FASTAPI = """
import uvicorn, os
from fastapi import FastAPI
from procore_signin import AsyncProcoreSignIn
from procore_signin.web.fastapi import sign_in_routes
app = FastAPI()
app.include_router(sign_in_routes(AsyncProcoreSignIn.from_env()))
uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="error")
"""
FLASK = """
import os
from flask import Flask
from procore_signin.web.flask import SignIn, sign_in_blueprint
app = Flask(__name__)
SignIn(app)
app.run(host="127.0.0.1", port=int(os.environ["PORT"]))
"""
DJANGO = """
import os, sys
from pathlib import Path
from wsgiref.simple_server import make_server
import django
from django.conf import settings
from django.urls import include, path
settings.configure(
    DEBUG=True, SECRET_KEY="fake", ROOT_URLCONF="main", ALLOWED_HOSTS=["localhost"],
    INSTALLED_APPS=["procore_signin.web.django"],
    MIDDLEWARE=["procore_signin.web.django.middleware.SignInMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "test.db"}},
)
django.setup()
sys.modules["main"] = sys.modules[__name__]
urlpatterns = [path("procore/", include("procore_signin.web.django.urls"))]
from django.core.wsgi import get_wsgi_application
make_server("127.0.0.1", int(os.environ["PORT"]), get_wsgi_application()).serve_forever()
"""
EMULATOR = """
import json
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

def sign_in(emulator):
    client = {"client_id": "emulator-client-id", "redirect_uri": "http://localhost:4567/callback"}
    asked = urlencode({**client, "response_type": "code"})
    back = urlsplit(emulator.approve(f"{emulator.url}/oauth/authorize?{asked}"))
    form = {**client, "grant_type": "authorization_code", "client_secret": "emulator-client-secret"}
    form["code"] = parse_qs(back.query)["code"][0]
    with urlopen(f"{emulator.url}/oauth/token", urlencode(form).encode()) as answer:
        assert json.load(answer)["access_token"]
"""
ALONE = f"""{EMULATOR}
from procore_signin.emulator import Emulator
with Emulator.started() as emulator:
    sign_in(emulator)
"""
FIXTURE = f"""{EMULATOR}
def test_sign_in(procore_emulator):
    sign_in(procore_emulator)
"""
DRIVERS = "import gevent, psycopg, pymysql, procore_signin"

SERVERS = {
    "app": None,
    "app,postgresql,mysql": None,
    "fastapi": FASTAPI,
    BESIDE_PINS: FASTAPI,
    "flask": FLASK,
    "flask-login": FLASK,
    "flask,gevent": FLASK,
    "django": DJANGO,
}
PROGRAMS = {
    "emulator": ["-c", ALONE],
    "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_fixture.py"],
    "postgresql,mysql,gevent": ["-c", DRIVERS],
}


def pythons(wanted: list[str]) -> Iterator[str]:
    """Return the Pythons that are here."""
    for version in wanted or VERSIONS:
        places = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
        for place in [*map(str, places), f"python{version}"]:
            try:
                subprocess.run([place, "-c", ""], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            yield place
            break
        else:
            print(f"Python {version} is not here: not run.", flush=True)


def environment(python: str, wheel: Path, extra: str, folder: Path) -> Path:
    """Make an environment with the wheel and an extra, and return its Python."""
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    inside = folder / "venv" / "bin" / "python"
    more = {"fastapi": ["uvicorn"], BESIDE_PINS: ["-r", str(PINS)]}.get(extra, [])
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{wheel}[{extra.split(maxsplit=1)[0]}]", *more], check=True)
    subprocess.run([inside, "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)
    return inside


def sign_in(inside: Path, server: str | None, folder: Path) -> None:
    """Run an application in the environment, and sign somebody in."""
    port = free_port()
    page = "/signin" if server != DJANGO else "/procore/signin"
    redirect_uri = f"http://localhost:{port}{page.removesuffix('signin')}callback"
    command = (
        [inside, "-c", server]
        if server
        else [*(inside, "-m", "procore_signin", "serve", "--port", str(port))]
    )
    with Emulator.started(redirect_uris=(redirect_uri,)) as emulator:
        more = {"PROCORE_REDIRECT_URI": redirect_uri, "PORT": str(port)}
        settings = settings_for(emulator.url, port, folder, **more)
        upgrade = [inside, "-m", "procore_signin", "db", "upgrade"]
        subprocess.run(upgrade, check=True, cwd=folder, env=settings, stdout=subprocess.DEVNULL)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=settings, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            with Person(f"http://localhost:{port}", emulator) as person:
                wait(person, page, process)
                answer = person.sign_in(page)
                assert answer.status_code == httpx2.codes.SEE_OTHER, answer.text
                sessions = person.http.get(page.replace("signin", "sessions"))
                assert "My sessions" in sessions.text, sessions.text
        finally:
            process.terminate()
            process.wait(timeout=40)


def wait(person: Person, page: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the application responds."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            person.http.get(page)
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the application did not start")


def main(wheel: Path, *wanted: str) -> int:
    """Try every extra on every Python."""
    failed = 0
    for python in pythons(list(wanted)):
        for extra in [*SERVERS, *PROGRAMS]:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / "test_fixture.py").write_text(FIXTURE, encoding="utf-8")
                try:
                    inside = environment(python, wheel.resolve(), extra, folder)
                    if extra in PROGRAMS:
                        clean = {"PATH": os.environ["PATH"], "HOME": name}
                        run = [inside, *PROGRAMS[extra]]
                        subprocess.run(run, check=True, cwd=folder, env=clean, capture_output=True)
                    else:
                        sign_in(inside, SERVERS[extra], folder)
                except (AssertionError, subprocess.SubprocessError) as error:
                    failed += 1
                    log = folder / "log"
                    output = getattr(error, "stderr", None) or (log.exists() and log.read_bytes())
                    said = f"FAILED: {error}\n{(output or b'').decode(errors='replace')}"
                else:
                    said = (
                        "installed and signed in"
                        if "," not in extra or extra in SERVERS
                        else "installed"
                    )
            print(f"{Path(python).name:12} [{extra}]  {said}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
