"""Where the token cannot be seen, and what is loaded and closed when."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
import traceback
from typing import Any

import httpx2
import pytest
from tests.api.conftest import Answering, MakeAnswer
from tests.api.world import COMPANY, ME, World

from procore_signin import api
from procore_signin._api.shared import shared_by
from procore_signin.api import ApiUnreachable, NotSent


def test_O1_the_token_is_not_in_what_a_caller_can_see_of_a_call(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "status", status=401)
    response = world.client(COMPANY).get(ME)
    sent = response.request

    seen = [
        sent.headers.raw,
        sent.extensions,
        vars(sent),
        response.headers.raw,
        response.extensions,
        [vars(earlier.request) for earlier in response.history],
        pickle.dumps(response),
    ]
    assert world.bearer not in repr(seen)


def test_O1_a_hook_does_not_see_it_either(world: World) -> None:
    seen: list[str] = []

    def look(request: httpx2.Request) -> None:
        seen.append(repr((request.headers.raw, request.extensions)))

    async def look_too(request: httpx2.Request) -> None:
        look(request)

    face: Any = world.client()
    face.client.event_hooks = {"request": [look if world.colour == "sync" else look_too]}
    face.get(ME)

    assert seen
    assert world.bearer not in seen[0]


def test_O1_the_token_is_in_no_log_at_debug(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    world.emulator.fault(f"GET {ME}", "status", status=401)
    client = world.client(COMPANY)
    first = world.bearer
    client.get(ME)
    world.emulator.fault(f"GET {ME}", "drop-after-commit")
    with pytest.raises(ApiUnreachable):
        client.get(ME)

    assert "receive_response_headers" in caplog.text  # the library did talk
    assert first not in caplog.text
    assert world.bearer not in caplog.text


@pytest.mark.parametrize("fault", ["drop-after-commit", "huge"])
def test_O1_the_token_is_in_no_error_and_no_traceback(world: World, fault: str) -> None:
    world.emulator.fault(f"GET {ME}", fault)
    options = api.ApiOptions(max_body=1000)

    with pytest.raises(api.ApiError) as raised:
        world.client(options=options).get(ME)
    shown = "".join(traceback.format_exception(raised.value))
    assert world.bearer not in f"{shown} {raised.value!r} {vars(raised.value)}"


def test_O1_a_header_that_cannot_be_sent_shows_no_token(world: World) -> None:
    with pytest.raises(NotSent) as raised:
        world.client().get(ME, headers={"x-note": "a\nb"})

    shown = "".join(traceback.format_exception(raised.value))
    assert world.bearer not in shown


def test_the_library_loads_httpx2_only_for_the_api() -> None:
    program = (
        "import json, sys, procore_signin\n"
        "from procore_signin import ProcoreSignIn, AsyncProcoreSignIn\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('http')]))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert {"httpx2", "httpcore2"} & set(json.loads(shown.stdout)) == set()


def test_what_clients_share_is_closed_and_may_be_opened_again(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    server = answering(answer(200, b"[]"))
    world.client(at=server.origin).get(ME)
    world.close_api(server.origin)
    world.close_api(server.origin)
    world.client(at=server.origin).get(ME)

    assert server.connections == 2


def test_closing_what_was_never_opened_is_harmless(world: World) -> None:
    world.close_api(world.emulator.url)


def test_O6_a_front_door_that_is_gone_leaves_nothing_behind(world: World) -> None:
    from procore_signin._api import shared  # noqa: PLC0415  # looks inside on purpose

    before = len(shared._SHARED)
    door = world.spare_door()
    shared_by(door)
    assert before + 1 == len(shared._SHARED)
    door.close()
    del door
    gc.collect()

    assert before == len(shared._SHARED)


def test_a_client_that_is_closed_leaves_the_connections_to_the_others(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    server = answering(answer(200, b"[]"))
    face: Any = world.client(at=server.origin)
    face.get(ME)
    face.close()
    world.client(at=server.origin).get(ME)

    assert server.connections == 1
