from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from commands import clean_environment

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.run import children
from procore_signin._cli.run.children import Children, Program


@pytest.fixture
def program(free_port: Callable[[], int]) -> Program:
    port = free_port()
    return Program(
        name="emulator",
        arguments=("emulator", f"--port={port}", "--as-child"),
        environment=clean_environment(),
        url=f"http://127.0.0.1:{port}/_emulator/",
        address=("127.0.0.1", port),
    )


def failure_of(program: Program) -> CommandFailed:
    with Children() as running:
        running.start(program)
        with pytest.raises(CommandFailed) as failed:
            running.wait_until_ready()
    return failed.value


def test_a_program_is_ready_once_it_answers(program: Program) -> None:
    with Children() as running:
        running.start(program)

        assert running.wait_until_ready()


def test_a_stop_before_it_is_ready_ends_the_wait(program: Program) -> None:
    with Children() as running:
        running.start(program)
        running.stop()

        assert not running.wait_until_ready()


def test_a_program_that_ends_before_it_is_ready_is_told(program: Program) -> None:
    failed = failure_of(replace(program, arguments=("emulator", "--no-such-option")))

    assert failed.what == "The emulator ended unexpectedly."
    assert "exit status is 2" in failed.why


def test_a_program_that_never_answers_is_given_up(
    program: Program, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.setattr(children, "READY_SECONDS", 0.3)
    failed = failure_of(replace(program, address=("127.0.0.1", free_port())))

    assert "does not respond" in failed.what


def test_a_program_that_will_not_stop_is_killed(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "STOP_SECONDS", 0.2)
    with Children() as running:
        running.start(program)
        running.wait_until_ready()
        child = running._running[0][1]
        os.kill(child.pid, 19)  # SIGSTOP: it cannot even hear SIGTERM
        begun = time.monotonic()

    assert (child.returncode, time.monotonic() - begun < 2) == (-9, True)


def test_O1_a_program_shows_its_name_and_no_environment(program: Program) -> None:
    secret = replace(program, environment={"PROCORE_CLIENT_SECRET": "fake-secret"})

    assert repr(secret) == f"<emulator at {program.url}>"
