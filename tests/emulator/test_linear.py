"""Nothing that reads what comes from outside takes more than linear time (row E7)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from procore_signin._emulator.errors import EmulatorRefused
from procore_signin._emulator.faults.faults import Fault, Faults
from procore_signin._emulator.files.members import parse
from procore_signin._emulator.inspector import reading
from procore_signin._emulator.inspector.pages import InspectorPages
from procore_signin._emulator.inspector.redaction import shorten_secrets
from procore_signin._emulator.inspector.story import Story
from procore_signin._emulator.journal import BODY_KEPT, Exchange
from procore_signin._emulator.oauth.parameters import Malformed, body_parameters, query_parameters
from procore_signin._emulator.wire.connection import Connection
from procore_signin._emulator.wire.messages import Request
from procore_signin._emulator.wire.server import Server
from procore_signin._emulator.world.random_values import RandomValues, seeded_bytes
from procore_signin.emulator import EmulatorApp, LocalProcore

SHORT = 8_000
TIMES = 8
LONG = SHORT * TIMES
ALLOWED = 2.5
"""How many times longer than eight times as long: a quadratic one takes eight times longer."""
UNNOTICED = 0.03
"""Seconds of processor time for 64,000 characters that no one notices, whatever the ratio."""
NOBODY_WAITS = 3.0
"""Seconds of processor time for 64,000 characters, shown in every form."""


def again(text: str, length: int) -> str:
    return (text * (length // len(text) + 1))[:length]


def numbered(text: str, length: int) -> str:
    """Repeat a text with a number of six digits in it, so that no two are equal."""
    return "".join(text % number for number in range(length // len(text % 0)))


def cost(work: Callable[[], object], *, rounds: int = 3) -> float:
    """Return the seconds of processor time that the work takes at best."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def assert_linear(work: Callable[[str], object], made: Callable[[int], str]) -> None:
    short, long = made(SHORT), made(LONG)
    work(short)  # whatever is done once only
    spent, bound = cost(lambda: work(long), rounds=1), 0.0
    if UNNOTICED < spent < NOBODY_WAITS:
        bound = ALLOWED * TIMES * cost(lambda: work(short), rounds=1)
    if spent > max(UNNOTICED, bound):  # others use the machine: measure again, and better
        spent = cost(lambda: work(long))
        assert spent < NOBODY_WAITS
        assert spent < ALLOWED * TIMES * cost(lambda: work(short))


def not_linear(
    work: Callable[[str], object], made: Mapping[str, Callable[[int], str]]
) -> list[str]:
    """Return the name of each text that is read in more than linear time."""
    found = []
    for name, make in made.items():
        try:
            assert_linear(work, make)
        except AssertionError as error:
            found.append(f"{name}: {error}")
    return found


def exchange(**changes: Any) -> Exchange:
    usual: dict[str, Any] = {
        "number": 1,
        "started_at": 1.0,
        "took": 0.1,
        "caller": "app",
        "lane": "auth",
        "method": "POST",
        "target": "/oauth/token",
        "request_headers": (),
        "request_body": b"",
        "status": 200,
        "response_headers": (),
        "response_body": b"",
        "note": None,
    }
    return Exchange(**usual | changes)


FORM = (("content-type", "application/x-www-form-urlencoded"),)
PARTS = (("content-type", "multipart/form-data; boundary=b"),)
SECRET = "0123456789abcdef"

