"""Answers of the token endpoint that are odd, through whole sign-ins and refreshes."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from doing import meet
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import NOW, Clock, ScriptedProcore, front_door, reply, sign_in, tokens

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.janitor import ORPHANED_AFTER, sweep
from procore_signin._flow.users import disable
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._store import Store
from procore_signin._store.escrows import GiveUpTokens
from procore_signin._store.ledger import Escrowed, EscrowTokens, FailAttempt
from procore_signin._store.records import TokenRow, User
from procore_signin._store.refresh import TokenRowOf
from procore_signin.errors import (
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    StoreUnavailable,
    UnexpectedResponse,
)
from procore_signin.events import Event, Field, listen

pytestmark = pytest.mark.usefixtures("one_thread")

INVALID_GRANT = {"error": "invalid_grant"}
TOKEN, REVOKE, INFO = "/oauth/token", "/oauth/revoke", "/oauth/token/info"


@pytest.fixture
def odd() -> Iterator[list[Mapping[str, Field]]]:
    """Collect the facts of each odd response."""
    told: list[Mapping[str, Field]] = []
    stop = listen(lambda event, fields: told.append(fields) if event is Event.ANSWER_ODD else None)
    yield told
    stop()


def row_of(door: ProcoreSignIn, user: User) -> TokenRow:
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=door.context.now()))
    assert row is not None
    return row


def pair_of(row: TokenRow) -> tuple[str, str | None]:
    refresh = row.tokens.refresh_token
    return row.tokens.access_token.reveal(), None if refresh is None else refresh.reveal()


def renamed(response: HttpResponse, **headers: str) -> HttpResponse:
    return replace(response, headers={n.replace("_", "-"): v for n, v in headers.items()})


ODD: dict[str, HttpResponse] = {
    "lifetime as text": tokens(7, expires_in="5400"),
    "lifetime null": tokens(7, expires_in=None),
    "lifetime 0": tokens(7, expires_in=0),
    "lifetime of a century": tokens(7, expires_in=3_155_760_000),
    "token type null": tokens(7, token_type=None),
    "error null": tokens(7, error=None),
    "error invalid_grant": tokens(7, error="invalid_grant"),
    "status 201": replace(tokens(7), status=201),
    "status 299": replace(tokens(7), status=299),
    "a page": renamed(tokens(7), content_type="text/html"),
    "gzip": replace(
        renamed(tokens(7), content_encoding="gzip"), body=gzip.compress(tokens(7).body)
    ),
    "a mark before it": replace(tokens(7), body=b"\xef\xbb\xbf" + tokens(7).body),
    "bytes after it": replace(tokens(7), body=tokens(7).body + b"\0\0"),
    "cut off": replace(tokens(7), body=tokens(7).body[:-1], whole=False),
    "UTF-16": replace(tokens(7), body=tokens(7).body.decode().encode("utf-16")),
    "half a surrogate pair": tokens(7, name="\ud800"),
    "200 kB": tokens(7, name="x" * 200_000, error=""),
}


@pytest.mark.parametrize("case", ODD)
def test_T9_a_refresh_keeps_the_pair_of_an_odd_answer(
    case: str,
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    odd: list[Mapping[str, Field]],
) -> None:
    user = sign_in(door).user
    clock.advance(5400)
    procore.next(TOKEN, ODD[case])
    assert door.fresh_tokens(user).access_token.reveal() == "fake-access-7"
    assert len(procore.exchanges) == 2
    assert pair_of(row_of(door, user)) == ("fake-access-7", "fake-refresh-7")
    assert [(each["environment"], each["user"]) for each in odd] == [("emulator", user.id)]
    clock.advance(5400)
    door.fresh_tokens(user)
    assert procore.exchanges[-1]["refresh_token"] == "fake-refresh-7"


@pytest.mark.parametrize("case", ODD)
def test_T9_a_sign_in_keeps_the_pair_of_an_odd_answer(
    case: str, door: ProcoreSignIn, procore: ScriptedProcore, odd: list[Mapping[str, Field]]
) -> None:
    procore.next(TOKEN, ODD[case])
    user = sign_in(door).user
    assert pair_of(row_of(door, user)) == ("fake-access-7", "fake-refresh-7")
    assert procore.revoked == []
    assert [set(each) for each in odd] == [{"environment", "odd", "attempt"}]


def test_O1_T9_what_is_told_of_an_odd_answer_is_no_value(
    door: ProcoreSignIn, procore: ScriptedProcore, odd: list[Mapping[str, Field]]
) -> None:
    procore.next(TOKEN, replace(tokens(7, expires_in="c4n4ry", c4n4ry=1), status=201))
    sign_in(door)
    assert odd[0]["odd"] == "status,expires_in"


def test_T5_a_refresh_token_that_cannot_be_read_leaves_the_old_one(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    user = sign_in(door).user
    for value in (None, "", 7):
        clock.advance(5400)
        procore.next(TOKEN, tokens(7, refresh_token=value))
        door.fresh_tokens(user)
    assert pair_of(row_of(door, user)) == ("fake-access-7", "fake-refresh-1")


def test_T9_an_access_token_that_cannot_be_read_costs_one_call_and_not_the_grant(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    user = sign_in(door).user
    clock.advance(5400)
    procore.next(TOKEN, tokens(7, access_token="two\nlines"))
    with pytest.raises(ProcoreUnavailable, match="the next call asks") as refusal:
        door.fresh_tokens(user)
    assert (refusal.value.ambiguous, refusal.value.retry_after) == (False, 1)
    assert door.fresh_tokens(user).access_token.reveal() == "fake-access-2"
    assert procore.exchanges[-1]["refresh_token"] == "fake-refresh-7"


def test_T9_an_answer_cut_off_before_the_refresh_token_is_asked_for_again(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    user = sign_in(door).user
    clock.advance(5400)
    procore.next(TOKEN, replace(tokens(7), body=tokens(7).body[:60], whole=False))
    assert door.fresh_tokens(user).access_token.reveal() == "fake-access-2"
    sent = [form["refresh_token"] for form in procore.exchanges[1:]]
    assert sent == ["fake-refresh-1", "fake-refresh-1"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_T10_a_status_that_says_not_now_ends_no_grant(
    status: int, door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    user = sign_in(door).user
    clock.advance(5400)
    refusal = reply(status, INVALID_GRANT)
    procore.next(TOKEN, refusal, refusal)
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    procore.forget(TOKEN)
    clock.advance(400)
    assert door.fresh_tokens(user).access_token.reveal() == "fake-access-2"


@pytest.mark.parametrize("status", [400, 401])
def test_T10_a_refusal_of_the_authorization_server_ends_the_grant(
    status: int, door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    user = sign_in(door).user
    clock.advance(5400)
    procore.next(TOKEN, reply(status, INVALID_GRANT))
    with pytest.raises(GrantLost):
        door.fresh_tokens(user)
    with pytest.raises(GrantLost):
        door.fresh_tokens(user)
    assert len(procore.exchanges) == 2


UNUSABLE: dict[str, tuple[HttpResponse, list[str]]] = {
    "no access token": (tokens(7, access_token=None), ["fake-refresh-7"] * 2),
    "two lines": (tokens(7, access_token="two\nlines"), ["fake-refresh-7"] * 2),
    "cut off": (
        replace(tokens(7), body=tokens(7).body[:60], whole=False),
        ["fake-access-7"],
    ),
    "an outage with a pair": (
        replace(tokens(7), status=503),
        ["fake-access-7", "fake-refresh-7"],
    ),
    "a redirect with a pair": (
        replace(tokens(7), status=302),
        ["fake-access-7", "fake-refresh-7"],
    ),
    "no token at all": (reply(200, b"<html>"), []),
    "a refusal": (reply(400, INVALID_GRANT), []),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_T9_a_sign_in_revokes_what_it_finds_in_an_answer_that_it_cannot_use(
    case: str, door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    answer, revoked = UNUSABLE[case]
    procore.next(TOKEN, answer)
    with pytest.raises(ProcoreSignInError):
        sign_in(door)
    assert procore.revoked == revoked
    assert door.store.ask(Escrowed(NOW + 10_000)) == []
    assert len(procore.exchanges) == 1


def test_T9_what_could_not_be_revoked_stays_in_the_ledger_until_the_janitor_has(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    procore.next(TOKEN, tokens(7, access_token=None))
    procore.next(REVOKE, reply(503, b""))
    with pytest.raises(UnexpectedResponse):
        sign_in(door)
    clock.advance(ORPHANED_AFTER + 1)
    procore.next(INFO, reply(401, {"error": "invalid_token"}))
    procore.next(TOKEN, reply(400, INVALID_GRANT))
    door.run(sweep(door.context))
    assert procore.revoked[1:] == ["fake-refresh-7"] * 2
    assert door.store.ask(Escrowed(NOW + 10_000)) == []


def test_T9_what_is_found_is_revoked_although_the_database_fails(
    door: ProcoreSignIn, procore: ScriptedProcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise StoreUnavailable("The database is away")

    def answer(_: HttpRequest) -> HttpResponse:
        for command in (EscrowTokens, GiveUpTokens, FailAttempt):
            meet(monkeypatch, Store, command, down)
        return tokens(7, access_token=None)

    procore.next(TOKEN, answer)
    with pytest.raises(UnexpectedResponse):
        sign_in(door)
    assert procore.revoked == ["fake-refresh-7"] * 2


def test_T9_a_pair_that_a_withdrawal_brings_is_kept_and_revoked_though_the_answer_is_odd(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    user = sign_in(door).user
    procore.next(INFO, reply(401, {"error": "invalid_token"}))
    procore.next(TOKEN, tokens(7, expires_in=None, token_type=None))
    door.run(disable(door.context, user.id))
    assert {"fake-access-7", "fake-refresh-7"} <= set(procore.revoked)


def test_T9_only_a_request_that_spends_nothing_is_repeatable(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    user = sign_in(door).user
    clock.advance(5400)
    door.fresh_tokens(user)
    for request in procore.requests:
        assert request.repeatable is (urlsplit(request.url).path != TOKEN)


other_members = st.dictionaries(
    st.sampled_from(["token_type", "expires_in", "error", "created_at", "scope", "x"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    max_size=4,
)
headers = st.dictionaries(
    st.sampled_from(["content-type", "content-encoding", "retry-after", "x-request-id"]),
    st.text(max_size=9) | st.sampled_from(["text/html", "gzip", "60"]),
    max_size=3,
)
junk = st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\0", b" ", b")]}'", b"}", b'"', b"{"])


@st.composite
def mutated(draw: st.DrawFn) -> HttpResponse:
    """Draw a good response with the pair 7, and something else than the pair changed."""
    members = {"access_token": "fake-access-7", "refresh_token": "fake-refresh-7"}
    body = json.dumps(draw(other_members) | members).encode()
    body = draw(junk) + body + draw(junk)
    return HttpResponse(draw(st.sampled_from([200, 201, 202, 299])), draw(headers), body)


def test_T9_no_mutation_that_leaves_both_tokens_readable_loses_the_pair() -> None:
    clock, procore = Clock(), ScriptedProcore()

    @settings(deadline=None, max_examples=60)
    @given(mutated(), mutated())
    def holds(exchanged: HttpResponse, refreshed: HttpResponse) -> None:
        procore.next(TOKEN, exchanged)
        user = sign_in(door).user
        assert pair_of(row_of(door, user)) == ("fake-access-7", "fake-refresh-7")
        procore.next(TOKEN, refreshed)
        door.fresh_tokens(user, rejected=row_of(door, user).generation)
        assert pair_of(row_of(door, user)) == ("fake-access-7", "fake-refresh-7")

    with (
        tempfile.TemporaryDirectory() as folder,
        front_door(Path(folder), procore, clock) as door,
    ):
        holds()
