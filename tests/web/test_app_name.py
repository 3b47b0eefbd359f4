"""Users in production read which application they sign in to, and never that it is a sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from procore_signin import AsyncProcoreSignIn
from procore_signin._settings import read_settings
from procore_signin.errors import SettingsInvalid
from procore_signin.testing import settings_for_tests
from procore_signin.web import flask
from procore_signin.web.fastapi import Options, sign_in_routes

CALLBACK = "https://app.example.com/procore/callback"
Make = Callable[[dict[str, str], Options], Any]


def of_fastapi(environ: dict[str, str], options: Options) -> Any:
    settings = read_settings(environ=environ, env_file=None)
    return sign_in_routes(AsyncProcoreSignIn.from_settings(settings), options)


def of_flask(environ: dict[str, str], options: Options) -> Any:
    app = Flask(__name__)
    app.config.update(environ)
    flask.SignIn(app, options=options)
    return app


@pytest.fixture(params=[of_fastapi, of_flask])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


def settings(environment: str, **more: str) -> dict[str, str]:
    return {**settings_for_tests(CALLBACK), "PROCORE_ENVIRONMENT": environment, **more}


@pytest.mark.parametrize("environment", ["production", "federal"])
def test_an_application_without_a_name_does_not_start_in_production(
    make: Make, environment: str
) -> None:
    with pytest.raises(SettingsInvalid, match="PROCORE_APP_NAME: is not set") as caught:
        make(settings(environment), Options())

    assert "Options(app_name=…)" in str(caught.value)


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "Site\nDiary"])
def test_a_name_of_the_application_follows_the_rule_of_the_setting(name: str) -> None:
    with pytest.raises(ValueError, match=r"Options\(app_name=…\) is not a name that fits"):
        Options(app_name=name)


@pytest.mark.parametrize("environment", ["production", "federal"])
def test_a_name_from_the_settings_or_from_the_application_is_enough(
    make: Make, environment: str
) -> None:
    make(settings(environment, PROCORE_APP_NAME="Site Diary"), Options())
    make(settings(environment), Options(app_name="Site Diary"))


@pytest.mark.parametrize("environment", ["sandbox", "monthly"])
def test_elsewhere_it_may_be_called_a_sample(make: Make, environment: str) -> None:
    make(settings(environment), Options())
