"""Who is connected to which user of the application, on every database (row L5)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from procore_signin._store import CompletedSignIn, Store
from procore_signin._store.access import DeleteUser, DisableUser, DisconnectUser
from procore_signin._store.linking.links import (
    ForgetReference,
    Link,
    ReferencesOf,
    ReferencesOfProcoreUser,
    Unlink,
    UsersOfReference,
    add_link,
)
from procore_signin._store.records import NewLink, NewSession, reference_of
from procore_signin._store.sessions import BindSession, SessionsOf
from procore_signin.errors import AlreadyLinked

NOW = 1_800_000_000
SignIn = Callable[..., CompletedSignIn]


def link(store: Store, user_id: int, reference: str, **allowed: bool) -> bool:
    return store.do(Link(user_id, NewLink(reference, **allowed), now=NOW)) is not None


def ids_of(store: Store, reference: str) -> list[int]:
    found = store.ask(UsersOfReference(reference, environment="emulator"))
    return [user.id for user in found]


def test_a_link_is_found_from_both_ends_and_made_once(store: Store, sign_in: SignIn) -> None:
    user = sign_in().user
    assert link(store, user.id, "42") is True
    assert link(store, user.id, "42") is False
    assert store.ask(UsersOfReference("42", environment="emulator")) == [user]
    assert store.ask(ReferencesOf(user.id)) == ["42"]
    assert ids_of(store, "43") == []


def test_a_reference_is_compared_exactly(store: Store, sign_in: SignIn) -> None:
    ann, bob = sign_in(1, cookie="a").user, sign_in(2, cookie="b").user
    link(store, ann.id, "abc")
    assert ids_of(store, "ABC") == []
    assert ids_of(store, "ábc") == []
    assert link(store, bob.id, "ABC") is True


def test_an_environment_has_links_of_its_own(store: Store, sign_in: SignIn) -> None:
    here = sign_in(7, cookie="p", environment="emulator").user
    there = sign_in(7, cookie="m", environment="monthly").user
    link(store, here.id, "42")
    assert link(store, there.id, "42") is True
    assert ids_of(store, "42") == [here.id]


def test_I1_one_number_in_two_environments_has_references_of_its_own_in_each(
    store: Store, sign_in: SignIn
) -> None:
    here = sign_in(7, cookie="p", environment="emulator").user
    there = sign_in(7, cookie="m", environment="monthly").user
    link(store, here.id, "42")
    link(store, there.id, "43")
    found = {
        environment: store.ask(ReferencesOfProcoreUser(7, environment=environment))
        for environment in ("emulator", "monthly", "production")
    }
    assert found == {"emulator": ["42"], "monthly": ["43"], "production": []}


def test_L5_one_user_has_one_reference_and_the_reverse(store: Store, sign_in: SignIn) -> None:
    ann, bob = sign_in(1, cookie="a").user, sign_in(2, cookie="b").user
    link(store, ann.id, "42")
    with pytest.raises(AlreadyLinked, match="Procore account is connected"):
        link(store, ann.id, "43")
    with pytest.raises(AlreadyLinked, match="user of this application is connected"):
        link(store, bob.id, "42")
    assert (ids_of(store, "42"), ids_of(store, "43")) == ([ann.id], [])


def test_L5_several_are_connected_where_the_application_allows_it(
    store: Store, sign_in: SignIn
) -> None:
    ann, bob = sign_in(1, cookie="a").user, sign_in(2, cookie="b").user
    link(store, ann.id, "42", several_users=True)
    assert link(store, bob.id, "42", several_users=True) is True
    assert ids_of(store, "42") == [ann.id, bob.id]
    assert link(store, ann.id, "43", several_references=True) is True
    assert store.ask(ReferencesOf(ann.id)) == ["42", "43"]


def test_L5_of_many_who_connect_the_same_reference_at_once_one_does(
    store: Store, sign_in: SignIn
) -> None:
    users = [sign_in(each, cookie=str(each)).user.id for each in range(1, 7)]

    def connect(user_id: int) -> bool:
        try:
            return link(store, user_id, "42")
        except AlreadyLinked:
            return False

    with ThreadPoolExecutor(len(users)) as threads:
        made = list(threads.map(connect, users))
    assert made.count(True) == 1
    assert ids_of(store, "42") == [users[made.index(True)]]


def test_a_link_is_undone_alone_or_with_all_of_a_user(store: Store, sign_in: SignIn) -> None:
    user = sign_in().user
    for reference in ("1", "2", "3"):
        link(store, user.id, reference, several_references=True)
    assert store.do(Unlink(user.id, "2")) == 1
    assert store.do(Unlink(user.id, "2")) == 0
    assert store.ask(ReferencesOf(user.id)) == ["1", "3"]
    assert store.do(Unlink(user.id)) == 2
    assert ids_of(store, "1") == []


def test_L7_disconnecting_undoes_every_connection_of_the_user_and_disabling_none(
    store: Store, sign_in: SignIn
) -> None:
    ann, bob = sign_in(1, cookie="a").user, sign_in(2, cookie="b").user
    for reference in ("1", "2"):
        link(store, ann.id, reference, several_references=True)
    link(store, bob.id, "3")
    store.do(DisableUser(ann.id, now=NOW))
    assert store.ask(ReferencesOf(ann.id)) == ["1", "2"]
    ended = store.do(DisconnectUser(ann.id, now=NOW))
    assert ended is not None
    assert ended.unlinked == 2
    assert store.ask(ReferencesOf(ann.id)) == []
    assert ids_of(store, "3") == [bob.id]


def test_L9_a_reference_that_is_gone_leaves_no_connection_and_no_session(
    store: Store, sign_in: SignIn
) -> None:
    here = sign_in(7, cookie="p", environment="emulator").user
    there = sign_in(7, cookie="m", environment="monthly").user
    for user in (here, there):
        link(store, user.id, "42")
        (session,) = store.ask(SessionsOf(user.id, now=NOW))
        store.do(BindSession(session.id, "42"))
    assert store.do(ForgetReference("42", environment="emulator")) == [here.id]
    assert ids_of(store, "42") == []
    assert store.ask(SessionsOf(here.id, now=NOW)) == []
    assert store.ask(ReferencesOf(there.id)) == ["42"]
    assert len(store.ask(SessionsOf(there.id, now=NOW))) == 1
    assert store.do(ForgetReference("42", environment="emulator")) == []


def test_links_go_with_their_user(store: Store, sign_in: SignIn) -> None:
    user = sign_in().user
    link(store, user.id, "42")
    store.do(DeleteUser(user.id, now=NOW))
    assert ids_of(store, "42") == []


def test_there_is_no_link_to_a_user_who_does_not_exist(store: Store) -> None:
    with pytest.raises(ValueError, match="no user 1"):
        link(store, 1, "42")


@pytest.mark.parametrize("value", ["", "a" * 256, "a\0b", "a\nb", "ann "])
def test_a_reference_that_no_table_should_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 characters that print"):
        reference_of(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [("ann", "ann"), (42, "42"), (UUID(int=42), f"{'0' * 8}-0000-0000-0000-{42:012x}")],
)
def test_a_reference_is_what_applications_have_as_primary_key(value: Any, text: str) -> None:
    assert reference_of(value) == text


@pytest.mark.parametrize("value", [None, 1.5, True, b"1", object()])
def test_a_reference_that_is_no_key_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="A reference is text, a whole number or a UUID, such as"):
        reference_of(value)  # type: ignore[arg-type]  # what a caller without types may do


def test_L1_a_session_belongs_to_the_first_login_it_is_bound_to_unless_it_is_moved(
    store: Store, sign_in: SignIn
) -> None:
    user = sign_in().user
    [session] = store.ask(SessionsOf(user.id, now=NOW))
    assert session.reference is None
    assert store.do(BindSession(session.id, "42")) is True
    assert store.do(BindSession(session.id, "43")) is False
    assert store.ask(SessionsOf(user.id, now=NOW))[0].reference == "42"
    assert store.do(BindSession(session.id, "43", move=True)) is True
    assert store.ask(SessionsOf(user.id, now=NOW))[0].reference == "43"


def test_L3_a_connection_ends_the_sessions_of_the_account_beside_other_users(
    store: Store, sign_in: SignIn
) -> None:
    joe, zoe = sign_in(1, cookie="bob's").user, sign_in(2, cookie="zoe's").user
    for cookie in ("ann's", "phone's"):
        sign_in(1, cookie=cookie)
    [phone, own, other] = store.ask(SessionsOf(joe.id, now=NOW))
    [hers] = store.ask(SessionsOf(zoe.id, now=NOW))
    for session, reference in ((own, "ann"), (other, "bob"), (hers, "bob")):
        assert store.do(BindSession(session.id, reference)) is True

    assert store.do(Link(joe.id, NewLink("ann"), now=NOW)) == 1

    kept = [(session.id, session.reference) for session in store.ask(SessionsOf(joe.id, now=NOW))]
    assert kept == [(phone.id, None), (own.id, "ann")]
    assert len(store.ask(SessionsOf(zoe.id, now=NOW))) == 1, "another account is not touched"
    assert store.do(Link(joe.id, NewLink("ann"), now=NOW)) is None


def test_where_an_account_may_have_several_users_a_connection_ends_no_session(
    store: Store, sign_in: SignIn
) -> None:
    user = sign_in().user
    [session] = store.ask(SessionsOf(user.id, now=NOW))
    store.do(BindSession(session.id, "bob"))
    assert link(store, user.id, "ann", several_references=True) is True
    assert len(store.ask(SessionsOf(user.id, now=NOW))) == 1


def test_what_is_connected_already_is_looked_up_once(store: Store, sign_in: SignIn) -> None:
    user = sign_in().user
    link(store, user.id, "42")
    again = add_link(user.id, NewLink("42"), now=NOW)
    outcomes: list[Any] = [("emulator",), [("42",)]]  # the user's row, their references
    next(again)
    again.send(outcomes[0])
    with pytest.raises(StopIteration) as done:
        again.send(outcomes[1])
    assert done.value.value is None


@pytest.mark.parametrize("who", ["known", "new"])
def test_L3_a_sign_in_beside_a_login_is_compared_where_it_is_written(
    store: Store, sign_in: SignIn, who: str
) -> None:
    """Someone may have been connected since the flow compared it."""
    ann = sign_in(1, cookie="a").user
    link(store, ann.id, "ann")
    beside = NewLink("bob" if who == "known" else "ann")
    with pytest.raises(AlreadyLinked):
        sign_in(1 if who == "known" else 2, cookie="b", beside=beside)
    assert len(store.ask(SessionsOf(ann.id, now=NOW))) == 1, "nothing was written"
    for number, reference in ((1, "ann"), (2, "bob")):
        sign_in(number, cookie=f"c{number}", beside=NewLink(reference))
    sign_in(1, cookie="d", beside=NewLink("bob", several_references=True))
    assert store.ask(ReferencesOf(ann.id)) == ["ann"], "it connects no one"


def test_L3_a_connection_and_a_sign_in_beside_someone_else_wait_for_each_other(
    store: Store, sign_in: SignIn
) -> None:
    """Whichever is first, no session of hers is left beside him."""
    ann = sign_in(1, cookie="a").user

    def sign_in_beside_bob(turn: int) -> None:
        with contextlib.suppress(AlreadyLinked):
            session = {"session": NewSession(f"{turn:064}", "{}", None, NOW + 60, NOW + 60, "bob")}
            sign_in(1, cookie=f"b{turn}", beside=NewLink("bob"), **session)

    with ThreadPoolExecutor(2) as pool:
        for turn in range(8):
            store.do(Unlink(ann.id))
            one = pool.submit(sign_in_beside_bob, turn)
            other = pool.submit(link, store, ann.id, "ann")
            assert other.result() is True
            one.result()
            left = store.ask(SessionsOf(ann.id, now=NOW))
            assert [each.reference for each in left if each.reference is not None] == []


def test_L3_a_session_is_not_bound_to_another_login_than_that_of_who_is_connected(
    store: Store, sign_in: SignIn
) -> None:
    ann = sign_in(1, cookie="a").user
    [session] = store.ask(SessionsOf(ann.id, now=NOW))
    link(store, ann.id, "ann")
    with pytest.raises(AlreadyLinked):
        store.do(BindSession(session.id, "bob", beside=(ann.id, NewLink("bob"))))
    assert store.do(BindSession(session.id, "ann", beside=(ann.id, NewLink("ann")))) is True
