"""A script gets the same JSON from every framework, on real servers."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from hosts import Host
from pages import run_by
from person import Person

from procore_signin.emulator import DEMO_LOGIN, Emulator

SCRIPT = {"accept": "application/json", "sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"}
MOMENT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
HELD = {"application/json": 200, "application/problem+json": 401}


@pytest.fixture
def emulator(emulator_of_hosts: Emulator) -> Emulator:
    return emulator_of_hosts


def ask(person: Person, path: str, members: object = None) -> Any:
    """Ask as a script of the application's own page does, and return what is in the JSON."""
    asked = f"/procore/{path}"
    if members is None:
        answer = person.http.get(asked, headers=SCRIPT)
    else:
        answer = person.http.post(asked, headers=SCRIPT, json=members)
    assert HELD[answer.headers["content-type"]] == answer.status_code, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return neutral(answer)


def neutral(answer: httpx2.Response) -> Any:
    """Return the JSON of a response without what is another one in each database and second."""
    text = re.sub(r'"(id|reference)": ("\w+"|\d{1,3}\b)', r'"\1": "own"', answer.text)
    found = httpx2.Response(200, text=MOMENT.sub("moment", text)).json()
    if "go_to" in found:
        found["go_to"] = found["go_to"].partition("?")[0]
    return found


def walked(host: Host, emulator: Emulator) -> list[Any]:
    with Person(host.url, emulator) as phone, Person(host.url, emulator) as joe:
        phone.sign_in("/procore/signin")
        ask(phone, "sessions/end", {"others": True})  # those of other tests
        seen = [ask(joe, "session"), ask(joe, "sessions"), ask(joe, "start", {"return_to": "/me"})]
        joe.sign_in("/procore/signin")
        seen += [ask(joe, "session"), ask(joe, "sessions"), ask(joe, "company")]
        chosen = seen[-1]["companies"][0]["id"]
        seen += [ask(joe, "company", {"company_id": chosen}), ask(joe, "session")]
        seen += [ask(joe, "sessions/end", {"others": True}), ask(phone, "session")]
        seen += [ask(joe, "sign-out", {"return_to": "/bye"}), ask(joe, "session")]
        return seen


def test_a_script_gets_the_same_everywhere(everywhere: dict[str, Host], emulator: Emulator) -> None:
    seen = {name: walked(host, emulator) for name, host in everywhere.items()}
    first = seen["fastapi"]
    assert seen == dict.fromkeys(seen, first)
    none = {
        "user": None,
        "expires_at": None,
        "environment": "emulator",
        "sign_in_url": "/procore/start",
    }
    assert first[0] == first[-1] == first[-3] == none
    assert first[1]["code"] == "not_signed_in"
    assert first[2] == {"go_to": f"{emulator.url}/oauth/authorize"}
    assert first[3]["user"]["email"] == DEMO_LOGIN
    assert [each["current"] for each in first[4]["sessions"]] == [True, False]
    assert first[7]["user"]["company_id"] == first[5]["companies"][0]["id"]
    assert [each["current"] for each in first[8]["sessions"]] == [True]
    assert first[-2] == {"go_to": "/bye"}


def test_a_body_of_another_type_is_refused_everywhere(everywhere: dict[str, Host]) -> None:
    wanted = b'{"return_to": "/me"}'
    types = ["text/plain;charset=UTF-8", "multipart/form-data; boundary=x", None]
    for name, host in everywhere.items():
        for each in types:
            told = SCRIPT if each is None else {**SCRIPT, "content-type": each}
            refused = httpx2.post(f"{host.url}/procore/start", headers=told, content=wanted)
            found = (refused.status_code, refused.json()["code"])
            assert found == (415, "body_type_wrong"), (name, each)
        empty = httpx2.post(f"{host.url}/procore/start", headers={**SCRIPT, "content-type": "x/y"})
        assert empty.status_code == 200, name


def test_a_page_of_the_application_refuses_a_script_as_the_guide_shows(
    everywhere: dict[str, Host],
) -> None:
    [shown] = run_by("not-signed-in")
    expected = neutral(httpx2.Response(401, text=shown.text))
    for name, host in everywhere.items():
        refused = httpx2.get(f"{host.url}/me", headers={"accept": "application/json"})
        assert (refused.status_code, neutral(refused)) == (401, expected), name
        assert refused.headers["content-type"] == "application/problem+json", name
