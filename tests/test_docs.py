"""What the documentation says is done, as it says it. Ports are replaced by free ones.

`support/pages.py` says which code blocks are executed by which tests.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from hosts import Host, as_shown, serving, wait_until_ready
from pages import DOCS, ROOT, Block, Follower, blocks_of, pages, path_of
from person import Person
from ports import free_port
from running import settings_for

from procore_signin._store.migrate import upgrade
from procore_signin.emulator import Emulator

ADAPTERS = {
    "fastapi": "from main import *",
    "flask": "from app import *",
    "django": "import os, django; "
    "os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'; django.setup()",
}


def page_of(name: str) -> Path:
    return DOCS / "how-to" / f"{name}.md"


def snippets(blocks: Iterable[Block]) -> str:
    return "\n".join(block.text for block in blocks if block.words == ("python", "run"))


@contextmanager
def emulator_of(follower: Follower) -> Iterator[Emulator]:
    """Start in this process what the page starts with a command, whose options it takes over."""
    words = shlex.split(follower.text_of(follower.only("sh", "emulator")))
    assert words[:3] == ["procore-signin", "emulator", "--redirect-uri"]
    assert words[4:] == ["&"]
    with Emulator.started(port=follower.ports["4568"], redirect_uris=(words[3],)) as emulator:
        yield emulator


def server_of(follower: Follower) -> AbstractContextManager[Host]:
    """Start the page's server with the page's command. It may not be ready yet."""
    words = as_shown(follower.text_of(follower.only("sh", "serve")))
    return serving(words, follower.ports["8000"], follower.folder, follower.environment)


def prepared(name: str, folder: Path) -> Follower:
    """Follow a page up to where it starts servers."""
    ports = {"8000": free_port(), "4568": free_port()}
    environment = {
        "PATH": path_of(sys.executable),
        "PROCORE_EMULATOR_URL": f"http://127.0.0.1:{ports['4568']}",
    }
    follower = Follower(blocks_of(page_of(name)), folder, environment, ports)
    if name != "django":  # whose commands make the project first
        follower.write_files()
    follower.run(follower.only("sh", "run"))
    return follower


@pytest.fixture(scope="module")
def followed(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, tuple[Follower, Host, Emulator]]]:
    """Each adapter's page, followed up to a running server; all of them at the same time."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ADAPTERS}
    with ExitStack() as stack:
        with ThreadPoolExecutor() as threads:
            followers = list(threads.map(prepared, folders, folders.values()))
        found = {}
        for name, follower in zip(folders, followers, strict=True):
            emulator = stack.enter_context(emulator_of(follower))
            found[name] = follower, stack.enter_context(server_of(follower)), emulator
        for _, host, _ in found.values():
            wait_until_ready(host, "/procore/signin")
        yield found


@pytest.mark.parametrize("name", ADAPTERS)
def test_whoever_follows_the_page_literally_sees_the_projects(
    followed: dict[str, tuple[Follower, Host, Emulator]], name: str
) -> None:
    follower, host, emulator = followed[name]
    page = page_of(name).read_text(encoding="utf-8")
    [address] = re.findall(r"<http://localhost:8000(/[^>]+)>", page)
    with Person(host.url, emulator) as person:
        sent = person.http.get(address)
        assert sent.status_code == 303
        back = person.sign_in(sent.headers["location"])
        assert back.headers["location"] == address
        projects = person.http.get(address).json()
    assert [project["name"] for project in projects] == ["Sandbox Test Project"]
    assert "Traceback" not in host.said, follower.folder


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ({"status": 403, "body": '{"errors":"Forbidden"}'}, (403, None)),
        ({"status": 404, "body": '{"message":"Resource not found"}'}, (404, None)),
        (
            {"status": 503, "body": "<html>Back soon</html>", "content_type": "text/html"},
            (503, "10"),
        ),
        # the last one: nothing more is sent for this person until the ten minutes are over
        ({"status": 429, "headers": {"Retry-After": "600"}}, (503, "600")),
    ],
)
@pytest.mark.parametrize("name", ADAPTERS)
def test_what_procore_refuses_becomes_what_the_page_says(
    followed: dict[str, tuple[Follower, Host, Emulator]],
    name: str,
    refusal: dict[str, object],
    expected: tuple[int, str | None],
) -> None:
    follower, host, emulator = followed[name]
    [address] = re.findall(
        r"<http://localhost:8000(/[^>]+)>", page_of(name).read_text(encoding="utf-8")
    )
    with Person(host.url, emulator) as person:
        person.sign_in("/procore/signin")
        emulator.fault("GET /rest/*", "status", times=None, **refusal)
        answer = person.http.get(address)
        emulator.clear_faults()
    assert (answer.status_code, answer.headers.get("retry-after")) == expected
    assert "<h1" in answer.text
    assert "Traceback" not in host.said, follower.folder


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_other_snippets_of_the_page_run(
    followed: dict[str, tuple[Follower, Host, Emulator]], name: str
) -> None:
    follower, _, _ = followed[name]
    program = f"{ADAPTERS[name]}\n{snippets(follower.blocks)}"
    follower.do([sys.executable, "-W", "error", "-c", program])


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_addition_is_under_ten_lines_and_all_that_matters_is_on_one_screen(name: str) -> None:
    page = page_of(name).read_text(encoding="utf-8")
    before_details = page.split("\n## ", 1)[0].splitlines()
    assert len(before_details) <= 60
    files = [block.text for block in blocks_of(page_of(name)) if block.title]
    ours = [
        line
        for line in "\n".join(files).splitlines()
        if re.search("procore|signed_in|SignIn|CurrentUser", line)
    ]
    assert 0 < len(ours) < 10


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_first_screen_says_how_a_button_is_put_anywhere(name: str) -> None:
    first_screen = page_of(name).read_text(encoding="utf-8").split("\n## ", 1)[0]
    names = re.findall(r"^\| `(.+?)` \|", first_screen, re.MULTILINE)
    tells = ["procore_button", "procore_sign_out_button", "start", "procore_connect_button"]
    shown = [re.findall(r"procore_(?:\w+_)?button|start", each) for each in names]
    assert shown == [[each] for each in tells]
    assert all("return_to=" in names[number] for number in (0, 1))


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_the_readme_shows_of_an_adapter_is_what_its_page_has_people_do(name: str) -> None:
    """The page's own blocks are executed above."""
    [shown] = [
        block
        for block in blocks_of(ROOT / "README.md")
        if block.words == ("python", f"from={name}")
    ]
    blocks = blocks_of(page_of(name))
    executed = "".join(block.text for block in blocks if block.title is not None).splitlines()
    left = iter(executed)

    lines = [line for line in shown.text.splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if line not in left] == []


def test_the_snippets_of_all_other_pages_run(tmp_path: Path) -> None:
    """Each page's with the settings of an application that signs in at the local Procore."""
    for page in pages():
        program = snippets(blocks_of(page))
        if page.stem in ADAPTERS or not program:
            continue
        folder = tmp_path / page.stem
        folder.mkdir()
        environment = settings_for("http://127.0.0.1:4568", free_port(), folder)
        upgrade(environment["PROCORE_DATABASE_URL"])
        Follower((), folder, environment, {}).do([sys.executable, "-W", "error", "-c", program])
