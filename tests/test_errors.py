"""Errors leave the process as what they are: through pickle, copies, pools and job queues."""

from __future__ import annotations

import copy
import importlib
import json
import logging
import multiprocessing
import pickle
import pkgutil
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from types import MappingProxyType
from typing import Any

import httpx2
import pytest
from raising import job, made

import procore_signin
from procore_signin import SANDBOX, AccessEnded, User
from procore_signin._api.errors import ApiUnreachable, Invalid, RateLimited
from procore_signin._flow.refresh import FreshToken
from procore_signin._protocol.secret import Secret
from procore_signin._store.engine.shared_outcome import copy_of
from procore_signin.errors import (
    AttemptInvalid,
    GrantLost,
    Problem,
    ProcoreSignInError,
    ProcoreUnavailable,
    SignInRefused,
)

CANARY = "c4n4ry-access-token"


class OrderFailed(ProcoreSignInError):
    """An application's own error, whose constructor takes something else."""

    __slots__ = ("order",)

    def __init__(self, order: int, *, reason: str) -> None:
        super().__init__(f"Order {order} failed")
        self.order = order
        self.reason = reason


class ForeignError(Exception):
    """An error as many libraries have it, which pickle cannot read again."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


def every_class() -> list[type[ProcoreSignInError]]:
    """Return each class of error that any module of the package defines."""
    for module in pkgutil.walk_packages(procore_signin.__path__, "procore_signin."):
        if ".django" not in module.name and not module.name.endswith(("__main__", "env")):
            importlib.import_module(module.name)

    def below(kind: type[ProcoreSignInError]) -> Iterator[type[ProcoreSignInError]]:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)

    ours = {each for each in below(ProcoreSignInError) if each.__module__.startswith("procore_")}
    return sorted(ours, key=lambda each: each.__name__)


def facts(error: BaseException | None) -> object:
    """Return all that tells one error from another."""
    if error is None:
        return None
    attributes = {
        name: (str(value), type(value)) if isinstance(value, httpx2.Request) else value
        for name, value in vars(error).items()
    }
    for name, value in attributes.items():
        if isinstance(value, MappingProxyType):
            attributes[name] = ("read-only", dict(value))
    causes = facts(error.__cause__), error.__suppress_context__
    return type(error), str(error), repr(error), error.args, attributes, causes


def there_and_back(error: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))  # noqa: S301  # written in the line itself


CLASSES = every_class()
WAYS: list[Callable[[Any], Any]] = [
    *(partial(there_and_back, protocol=protocol) for protocol in range(6)),
    copy.copy,
    copy.deepcopy,
]
NAMES = [*(f"pickle {protocol}" for protocol in range(6)), "copy", "deepcopy"]
A_CLASS = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def test_the_walk_finds_errors_of_every_room() -> None:
    assert {ProcoreUnavailable, ApiUnreachable, RateLimited, Invalid} <= set(CLASSES)


@A_CLASS
def test_N1_an_error_is_pickled_and_copied_as_itself(kind: type[ProcoreSignInError]) -> None:
    error = made(kind)

    found = {name: facts(way(error)) for name, way in zip(NAMES, WAYS, strict=True)}

    assert found == dict.fromkeys(NAMES, facts(error))


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
def test_N1_an_error_of_an_application_that_extends_ours_is_right_by_itself(
    way: Callable[[Any], Any],
) -> None:
    error = OrderFailed(7, reason="no stock")

    same = way(error)

    assert (type(same), str(same)) == (OrderFailed, "Order 7 failed")
    assert (same.order, same.reason, same.hint) == (7, "no stock", None)


def test_N1_a_request_that_an_error_of_httpx2_carries_comes_along() -> None:
    error = made(ApiUnreachable)

    same = there_and_back(error)

    assert isinstance(same, httpx2.TransportError)
    assert (same.request.method, same.request.url) == ("GET", error.request.url)  # type: ignore[attr-defined]


@A_CLASS
def test_N1_an_error_can_be_made_of_its_arguments_alone_as_some_job_queues_do(
    kind: type[ProcoreSignInError],
) -> None:
    """Celery's result back-end keeps module, class and `args` as JSON, and calls the class."""
    error = made(kind)

    same = kind(*json.loads(json.dumps(error.args)))

    assert (type(same), str(same)) == (kind, str(error))


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_N1_celerys_result_back_end_gives_an_error_back_as_itself(serializer: str) -> None:
    """Its own memory stands in for Redis: what it keeps are the same bytes."""
    import celery  # noqa: PLC0415  # it takes half a second

    with celery.Celery(backend="cache+memory://", set_as_current=False) as app:
        app.conf.update(result_serializer=serializer, accept_content=[serializer])
        for kind in CLASSES:
            task = f"{kind.__name__} {serializer}"
            app.backend.mark_as_failure(task, made(kind))
            with pytest.raises(ProcoreSignInError) as raised:
                app.AsyncResult(task).get(timeout=20)
            assert (type(raised.value), str(raised.value)) == (kind, str(made(kind)))


