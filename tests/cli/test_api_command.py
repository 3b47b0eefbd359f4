"""`procore-signin api`: what it sends, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import typer
from commands import PROGRAM
from terminal import Terminal

from procore_signin._cli.personal.api_command import Call, Options, call_of
from procore_signin._cli.personal.api_fields import body_of, fields_of, headers_of
from procore_signin._cli.personal.json_query import QueryFailed, QueryInvalid, compile_query
from procore_signin.emulator import Emulator, Exchange

PROJECTS = "/rest/v1.0/projects"
COMPANY = ("--company", "8089")


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator.started() as emulator:
        for number in range(5):
            emulator.project(100 + number, 8089, f"Project {number}")
        yield emulator


@pytest.fixture(scope="module")
def logged_in(running: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    terminal = Terminal(running, tmp_path_factory.mktemp("person"))
    assert terminal.log_in().status == 0
    return terminal


@pytest.fixture
def terminal(logged_in: Terminal) -> Iterator[Terminal]:
    yield logged_in
    logged_in.emulator.clear_faults()


def last(terminal: Terminal) -> Exchange:
    return terminal.emulator.requests[-1]


def test_a_path_alone_is_a_get_and_the_answer_is_one_line_of_json(terminal: Terminal) -> None:
    done = terminal.run("api", "/rest/v1.0/me")

    assert (done.status, done.err, done.out.count("\n")) == (0, "", 1)
    assert json.loads(done.out)["id"] == 11111


def test_the_command_of_the_documentation_lists_projects(terminal: Terminal) -> None:
    done = terminal.run("api", "GET", PROJECTS, *COMPANY, "--paginate", "-f", "per_page=2")

    assert done.status == 0
    assert [each["name"] for each in json.loads(done.out)] == [
        *(f"Project {number}" for number in range(5)),
        "Sandbox Test Project",
    ]
    pages = [each for each in terminal.emulator.requests if each.target.startswith(PROJECTS)][-3:]
    sent = [dict(parse_qsl(urlsplit(page.target).query)) for page in pages]
    assert [(each["company_id"], each.get("page")) for each in sent] == [
        ("8089", None),
        ("8089", "2"),
        ("8089", "3"),
    ]
    assert {dict(page.request_headers)["procore-company-id"] for page in pages} == {"8089"}


def test_a_query_prints_texts_bare_and_other_values_as_json(terminal: Terminal) -> None:
    name = terminal.run("api", PROJECTS, *COMPANY, "--query", "[0].name")
    member = "[-1].{id: id, company: company.name}"
    objects = terminal.run("api", PROJECTS, *COMPANY, "-q", member)
    quoted = terminal.run("api", PROJECTS, *COMPANY, "-q", "[0].name", "--json")

    assert name.out == "Project 0\n"
    assert objects.out == '{"id":2783683,"company":"Sandbox Test Company"}\n'
    assert quoted.out == '"Project 0"\n'


def test_headers_and_fields_are_sent(terminal: Terminal) -> None:
    done = terminal.run(
        *("api", PROJECTS, *COMPANY, "-H", "X-Trace: 7", "-f", "filters[by_status]=Active"),
        *("-f", "per_page=1"),
    )

    sent = last(terminal)
    assert (done.status, dict(sent.request_headers)["x-trace"]) == (0, "7")
    assert dict(parse_qsl(urlsplit(sent.target).query)) == {
        "filters[by_status]": "Active",
        "per_page": "1",
        "company_id": "8089",
    }


def test_a_body_is_made_of_fields_and_its_refusal_told_by_the_status(terminal: Terminal) -> None:
    refusal = '{"message": "Resource not found"}'
    terminal.emulator.fault("POST /rest/v1.0/things", "status", status=404, body=refusal)
    done = terminal.run(
        *("api", "POST", "/rest/v1.0/things", *COMPANY),
        *("-f", "thing[name]=007", "-F", "thing[count]=7", "-F", "ids[]=1", "-F", "ids[]=2"),
    )

    sent = last(terminal)
    assert (sent.method, sent.target) == ("POST", "/rest/v1.0/things")
    assert dict(sent.request_headers)["content-type"] == "application/json"
    assert json.loads(sent.request_body) == {"thing": {"name": "007", "count": 7}, "ids": [1, 2]}
    assert done.status == 4
    assert json.loads(done.out)["message"] == "Resource not found"
    assert "got status 404" in done.err


@pytest.mark.parametrize("place", ["file", "-"])
def test_a_body_comes_from_a_file_or_the_standard_input(
    terminal: Terminal, tmp_path: Path, place: str
) -> None:
    body = b'{"a": "\xc3\xa9"}'
    (tmp_path / "body.json").write_bytes(body)
    name = str(tmp_path / "body.json") if place == "file" else "-"

    terminal.run("api", "PUT", "/rest/v1.0/x", "--input", name, "-f", "run=1", stdin=body)

    sent = last(terminal)
    assert (sent.method, sent.target) == ("PUT", "/rest/v1.0/x?run=1")
    assert sent.request_body == body


def test_the_status_and_the_headers_can_be_seen_and_the_token_cannot(terminal: Terminal) -> None:
    done = terminal.run("api", "--include", "/rest/v1.0/companies", "-f", "per_page=1")

    head, _, body = done.out.partition("\n\n")
    assert head.startswith("HTTP 200 OK\n")
    assert "\ntotal: 2\n" in head
    assert json.loads(body)[0]["id"] == 8089
    assert "authorization" not in done.out.lower()
    assert "bearer" not in done.out.lower()


def test_a_head_prints_nothing_but_what_is_asked_for(terminal: Terminal) -> None:
    assert terminal.run("api", "HEAD", "/rest/v1.0/me").out == ""
    assert terminal.run("api", "HEAD", "/rest/v1.0/me", "-i").out.startswith("HTTP 200")


@pytest.mark.parametrize(
    ("route", "kind", "settings", "status", "words"),
    [
        ("/rest/*", "status", {"status": 422}, 4, "got status 422"),
        ("/rest/*", "status", {"status": 403}, 4, "got status 403"),
        ("/rest/*", "status", {"status": 500}, 5, "got status 500"),
        ("/rest/*", "drop-before-commit", {}, 5, ""),
        ("/rest/*", "redirect", {}, 1, "Redirects are not followed"),
        ("/rest/*", "rate-limit", {}, 0, ""),
    ],
)
def test_the_exit_status_says_what_to_do(
    terminal: Terminal, route: str, kind: str, settings: dict[str, Any], status: int, words: str
) -> None:
    terminal.emulator.fault(route, kind, **settings)

    done = terminal.run("api", "/rest/v1.0/me")

    assert (done.status, words in done.err, "Traceback" in done.err) == (status, True, False)


def test_R9_a_token_that_is_always_refused_is_renewed_once(terminal: Terminal) -> None:
    terminal.emulator.fault("/rest/*", "status", status=401, times=None)
    before = len(terminal.emulator.token_requests)

    done = terminal.run("api", "/rest/v1.0/me")

    assert done.status == 4
    assert len(terminal.emulator.token_requests) == before + 1


def test_a_company_that_is_missing_is_asked_for(terminal: Terminal) -> None:
    done = terminal.run("api", PROJECTS)

    assert (done.status, "Cure: Name the company: --company" in done.err) == (4, True)


def test_P2_a_link_that_leads_elsewhere_is_not_followed_and_nothing_is_printed(
    terminal: Terminal,
) -> None:
    terminal.emulator.fault("/rest/*", "link")

    done = terminal.run("api", "/rest/v1.0/companies", "--paginate", "-f", "per_page=1")

    assert (done.status, done.out, "leads to another host" in done.err) == (1, "", True)


def test_what_is_no_json_comes_out_as_it_is(terminal: Terminal) -> None:
    terminal.emulator.fault("/rest/*", "body", body="a,b\n\xff\x00")
    plain = terminal.run("api", "/rest/v1.0/me")
    terminal.emulator.fault("/rest/*", "body", body="a,b\n")
    queried = terminal.run("api", "/rest/v1.0/me", "-q", "id")

    assert (plain.status, plain.out) == (0, "a,b\n\N{REPLACEMENT CHARACTER}\x00")
    assert (queried.status, queried.out, "not JSON" in queried.err) == (1, "", True)


@pytest.mark.parametrize(
    ("body", "out"),
    [
        ('{"a": 9007199254740993, "b": 0.1}', '{"a":9007199254740993,"b":0.1}\n'),
        ('["\\ud800"]', '["\\ud800"]\n'),
        ('{"a": 1e999}', '{"a": 1e999}'),
        ("[NaN]", "[NaN]"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_numbers_and_texts_survive(terminal: Terminal, body: str, out: str) -> None:
    terminal.emulator.fault("/rest/*", "body", body=body)

    done = terminal.run("api", "/rest/v1.0/me")

    assert (done.status, done.out) == (0, out)


def test_at_a_terminal_json_is_indented_and_moves_no_cursor(terminal: Terminal) -> None:
    terminal.emulator.fault("/rest/*", "body", body='{"name": "\\u00e9\\u009b2J\\u202e"}', times=2)

    shown = _at_a_terminal(terminal, "api", "/rest/v1.0/me")
    bare = _at_a_terminal(terminal, "api", "/rest/v1.0/me", "-q", "name")

    assert shown == '{\r\n  "name": "\xe9\\u009b2J\\u202e"\r\n}\r\n'
    assert bare == "\xe9\N{REPLACEMENT CHARACTER}2J\N{REPLACEMENT CHARACTER}\r\n"


def test_a_closed_pipe_ends_quietly(terminal: Terminal) -> None:
    process = terminal.start("api", "/rest/v1.0/me")
    process.stdout.close()
    err = process.stderr.read().decode()
    process.wait(30)
    process.close()

    assert "Traceback" not in err


def _at_a_terminal(terminal: Terminal, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=terminal.folder,
        env=terminal.environment | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65_536):
            shown += piece
    except OSError:
        pass  # the other end is closed: Linux says so with EIO
    os.close(ours)
    process.wait(30)
    return shown.decode()


@pytest.mark.parametrize(
    ("words", "options", "call"),
    [
        (["/x"], Options(), Call("GET", "/x", {}, {}, None)),
        (["delete", "/x"], Options(), Call("DELETE", "/x", {}, {}, None)),
        (
            ["/x?b=1&b=2"],
            Options(raw_fields=["a=b=c"]),
            Call("GET", "/x", {"b": ["1", "2"], "a": ["b=c"]}, {}, None),
        ),
        (
            ["/rest/v1.1/projects"],
            Options(company=7),
            Call("GET", "/rest/v1.1/projects", {"company_id": ["7"]}, {}, None),
        ),
        (
            ["/rest/v1.0/projects?company_id=8"],
            Options(company=7),
            Call("GET", "/rest/v1.0/projects", {"company_id": ["8"]}, {}, None),
        ),
        (
            ["/rest/v1.0/companies/7/users"],
            Options(company=7),
            Call("GET", "/rest/v1.0/companies/7/users", {}, {}, None),
        ),
        (
            ["/rest/v2.0/companies/7/x"],
            Options(company=7),
            Call("GET", "/rest/v2.0/companies/7/x", {}, {}, None),
        ),
        (
            ["PATCH", "/rest/v1.0/x"],
            Options(company=7, fields=["a=true", "b=null", "c=-3", "d=03"]),
            Call(
                "PATCH",
                "/rest/v1.0/x",
                {},
                {"Content-Type": "application/json"},
                b'{"a": true, "b": null, "c": -3, "d": "03"}',
            ),
        ),
        (
            ["POST", "/x"],
            Options(headers=["content-type: text/csv"], fields=["a=1"]),
            Call("POST", "/x", {}, {"content-type": "text/csv"}, b'{"a": 1}'),
        ),
    ],
)
def test_a_command_line_is_one_call(words: list[str], options: Options, call: Call) -> None:
    assert call_of(words, options) == call


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["GET", "/x", "/y"], Options()),
        (["FETCH", "/x"], Options()),
        (["x"], Options()),
        (["//evil.example/x"], Options()),
        (["https://evil.example/x"], Options()),
        (["/x"], Options(input="-")),
        (["POST", "/x"], Options(paginate=True)),
        (["/x"], Options(paginate=True, include=True)),
        (["/x"], Options(fields=["a"])),
        (["/x"], Options(raw_fields=["=a"])),
        (["/x"], Options(headers=["a"])),
        (["/x"], Options(headers=["a: b\r\nc: d"])),
    ],
)
def test_P1_what_makes_no_call_is_wrong_usage(words: list[str], options: Options) -> None:
    with pytest.raises(typer.BadParameter):
        call_of(words, options)


@pytest.mark.parametrize(
    "name", ["Authorization", "host", "Content-Length", "Procore-Company-Id", "accept-encoding"]
)
def test_P1_P4_headers_that_decide_where_and_who_cannot_be_set(name: str) -> None:
    with pytest.raises(typer.BadParameter, match="cannot be set"):
        headers_of([f"{name}: x"])


def test_wrong_usage_ends_with_2_and_sends_nothing(terminal: Terminal) -> None:
    before = len(terminal.emulator.requests)

    for words in (
        ("api",),
        ("api", "/x", "--company", "0"),
        ("api", "/x", "--company", "8089\r\nX: y"),
        ("api", "/x", "-q", ".name"),
    ):
        assert terminal.run(*words).status == 2
    assert len(terminal.emulator.requests) == before


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (["a=1"], {"a": 1}),
        (["a[b][c]=x", "a[b][d]=y"], {"a": {"b": {"c": "x", "d": "y"}}}),
        (["a[]=1", "a[]=x"], {"a": [1, "x"]}),
        (["a[b][]=1"], {"a": {"b": [1]}}),
        (["a="], {"a": ""}),
        (["a=0"], {"a": 0}),
        (["a=00"], {"a": "00"}),
        (["a=1234567890123456789"], {"a": "1234567890123456789"}),
        (["a=True"], {"a": "True"}),
    ],
)
def test_fields_make_a_body(fields: list[str], body: dict[str, Any]) -> None:
    assert body_of(fields_of(fields, [])) == body


@pytest.mark.parametrize(
    "fields",
    [["a=1", "a=2"], ["a=1", "a[b]=2"], ["a[]=1", "a[b]=2"], ["a[b=1"], ["a]=1"], ["a[][b]=1"]],
)
def test_fields_that_make_no_body_are_refused(fields: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        body_of(fields_of(fields, []))


DOCUMENT = {"a": {"b": [1, 2]}, "b c": None, "list": [{"id": 1, "n": "x"}, {"id": 2}]}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("@", DOCUMENT),
        ("a.b[-1]", 2),
        ("a.b[7]", None),
        ('"b c"', None),
        ("nothing.at.all[3]", None),
        ("list[].id", [1, 2]),
        ("list[].n", ["x"]),
        ("list[].{id: id, name: n}", [{"id": 1, "name": "x"}, {"id": 2, "name": None}]),
        ("list[?id > `1`] | [0].id", 2),
        ("length(list)", 2),
    ],
)
def test_a_query_means_what_it_means_in_jmespath(query: str, found: Any) -> None:
    assert found == compile_query(query)(DOCUMENT)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "it is empty"),
        (" ", "it ends too early, at character 2"),
        ("a.", "it ends too early, at character 3"),
        ("list[", "it ends too early, at character 6"),
        (".[].name", "'.' is not expected at character 1"),
        ("a b", "'b' is not expected at character 3"),
        ("[?a = 1]", "Unknown token '=' at character 5"),
        ("'a", "Unclosed ' delimiter at character 1"),
        ("list[].{n: lenght(n)}", "there is no function lenght()"),
        ("[?starts_with(n)]", "starts_with() takes 2, and gets 1"),
        ("length(a, @)", "length() takes 1, and gets 2"),
        ("not_null()", "not_null() takes at least 1, and gets 0"),
    ],
)
def test_what_is_no_query_is_refused_with_its_place(query: str, reason: str) -> None:
    with pytest.raises(QueryInvalid) as refused:
        compile_query(query)
    assert reason == str(refused.value)


def test_a_function_may_take_as_many_as_it_wants_to() -> None:
    assert compile_query("not_null(a, b, c)")({"c": 1}) == 1


def test_what_is_no_query_is_refused_before_anything_is_sent(terminal: Terminal) -> None:
    before = len(terminal.emulator.requests)
    done = terminal.run("api", PROJECTS, *COMPANY, "--query", ".[].name")

    assert (done.status, len(terminal.emulator.requests)) == (2, before)
    told = " ".join(done.err.split())
    assert "--query: '.' is not expected at character 1. Write JMESPath" in told
    assert "such as [].name" in told


@pytest.mark.parametrize(
    ("query", "value", "reason"),
    [
        ("length(@)", 1, "length() gets number and takes string or array or object"),
        ("keys(@)", ["secret"], "keys() gets array and takes object"),
        ("max_by(@, &a)", [{"a": 1}, {"a": "x"}], "not supported between"),
        ("[::0]", [1], "step cannot be zero"),
        ("&a", {}, "not JSON serializable"),
        ("to_number('inf')", {}, "not JSON compliant"),
        ("ceil(to_number('inf'))", {}, "infinity"),
    ],
)
def test_a_query_fails_where_a_value_does_not_fit(query: str, value: Any, reason: str) -> None:
    with pytest.raises(QueryFailed) as failed:
        compile_query(query)(value)
    assert reason in str(failed.value)


def test_a_query_that_does_not_fit_the_answer_tells_why_and_the_cure(terminal: Terminal) -> None:
    done = terminal.run("api", PROJECTS, *COMPANY, "--query", "keys(@)")

    assert (done.status, done.out) == (1, "")
    assert "Why:  keys() gets array and takes object." in done.err
    assert "Cure: Look at the response without --query." in done.err
