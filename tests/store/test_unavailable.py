"""A database that is down, locked, foreign or not migrated (rows C12, S7, O1)."""

from __future__ import annotations

import re
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
from doing import Doing, every
from sqlalchemy import Engine, create_engine, text

from procore_signin._protocol.me import Me
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import CompletedSignIn, KeyRing, NewSession, Store
from procore_signin._store.access import (
    DeleteUser,
    DisableUser,
    DisconnectUser,
    EnableUser,
    EscrowsOf,
)
from procore_signin._store.engine.address import parse_address
from procore_signin._store.engine.command import Command, LookUp, Query
from procore_signin._store.engine.statement import Statements
from procore_signin._store.escrows import GiveUpTokens
from procore_signin._store.ledger import (
    AttemptOf,
    Escrowed,
    EscrowedIn,
    EscrowTokens,
    FailAttempt,
    HasSignInUnderWay,
    PurgeAttempts,
    PutOff,
    TakeAttempt,
)
from procore_signin._store.linking.links import (
    ForgetReference,
    Link,
    ReferencesOf,
    ReferencesOfProcoreUser,
    Unlink,
    UsersOfReference,
)
from procore_signin._store.migrate import upgrade
from procore_signin._store.probe import ColumnsOf, Revision
from procore_signin._store.records import Escrow, NewLink, TokenRow, User
from procore_signin._store.refresh import (
    CommitRefresh,
    EndGrant,
    NoteAmbiguous,
    RedateLease,
    ReleaseLease,
    Settle,
    TakeLease,
    TokenRowOf,
)
from procore_signin._store.rotation.lost_keys import GiveUpLost, Lost, LostTo
from procore_signin._store.rotation.rewrap import (
    EscrowsAnew,
    KeyUses,
    OlderTokenSets,
    SetsAnew,
    UnknownKeyIds,
    WriteEscrows,
    WriteSets,
)
from procore_signin._store.schema import metadata
from procore_signin._store.sessions import (
    BindSession,
    CountSessions,
    EndOtherSessions,
    EndSessionOf,
    EndSessions,
    EndSomeSessions,
    OpenSessions,
    PurgeSessions,
    SessionAndMe,
    SessionOf,
    SessionsOf,
    TouchSession,
)
from procore_signin._store.sign_in import CompleteSignIn, JoinSignIn
from procore_signin._store.tokens import (
    EndedGrant,
    EndedGrants,
    FirstAndLastOwner,
    PurgeGrants,
    TokensOf,
    TokenStates,
)
from procore_signin._store.users import ChooseCompany, FindUsers, UserOf
from procore_signin._store.withdrawal import (
    FinishEscrow,
    HoldEscrow,
    KeepRenewed,
    ReleaseEscrow,
    ReplaceEscrow,
)
from procore_signin.errors import StoreUnavailable

NOW = 1_800_000_000
STATE = "0" * 64
USER = User(1, 11_111, "a@b.example", None, "emulator", NOW, NOW, disabled_at=None)
SET = ("which_tokens", "was_access", "was_refresh", "was_before", "access", "refresh", "before")
ESCROW = ("which_state", "was", "tokens")
Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]

