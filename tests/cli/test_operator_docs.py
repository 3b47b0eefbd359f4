"""What the how-to pages have an operator type, typed as it stands."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from operating import add_person, keys_in, ring, sign_in_at, store_in, write_settings
from pages import Block, Follower, path_of, run_by

from procore_signin.emulator import Emulator

KEY = f"k1:{'B' * 42}E"


class Operator(Follower):
    """Someone at a terminal, who says yes when asked; here no one can be asked."""

    ASKING = ("keys retire", "users disable", "sessions revoke")

    def do(self, words: list[str]) -> str:
        return super().do([*words, "--yes"] if " ".join(words[1:3]) in self.ASKING else words)


def operator(folder: Path) -> Follower:
    return Operator((), folder, {"PATH": path_of(sys.executable)}, {})


def test_the_commands_that_change_a_key_work_in_their_order(tmp_path: Path) -> None:
    write_settings(tmp_path, keys=KEY)
    add_person(store_in(tmp_path, KEY), 1)
    [block] = run_by("keys")

    operator(tmp_path).run(block)

    [left] = ring(keys_in(tmp_path)).ids
    assert left != "k1"


def test_the_commands_about_users_work_in_their_order(tmp_path: Path) -> None:
    [block] = run_by("operator")
    with Emulator.started() as emulator:
        write_settings(tmp_path, keys=KEY, emulator_url=emulator.url)
        user = sign_in_at(emulator, tmp_path, KEY)
        typed = Block(block.page, block.words, block.text.replace("17", str(user.id)))

        printed = operator(tmp_path).run(typed)

        assert emulator.live_grants() == []

    assert user.email in printed
    assert "isabled" in printed


def test_the_settings_behind_a_proxy_are_accepted(tmp_path: Path) -> None:
    [block] = run_by("settings")
    (tmp_path / ".env").write_text(
        "PROCORE_ENVIRONMENT=sandbox\nPROCORE_CLIENT_ID=id\nPROCORE_CLIENT_SECRET=made-up-secret\n"
        f"PROCORE_KEYS={KEY}\n{block.text}",
        encoding="utf-8",
    )
    program = "from procore_signin import ProcoreSignIn; ProcoreSignIn.from_env()"

    operator(tmp_path).do([sys.executable, "-W", "error", "-c", program])

    names = {line.split("=")[0] for line in block.text.splitlines()}
    assert names == {"PROCORE_REDIRECT_URI", "PROCORE_TRUSTED_PROXIES"}


def test_the_emulator_starts_as_the_pages_say(tmp_path: Path) -> None:
    [people] = run_by("seed-file")
    (tmp_path / "people.yaml").write_text(people.text, encoding="utf-8")
    for block in run_by("start"):
        with subprocess.Popen(
            [*shlex.split(block.text), "--port", "0"],
            cwd=tmp_path,
            env={"PATH": path_of(sys.executable), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert any("http://127.0.0.1:" in line for line in process.stdout), block.text
            process.terminate()