NASTY: dict[str, Callable[[int], str]] = {
    "letters": lambda n: again("a", n),
    "blanks": lambda n: again(" ", n),
    "equal signs": lambda n: again("=", n),
    "pairs": lambda n: again("a=b&", n),
    "addresses in addresses": lambda n: again("a=b?", n),
    "many secrets in a form": lambda n: numbered(f"token={SECRET}%06d&", n),
    "many secrets in JSON": lambda n: "{" + numbered(f'"token":"{SECRET}%06d",', n),
    "many secrets of different lengths": lambda n: "&".join(
        f"token={'a' * (16 + k)}" for k in range(int((2 * n) ** 0.5))
    ),
    "secrets and what they begin with": lambda n: (
        numbered(f"token={SECRET}%06d&", n // 2) + again(f"{SECRET} ", n // 2)
    ),
    "many hidden": lambda n: numbered(f"password={SECRET}%06d&", n),
    "one secret everywhere": lambda n: f"token={SECRET}&" + again(f"{SECRET} ", n),
    "paths of codes": lambda n: again("/oauth/authorize/", n),
    "paths with codes": lambda n: numbered(f"/oauth/authorize/{SECRET}%06d ", n),
    "escaped quotes": lambda n: again('"' + '\\"' * 50_000, n),
    "quotes": lambda n: again('"', n),
    "strings and blanks": lambda n: again('"a"  ', n),
    "names without values": lambda n: '{"' + again('a":', n),
    "an escaped name": lambda n: '{"' + again("\\u0061", n) + '": 1}',
    "a name and blanks": lambda n: '{"a"' + again(" ", n),
    "names": lambda n: "{" + again('"token" ', n),
    "brackets": lambda n: again("[", n),
    "a deep list": lambda n: "[" * (n // 3) + "1" + "]" * (n // 3),
    "a list in lists": lambda n: "[" * 700 + again("1,", n - 1400)[:-1] + "]" * 700,
    "a list in objects": lambda n: '{"a":' * 300 + "[" + again("1,", n - 2000) + "1]" + "}" * 300,
    "a digit": lambda n: '{"token": ' + again("1", n),
    "a fraction": lambda n: '{"token": 1.' + again("1", n) + "e5}",
    "an exponent": lambda n: '{"token": 1e' + again("1", n) + "}",
    "members": lambda n: "{" + numbered('"a%06d":1,', n) + '"a":1}',
    "one member again and again": lambda n: "{" + again('"a":1,', n) + '"a":1}',
    "inputs that do not end": lambda n: again("<input ", n),
    "an input that does not end": lambda n: "<input" + again(" ", n),
    "an input of names": lambda n: "<input " + again("name ", n) + ">",
    "an input of values": lambda n: "<input " + again("value=", n) + ">",
    "an input of quotes": lambda n: "<input " + again("name='\" ", n) + ">",
    "inputs": lambda n: numbered(f'<input name="token" value="{SECRET}%06d">', n),
    "code elements": lambda n: again('<code id="authorization_code">', n),
    "angles": lambda n: again("<", n),
    "boundaries of one character": lambda n: "-\r\ncontent-disposition" + again("-", n),
    "parts": lambda n: again('--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n', n),
    "parts with secrets": lambda n: numbered(
        f'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\n{SECRET}%06d\r\n', n
    ),
    "a part of dispositions": lambda n: "--b\r\n" + again("form-data;", n) + "\r\n\r\n\r\n--b--",
    "a part of semicolons": lambda n: (
        "--b\r\nform-data" + again("; ", n) + "\r\n\r\n\r\n--b--\r\ncontent-disposition"
    ),
    "a part of names": lambda n: (
        "--b\r\nform-data" + again('; filename="', n) + "\r\n\r\n\r\n--b--\r\ncontent-disposition"
    ),
    "a part of blanks": lambda n: "--b\r\nform-data;" + again(" ", n) + "\r\n\r\n\r\n--b--",
    "line ends": lambda n: "--b\r\ncontent-disposition" + again("\r\n", n),
    "percent signs": lambda n: again("%", n),
    "encoded": lambda n: again("%2525", n),
    "beyond ASCII": lambda n: again("ü=é&", n // 2),
    "cookies": lambda n: numbered(f"a=b{SECRET}%06d; ", n),
    "semicolons": lambda n: again(";", n),
    "semicolons and blanks": lambda n: again(";   ", n),
    "commas": lambda n: again(",", n),
}


def as_it_is_shown(text: str, **changes: Any) -> None:
    """Do what is done with an exchange until the inspector has shown it in every form."""
    story, one = Story(), exchange(**changes)
    story.add(one)
    pages = InspectorPages(app_url="http://localhost:4567", version="1.2.3")
    assert pages.page(story, "1.0", "")
    assert pages.exchange(story, one, "")
    assert pages.news(story, story.others if story.others.exchanges else story.sign_ins[0], 0, "")
    reading.query(text)


def shown_of_each_part(text: str) -> None:
    body = text.encode()[:BODY_KEPT]
    as_it_is_shown(text, request_body=body, request_headers=FORM, response_body=body)


def shown_in_the_head(text: str) -> None:
    plain = text.encode("ascii", "replace").decode().replace("\r\n", " ")
    headers = (("cookie", plain), ("x-anything", plain), ("set-cookie", plain))
    as_it_is_shown(
        plain,
        target=f"/oauth/authorize?{plain}",
        method="GET",
        caller="user",
        status=302,
        request_headers=headers,
        response_headers=(("location", f"http://localhost/?{plain}#{plain}"),),
        note=plain,
    )


def shown_as_parts(text: str) -> None:
    as_it_is_shown(text, request_body=text.encode()[:BODY_KEPT], request_headers=PARTS)


def shown_in_one_header(text: str) -> None:
    plain = text.encode("ascii", "replace").decode().replace("\r\n", " ")
    for name in ("authorization", "content-type", "accept"):
        shorten_secrets(exchange(request_headers=((name, f"Basic {plain}"),)))


def read_as_parameters(text: str) -> None:
    for headers in (*FORM, *PARTS, ("content-type", "application/json")):
        sent = Request("POST", "/oauth/token", headers=dict([headers]), body=text.encode())
        with suppress(Malformed):
            body_parameters(sent)
    with suppress(Malformed):
        query_parameters(text)
    Request("GET", "/", headers={"cookie": text}).cookie("a")


def read_as_members(text: str) -> None:
    with suppress(EmulatorRefused):
        parse(text.encode())


@pytest.mark.parametrize(
    "reads",
    [
        shown_of_each_part,
        shown_in_the_head,
        shown_as_parts,
        shown_in_one_header,
        read_as_parameters,
        read_as_members,
    ],
)
def test_E7_what_a_client_sends_is_read_in_linear_time(reads: Callable[[str], object]) -> None:
    assert not_linear(reads, NASTY) == []


def answered(scope: dict[str, Any]) -> int:
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))

    usual: dict[str, Any] = {"type": "http", "method": "GET", "path": "/login", "query_string": b""}
    usual["headers"] = [(b"host", b"localhost")]
    app = EmulatorApp(LocalProcore())
    asyncio.run(app(usual | scope, receive, send))
    return statuses[0]


REQUESTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "headers of one name": lambda text: {
        "headers": [(b"host", b"localhost")] + [(b"a", b"b")] * (len(text) // 5)
    },
    "headers of many names": lambda text: {
        "headers": [(b"host", b"localhost")] + [(b"%d" % k, b"") for k in range(len(text) // 5)] * 2
    },
    "a host": lambda text: {"headers": [(b"host", text.encode())]},
    "an origin": lambda text: {
        "method": "POST",
        "path": "/_emulator/people",
        "headers": [(b"host", b"localhost"), (b"origin", text.encode())],
    },
    "a path": lambda text: {"path": "/" + text},
    "a path of the API": lambda text: {"path": "/rest/v1.0/companies/" + text},
    "slashes": lambda text: {"path": "/login" + "/" * len(text)},
    "a code": lambda text: {"path": "/oauth/authorize/" + text},
    "an authorization request": lambda text: {
        "path": "/oauth/authorize",
        "query_string": b"client_id=emulator-client-id&state=" + text.encode(),
    },
    "where to go on": lambda text: {
        "query_string": b"continue_to=%2Foauth%2Fauthorize%3F" + text.encode()
    },
    "a bearer token": lambda text: {
        "path": "/rest/v1.0/me",
        "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer " + text.encode())],
    },
    "a mark of the stream": lambda text: {
        "path": "/_emulator/exchanges/" + text,
        "query_string": b"after=" + text.encode(),
    },
}


@pytest.mark.parametrize("made", REQUESTS.values(), ids=REQUESTS.keys())
def test_E7_a_request_is_answered_in_linear_time(made: Callable[[str], dict[str, Any]]) -> None:
    pieces = {piece: partial(again, piece) for piece in "a9[%&: /;=@"}
    assert not_linear(lambda text: answered(made(text)), pieces) == []


class Unheard(asyncio.Transport):
    """Where no one hears what is said."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: object) -> None:
        pass

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - asyncio's
        return default

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


def received(data: bytes, size: int) -> None:
    """Let a connection read these bytes in pieces."""

    async def read() -> None:
        server = Server(LocalProcore(), port=0)
        try:
            server._listening = True
            connection = Connection(server.app, server)
            connection.connection_made(Unheard())
            for start in range(0, len(data), size):
                connection.data_received(data[start : start + size])
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            server._listener.close()

    asyncio.run(read())


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\nx: ", b"a"),
        (b"GET / HTTP/1.1\r\n", b"a:b\r\n"),
        (b"", b"\r\n"),
        (b"", b"GET / HTTP/1.1\r\n\r\n"),
        (b"POST / HTTP/1.1\r\ncontent-length: 64000\r\n\r\n", b"a"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"a:b\r\n"),
    ],
)
def test_E7_bytes_are_read_in_linear_time_in_whatever_pieces_they_come(
    before: bytes, piece: bytes, size: int
) -> None:
    assert_linear(
        lambda text: received(before + text.encode(), size),
        lambda length: again(piece.decode(), length),
    )


@pytest.mark.parametrize("route", ["*a*a*a*a*a*b", "GET /*/*/*", "/" + "a" * 400, "*" * 300])
def test_E7_a_path_is_held_against_a_faults_route_in_linear_time(route: str) -> None:
    faults = Faults(RandomValues(seeded_bytes(1)))
    fault = faults.add(route, "status")
    assert isinstance(fault, Fault)
    assert_linear(lambda text: fault.matches("GET", text), lambda length: "/" + again("a", length))
    assert_linear(lambda text: fault.matches("GET", text), lambda length: again("/a", length))


def test_E7_a_route_is_no_longer_than_a_path_may_be() -> None:
    with pytest.raises(ValueError, match="500 characters"):
        Faults(RandomValues(seeded_bytes(1))).add("/" + "a" * 500, "status")


def test_E7_the_measure_finds_what_is_quadratic_and_names_it() -> None:
    def quadratic(text: str) -> object:
        return [text.count("a") for _ in range(len(text) // 8)] if text[0] == "a" else text

    pieces = {piece: partial(again, piece) for piece in "ab"}
    assert [each.partition(":")[0] for each in not_linear(quadratic, pieces)] == ["a"]


def test_E7_an_answer_nested_deep_is_shown_as_it_came() -> None:
    deep = "[" * 700 + "1" + "]" * 700
    one = exchange(response_body=deep.encode())
    pages = InspectorPages(app_url="http://localhost:4567", version="1.2.3")
    assert deep in pages.exchange(Story(), one, "")
    assert json.loads(deep)