# Every command and query, with values that would do.
Tokens = Callable[..., TokenSet]
NewSessions = Callable[..., NewSession]
WANTED: dict[type, Callable[[Tokens, NewSessions], Any]] = {
    TakeAttempt: lambda _t, _n: TakeAttempt(STATE, environment="emulator", now=NOW, expires_at=NOW),
    AttemptOf: lambda _t, _n: AttemptOf(STATE),
    EscrowTokens: lambda t, _n: EscrowTokens(STATE, t(), environment="emulator", now=NOW),
    Escrowed: lambda _t, _n: Escrowed(NOW),
    EscrowedIn: lambda _t, _n: EscrowedIn("emulator", NOW),
    HasSignInUnderWay: lambda _t, _n: HasSignInUnderWay("emulator", since=NOW, now=NOW),
    PutOff: lambda t, _n: PutOff([Escrow(STATE, "emulator", t())], now=NOW),
    FailAttempt: lambda _t, _n: FailAttempt(STATE, "denied", now=NOW),
    PurgeAttempts: lambda _t, _n: PurgeAttempts(NOW),
    GiveUpTokens: lambda t, _n: GiveUpTokens(
        t(), state_hash=STATE, environment="emulator", procore_id=1, refreshed=None, now=NOW
    ),
    HoldEscrow: lambda _t, _n: HoldEscrow(STATE, holder="me", now=NOW),
    ReleaseEscrow: lambda _t, _n: ReleaseEscrow(STATE, holder="me"),
    ReplaceEscrow: lambda t, _n: ReplaceEscrow(
        Escrow(STATE, "emulator", t()), outcome=None, now=NOW, holder="me"
    ),
    KeepRenewed: lambda t, _n: KeepRenewed(
        Escrow(STATE, "emulator", t()), t("newer"), outcome=None, now=NOW, holder="me"
    ),
    FinishEscrow: lambda _t, _n: FinishEscrow(STATE, holder="me", outcome=None, now=NOW),
    CompleteSignIn: lambda t, n: CompleteSignIn(
        STATE,
        me=Me(1, "joe@procore.com", None, "{}"),
        environment="emulator",
        tokens=t(),
        session=n("cookie"),
        replaces=None,
        now=NOW,
    ),
    JoinSignIn: lambda _t, n: JoinSignIn(STATE, session=n("cookie"), replaces=None, now=NOW),
    SessionOf: lambda _t, _n: SessionOf(STATE, environment="emulator", now=NOW),
    SessionAndMe: lambda _t, _n: SessionAndMe("a" * 64, environment="emulator", now=NOW),
    TouchSession: lambda _t, _n: TouchSession(1, now=NOW, idle_expires_at=NOW),
    EndSessionOf: lambda _t, _n: EndSessionOf(1, 1),
    EndSessions: lambda _t, _n: EndSessions(1),
    EndOtherSessions: lambda _t, _n: EndOtherSessions(1, 1),
    EndSomeSessions: lambda _t, _n: EndSomeSessions(),
    SessionsOf: lambda _t, _n: SessionsOf(1, NOW),
    OpenSessions: lambda _t, _n: OpenSessions(now=NOW),
    CountSessions: lambda _t, _n: CountSessions(now=NOW),
    PurgeSessions: lambda _t, _n: PurgeSessions(NOW),
    TokenRowOf: lambda _t, _n: TokenRowOf(1, "emulator", now=NOW),
    TakeLease: lambda t, _n: TakeLease(row(t), owner="me", seconds=30, now=NOW),
    RedateLease: lambda t, _n: RedateLease(row(t), now=NOW),
    NoteAmbiguous: lambda t, _n: NoteAmbiguous(row(t), now=NOW),
    ReleaseLease: lambda t, _n: ReleaseLease(row(t), owner="me", retry_in=1, now=NOW),
    CommitRefresh: lambda t, _n: CommitRefresh(row(t), t("newer"), now=NOW),
    Settle: lambda t, _n: Settle(row(t), now=NOW),
    EndGrant: lambda t, _n: EndGrant(row(t), owner="me", now=NOW),
    UserOf: lambda _t, _n: UserOf(1),
    FindUsers: lambda _t, _n: FindUsers(email="joe@procore.com"),
    ChooseCompany: lambda _t, _n: ChooseCompany(1, 42),
    TokensOf: lambda _t, _n: TokensOf(1, "emulator"),
    FirstAndLastOwner: lambda _t, _n: FirstAndLastOwner(),
    TokenStates: lambda _t, _n: TokenStates(1, now=NOW),
    EndedGrants: lambda _t, _n: EndedGrants(before=NOW),
    PurgeGrants: lambda _t, _n: PurgeGrants([EndedGrant(1, 1, "emulator", "lost", 1)], before=NOW),
    DisableUser: lambda _t, _n: DisableUser(1, now=NOW),
    DisconnectUser: lambda _t, _n: DisconnectUser(1, now=NOW),
    EnableUser: lambda _t, _n: EnableUser(1),
    DeleteUser: lambda _t, _n: DeleteUser(1, now=NOW),
    EscrowsOf: lambda _t, _n: EscrowsOf(USER),
    KeyUses: lambda _t, _n: KeyUses(),
    BindSession: lambda _t, _n: BindSession(1, "ann"),
    ForgetReference: lambda _t, _n: ForgetReference("ann", environment="emulator"),
    Link: lambda _t, _n: Link(1, NewLink("ann"), now=1),
    Unlink: lambda _t, _n: Unlink(1),
    UsersOfReference: lambda _t, _n: UsersOfReference("ann", environment="emulator"),
    ReferencesOf: lambda _t, _n: ReferencesOf(1),
    ReferencesOfProcoreUser: lambda _t, _n: ReferencesOfProcoreUser(11_111, environment="emulator"),
    UnknownKeyIds: lambda _t, _n: UnknownKeyIds(),
    OlderTokenSets: lambda _t, _n: OlderTokenSets(),
    SetsAnew: lambda _t, _n: SetsAnew(after=0, limit=1),
    EscrowsAnew: lambda _t, _n: EscrowsAnew(after="", limit=1),
    WriteSets: lambda _t, _n: WriteSets([dict.fromkeys(SET, "1")]),
    WriteEscrows: lambda _t, _n: WriteEscrows([dict.fromkeys(ESCROW, "1")]),
    LostTo: lambda _t, _n: LostTo("old", limit=1),
    GiveUpLost: lambda _t, _n: GiveUpLost(Lost([(1, 1, "emulator", 1, "sealed")], [], [])),
    Revision: lambda _t, _n: Revision(),
    ColumnsOf: lambda _t, _n: ColumnsOf("users"),
}


