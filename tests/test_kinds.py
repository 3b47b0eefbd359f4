"""What is of the wrong kind is named when the application starts, not when someone signs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from procore_signin import AsyncProcoreSignIn, Hooks, Login, Options, ProcoreSignIn, environments
from procore_signin._store.keys.keyring import KeyRing
from procore_signin.web.fastapi import sign_in_routes
from procore_signin.web.flask import sign_in_blueprint

ANYTHING: Any = lambda _: None  # noqa: E731  # a function where an object of ours belongs
NO_FUNCTION: Any = True


def door(kind: Any, **more: Any) -> Any:
    return kind(
        environment=environments.emulator("http://127.0.0.1:4568"),
        client_id="fake-id",
        client_secret="fake-secret",  # not one
        redirect_uri="http://localhost:8000/procore/callback",
        keys=KeyRing.generate(lambda count: b"\x07" * count, key_id="k1"),
        **more,
    )


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: door(ProcoreSignIn, hooks=ANYTHING), "hooks is a procore_signin.Hooks, such as"),
        (lambda: door(AsyncProcoreSignIn, hooks=ANYTHING), "such as Hooks\\(may_sign_in=…\\)"),
        (lambda: Hooks(may_sign_in=NO_FUNCTION), "Hooks\\(may_sign_in=…\\) takes a function"),
        (lambda: Hooks(on_sign_out=NO_FUNCTION), "Hooks\\(on_sign_out=…\\) takes a function"),
        (
            lambda: Login(user=NO_FUNCTION),
            "Login\\(user=…\\) takes a function",
        ),
        (lambda: Login(ANYTHING, log_in=NO_FUNCTION), "Login\\(log_in=…\\) takes a function"),
        (lambda: Options(login=ANYTHING), "login is a procore_signin.Login, such as Login\\(user"),
        (lambda: Options(look=ANYTHING), "look is a procore_signin.Look, such as Look\\(logo"),
        (lambda: Options(render=NO_FUNCTION), "Options\\(render=…\\) takes a function"),
        (lambda: sign_in_routes(door(AsyncProcoreSignIn), ANYTHING), "such as Options"),
        (lambda: sign_in_blueprint(door(ProcoreSignIn), ANYTHING), "such as Options"),
    ],
)
def test_what_is_of_the_wrong_kind_is_named_at_once(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        make()
