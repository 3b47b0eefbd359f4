"""The examples, each on a server of its own, as a person goes through them in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hosts import GUNICORN, UVICORN, Host, running, wait_until_ready
from playwright.sync_api import expect
from ports import free_port
from running import settings_for

from procore_signin._store.migrate import upgrade
from procore_signin.emulator import DEMO_LOGIN, DEMO_PASSWORD, Emulator

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = {
    "fastapi_projects": f"{UVICORN} main:app",
    "flask_projects": f"{GUNICORN} --worker-class gthread --threads 4 app:create_app()",
    "django_projects": f"{GUNICORN} --worker-class gthread --threads 4 my_projects.wsgi",
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.started() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def examples(
    emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Host]]:
    with ExitStack() as stack:
        started = {}
        for name, command in COMMANDS.items():
            port, folder = free_port(), tmp_path_factory.mktemp(name)
            redirect_uri = f"http://localhost:{port}/procore/callback"
            emulator.client(f"client-of-{name}", "fake-secret-of-it", redirect_uri, name=name)
            environment = settings_for(
                emulator.url,
                port,
                folder,
                PROCORE_REDIRECT_URI=redirect_uri,
                PROCORE_CLIENT_ID=f"client-of-{name}",
                PROCORE_CLIENT_SECRET="fake-secret-of-it",
                PYTHONPATH=str(EXAMPLES / name),
            )
            upgrade(environment["PROCORE_DATABASE_URL"])
            started[name] = stack.enter_context(running(command, port, folder, environment))
        for host in started.values():
            wait_until_ready(host)
        yield started
        for host in started.values():
            host.process.terminate()  # all at once, before each is waited for


def test_every_example_is_tried() -> None:
    elsewhere = {"existing", "react"}  # test_existing_applications.py, test_react.py
    names = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert names == COMMANDS.keys() | elsewhere


@pytest.mark.parametrize("name", COMMANDS)
def test_a_person_signs_in_chooses_a_company_and_sees_the_projects_in_it(
    new_page: Any, examples: dict[str, Host], name: str, artefacts: Path
) -> None:
    url, page = examples[name].url, new_page()
    page.goto(url)
    page.get_by_role("link", name="Sign In with Procore").click()
    page.get_by_label(re.compile("e-?mail", re.IGNORECASE)).fill(DEMO_LOGIN)
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Which company are you here for?")
    page.get_by_role("button", name="Choose").first.click()
    expect(page).to_have_url(f"{url}/projects")
    expect(page.get_by_role("heading", level=1)).to_have_text("Projects of Joe Contractor")
    expect(page.get_by_role("listitem")).to_have_text(["1234 - Sandbox Test Project"])
    page.screenshot(path=artefacts / f"example-{name}.png")

    page.get_by_role("link", name="Another company").click()
    page.get_by_role("button", name="Choose").last.click()
    expect(page.get_by_role("listitem")).to_have_text(["77 - Harbour Bridge"])

    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{url}/")
    expect(page.get_by_role("link", name="Sign In with Procore")).to_be_visible()
    page.goto(f"{url}/projects")
    expect(page).to_have_url(f"{url}/procore/signin?return_to=/projects")