def row(tokens: Tokens) -> TokenRow:
    """Return a row as someone read it before."""
    return TokenRow(
        id=1,
        user_id=1,
        environment="emulator",
        generation=1,
        access_token=tokens().access_token,
        open_tokens=tokens,
        status="ok",
        ambiguous=0,
        expires_in=1,
        lifetime=1,
        leased=False,
        retry_in=0,
        disabled=False,
        procore_id=1,
    )


def test_every_command_and_query_of_the_store_is_tried_here() -> None:
    assert set(WANTED) == every(Command, Query, LookUp) - {LookUp}


@pytest.mark.parametrize("kind", WANTED)
def test_N2_a_command_shows_none_of_its_values_and_does_not_change(
    kind: type, tokens: Tokens, new_session: NewSessions
) -> None:
    wanted = WANTED[kind](tokens, new_session)
    assert repr(wanted) == f"{kind.__name__}(…)"
    for field in fields(wanted):
        with pytest.raises(FrozenInstanceError):
            setattr(wanted, field.name, None)
    assert not hasattr(wanted, "__dict__")


@pytest.fixture
def calls(tokens: Tokens, new_session: NewSessions) -> dict[str, Callable[[Store], object]]:
    """Everything that a store can be asked, by its name."""

    def call(wanted: Any) -> Callable[[Store], object]:
        return lambda store: store.do(wanted) if isinstance(wanted, Command) else store.ask(wanted)

    return {kind.__name__: call(make(tokens, new_session)) for kind, make in WANTED.items()}


def refusal(store: Store, call: Callable[[Store], object]) -> StoreUnavailable | None:
    """Return the error of a call, or None where it does something else."""
    try:
        call(store)
    except StoreUnavailable as refused:
        return refused
    except Exception:  # noqa: BLE001 - another one is as wrong as none
        return None
    return None


def test_S7_C12_whatever_a_store_is_asked_that_is_not_migrated_names_the_cure(
    unmigrated_url: str, keys: KeyRing, calls: dict[str, Callable[[Store], object]]
) -> None:
    cure = "Run: procore-signin db upgrade"

    def names_it(call: Callable[[Store], object]) -> bool:
        store = Store(unmigrated_url, keys)
        refused = refusal(store, call)
        store.close()
        return refused is not None and refused.hint == cure and str(refused).endswith(cure)

    assert [name for name, call in calls.items() if not names_it(call)] == []


DOWN = {
    "sqlite": "sqlite:////missing/test.db",
    "postgresql": "postgresql://joe:S3cret@127.0.0.1:9/signin",
    "mariadb": "mariadb://joe:S3cret@127.0.0.1:9/signin",
}


@pytest.mark.parametrize("name", DOWN)
def test_S7_C12_every_method_says_that_the_database_is_down_and_never_its_password(
    name: str, keys: KeyRing, calls: dict[str, Callable[[Store], object]]
) -> None:
    def says_so(call: Callable[[Store], object]) -> bool:
        store = Store(DOWN[name], keys)
        refused = refusal(store, call)
        store.close()
        told = "".join(traceback.format_exception(refused)) if refused else "S3cret"
        return (
            refused is not None
            and refused.__context__ is None
            and "S3cret" not in told
            and "joe" not in told.replace("joe@procore.com", "")
            and parse_address(DOWN[name]).label in str(refused)
            and refused.hint
            in {
                "Start it, or correct PROCORE_DATABASE_URL.",
                "Create it: procore-signin db upgrade",
            }
        )

    assert [name for name, call in calls.items() if not says_so(call)] == []


