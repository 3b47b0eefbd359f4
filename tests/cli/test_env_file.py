from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Command
from hypothesis import given
from hypothesis import strategies as st

from procore_signin._cli.personal.profile import Profile
from procore_signin._settings import env_file
from procore_signin._settings.env_file import EnvFileUnusable

HAND_WRITTEN = """\
# My settings
export PROCORE_ENVIRONMENT=sandbox   # the safe one

OTHER = "kept as it is"
PROCORE_CLIENT_ID=
"""


def test_other_lines_stay_as_they_are() -> None:
    completed = env_file.complete(HAND_WRITTEN, {"PROCORE_KEYS": "k:abc"})

    assert completed.text == HAND_WRITTEN + "PROCORE_KEYS=k:abc\n"


def test_an_empty_value_is_filled_in_where_it_stands() -> None:
    completed = env_file.complete(HAND_WRITTEN, {"PROCORE_CLIENT_ID": "abc"})

    assert completed.text == HAND_WRITTEN.replace("CLIENT_ID=\n", "CLIENT_ID=abc\n")


def test_a_value_that_is_there_is_kept() -> None:
    completed = env_file.complete(HAND_WRITTEN, {"PROCORE_ENVIRONMENT": "production"})

    assert (completed.text, completed.kept) == (HAND_WRITTEN, ("PROCORE_ENVIRONMENT",))


def test_force_replaces_a_value() -> None:
    completed = env_file.complete(HAND_WRITTEN, {"PROCORE_ENVIRONMENT": "monthly"}, force=True)

    assert env_file.values_of(completed.text)["PROCORE_ENVIRONMENT"] == "monthly"
    assert "sandbox" not in completed.text


def test_a_file_without_a_last_line_break_gets_one_before_more() -> None:
    completed = env_file.complete("A=1", {"B": "2"})

    assert completed.text == "A=1\nB=2\n"


@given(value=st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1))
def test_whatever_is_written_is_what_the_application_reads(value: str) -> None:
    try:
        completed = env_file.complete("# before\n", {"PROCORE_CLIENT_SECRET": value})
    except EnvFileUnusable:
        pytest.fail("a value without line breaks was refused")

    assert env_file.values_of(completed.text) == {"PROCORE_CLIENT_SECRET": value}


def test_reading_and_checking_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"{HAND_WRITTEN}\nD='a $HOME ${{x}} \\' b'\n", encoding="utf-8")

    assert env_file.read(path) == env_file.read_and_check(path)[0]


def test_a_value_that_would_be_read_differently_is_refused() -> None:
    with pytest.raises(EnvFileUnusable, match="PROCORE_KEYS cannot be written"):
        env_file.complete("BROKEN='no end\n", {"PROCORE_KEYS": "x' y"})


def test_no_file_reads_as_empty(tmp_path: Path) -> None:
    assert env_file.read(tmp_path / ".env") == {}


def test_a_file_that_is_no_text_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=\xff\xfe")

    with pytest.raises(EnvFileUnusable, match="cannot be read"):
        env_file.read(path)


@pytest.mark.parametrize("arguments", [("keys", "generate"), ("init",), ("db", "current")])
def test_a_command_that_needs_such_a_file_says_what_why_and_the_cure(
    command: Command, arguments: tuple[str, ...]
) -> None:
    (command.folder / ".env").write_bytes(b"A=\xff\xfe")

    done = command(*arguments)

    assert done.status == 1
    assert done.err.splitlines() == [
        f"Error: {command.folder / '.env'} cannot be read.",
        "  Why:  It is not UTF-8 text.",
        "  Cure: Save it again as UTF-8.",
    ]


def test_only_the_owner_may_read_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n", encoding="utf-8")
    path.chmod(0o644)

    env_file.write(path, "A=2\n")

    assert (path.read_text(encoding="utf-8"), stat.S_IMODE(path.stat().st_mode)) == ("A=2\n", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere", tmp_path / ".env"
    target.write_text("", encoding="utf-8")
    link.symlink_to(target)

    env_file.write(link, "A=1\n")

    assert (link.is_symlink(), target.read_text(encoding="utf-8")) == (True, "A=1\n")


def fails(error: BaseException) -> Callable[..., None]:
    def failing(*_: object, **__: object) -> None:
        raise error

    return failing


ENDS = [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError(), ValueError()]


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["os.fsync", "pathlib.Path.replace", "builtins.open"])
def test_N8_whatever_ends_a_write_the_old_file_stays_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n", encoding="utf-8")

    monkeypatch.setattr(place, fails(error))
    with pytest.raises(type(error)):
        env_file.write(path, "A=2\n")
    monkeypatch.undo()

    assert (list(tmp_path.iterdir()), path.read_text(encoding="utf-8")) == ([path], "A=1\n")


def test_N8_a_text_that_no_encoding_can_spell_leaves_no_draft(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        env_file.write(tmp_path / ".env", "A=\ud800\n")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
def test_N8_whatever_ends_the_making_of_a_profiles_key_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    profile = Profile("default", {"XDG_DATA_HOME": str(tmp_path)})
    profile.make()

    monkeypatch.setattr("os.link", fails(error))
    with pytest.raises(type(error)):
        profile.keys()

    assert list(profile.folder.iterdir()) == []


def test_a_draft_of_a_writer_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    left, fresh, other = (
        tmp_path / f"..env.{name}" for name in ("a" * 16, "b" * 16, "not-a-draft-of-ours")
    )
    for each in (left, fresh, other):
        each.write_text("PROCORE_CLIENT_SECRET=x\n")
    for each in (left, other):
        os.utime(each, (0, 0))
    env_file.write(tmp_path / ".env", "A=1\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(
        [".env", fresh.name, other.name]
    )


def test_N8_neither_draft_nor_file_can_be_read_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    monkeypatch.setattr("os.fsync", lambda file: modes.append(os.fstat(file).st_mode))
    before = os.umask(0)
    try:
        env_file.write(tmp_path / ".env", "PROCORE_CLIENT_SECRET=fake\n")
    finally:
        os.umask(before)
    modes.append((tmp_path / ".env").stat().st_mode)
    assert [stat.S_IMODE(mode) for mode in modes] == [0o600, 0o600]
