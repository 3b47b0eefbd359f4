from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import fields

import pytest
from commands import Command, Page

from procore_signin.emulator import EmulatorOptions


def test_it_prints_its_address_and_answers_there(
    command: Command, get: Callable[[str], Page]
) -> None:
    running = command.start_process("emulator", "--port", "0")
    url = running.read_until(r"Listening at +(http://127\.0\.0\.1:\d+)\n")[1]

    assert get(f"{url}/_emulator/").status == 200


def test_its_flags_register_the_client(command: Command, get: Callable[[str], Page]) -> None:
    running = command.start(
        *("emulator", "--port", "0", "--client-id", "mine", "--client-secret", "fake"),
        *("--redirect-uri", "http://localhost:9000/a", "--redirect-uri", "http://localhost:9000/b"),
    )
    url = running.read_until(r"Listening at +(http\S+)\n")[1]

    clients = get(f"{url}/_emulator/clients").body
    assert '"mine"' in clients
    assert "http://localhost:9000/a" in clients
    assert "http://localhost:9000/b" in clients


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_quietly(command: Command, number: int) -> None:
    running = command.start("emulator", "--port", "0")
    running.read_until(r"Ctrl-C stops it\.\n")
    said = running.said

    assert (running.stop(number), running.said) == (0, said)


@pytest.mark.parametrize("place", ["environment", "file"])
def test_E1_it_refuses_to_run_in_production(command: Command, place: str) -> None:
    settings = {"PROCORE_ENVIRONMENT": "production"}
    if place == "file":
        (command.folder / ".env").write_text("PROCORE_ENVIRONMENT=production\n")
        settings = {}

    done = command("emulator", "--port", "0", **settings)

    assert (done.status, done.out) == (1, "")
    assert "PROCORE_ENVIRONMENT is production" in done.err


@pytest.mark.parametrize(
    "options",
    [
        ("--host", "0.0.0.0"),  # noqa: S104  # refused, not listened on
        ("--redirect-uri", "https://app.example.com/callback"),
    ],
)
def test_E1_it_stays_on_this_machine(command: Command, options: tuple[str, str]) -> None:
    done = command("emulator", "--port", "0", *options)

    assert (done.status, "this machine" in done.err or "localhost" in done.err) == (1, True)


def test_every_option_of_the_emulator_has_a_flag(command: Command) -> None:
    shown = command("emulator", "--help").out
    flags = {"redirect_uris": "redirect-uri"}
    missing = [
        field.name
        for field in fields(EmulatorOptions)
        if f"--{flags.get(field.name, field.name.replace('_', '-'))}" not in shown
    ]

    assert missing == []