@pytest.mark.parametrize(
    ("kind", "url", "cure"),
    [
        ("postgresql", "postgresql://postgres@127.0.0.1:5432/procore_signin_nowhere", "createdb"),
        ("mariadb", "mariadb://root@127.0.0.1:3306/procore_signin_nowhere", "CREATE DATABASE"),
        ("mariadb", "mariadb://root:S3cret@127.0.0.1:3306/mysql", "Correct PROCORE_DATABASE_URL"),
        ("mariadb", "mariadb://nobody:S3cret@127.0.0.1:3306/x", "Correct PROCORE_DATABASE_URL"),
    ],
    indirect=["kind"],
)
def test_a_server_that_refuses_is_told_from_one_that_is_down(
    kind: str, url: str, cure: str, keys: KeyRing, migrated_url: str
) -> None:
    assert migrated_url.startswith(kind)  # and so the server is there
    store = Store(url, keys)
    with pytest.raises(StoreUnavailable, match=cure) as refusal:
        store.probe()
    store.close()
    assert "S3cret" not in str(refusal.value)
    with pytest.raises(StoreUnavailable, match=re.escape(str(refusal.value))):
        upgrade(url)  # the very command that the cure of other failures names


def test_a_migrated_database_answers_the_probe(store: Store) -> None:
    store.probe()


def test_a_store_is_of_no_use_once_it_is_closed(
    new_store: Callable[..., Store],
    calls: dict[str, Callable[[Store], object]],
    sign_in: SignIn,
) -> None:
    store = new_store()
    sign_in(through=store)
    store.close()
    told = {name: str(refusal(store, call)) for name, call in calls.items()}
    words = "was closed by this application"
    assert [name for name, said in told.items() if words not in said] == []


def test_sqlite_reads_inline_and_has_one_writer(store: Store, kind: str) -> None:
    assert {store.reads_inline, store.single_writer} == {kind == "sqlite"}


@contextmanager
def row_lock(engine: Engine, kind: str) -> Iterator[None]:
    """Hold the lock that someone's long transaction would hold on every person."""
    with engine.connect() as connection:
        if kind == "sqlite":
            connection.execute(text("UPDATE users SET name = 'held'"))
        else:
            connection.execute(text("SELECT id FROM users FOR UPDATE"))
        yield
        connection.rollback()


def test_a_lock_that_is_held_for_too_long_ends_the_wait_and_changes_nothing(
    new_store: Callable[..., Store], sign_in: SignIn, engine: Engine, kind: str, sql: Sql
) -> None:
    sign_in(login="before@procore.com")
    impatient = new_store(lock_timeout=0.3)
    with row_lock(engine, kind), pytest.raises(StoreUnavailable, match="locked or busy"):
        sign_in(cookie="2", login="after@procore.com", through=impatient)
    assert sql("SELECT email FROM users") == [("before@procore.com",)]
    assert not sign_in(cookie="3", through=impatient).created


def test_readers_do_not_wait_for_a_writer(
    store: Store, sign_in: SignIn, engine: Engine, kind: str, hashed: Any
) -> None:
    sign_in()
    with row_lock(engine, kind):
        session = store.ask(SessionOf(hashed("cookie"), environment="emulator", now=NOW))
    assert session is not None
    assert session.user.name == "Joe Contractor"


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_writers_of_one_store_queue_for_no_longer_than_they_may(
    new_store: Callable[..., Store],
) -> None:
    store = new_store(lock_timeout=0.2)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> Statements[None]:
        yield from ()
        inside.set()
        assert leave.wait(timeout=20)

    holder = threading.Thread(target=store.do, args=(Doing(hold),))
    holder.start()
    assert inside.wait(timeout=20)
    with pytest.raises(StoreUnavailable, match="locked or busy"):
        store.do(EndSessions(1))
    leave.set()
    holder.join()
    assert store.do(EndSessions(1)) == 0


def test_a_sqlite_file_whose_folder_is_read_only_is_told_from_a_missing_one(
    tmp_path: Path, keys: KeyRing
) -> None:
    path = tmp_path / "test.db"
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    store = Store(f"sqlite:///{path}", keys)
    connection: Any = store._database
    connection._writer = connection._open()
    connection._writer.execute("PRAGMA query_only=ON")
    with pytest.raises(StoreUnavailable, match="cannot be written to"):
        store.do(EndSessions(1))
    store.close()
