"""The single-page example, built by Vite, as users go through it in Chromium."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from accessibility import assert_accessible
from hosts import UVICORN, Host, running, wait_until_ready
from pages import DOCS, blocks_of, run_by
from playwright.sync_api import Browser, BrowserContext, Page, expect
from ports import free_port
from profiles import PATIENCE
from running import settings_for

from procore_signin._store.migrate import upgrade
from procore_signin.emulator import Emulator

EXAMPLE = Path(__file__).parents[2] / "examples" / "react"
NODE_MODULES = EXAMPLE / "node_modules"
CURE = "install Node 20.19 or newer with npm, then: sh scripts/react"
POLICY = "Content Security Policy"
COMPANY = "Sandbox Test Company"

CONTROLLED = """new Promise((resolve) => {
  if (navigator.serviceWorker.controller) resolve();
  else navigator.serviceWorker.addEventListener("controllerchange", () => resolve());
})"""

# A worker that answers every navigation with the page of the last visit, as vite-plugin-pwa does.
CACHE_FIRST = """
addEventListener("install", (event) => {
  event.waitUntil(caches.open("shell").then((cache) => cache.add("/")).then(() => skipWaiting()));
});
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const path = new URL(event.request.url).pathname;
  if (event.request.mode !== "navigate" || DENYLIST.some((each) => each.test(path))) return;
  event.respondWith(caches.match("/"));
});
"""


@pytest.fixture(scope="module")
def node() -> str:
    """Return the program of Node, with which the example can be built."""
    found = shutil.which("node")
    if found is not None and (NODE_MODULES / ".lock").exists():
        return found
    if os.environ.get("PROCORE_SIGNIN_REQUIRE_NODE") == "1":
        pytest.fail(f"The example cannot be built: {CURE}.", pytrace=False)
    pytest.skip(f"the single-page example is not built here: {CURE}")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.started() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def built(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the page, as `npm run build` makes it."""
    folder = tmp_path_factory.mktemp("react") / "dist"
    for program in ("typescript/bin/tsc", f"vite/bin/vite.js build --outDir {folder}"):
        words = [node, *f"{NODE_MODULES}/{program}".split()]
        done = subprocess.run(words, cwd=EXAMPLE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def behind(emulator: Emulator, folder: Path, browsers_port: int, page: Path) -> dict[str, str]:
    """Return the environment of the application whose users see it at a port of localhost."""
    redirect_uri = f"http://localhost:{browsers_port}/procore/callback"
    name = f"client-of-react-{browsers_port}"
    emulator.client(name, "fake-secret-of-react", redirect_uri, name="My projects")
    environment = settings_for(
        emulator.url,
        browsers_port,
        folder,
        PROCORE_REDIRECT_URI=redirect_uri,
        PROCORE_CLIENT_ID=name,
        PROCORE_CLIENT_SECRET="fake-secret-of-react",
        PYTHONPATH=str(EXAMPLE),
        PAGE=str(page),
    )
    upgrade(environment["PROCORE_DATABASE_URL"])
    return environment


@pytest.fixture(scope="module")
def host(
    emulator: Emulator, built: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    port, folder = free_port(), tmp_path_factory.mktemp("react-host")
    environment = behind(emulator, folder, port, built)
    with running(f"{UVICORN} main:app", port, folder, environment) as host:
        wait_until_ready(host)
        yield host


@contextmanager
def dev_server(node: str, port: int, api_port: int, folder: Path) -> Iterator[Host]:
    """Run `npm run dev`; it may not be ready yet."""
    words = [node, str(NODE_MODULES / "vite/bin/vite.js"), "--port", str(port)]
    environment = {"PATH": os.environ["PATH"], "API": f"http://127.0.0.1:{api_port}"}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=EXAMPLE,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Host(f"http://localhost:{port}", folder, process)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def context(real_browser: Browser) -> Iterator[BrowserContext]:
    with real_browser.new_context() as context:
        context.set_default_timeout(PATIENCE)
        yield context


def watched(context: BrowserContext) -> tuple[Page, list[str]]:
    """Return a page, and what it complains of: errors, and what its policy does not allow."""
    page, complaints = context.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if POLICY in said.text else None)
    return page, complaints


def sign_in(page: Page) -> None:
    """Press the button of the page, and whatever Procore asks before it sends the window back."""
    page.get_by_role("link", name="Sign In with Procore").click()
    log_in = page.get_by_role("button", name="Log in as Joe Contractor")
    allow = page.get_by_role("button", name="Allow")
    inside = page.get_by_role("heading", name="Projects of Joe Contractor")
    for asked in (log_in, allow):
        expect(log_in.or_(allow).or_(inside)).to_be_visible()
        if asked.is_visible():
            asked.click()
            expect(asked).to_be_hidden()
    expect(inside).to_be_visible()


def test_what_the_page_of_the_guide_shows_is_in_the_example() -> None:
    sources = [*(EXAMPLE / "src").iterdir(), EXAMPLE / "vite.config.ts", EXAMPLE / "main.py"]
    example = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    for block in (*run_by("single-page"), *run_by("json-types")):
        assert block.text in example, block.text


def test_the_lock_names_no_registry_and_has_a_hash_of_each_package() -> None:
    lock = (EXAMPLE / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    packages = lock.count('"node_modules/')
    assert lock.count('"integrity": "sha512-') == packages > 5


def test_the_commands_of_the_guide_are_those_that_the_page_of_fastapi_has_executed() -> None:
    [shown] = run_by("react-setup")
    blocks = blocks_of(DOCS / "how-to" / "fastapi.md")
    assert shown.text in [each.text for each in blocks if each.words == ("sh", "run")]


def test_a_user_signs_in_chooses_a_company_ends_other_sessions_and_signs_out(
    context: BrowserContext, real_browser: Browser, host: Host, artefacts: Path
) -> None:
    page, complaints = watched(context)
    page.goto(f"{host.url}/projects")
    assert_accessible(page, "Your projects, in one place")
    sign_in(page)
    expect(page).to_have_url(f"{host.url}/projects")
    assert page.evaluate("document.cookie") == ""

    page.get_by_label("Company").select_option(COMPANY)
    expect(page.get_by_role("listitem")).to_have_text(["1234 - Sandbox Test Project"])
    page.reload()
    expect(page.get_by_label("Company")).to_have_value("8089")
    expect(page.get_by_role("listitem")).to_have_count(1)
    assert_accessible(page, "Projects of Joe Contractor")
    page.screenshot(path=artefacts / "example-react.png")

    with real_browser.new_context() as elsewhere:
        phone = elsewhere.new_page()
        phone.goto(host.url)
        sign_in(phone)
        page.get_by_role("link", name="Devices").click()
        expect(page.get_by_role("listitem")).to_have_count(2)
        assert_accessible(page, "Where you are signed in")
        page.get_by_role("button", name="End all others").click()
        expect(page.get_by_role("listitem")).to_have_count(1)
        # What the other browser asks next is a 401 in JSON, and it offers to sign in.
        phone.get_by_label("Company").select_option(index=1)
        expect(phone.get_by_role("link", name="Sign In with Procore")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign In with Procore")).to_be_visible()
    expect(page).to_have_url(f"{host.url}/")
    assert complaints == []


@pytest.mark.parametrize("detail", ["Not Found", [{"loc": ["query"], "msg": "Field required"}]])
def test_an_error_of_the_applications_own_api_signs_no_one_out(
    context: BrowserContext, host: Host, detail: object
) -> None:
    page, complaints = watched(context)
    page.goto(host.url)
    sign_in(page)
    page.route("**/api/projects", lambda it: it.fulfill(status=422, json={"detail": detail}))
    page.get_by_label("Company").select_option(COMPANY)
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    assert complaints == []


@pytest.mark.parametrize("worker", ["of the example", "cache first"])
def test_K10_a_user_signs_in_again_where_a_service_worker_answers_for_the_page(
    context: BrowserContext, host: Host, built: Path, worker: str
) -> None:
    if worker == "cache first":
        [advice] = run_by("navigate-fallback")
        [denied] = re.findall(r"navigateFallbackDenylist: (\[.*\])", advice.text)
        (built / "worker.js").write_text(f"const DENYLIST = {denied};{CACHE_FIRST}")
    page, complaints = watched(context)
    page.goto(host.url)
    page.evaluate(CONTROLLED)
    page.reload()
    sign_in(page)
    page.get_by_role("button", name="Sign out").click()
    sign_in(page)
    if worker == "of the example":
        context.set_offline(True)
        page.reload()
        assert_accessible(page, "The application does not respond")
    assert complaints == []


def test_a_developer_signs_in_through_vites_proxy(
    context: BrowserContext,
    emulator: Emulator,
    node: str,
    tmp_path: Path,
) -> None:
    seen, own = free_port(), free_port()
    environment = behind(emulator, tmp_path, seen, tmp_path)
    (tmp_path / "vite").mkdir()
    with (
        running(f"{UVICORN} main:app", own, tmp_path, environment) as application,
        dev_server(node, seen, own, tmp_path / "vite") as vite,
    ):
        wait_until_ready(application, "/docs")
        wait_until_ready(vite)
        page, complaints = watched(context)
        page.goto(vite.url)
        sign_in(page)
        expect(page).to_have_url(f"{vite.url}/")
        page.get_by_label("Company").select_option(COMPANY)
        expect(page.get_by_role("listitem")).to_have_text(["1234 - Sandbox Test Project"])
        assert complaints == []
