"""What outlives a restart."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from procore_signin._emulator.control.verbs import Verbs
from procore_signin._emulator.files.state_file import StateFile
from procore_signin._emulator.wire.messages import Reply, Request
from procore_signin.emulator import (
    EmulatorOptions,
    EmulatorRefused,
    LocalProcore,
    Person,
    four_environments,
)

BASE = "http://127.0.0.1:4568"
NOW = 1_800_000_000.0
Form = dict[str, str]
Make = Callable[..., LocalProcore]


def make(**options: Any) -> LocalProcore:
    return LocalProcore(EmulatorOptions(**options), now=lambda: NOW)


def restarted(procore: LocalProcore, path: Path, **options: Any) -> LocalProcore:
    """Keep a state, and start again with it."""
    StateFile(path, {"emulator": procore}).save()
    again = make(**options)
    StateFile(path, {"emulator": again}).restore()
    return again


def post(procore: LocalProcore, path: str, form: Form, cookie: str = "") -> Reply:
    headers = {"content-type": "application/x-www-form-urlencoded", "cookie": cookie}
    return procore.answer(Request("POST", path, headers=headers, body=urlencode(form).encode()))


def tokens_of(reply: Reply) -> dict[str, Any]:
    assert 200 == reply.status
    tokens: dict[str, Any] = json.loads(reply.body)
    return tokens


def me(procore: LocalProcore, tokens: Mapping[str, Any]) -> Reply:
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    return procore.answer(Request("GET", "/rest/v1.0/me", headers=headers))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture
def approved(
    authorize: Callable[..., str],
    code_in: Callable[[str], str],
    code_form: Callable[..., Form],
) -> Callable[[LocalProcore], Form]:
    """Approve a sign-in; returns the form that exchanges its code."""
    return lambda procore: code_form(code_in(Verbs(procore).approve(authorize(), base=BASE)))


def test_tokens_go_on_working_and_can_be_refreshed(
    path: Path,
    approved: Callable[[LocalProcore], Form],
    refresh_form: Callable[..., Form],
) -> None:
    before = make()
    tokens = tokens_of(post(before, "/oauth/token", approved(before)))
    after = restarted(before, path)
    assert 200 == me(after, tokens).status
    fresh = tokens_of(post(after, "/oauth/token", refresh_form(tokens["refresh_token"])))
    assert 200 == me(after, fresh).status
    assert 401 == post(after, "/oauth/token", refresh_form(tokens["refresh_token"])).status


def test_what_was_spent_or_revoked_stays_so(
    path: Path,
    approved: Callable[[LocalProcore], Form],
    refresh_form: Callable[..., Form],
) -> None:
    before = make(code_reuse_revokes=True)
    form = approved(before)
    tokens = tokens_of(post(before, "/oauth/token", form))
    spent = tokens_of(post(before, "/oauth/token", approved(before)))
    post(before, "/oauth/token", refresh_form(spent["refresh_token"]))
    burnt = tokens_of(post(before, "/oauth/token", approved(before)))
    post(before, "/oauth/token", refresh_form(burnt["refresh_token"], client_secret="wrong"))
    after = restarted(before, path, code_reuse_revokes=True)
    for old in (spent, burnt):
        assert 401 == post(after, "/oauth/token", refresh_form(old["refresh_token"])).status
    assert 401 == me(after, spent).status
    assert 200 == me(after, burnt).status
    assert 401 == post(after, "/oauth/token", form).status  # a code sent again, which revokes
    assert 401 == me(after, tokens).status


def test_a_code_that_was_not_exchanged_yet_still_can_be(
    path: Path, approved: Callable[[LocalProcore], Form]
) -> None:
    before = make()
    form = approved(before)
    after = restarted(before, path)
    assert 200 == post(after, "/oauth/token", form).status


def test_under_grace_the_old_pair_still_dies_with_the_use_of_the_new(
    path: Path,
    approved: Callable[[LocalProcore], Form],
    refresh_form: Callable[..., Form],
) -> None:
    before = make(rotation="grace")
    tokens = tokens_of(post(before, "/oauth/token", approved(before)))
    fresh = tokens_of(post(before, "/oauth/token", refresh_form(tokens["refresh_token"])))
    after = restarted(before, path, rotation="grace")
    assert 200 == me(after, tokens).status
    assert 200 == me(after, fresh).status
    assert 401 == me(after, tokens).status


def test_the_browser_stays_logged_in_and_consent_is_remembered(
    path: Path, approved: Callable[[LocalProcore], Form], authorize: Callable[..., str]
) -> None:
    before = make()
    form = {"login": "joecontractor@procore.com", "password": "procore"}
    cookie = (post(before, "/login", form).header("set-cookie") or "").partition(";")[0]
    post(before, "/oauth/token", approved(before))
    after = restarted(before, path)
    target, _, query = authorize().partition("?")
    asked = Request("GET", target, query=query, headers={"cookie": cookie})
    assert (after.answer(asked).header("location") or "").startswith("http://localhost:4567/")


def test_people_clients_and_the_time_are_as_they_were(
    path: Path, authorize: Callable[..., str]
) -> None:
    before = make()
    verbs = Verbs(before)
    verbs.person(7, login="ada@example.com", password="lovelace", job_title="Countess")
    verbs.remove_person(11112)
    verbs.advance(3600)
    after = restarted(before, path, client_id="another")
    people = after.state.directory.people
    assert Person(7, "ada@example.com", None, "lovelace", "Countess") == people[7]
    assert 11112 not in people
    assert before.state.directory.companies == after.state.directory.companies
    assert before.state.directory.projects == after.state.directory.projects
    assert NOW + 3600 == after.state.clock()
    for client_id in ("emulator-client-id", "another"):
        assert Verbs(after).approve(authorize(client_id=client_id), base=BASE)


def test_a_reset_returns_to_the_seed_not_to_the_file(path: Path) -> None:
    before = make()
    Verbs(before).remove_person(11112)
    after = restarted(before, path)
    after.reset()
    assert 11112 in after.state.directory.people


def test_four_environments_share_one_file_and_no_token(
    path: Path, approved: Callable[[LocalProcore], Form]
) -> None:
    before = four_environments(EmulatorOptions())
    tokens = tokens_of(post(before["production"], "/oauth/token", approved(before["production"])))
    Verbs(before["monthly"]).person(7, login="ada@example.com")
    StateFile(path, before).save()
    after = four_environments(EmulatorOptions())
    StateFile(path, after).restore()
    good = [name for name, procore in after.items() if me(procore, tokens).status == 200]
    assert ["production"] == good
    assert ["production", "monthly"] == [
        n for n, p in after.items() if 7 in p.state.directory.people
    ]
    Verbs(after["production"]).remove_person(7)
    assert 7 not in after["monthly"].state.directory.people


def test_only_its_owner_can_read_it(path: Path) -> None:
    path.write_text("")
    path.chmod(0o644)
    StateFile(path, {"emulator": make()}).save()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "7",
        "[" * 100_000,
        '{"format": 2, "environments": {"emulator": {}}}',
        '{"format": 1, "environments": {"production": {}}}',
        '{"format": 1, "environments": {"emulator": {}}}',
        '{"format": 1, "environments": {"emulator": {"directory": {"people": [{"id": 1}]}}}}',
    ],
)
def test_a_file_that_is_not_its_own_is_refused_and_left_alone(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(EmulatorRefused, match=r"state\.json cannot be used.*start anew"):
        StateFile(path, {"emulator": make()}).restore()
    assert content == path.read_text()


@pytest.mark.parametrize("token", [{"replaces": "unknown"}, {"colour": "red"}])
def test_a_state_with_a_broken_token_is_refused(
    path: Path, approved: Callable[[LocalProcore], Form], token: dict[str, str]
) -> None:
    procore = make()
    post(procore, "/oauth/token", approved(procore))
    StateFile(path, {"emulator": procore}).save()
    kept = json.loads(path.read_text())
    kept["environments"]["emulator"]["tokens"][0].update(token)
    path.write_text(json.dumps(kept))
    with pytest.raises(EmulatorRefused, match="does not hold an emulator's state"):
        StateFile(path, {"emulator": make()}).restore()


def test_a_place_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(EmulatorRefused, match="cannot be written: No such file"):
        StateFile(tmp_path / "nowhere" / "state.json", {"emulator": make()}).restore()
    with pytest.raises(EmulatorRefused, match="cannot be read: Is a directory"):
        StateFile(tmp_path, {"emulator": make()}).restore()


class TestWhileItRuns:
    def test_a_change_is_written_and_silence_is_not(self, path: Path) -> None:
        procore = make()
        file = StateFile(path, {"emulator": procore}, pause=0.001)
        file.save()
        path.write_text("not touched")

        async def run() -> str:
            keeping = asyncio.create_task(file.keep(pytest.fail))
            await asyncio.sleep(0.05)
            after_silence = read(path)
            procore.answer(Request("GET", "/"))
            await until(lambda: not procore.changed)
            keeping.cancel()
            return after_silence

        assert "not touched" == asyncio.run(run())
        assert "environments" in path.read_text()

    def test_a_failure_to_write_is_told_and_tried_again(self, path: Path) -> None:
        procore = make()
        file = StateFile(path, {"emulator": procore}, pause=0.001)
        complaints: list[str] = []
        in_the_way = path.with_name("state.json.new")

        async def run() -> None:
            keeping = asyncio.create_task(file.keep(complaints.append))
            in_the_way.mkdir()
            procore.answer(Request("GET", "/"))
            await until(lambda: bool(complaints))
            assert procore.changed
            in_the_way.rmdir()
            await until(lambda: not procore.changed)
            keeping.cancel()

        asyncio.run(run())
        assert "cannot be written" in complaints[0]
        assert "environments" in path.read_text()


def read(path: Path) -> str:
    return path.read_text()


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is watched tells no one
        await asyncio.sleep(0.001)