def test_N1_where_nobody_says_a_request_may_have_been_carried_out() -> None:
    assert ProcoreUnavailable("no response").ambiguous is True
    assert RateLimited("too many").ambiguous is False  # never: it says so itself


@pytest.mark.parametrize("way", WAYS[:6] + WAYS[7:], ids=NAMES[:6] + NAMES[7:])
def test_N1_no_secret_leaves_with_an_error(way: Callable[[Any], Any]) -> None:
    secret = Secret(CANARY, "access token")
    error = GrantLost("it ended")
    error.about = secret  # type: ignore[attr-defined]
    error.those = [{"token": secret}]  # type: ignore[attr-defined]
    error.args = ("it ended", secret)

    same = way(error)

    assert CANARY not in repr(vars(same)) + repr(same)
    assert (same.about, same.those) == ("<access token>", "[{'token': <access token>}]")
    assert same.args == ("it ended", "<access token>")


def test_N1_a_copy_in_this_process_has_the_very_same_things() -> None:
    error = GrantLost("it ended")
    error.lock = threading.Lock()  # type: ignore[attr-defined]

    same = copy.copy(error)

    assert same.lock is error.lock  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cause", "arrives"),
    [
        (ValueError("odd"), "ValueError('odd')"),
        (OSError(28, "No space left"), "OSError(28, 'No space left')"),
        (ForeignError(code=5), f"RuntimeError('{__name__}.ForeignError: code 5')"),
        (None, "None"),
    ],
)
def test_N1_a_cause_comes_along_or_its_words_do(cause: Exception | None, arrives: str) -> None:
    error = GrantLost("it ended")
    error.__cause__ = cause

    assert repr(there_and_back(error).__cause__) == arrives


def test_N1_a_long_chain_of_causes_is_pickled_in_a_moment() -> None:
    error = first = GrantLost("0")
    for number in range(1, 200):
        error.__cause__ = error = GrantLost(str(number))

    assert there_and_back(first).__cause__.args == ("1",)


def test_N1_an_error_is_logged_with_its_notes_and_cause(caplog: pytest.LogCaptureFixture) -> None:
    same = there_and_back(made(ProcoreUnavailable))

    logging.getLogger("test").error("a job failed", exc_info=same)

    assert re.search(r"GrantLost: the cause\n.*ProcoreUnavailable: what", caplog.text, re.DOTALL)
    assert "in the job at night" in caplog.text


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_N1_a_job_of_a_process_pool_raises_what_it_raised_and_the_pool_goes_on(
    method: str,
) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        for kind in CLASSES:
            with pytest.raises(ProcoreSignInError) as raised:
                pool.submit(job, kind).result()
            expected, there = made(kind), raised.value
            assert (type(there), str(there)) == (kind, str(expected))
            assert there.__notes__ == expected.__notes__
            assert there.hint == expected.hint


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_N1_a_multiprocessing_pool_raises_what_its_job_raised(method: str) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool, pytest.raises(Invalid) as raised:
        pool.apply(job, (Invalid,))

    assert raised.value.fields == {"name": ("is missing", "is short")}


@pytest.mark.parametrize(
    "error",
    [
        made(ProcoreUnavailable),
        made(Invalid),
        AttemptInvalid("no", reason="used"),
        SignInRefused("no", reason="Not here."),
        OSError(28, "No space left on device"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ExceptionGroup("two", [ValueError("one"), ValueError("two")]),
        ForeignError(code=5),
    ],
    ids=lambda error: type(error).__name__,
)
def test_one_more_waiter_gets_the_same_error(error: Exception) -> None:
    same = copy_of(error)

    assert (type(same), str(same), same.args) == (type(error), str(error), error.args)
    assert getattr(same, "errno", None) == getattr(error, "errno", None)


def test_a_note_that_one_waiter_adds_is_not_the_others() -> None:
    error = GrantLost("it ended")
    error.add_note("first")

    copy_of(error).add_note("mine")

    assert error.__notes__ == ["first"]


@pytest.mark.parametrize(
    "value",
    [
        User(1, 2, "a@example.com", None, "sandbox", 0, 0, None),
        SANDBOX,
        Problem("PROCORE_KEYS", "is odd", "Mend it"),
        AccessEnded(
            User(1, 2, "a@example.com", "A", "sandbox", 0, 0, None),
            sessions=1,
            revocation="confirmed",
            refresh_under_way=False,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_N1_what_holds_no_secret_may_go_to_another_process(value: object) -> None:
    assert there_and_back(value) == value
    assert copy.deepcopy(value) == value


@pytest.mark.parametrize("way", [*WAYS[:6], copy.deepcopy], ids=[*NAMES[:6], NAMES[7]])
def test_V6_what_holds_a_secret_stays_in_its_process(way: Callable[[Any], Any]) -> None:
    fresh = FreshToken(Secret(CANARY, "access token"), generation=1, expires_in=60)

    with pytest.raises(TypeError, match="<access token> cannot be pickled") as refusal:
        way(fresh)

    assert CANARY not in str(refusal.value) + repr(fresh)
