"""Django: the app, its middleware, checks, bridge, command and admin page, in one process.

That it answers alike on real servers is shown in `test_same_verdict.py`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils import translation
from django.utils.decorators import method_decorator
from django.views import View
from flask import Flask
from hosts import FOLDER
from pages import run_by
from sample_pages import COMMON, VALUES, shape_of
from sample_pages import JOE as A_USER
from scripted import KEYS
from starlette.routing import Route

from procore_signin import AsyncProcoreSignIn
from procore_signin._store.migrate import upgrade
from procore_signin._store.records import User
from procore_signin._web import pages
from procore_signin._web.look.languages import shipped, speaking
from procore_signin.emulator import Emulator
from procore_signin.errors import (
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    SettingsInvalid,
    StoreUnavailable,
)
from procore_signin.testing import settings_for_tests
from procore_signin.web.fastapi import sign_in_routes
from procore_signin.web.flask import SignIn

ORIGIN = "http://localhost:4567"
OUR_FORM = {"sec-fetch-site": "same-origin"}
JOE = "joecontractor@procore.com"
NAMES_OF_PAGES = {
    *("signin", "start", "callback", "session", "sessions", "end_session", "sign_out"),
    *("sign_out_everywhere", "disconnect", "company", "verify"),
}


@pytest.fixture(scope="module")
def running_emulator() -> Iterator[Emulator]:
    with Emulator.started(redirect_uris=(f"{ORIGIN}/procore/callback",)) as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator: Emulator) -> Emulator:
    running_emulator.reset()
    return running_emulator


@pytest.fixture(scope="module")
def host(running_emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Django, set up as the host's module sets it up; it can be set up once in a process."""
    folder = tmp_path_factory.mktemp("django")
    settings = {
        "DJANGO_FOLDER": str(folder),
        "PROCORE_ENVIRONMENT": "emulator",
        "PROCORE_EMULATOR_URL": running_emulator.url,
        "PROCORE_REDIRECT_URI": f"{ORIGIN}/procore/callback",
        "PROCORE_DATABASE_URL": f"sqlite:///{folder / 'test.db'}",
        "PROCORE_KEYS": KEYS.reveal(),
        "PROCORE_RATE_LIMIT": "0",
    }
    upgrade(settings["PROCORE_DATABASE_URL"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(FOLDER)
        for name, value in settings.items():
            patch.setenv(name, value)
        module = importlib.import_module("django_host")
        call_command("migrate", verbosity=0)
        yield module
        sys.modules["procore_signin.web.django"].procore.close()


@pytest.fixture(autouse=True)
def _as_if_new(host: Any) -> Iterator[None]:
    """Let each test have its own process's sign-in, made from whatever settings it overrides."""
    del host
    installed = importlib.import_module("procore_signin.web.django.installed").installed
    installed.cache_clear()
    yield
    if installed.cache_info().currsize:
        installed().procore.close()
    installed.cache_clear()


@pytest.fixture
def client(emulator: Emulator) -> Client:
    del emulator
    return browser()


def browser(**more: Any) -> Client:
    return Client(headers={"host": "localhost:4567", "accept": "text/html"}, **more)


def sign_in(
    client: Client, emulator: Emulator, login: str = JOE, page: str = "", *, status: int = 303
) -> HttpResponse:
    """Go through a whole sign-in and return the callback's answer."""
    shown = client.get(f"/procore/signin{page}").content.decode()
    button = shown.split('href="http', 1)[1]
    url = "http" + button[button.index("://") :].split('"', 1)[0].replace("&amp;", "&")
    back = urlsplit(emulator.approve(url, login=login))
    answer: HttpResponse = client.get(f"{back.path}?{back.query}")
    assert answer.status_code == status, answer.content
    return answer


def test_signing_in_makes_somebody_the_requests_user(client: Client, emulator: Emulator) -> None:
    assert client.get("/who").json() is None
    assert client.get("/me")["location"] == "/procore/signin?return_to=/me"
    assert sign_in(client, emulator, page="?return_to=/me")["location"] == "/me"
    assert client.get("/me").json() == JOE
    assert client.get("/who").json() == JOE


def test_a_program_that_is_not_signed_in_is_told_so(client: Client) -> None:
    answer = client.get("/me", headers={"accept": "*/*"})
    assert (answer.status_code, answer["content-type"]) == (401, "application/problem+json")


def test_an_async_view_awaits_the_user(client: Client, emulator: Emulator) -> None:
    sign_in(client, emulator)
    cookies = "; ".join(f"{name}={each.value}" for name, each in client.cookies.items())

    async def visit() -> list[tuple[int, str]]:
        asked = {"accept": "text/html"}
        answers = [
            await AsyncClient().get("/ame", headers=asked | {"cookie": cookies}),
            await AsyncClient().get("/ame", headers=asked),
            await AsyncClient().get("/me", headers=asked | {"cookie": cookies}),
        ]
        return [(answer.status_code, answer.content.decode()) for answer in answers]

    expected = (200, f'"{JOE}"')
    with override_settings(ALLOWED_HOSTS=["testserver"]):  # the only one that this client names
        found = asyncio.run(visit())
    assert found == [expected, (303, ""), expected]


def test_an_async_view_that_would_block_the_loop_is_told_what_to_write(
    client: Client, emulator: Emulator
) -> None:
    del client, emulator

    async def visit() -> None:
        await AsyncClient().get("/blocking")

    with (
        override_settings(ALLOWED_HOSTS=["testserver"]),
        pytest.raises(SynchronousOnlyOperation, match=r"await request\.aprocore_user"),
    ):
        asyncio.run(visit())


def test_a_class_can_be_guarded(client: Client, emulator: Emulator, host: Any) -> None:
    from django.urls import path  # noqa: PLC0415  # once Django is set up

    @method_decorator(importlib.import_module(ACCESS).signed_in, name="dispatch")
    class Page(View):  # type: ignore[misc]  # Django has no types
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse(request.procore_user.email)

    with patterns(host, path("page", Page.as_view())):
        assert client.get("/page").status_code == 303
        sign_in(client, emulator)
        assert client.get("/page").content.decode() == JOE


def test_a_class_of_async_views_can_be_guarded_in_each_way(
    client: Client, emulator: Emulator, host: Any
) -> None:
    from django.urls import path  # noqa: PLC0415  # as above

    signed_in = importlib.import_module(ACCESS).signed_in

    class Page(View):  # type: ignore[misc]  # as above
        async def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse((await request.aprocore_user()).email)

    class Refused(Page):
        def dispatch(self, _request: HttpRequest) -> HttpResponse:
            return HttpResponse("of no coroutine")

    below = method_decorator(signed_in, name="dispatch")
    more = (
        path("class", below(type("Below", (Page,), {})).as_view()),
        path("method", method_decorator(signed_in, name="get")(type("It", (Page,), {})).as_view()),
        path("view", signed_in(Page.as_view())),
        path("own", below(Refused).as_view()),
    )

    names = ("class", "method", "view", "own")

    async def visit(cookies: str) -> list[tuple[int, str]]:
        asked = {"accept": "text/html", "cookie": cookies}
        answers = [await AsyncClient().get(f"/{name}", headers=asked) for name in names]
        return [(answer.status_code, answer.content.decode()) for answer in answers]

    expected = [*((200, JOE) for _ in names[1:]), (200, "of no coroutine")]
    with patterns(host, *more), override_settings(ALLOWED_HOSTS=["testserver", "localhost"]):
        assert [client.get(f"/{name}").status_code for name in names] == [303] * len(names)
        assert asyncio.run(visit("")) == [(303, "")] * len(names)
        sign_in(client, emulator)
        held = "; ".join(f"{name}={each.value}" for name, each in client.cookies.items())
        answers = [client.get(f"/{name}") for name in names]
        assert [(each.status_code, each.content.decode()) for each in answers] == expected
        assert asyncio.run(visit(held)) == expected


def test_where_every_view_wants_a_log_in_the_pages_of_the_sign_in_are_open(
    host: Any, client: Client, emulator: Emulator
) -> None:
    closed = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    with override_settings(MIDDLEWARE=[*host.MIDDLEWARE[:-1], closed, host.MIDDLEWARE[-1]]):
        assert client.get("/who").status_code == 302  # the project's own view
        sign_in(client, emulator)
        session = client.get("/procore/session", headers={"accept": "application/json"})
    assert session.json()["user"]["email"] == JOE


ACCESS = "procore_signin.web.django.access"


OWN_AUTHENTICATION = (
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_host.Own",
)


def patterns(host: Any, *more: Any) -> Any:
    """Return a context in which the project has more URLs."""
    urlconf: Any = ModuleType("urls_of_a_test")
    urlconf.urlpatterns = [*more, *host.urlpatterns]
    sys.modules["urls_of_a_test"] = urlconf
    return override_settings(ROOT_URLCONF="urls_of_a_test")


def test_K7_what_a_view_says_itself_about_caching_is_kept(
    client: Client, emulator: Emulator, host: Any
) -> None:
    from django.urls import path  # noqa: PLC0415  # as above
    from django.views.decorators.cache import cache_control  # noqa: PLC0415  # as above

    view = cache_control(private=True, max_age=60)(host.who)
    with patterns(host, path("kept", view)):
        sign_in(client, emulator)
        kept, marked = client.get("/kept"), client.get("/who")
    assert kept["cache-control"] == "private, max-age=60"
    assert (marked["cache-control"], marked["vary"]) == ("no-store", "Cookie")
    assert not client.get("/").has_header("cache-control")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (GrantLost("gone"), 401, "no longer lets this application act for you"),
        (ProcoreUnavailable("slow", ambiguous=True), 503, "Procore is not answering"),
        (ProcoreSignInError("odd"), 500, "Something went wrong on our side"),
    ],
)
def test_an_error_of_ours_in_a_view_becomes_a_page_or_json(
    client: Client, host: Any, error: ProcoreSignInError, status: int, words: str
) -> None:
    from django.urls import path  # noqa: PLC0415  # as above

    def broken(_: HttpRequest) -> HttpResponse:
        raise error

    with patterns(host, path("broken", broken)):
        page = client.get("/broken")
        told = client.get("/broken", headers={"accept": "*/*"})
    assert (page.status_code, told.status_code) == (status, status)
    assert words in page.content.decode()
    assert words in told.json()["title"]


def test_a_form_that_somebody_read_before_us_is_understood(
    client: Client, emulator: Emulator, host: Any
) -> None:
    def looking(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
        def look(request: HttpRequest) -> HttpResponse:
            assert request.POST is not None
            return get_response(request)

        return look

    host.looking = looking
    others = [browser(), browser()]
    for each in (client, *others):
        sign_in(each, emulator)
    page = client.get("/procore/sessions").content.decode()
    newest = max(re.findall(r'name="session_id" value="([0-9]+)"', page), key=int)
    urlencoded = {"content_type": "application/x-www-form-urlencoded"}
    with override_settings(MIDDLEWARE=["django_host.looking", *host.MIDDLEWARE]):
        looked_at = browser()  # a client keeps the middleware of its first request
        looked_at.cookies = client.cookies
        parts = looked_at.post("/procore/sessions/end", {"session_id": newest}, headers=OUR_FORM)
        assert parts.status_code == 415, "as Django's client sends it: which cannot be read twice"
        form = f"session_id={newest}"
        answer = looked_at.post("/procore/sessions/end", form, headers=OUR_FORM, **urlencoded)
        assert answer.status_code == 303
    assert sorted(each.get("/me").status_code for each in others) == [200, 303]


# Settings and checks.


def found(**settings: Any) -> list[tuple[str, str, str]]:
    """Return what `manage.py check` says with these settings: number, sentence, hint."""
    from django.core.checks import run_checks  # noqa: PLC0415  # as above

    with override_settings(**settings):
        return [
            (str(each.id), each.msg, each.hint or "")
            for each in run_checks()
            if str(each.id).startswith("procore_signin")
        ]


def test_a_project_that_is_set_up_well_has_nothing_to_say() -> None:
    assert found() == []


def test_every_problem_of_the_settings_is_told_at_once_and_where_to_cure_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ENVIRONMENT", "KEYS", "EMULATOR_URL", "DATABASE_URL"):
        monkeypatch.delenv(f"PROCORE_{name}")
    setting = {
        "ENVIRONMENT": "sandbocks",
        "CLIENT_ID": "<client id>",
        "DATABASE_URL": "oracle://x",
        "CLIENT_SECRT": "fake",
        "REDIRECT_URI": "http://app.example.com/callback",
        "SESSION_IDLE_SECONDS": 1,
    }
    told = found(PROCORE_SIGNIN=setting)
    names = {sentence.split(" ", 1)[0] for _, sentence, _ in told}
    assert {number for number, _, _ in told} == {"procore_signin.E001"}
    assert names == {
        "PROCORE_ENVIRONMENT",
        "PROCORE_CLIENT_ID",
        "PROCORE_CLIENT_SECRET",
        "PROCORE_CLIENT_SECRT",
        "PROCORE_DATABASE_URL",
        "PROCORE_KEYS",
        "PROCORE_REDIRECT_URI",
        "PROCORE_SESSION_IDLE_SECONDS",
    }
    for _, sentence, hint in told:
        assert f'PROCORE_SIGNIN["{sentence.split(" ", 1)[0].removeprefix("PROCORE_")}"]' in hint
    assert "fake" not in str(told)


def test_names_of_the_projects_own_environment_stop_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LANGUAGE", "DATABASE_URI", "APPNAME", "LOG_LEVELS"):
        monkeypatch.setenv(f"PROCORE_{name}", "of the project")
    assert found() == []


def test_a_likely_misspelling_is_a_warning_where_its_setting_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PROCORE_KEYS")
    monkeypatch.setenv("PROCORE_KEY", KEYS.reveal())
    [(number, sentence, _)] = found()
    assert number == "procore_signin.W003"
    assert "PROCORE_KEYS (is PROCORE_KEY a misspelling of it?)" in sentence


@pytest.mark.parametrize(
    ("name", "cure"), [("APPNAME", 'Did you mean "APP_NAME"?'), ("COLOUR", "Remove it.")]
)
def test_a_name_in_the_dictionary_that_is_no_settings_is_refused(name: str, cure: str) -> None:
    [(number, sentence, hint)] = found(PROCORE_SIGNIN={name: "fake"})
    assert number == "procore_signin.E001"
    assert sentence == f"PROCORE_{name} is not a setting of procore-signin."
    assert hint == f'{cure} In settings.py it is PROCORE_SIGNIN["{name}"].'


@pytest.mark.parametrize("environment", ["production", "federal"])
def test_in_production_a_project_without_a_name_signs_no_one_in(environment: str) -> None:
    setting = {
        "ENVIRONMENT": environment,
        "CLIENT_ID": "fake-client-of-a-test",
        "CLIENT_SECRET": "fake-secret-of-a-test",
        "REDIRECT_URI": "https://app.example.com/procore/callback",
    }
    [(number, sentence, _)] = found(PROCORE_SIGNIN=setting)
    assert number == "procore_signin.W003", "a migration or a test needs no name"
    assert sentence.endswith(": PROCORE_APP_NAME.")
    with (
        override_settings(PROCORE_SIGNIN=setting),
        pytest.raises(SettingsInvalid, match="PROCORE_APP_NAME: is not set"),
    ):
        importlib.import_module("procore_signin.web.django.installed").installed()
    assert found(PROCORE_SIGNIN=setting | {"APP_NAME": "Site Diary"}) == []


def test_the_settings_of_the_project_beat_the_environment() -> None:
    from procore_signin.web.django import procore  # noqa: PLC0415  # as above

    assert procore.context.client.client_id == "emulator-client-id"
    with override_settings(PROCORE_SIGNIN={"CLIENT_ID": "of-the-project"}):
        installed = importlib.import_module("procore_signin.web.django.installed").installed
        assert installed().procore.context.client.client_id == "of-the-project"


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("sandbox", "PROCORE_SIGNIN is not a dictionary"),
        ({1: 2}, "PROCORE_SIGNIN is not a dictionary"),
        ({"HOOKS": "nowhere.to.be.found"}, "PROCORE_SIGNIN['HOOKS'] cannot be used"),
        ({"DJANGO_USER": "django_host.nothing"}, "PROCORE_SIGNIN['DJANGO_USER'] cannot be used"),
        ({"FIRST_PAGE": "https://evil.example"}, "PROCORE_SIGNIN['FIRST_PAGE'] cannot be used"),
        ({"HOOKS": print}, "PROCORE_SIGNIN['HOOKS'] cannot be used: it is a procore_signin.Hooks"),
        ({"HOOKS": "builtins.print"}, "PROCORE_SIGNIN['HOOKS'] cannot be used: it is a"),
        ({"LOGIN": print}, "PROCORE_SIGNIN['LOGIN'] cannot be used: login is a procore_signin"),
        ({"LOOK": "builtins.print"}, "PROCORE_SIGNIN['LOOK'] cannot be used: look is a"),
        ({"RENDER": 7}, "PROCORE_SIGNIN['RENDER'] cannot be used: Options(render=…) takes"),
        ({"DJANGO_USER": 7}, "PROCORE_SIGNIN['DJANGO_USER'] cannot be used: it is a function"),
    ],
)
def test_a_setting_that_only_django_has_is_checked_too(setting: object, named: str) -> None:
    [(number, sentence, hint)] = found(PROCORE_SIGNIN=setting)
    assert number == "procore_signin.E001"
    assert sentence.startswith(named)
    assert hint
    assert "In settings.py it is" not in hint  # it is named as it stands there


@pytest.mark.parametrize("more", [{}, {"KEYS": None}])
def test_a_database_that_is_none_of_the_projects_is_told_and_the_others_are_named(
    more: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROCORE_DATABASE_URL")
    if more:
        monkeypatch.delenv("PROCORE_KEYS")  # whatever else is missing
    told = found(PROCORE_SIGNIN={"DATABASE": "nope"})
    assert ("procore_signin.E001", 'PROCORE_SIGNIN["DATABASE"] is not in DATABASES.') in [
        (number, sentence) for number, sentence, _ in told
    ]
    assert 'Write one of its keys: "default".' in [hint for _, _, hint in told]
    assert len(told) == 1 + len(more)
    with (
        override_settings(PROCORE_SIGNIN={"DATABASE": "nope"}),
        pytest.raises(CommandError, match="is not in DATABASES"),
    ):
        call_command("procore_signin_upgrade")


def test_a_schema_is_refused_where_the_projects_database_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PROCORE_DATABASE_URL")
    [(number, sentence, hint)] = found(PROCORE_SIGNIN={"DATABASE_SCHEMA": "procore"})
    assert number == "procore_signin.E001"
    assert sentence == "PROCORE_DATABASE_SCHEMA cannot be used: Only PostgreSQL has schemas."
    assert 'PROCORE_SIGNIN["DATABASE_SCHEMA"]' in hint


def test_urls_elsewhere_than_the_redirect_uri_leads_are_told_and_both_are_named(
    host: Any,
) -> None:
    setting = {"REDIRECT_URI": f"{ORIGIN}/auth/callback"}
    [(number, sentence, hint)] = found(PROCORE_SIGNIN=setting)
    assert number == "procore_signin.E002"
    assert "leads to /auth/callback, but" in sentence
    assert "have their callback at /procore/callback" in sentence
    assert "Mount them at /auth," in hint
    with patterns(host):
        del sys.modules["urls_of_a_test"].urlpatterns[0]
        [(_, sentence, _)] = found()
    assert "mounted nowhere" in sentence


def test_a_start_loads_the_texts_of_no_other_language(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = importlib.import_module("procore_signin.web.django.installed")
    monkeypatch.setattr(installed, "override", pytest.fail)
    installed.check_urls()


def test_urls_in_i18n_patterns_are_told_to_stand_outside(host: Any) -> None:
    from django.conf.urls.i18n import i18n_patterns  # noqa: PLC0415  # as above

    with patterns(host):
        project: Any = sys.modules["urls_of_a_test"]
        project.urlpatterns = i18n_patterns(*host.urlpatterns)
        [(number, sentence, hint)] = found(LANGUAGE_CODE="en", LANGUAGES=[("en", ""), ("es", "")])
    assert number == "procore_signin.E002"
    assert "for each language, at /en/procore/callback and /es/procore/callback" in sentence
    assert hint.startswith("Mount them outside of i18n_patterns")


@pytest.mark.parametrize(
    ("path", "cure"),
    [
        ("/procore/callback", f"Set it to {ORIGIN}/app/procore/callback, and register that"),
        ("/app/auth/callback", "Mount them at /auth, or set it to"),
    ],
)
def test_urls_below_a_path_that_is_set_are_cured_with_that_path(path: str, cure: str) -> None:
    setting = {"REDIRECT_URI": f"{ORIGIN}{path}"}
    [(_, sentence, hint)] = found(PROCORE_SIGNIN=setting, FORCE_SCRIPT_NAME="/app")
    assert f"leads to {path}, but" in sentence
    assert hint.startswith(cure)
    assert "FORCE_SCRIPT_NAME puts /app before every path" in hint


def test_a_server_that_is_not_set_up_well_does_not_start(host: Any) -> None:
    with (
        override_settings(PROCORE_SIGNIN={"REDIRECT_URI": f"{ORIGIN}/auth/callback"}),
        pytest.raises(SettingsInvalid, match="leads to /auth/callback"),
    ):
        host.get_wsgi_application()


def test_below_a_path_that_a_proxy_takes_away_the_redirect_uri_has_it() -> None:
    from django.urls import set_script_prefix  # noqa: PLC0415  # as above

    setting = {"REDIRECT_URI": f"{ORIGIN}/app/procore/callback"}
    set_script_prefix("/app/")  # as Django does at its start where FORCE_SCRIPT_NAME says so
    try:
        assert found(PROCORE_SIGNIN=setting, FORCE_SCRIPT_NAME="/app") == []
    finally:
        set_script_prefix("/")


def test_a_missing_middleware_is_told(host: Any) -> None:
    [(number, _, hint)] = found(MIDDLEWARE=host.MIDDLEWARE[:-1])
    assert number == "procore_signin.W001"
    assert host.MIDDLEWARE[-1] in hint


def test_a_bridge_before_djangos_own_users_is_told(host: Any) -> None:
    order = [host.MIDDLEWARE[-1], *host.MIDDLEWARE[:-1]]
    setting = {"DJANGO_USER": lambda _: None}
    [(number, _, hint)] = found(MIDDLEWARE=order, PROCORE_SIGNIN=setting)
    assert number == "procore_signin.E003"
    assert "AuthenticationMiddleware" in hint


def test_a_bridge_behind_a_class_of_djangos_authentication_is_well(host: Any) -> None:
    from django.contrib.auth.middleware import AuthenticationMiddleware  # noqa: PLC0415  # as above

    host.Own = type("Own", (AuthenticationMiddleware,), {})
    order = [name.replace(*OWN_AUTHENTICATION) for name in host.MIDDLEWARE]
    assert "django_host.Own" in order
    assert found(MIDDLEWARE=order, PROCORE_SIGNIN={"DJANGO_USER": lambda _: None}) == []


def test_a_server_whose_project_lacks_the_app_does_not_start_and_names_it(host: Any) -> None:
    apps = [name for name in host.APPS if name != "procore_signin.web.django"]
    with (
        override_settings(INSTALLED_APPS=apps, PROCORE_SIGNIN={}),
        pytest.raises(
            SettingsInvalid, match=r'Add "procore_signin\.web\.django", then run: python'
        ),
    ):
        host.get_wsgi_application()


def test_A10_a_host_that_django_would_refuse_is_told() -> None:
    from django.core.checks import run_checks  # noqa: PLC0415  # as above

    [(number, sentence, _)] = found(ALLOWED_HOSTS=["app.example.com"])
    assert number == "procore_signin.W004"  # a migration or a test needs no host
    assert "localhost" in sentence
    with override_settings(ALLOWED_HOSTS=["app.example.com"]):
        deployed = {told.id for told in run_checks(include_deployment_checks=True)}
    assert "procore_signin.E004" in deployed


def test_tables_that_are_missing_are_told_and_made_by_the_command(tmp_path: Path) -> None:
    from django.core.checks import run_checks  # noqa: PLC0415  # as above

    with override_settings(PROCORE_SIGNIN={"DATABASE_URL": f"sqlite:///{tmp_path / 'new.db'}"}):
        [told] = run_checks(databases=["default"])
        assert told.id == "procore_signin.W002"
        assert told.hint == "Create it: python manage.py migrate"
        said = StringIO()
        call_command("procore_signin_upgrade", stdout=said)
        importlib.import_module("procore_signin.web.django.installed").installed().procore.close()
        importlib.import_module("procore_signin.web.django.installed").installed.cache_clear()
        assert run_checks(databases=["default"]) == []
    assert "up to date" in said.getvalue()


def test_a_test_run_opens_no_connection_before_it_forks() -> None:
    """Its processes would share it: Django's `test --parallel` forks after the checks."""
    from django.core.checks import run_checks  # noqa: PLC0415  # as above
    from django.db import connection  # noqa: PLC0415  # as above
    from django.test.utils import (  # noqa: PLC0415  # as above
        setup_test_environment,
        teardown_test_environment,
    )

    connection.close()
    setup_test_environment()
    try:
        run_checks(databases=["default"])
    finally:
        teardown_test_environment()
    assert connection.connection is None


def test_the_command_says_what_is_wrong_with_the_settings_of_the_tables() -> None:
    with (
        override_settings(PROCORE_SIGNIN={"TABLE_PREFIX": "no name"}),
        pytest.raises(CommandError, match="PROCORE_TABLE_PREFIX"),
    ):
        call_command("procore_signin_upgrade")


@pytest.mark.parametrize(("own", "prefix"), [({}, "procore_signin_"), ({"TABLE_PREFIX": ""}, "")])
def test_a_prefix_of_nothing_means_the_plain_names(
    own: dict[str, str], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For tables that were made without one, such as those of the ready application."""
    monkeypatch.delenv("PROCORE_DATABASE_URL")
    database = importlib.import_module("procore_signin.web.django.database")
    with override_settings(PROCORE_SIGNIN=own):
        assert database.naming().prefix == prefix


def test_django_makes_no_migrations_for_the_sign_in() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("more", [[], ["--all"], ["--natural-foreign"], ["procore_signin"]])
def test_a_project_can_dump_its_data(more: list[str]) -> None:
    said = StringIO()
    call_command("dumpdata", *more, stdout=said)
    assert "procore_signin.person" not in {each["model"] for each in json.loads(said.getvalue())}


# The bridge to django.contrib.auth.


def of_procore(user: User) -> Any:
    """Find the Django user of someone by Procore's number, as a project does."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above

    return get_user_model().objects.filter(username=f"procore-{user.procore_id}").first()


@pytest.fixture
def bridged(host: Any) -> Iterator[None]:
    with override_settings(PROCORE_SIGNIN={"DJANGO_USER": of_procore}):
        yield
    del host


@pytest.fixture
def joe() -> Iterator[Any]:
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above

    user = get_user_model().objects.create_user("procore-11111", is_staff=True)
    yield user
    user.delete()


def django_user(client: Client) -> str | None:
    """Return who Django says it is, by a page of its admin."""
    page = client.get("/admin/")
    found = re.search(r"<strong>(.*)</strong>", page.content.decode())
    return found[1] if page.status_code == 200 and found else None


@pytest.mark.usefixtures("bridged", "joe")
def test_the_project_says_which_django_user_is_logged_in(
    client: Client, emulator: Emulator
) -> None:
    assert django_user(client) is None
    sign_in(client, emulator)
    assert django_user(client) == "procore-11111"


@pytest.mark.usefixtures("bridged", "joe")
def test_K2_S2_logging_in_gives_djangos_session_a_new_key(
    client: Client, emulator: Emulator
) -> None:
    session = client.session
    session["planted"] = "yes"
    session.save()
    before = session.session_key
    sign_in(client, emulator)
    assert client.session.session_key != before


@pytest.mark.usefixtures("bridged", "joe")
@pytest.mark.parametrize("path", ["/procore/sign-out", "/procore/disconnect"])
def test_S3_signing_out_logs_the_django_user_out(
    client: Client, emulator: Emulator, path: str
) -> None:
    sign_in(client, emulator)
    assert client.post(path, headers=OUR_FORM).status_code == 200
    assert django_user(client) is None


@pytest.mark.usefixtures("bridged", "joe")
def test_S3_I5_whatever_ends_the_sign_in_ends_djangos_session(
    client: Client, emulator: Emulator
) -> None:
    sign_in(client, emulator)
    other = browser()
    sign_in(other, emulator)
    other.post("/procore/sign-out-everywhere", headers=OUR_FORM)
    assert django_user(client) is None


@pytest.mark.usefixtures("bridged", "joe")
def test_djangos_session_without_the_cookie_of_the_sign_in_is_nobodys(
    client: Client, emulator: Emulator
) -> None:
    sign_in(client, emulator)
    del client.cookies["procore_signin_session"]
    assert django_user(client) is None


@pytest.mark.usefixtures("bridged", "joe")
def test_I2_nobody_is_matched_by_email(client: Client, emulator: Emulator, joe: Any) -> None:
    joe.email = "mallory@example.com"
    joe.save()
    emulator.person(666, login="mallory@example.com", name="Mallory")
    sign_in(client, emulator, login="mallory@example.com")
    assert django_user(client) is None


@pytest.mark.usefixtures("bridged")
def test_C7_L8_who_is_a_django_user_that_may_not_log_in_is_not_signed_in(
    client: Client, emulator: Emulator, joe: Any
) -> None:
    joe.is_active = False
    joe.save()
    refused = sign_in(client, emulator, status=403)
    assert "You cannot use this application" in refused.content.decode()
    assert refused["referrer-policy"] == "no-referrer"
    assert django_user(client) is None
    assert client.get("/me").status_code == 303
    assert client.cookies["procore_signin_session"].value == ""


@pytest.mark.usefixtures("joe")
def test_without_a_bridge_django_logs_nobody_in(client: Client, emulator: Emulator) -> None:
    sign_in(client, emulator)
    assert django_user(client) is None


def test_a_django_user_who_logged_in_otherwise_stays(client: Client, bridged: None) -> None:
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above

    del bridged
    admin = get_user_model().objects.create_superuser("by-password")
    client.force_login(admin)
    assert django_user(client) == "by-password"
    admin.delete()


@contextmanager
def store_away(host: Any) -> Iterator[None]:
    """Take the table of sessions away: the database then does no work for the sign-in."""
    del host
    file = Path(os.environ["DJANGO_FOLDER"]) / "test.db"

    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename("sessions", "sessions_away")
    try:
        yield
    finally:
        rename("sessions_away", "sessions")


@pytest.fixture
def guarded(host: Any) -> Iterator[None]:
    """Views of a project's own, plain and async."""
    from django.urls import path  # noqa: PLC0415  # as above

    from procore_signin.web.django import signed_in  # noqa: PLC0415  # as above

    async def awaiting(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(await request.aprocore_user()))

    async def open_to_all(_: HttpRequest) -> HttpResponse:
        return HttpResponse("open")

    added = (
        path("asking", lambda request: HttpResponse(str(request.procore_user))),
        path("guarded", signed_in(lambda _: HttpResponse("in"))),
        path("awaiting", awaiting),
        path("aguarded", signed_in(open_to_all)),
        path("open", open_to_all),
    )
    with patterns(host, *added):
        yield


ASKING = ("/asking", "/guarded", "/awaiting", "/aguarded", "/procore/auth/verify")
BRIDGED = ("/open", "/admin/", "/nothing", "/procore/signin", *ASKING)


def asked(client: Client, path: str, accept: str, *, is_async: bool) -> HttpResponse:
    """Return the response to someone's browser, under WSGI or ASGI."""
    if not is_async:
        return client.get(path, headers={"accept": accept})
    waiting = AsyncClient()
    waiting.cookies = client.cookies

    async def ask() -> HttpResponse:
        response: HttpResponse = await waiting.get(path, headers={"accept": accept})
        return response

    return asyncio.run(ask())


@pytest.mark.usefixtures("guarded", "joe")
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize(
    ("bridge", "paths"), [({}, ASKING), ({"DJANGO_USER": of_procore}, BRIDGED)]
)
def test_S7_when_the_store_is_away_every_page_says_when_to_come_back(
    client: Client,
    emulator: Emulator,
    host: Any,
    *,
    is_async: bool,
    accept: str,
    bridge: dict[str, Any],
    paths: tuple[str, ...],
) -> None:
    hosts = ["localhost", "testserver"]  # the only one that the async client names
    with override_settings(PROCORE_SIGNIN=bridge, ALLOWED_HOSTS=hosts):
        sign_in(client, emulator)
        key = client.session.session_key
        with store_away(host):
            for path in paths:
                answer = asked(client, path, accept, is_async=is_async)
                assert (path, answer.status_code) == (path, 503)
                assert int(answer["retry-after"]) >= 1
                assert "no-store" in answer["cache-control"]
                assert "reference" in answer.content.decode().lower()
            answer = client.post("/procore/sign-out", headers=OUR_FORM)
            assert (answer.status_code, answer.has_header("retry-after")) == (503, True)
        assert client.get("/guarded").content == b"in"
        assert client.session.session_key == key  # and no one was signed out


@pytest.mark.usefixtures("joe")
def test_S7_a_store_that_goes_away_before_the_bridge_asks_is_told_as_such(
    client: Client, emulator: Emulator, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = importlib.import_module("procore_signin.web.django.views")
    log_in = views.log_in

    def later(*arguments: Any) -> None:
        with store_away(host):
            log_in(*arguments)

    monkeypatch.setattr(views, "log_in", later)
    with override_settings(PROCORE_SIGNIN={"DJANGO_USER": of_procore}):
        shown = client.get("/procore/signin").content.decode()
        url = shown.split('class="button" href="', 1)[1].split('"', 1)[0].replace("&amp;", "&")
        back = urlsplit(emulator.approve(url))
        answer = client.get(f"{back.path}?{back.query}")

    assert (answer.status_code, answer.has_header("retry-after")) == (503, True)
    assert "procore_signin_session" not in client.cookies


def test_O3_a_bridge_that_breaks_signs_nobody_in(
    client: Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: User) -> Any:
        raise ZeroDivisionError("secret of the project")

    with override_settings(PROCORE_SIGNIN={"DJANGO_USER": broken}):
        shown = client.get("/procore/signin").content.decode()
        url = shown.split('class="button" href="', 1)[1].split('"', 1)[0].replace("&amp;", "&")
        back = urlsplit(emulator.approve(url))
        answer = client.get(f"{back.path}?{back.query}")
        assert answer.status_code == 500
        assert "procore_signin_session" not in client.cookies
    assert "secret of the project" not in answer.content.decode()
    assert "ZeroDivisionError" in caplog.text


# The admin's pages.


@pytest.fixture
def staff(emulator: Emulator) -> Iterator[Callable[..., Client]]:
    """Return a function that opens the browser of a member of staff with these permissions."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above
    from django.contrib.auth.models import Permission  # noqa: PLC0415  # as above

    del emulator
    made: list[Any] = []

    def enter(*permissions: str) -> Client:
        user = get_user_model().objects.create_user(f"staff-{len(made)}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        made.append(user)
        client = browser(enforce_csrf_checks=True)
        client.force_login(user)
        return client

    yield enter
    for user in made:
        user.delete()


PEOPLE = "/admin/procore_signin/person/"


def person_page(staff: Client, email: str) -> str:
    page = staff.get(PEOPLE, {"q": email}).content.decode()
    [address] = re.findall(rf'href="({PEOPLE}[0-9]+/)"', page)
    return str(address)


def act(staff: Client, page: str, **form: str) -> HttpResponse:
    """Press a button of the page, with the token that the page carries."""
    token = staff.get(page).content.decode().split('csrfmiddlewaretoken" value="', 1)[1][:64]
    answer: HttpResponse = staff.post(page, {"csrfmiddlewaretoken": token, **form}, follow=True)
    return answer


def test_the_admin_lists_people_and_finds_them(
    client: Client, emulator: Emulator, staff: Callable[..., Client]
) -> None:
    emulator.person(22222, login="ann@procore.com", name="<b>Ann</b>")
    sign_in(client, emulator)
    sign_in(browser(), emulator, login="ann@procore.com")
    looker = staff("view_person")
    assert PEOPLE in looker.get("/admin/").content.decode()
    everybody = looker.get(PEOPLE).content.decode()
    assert JOE in everybody
    assert "&lt;b&gt;Ann&lt;/b&gt;" in everybody
    for wanted in ("22222", "ANN@procore.com"):
        only_ann = looker.get(PEOPLE, {"q": wanted}).content.decode()
        assert "ann@procore.com" in only_ann
        assert JOE not in only_ann
    assert "No user with that" in looker.get(PEOPLE, {"q": "nobody@example.com"}).content.decode()


def test_the_admin_turns_the_page_after_a_hundred_people(
    staff: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, emulator: Emulator
) -> None:
    for number in range(3):
        emulator.person(70 + number, login=f"many{number}@procore.com", name=None)
        sign_in(browser(), emulator, login=f"many{number}@procore.com")
    monkeypatch.setattr("procore_signin.web.django.admin.PAGE", 1)
    looker, address, seen = staff("view_person"), PEOPLE, ""
    for _ in range(50):
        page = looker.get(address).content.decode()
        seen += page
        if "More users" not in page:
            break
        address = PEOPLE + re.findall(r'href="([?]after=[0-9]+)"', page)[0]
    assert all(f"many{number}@procore.com" in seen for number in range(3))


def test_I5_the_admin_disables_somebody_whose_tokens_are_then_revoked(
    emulator: Emulator, staff: Callable[..., Client]
) -> None:
    emulator.person(50, login="leaver@procore.com", name="Leaver")
    leaver = browser()
    sign_in(leaver, emulator, login="leaver@procore.com")
    keeper = staff("view_person", "change_person")
    page = person_page(keeper, "leaver@procore.com")
    said = act(keeper, page, act="disable").content.decode()
    assert "1 session(s) ended" in said
    assert "accepts no token of this user any more" in said
    assert leaver.get("/me").status_code == 303
    assert emulator.live_grants() == []
    assert "Let this user sign in again" in said
    act(keeper, page, act="enable")
    sign_in(leaver, emulator, login="leaver@procore.com")
    assert leaver.get("/me").status_code == 200


def test_L7_the_admin_shows_a_connection_and_disconnects(
    emulator: Emulator, staff: Callable[..., Client]
) -> None:
    emulator.person(51, login="mover@procore.com", name="Mover")
    mover = browser()
    sign_in(mover, emulator, login="mover@procore.com")
    keeper = staff("view_person", "change_person")
    page = person_page(keeper, "mover@procore.com")
    door = importlib.import_module("procore_signin.web.django").procore
    [user] = [each for each in door.users() if each.procore_id == 51]
    assert "No one" in keeper.get(page).content.decode()
    door.link(user, "the user 7")
    assert "<bdi>the user 7</bdi>" in keeper.get(page).content.decode()
    said = act(keeper, page, act="disconnect").content.decode()
    assert "Disconnected. 1 session(s) ended. Procore accepts no token of this user" in said
    assert "the user 7" not in said
    assert mover.get("/me").status_code == 303
    assert door.references_of(user) == []
    sign_in(mover, emulator, login="mover@procore.com")


def test_S6_the_admin_ends_one_session_or_all(
    emulator: Emulator, staff: Callable[..., Client]
) -> None:
    emulator.person(60, login="three@procore.com", name="Three Browsers")
    browsers = [browser() for _ in range(3)]
    for each in browsers:
        sign_in(each, emulator, login="three@procore.com")
    keeper = staff("view_person", "change_person")
    page = person_page(keeper, "three@procore.com")
    shown = keeper.get(page).content.decode()
    number = shown.split('name="session_id" value="', 1)[1].split('"', 1)[0]
    act(keeper, page, act="end_session", session_id=number)
    assert sorted(each.get("/me").status_code for each in browsers) == [200, 200, 303]
    assert (
        "That session had already ended"
        in act(keeper, page, act="end_session", session_id=number).content.decode()
    )
    assert "2 session(s) ended" in act(keeper, page, act="end_sessions").content.decode()
    assert {each.get("/me").status_code for each in browsers} == {303}


def test_what_the_admin_did_stands_in_its_history(
    client: Client, emulator: Emulator, staff: Callable[..., Client]
) -> None:
    from django.contrib.admin.models import LogEntry  # noqa: PLC0415  # as above

    sign_in(client, emulator)
    keeper = staff("view_person", "change_person")
    page = person_page(keeper, JOE)
    act(keeper, page, act="end_sessions")
    newest = LogEntry.objects.latest("pk")
    assert "session(s) ended" in newest.change_message
    assert page == f"{PEOPLE}{newest.object_id}/"


def test_who_may_only_look_can_do_nothing_and_others_see_nothing(
    client: Client, emulator: Emulator, staff: Callable[..., Client]
) -> None:
    sign_in(client, emulator)
    looker, other = staff("view_person"), staff()
    page = person_page(looker, JOE)
    assert 'name="act"' not in looker.get(page).content.decode()
    bold = Client(headers={"host": "localhost:4567"})
    bold.cookies = looker.cookies
    assert bold.post(page, {"act": "disable"}).status_code == 403
    assert other.get(PEOPLE).status_code == 403
    assert other.get(page).status_code == 403
    assert client.get(PEOPLE).status_code == 302  # to the admin's own login
    assert client.get("/me").status_code == 200


def test_K8_the_admins_buttons_need_the_page_they_stand_on(
    client: Client, emulator: Emulator, staff: Callable[..., Client]
) -> None:
    sign_in(client, emulator)
    keeper = staff("view_person", "change_person")
    page = person_page(keeper, JOE)
    assert keeper.post(page, {"act": "disable"}).status_code == 403
    assert client.get("/me").status_code == 200


@pytest.mark.parametrize("path", ["999999/", "0/"])
def test_the_admin_knows_no_page_for_nobody(staff: Callable[..., Client], path: str) -> None:
    assert staff("view_person").get(f"{PEOPLE}{path}").status_code == 404


def test_an_act_of_nobodys_is_refused(
    client: Client, emulator: Emulator, staff: Callable[..., Client]
) -> None:
    sign_in(client, emulator)
    keeper = staff("view_person", "change_person")
    assert act(keeper, person_page(keeper, JOE), act="promote").status_code == 404


def test_C2_the_raw_query_is_read_under_both_gateways(host: Any) -> None:
    """Django's own `request.GET` has the last of two values; the bytes have both."""
    requests = importlib.import_module("procore_signin.web.django.requests")
    wsgi = RequestFactory().get("/procore/callback?state=a&state=b")
    assert requests.browser_request(wsgi, "/procore/callback").query == b"state=a&state=b"
    del host


# One log-out, and connections.


class RestRequest:
    """What Django REST framework gives to views: its own request around Django's."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


def test_K7_a_view_of_django_rest_framework_that_reads_the_user_is_not_cached(
    client: Client, emulator: Emulator, host: Any
) -> None:
    from django.urls import path  # noqa: PLC0415  # as above

    get_user = importlib.import_module(ACCESS).get_user

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(get_user(RestRequest(request)).email)

    with patterns(host, path("rest", view)):
        sign_in(client, emulator)
        answer = client.get("/rest")
    assert answer.content.decode() == JOE
    assert (answer["cache-control"], answer["vary"]) == ("no-store", "Cookie")


@pytest.fixture
def with_log_in(host: Any) -> Iterator[None]:
    """A project whose own users log in and out by Django's views."""
    from django.contrib.auth import get_user_model, login  # noqa: PLC0415  # as above
    from django.contrib.auth.views import LogoutView  # noqa: PLC0415  # as above
    from django.template import engines  # noqa: PLC0415  # as above
    from django.urls import path  # noqa: PLC0415  # as above

    def log_in(request: HttpRequest, name: str) -> HttpResponse:
        user, _ = get_user_model().objects.get_or_create(username=name)
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        return HttpResponse(request.procore_user.email if request.procore_user else "no one")

    def look_and_log_in(request: HttpRequest, name: str) -> HttpResponse:
        before = request.procore_user.email
        return HttpResponse(f"{before}, {log_in(request, name).content.decode()}")

    async def alog_out(request: HttpRequest) -> HttpResponse:
        from django.contrib.auth import alogout  # noqa: PLC0415  # as above

        await alogout(request)
        return HttpResponse(str(await request.aprocore_user()))

    def page(request: HttpRequest) -> HttpResponse:
        tags = (
            '{% load procore_signin %}{% procore_button return_to="/who" %}'
            '{% procore_connect_button label return_to="/who" %}{% procore_sign_out_button %}'
        )
        return HttpResponse(
            engines["django"].from_string(tags).render({"label": "Connect <it>"}, request)
        )

    def whose(request: HttpRequest) -> HttpResponse:
        from procore_signin.web.django import get_user, procore  # noqa: PLC0415  # as above

        user = procore.user_of(request.user.pk) if request.user.is_authenticated else None
        found = get_user(request)
        return HttpResponse(f"{user and user.procore_id} {found and found.procore_id}")

    more = (
        path("log-in/<name>", log_in),
        path("look-and-log-in/<name>", look_and_log_in),
        path("log-out", LogoutView.as_view(next_page="/who")),
        path("alog-out", alog_out),
        path("page", page),
        path("whose", whose),
    )
    with patterns(host, *more):
        yield


def press_connect(client: Client) -> str:
    """Press the button that connects and return Procore's address."""
    form = "application/x-www-form-urlencoded"
    sent = client.post("/procore/start", "connect=yes", form, headers=OUR_FORM)
    return str(sent["location"])


def pressed(client: Client, emulator: Emulator, login: str = JOE) -> HttpResponse:
    """Press the button that connects, and come back from Procore."""
    sent = press_connect(client)
    back = urlsplit(emulator.approve(sent, login=login))
    answer: HttpResponse = client.get(f"{back.path}?{back.query}")
    return answer


@pytest.mark.usefixtures("with_log_in")
def test_L1_djangos_own_log_out_ends_the_sign_in(client: Client, emulator: Emulator) -> None:
    client.get("/log-in/ann")
    sign_in(client, emulator)
    held = client.cookies["procore_signin_session"].value
    assert client.get("/who").json() == JOE
    client.post("/log-out")
    assert client.cookies["procore_signin_session"].value == ""
    client.cookies["procore_signin_session"] = held
    assert client.get("/who").json() is None, "the session itself has ended"


@pytest.mark.usefixtures("with_log_in")
def test_S3_djangos_own_log_out_ends_the_session_beside_no_login_too(
    client: Client, emulator: Emulator
) -> None:
    sign_in(client, emulator)
    copied = client.cookies["procore_signin_session"].value
    assert client.get("/who").json() == JOE
    client.post("/log-out")
    client.cookies["procore_signin_session"] = copied
    assert client.get("/who").json() is None


@pytest.mark.usefixtures("with_log_in")
def test_L1_a_log_in_as_someone_else_ends_the_sign_in(client: Client, emulator: Emulator) -> None:
    client.get("/log-in/ann")
    sign_in(client, emulator)
    assert client.get("/log-in/bob").content == b"no one", "at once"
    assert client.get("/who").json() is None


@pytest.mark.usefixtures("with_log_in")
def test_L1_a_view_that_looked_before_the_log_in_looks_again(
    client: Client, emulator: Emulator
) -> None:
    client.get("/log-in/ann")
    sign_in(client, emulator)
    assert client.get("/look-and-log-in/bob").content.decode() == f"{JOE}, no one"


@pytest.mark.usefixtures("with_log_in")
def test_L1_a_sign_in_from_before_the_log_in_stays_and_ends_with_it(
    client: Client, emulator: Emulator
) -> None:
    sign_in(client, emulator)
    assert client.get("/log-in/ann").content.decode() == JOE
    client.post("/log-out")
    client.get("/log-in/bob")
    assert client.get("/who").json() is None


@pytest.mark.usefixtures("with_log_in")
def test_L1_an_async_log_out_ends_the_sign_in_too(client: Client, emulator: Emulator) -> None:
    client.get("/log-in/ann")
    sign_in(client, emulator)
    assert client.get("/alog-out").content == b"None"
    assert client.get("/who").json() is None


@pytest.mark.usefixtures("with_log_in")
def test_L8_a_django_user_who_is_not_active_lets_no_one_in(
    client: Client, emulator: Emulator
) -> None:
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above

    door = importlib.import_module("procore_signin.web.django").procore
    client.get("/log-in/eve")
    assert pressed(client, emulator).status_code == 303
    eve = get_user_model().objects.filter(username="eve")
    another = browser()
    eve.update(is_active=False)
    refused = sign_in(another, emulator, status=403)
    assert "You cannot use this application" in refused.content.decode()
    eve.update(is_active=True)
    sign_in(another, emulator)
    door.disconnect(door.user_of(eve.get().pk))


@pytest.mark.usefixtures("with_log_in")
def test_L8_a_reference_of_another_kind_than_the_keys_of_today_is_of_someone_who_is_gone(
    client: Client, emulator: Emulator
) -> None:
    door = importlib.import_module("procore_signin.web.django").procore
    sign_in(client, emulator)
    user = next(each for each in door.users() if each.email == JOE)
    door.link(user, "6f1d4f0e-8f0b-4a55-9f5e-d0f3a2b1c4d5")  # keys were UUIDs before
    try:
        refused = sign_in(browser(), emulator, status=403)
    finally:
        door.unlink(user)
    assert "You cannot use this application" in refused.content.decode()


@pytest.mark.usefixtures("with_log_in")
def test_L9_a_django_user_who_is_deleted_leaves_no_connection_to_the_next_with_that_key(
    client: Client, emulator: Emulator
) -> None:
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above
    from django.db import transaction  # noqa: PLC0415  # as above

    door = importlib.import_module("procore_signin.web.django").procore
    client.get("/log-in/fay")
    pressed(client, emulator)
    fay = get_user_model().objects.get(username="fay")
    key = fay.pk
    with transaction.atomic():
        get_user_model().objects.filter(pk=key).delete()
        transaction.set_rollback(True)
    assert door.user_of(key).email == JOE, "she is still there"
    fay.delete()
    assert door.user_of(key) is None
    assert JOE in {user.email for user in door.users()}


@pytest.fixture
def proxy() -> Iterator[Any]:
    """A proxy of Django's users, as a project has one for its admin."""
    from django.apps import apps  # noqa: PLC0415  # as above
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above

    own = {"__module__": __name__, "Meta": type("Meta", (), {"proxy": True, "app_label": "auth"})}
    colleague = type("Colleague", (get_user_model(),), own)
    apps.get_app_config("procore_signin").ready()  # as at the start of a project that has it
    yield colleague
    del apps.all_models["auth"]["colleague"]
    apps.clear_cache()


@pytest.mark.usefixtures("with_log_in")
def test_L9_a_django_user_who_is_deleted_by_a_proxy_leaves_no_connection(
    client: Client, emulator: Emulator, proxy: Any
) -> None:
    door = importlib.import_module("procore_signin.web.django").procore
    client.get("/log-in/gil")
    pressed(client, emulator)
    gil = proxy.objects.get(username="gil")
    key = gil.pk
    assert door.user_of(key).email == JOE
    proxy.objects.filter(pk=key).delete()
    assert door.user_of(key) is None


@pytest.mark.usefixtures("with_log_in")
def test_L2_signing_out_here_logs_out_of_django(client: Client, emulator: Emulator) -> None:
    client.get("/log-in/ann")
    sign_in(client, emulator)
    client.post("/procore/sign-out", headers=OUR_FORM)
    assert "_auth_user_id" not in client.session


@pytest.mark.usefixtures("with_log_in")
def test_L2_a_log_out_fails_for_nothing_of_ours(
    client: Client,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.get("/log-in/ann")
    sign_in(client, emulator)
    login = importlib.import_module("procore_signin.web.django.login")

    def broken(_: HttpRequest) -> None:
        raise StoreUnavailable("The database is away")

    with monkeypatch.context() as patch:
        patch.setattr(login, "sign_out", broken)
        assert client.post("/log-out").status_code == 302
    assert "A session was left open" in caplog.text
    assert client.get("/who").json() is None, "its next request finds that the login is over"


@pytest.mark.usefixtures("with_log_in")
def test_L2_djangos_test_client_logs_out_without_a_request(client: Client) -> None:
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above

    client.force_login(get_user_model().objects.get_or_create(username="ann")[0])
    client.logout()


@pytest.mark.usefixtures("with_log_in")
def test_a_project_may_keep_the_two_apart(client: Client, emulator: Emulator) -> None:
    with override_settings(PROCORE_SIGNIN={"LOGIN": None}):
        client.get("/log-in/ann")
        sign_in(client, emulator)
        client.post("/log-out")
        assert client.get("/who").json() == JOE


@pytest.mark.usefixtures("with_log_in")
def test_a_django_user_connects_a_procore_account(client: Client, emulator: Emulator) -> None:
    client.get("/log-in/connected")
    assert pressed(client, emulator).status_code == 303
    assert client.get("/whose").content == b"11111 11111"
    other = browser()
    other.get("/log-in/other")
    assert pressed(other, emulator).status_code == 409
    assert other.get("/whose").content == b"None None"
    sign_in(other, emulator, status=409)
    assert other.get("/whose").content == b"None None", "nor by a plain sign-in (row L3)"
    door = importlib.import_module("procore_signin.web.django").procore
    assert door.unlink(door.user_of(client.session["_auth_user_id"])) == 1


@pytest.mark.usefixtures("with_log_in")
@pytest.mark.parametrize("meanwhile", ["/log-out", "/log-in/bob", "/log-in/ann"])
def test_L4_a_connection_that_is_under_way_ends_with_the_log_in(
    client: Client, emulator: Emulator, meanwhile: str
) -> None:
    client.get("/log-in/ann")
    sent = press_connect(client)
    client.post("/log-out")
    client.post(meanwhile)
    back = urlsplit(emulator.approve(sent, login=JOE))
    answer = client.get(f"{back.path}?{back.query}")
    whose = "Someone else"
    if meanwhile == "/log-out":  # perhaps only the cookie of the login is not there
        assert (answer.status_code, answer.headers["refresh"][-8:]) == (200, "&again=1")
        answer, whose = client.get(f"{back.path}?{back.query}&again=1"), "No one"
    assert answer.status_code == 403
    assert f"{whose} is logged in now" in answer.content.decode()
    assert emulator.token_requests == []


@pytest.mark.usefixtures("with_log_in")
def test_L10_a_strict_session_that_stayed_behind_is_waited_for(
    client: Client, emulator: Emulator
) -> None:
    with override_settings(SESSION_COOKIE_SAMESITE="Strict"):
        client.get("/log-in/ann")
        shown = client.get("/procore/signin").content.decode()
        url = shown.split('class="button" href="', 1)[1].split('"', 1)[0].replace("&amp;", "&")
        back = urlsplit(emulator.approve(url))
        session = client.cookies.pop("sessionid").value
        led = client.get(f"{back.path}?{back.query}", headers={"sec-fetch-site": "cross-site"})
        assert (led.status_code, led.headers.get("refresh", "")[-8:]) == (200, "&again=1")
        assert emulator.token_requests == []
        client.cookies["sessionid"] = session
        assert client.get(f"{back.path}?{back.query}&again=1").status_code == 303
        assert client.get("/who").json() == JOE


def test_L6_where_two_are_connected_to_an_account_neither_is_logged_in(
    client: Client, emulator: Emulator
) -> None:
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above

    web = importlib.import_module("procore_signin.web.django")
    cat, dan = (
        get_user_model().objects.create_user(name, is_staff=True) for name in ("cat", "dan")
    )
    with override_settings(PROCORE_SIGNIN={"DJANGO_USER": web.connected_user}):
        sign_in(client, emulator)
        user = next(each for each in web.procore.users() if each.email == JOE)
        web.procore.link(user, cat.pk)
        sign_in(client, emulator)
        assert django_user(client) == "cat"
        web.procore.link(user, dan.pk, several_references=True)
        another = browser()
        sign_in(another, emulator)
        assert django_user(another) is None
        assert another.get("/who").json() == JOE
        web.procore.unlink(user)
    cat.delete()
    dan.delete()


@pytest.mark.usefixtures("with_log_in")
def test_the_buttons_are_tags_and_the_names_of_pages_are_djangos(client: Client) -> None:
    from django.urls import reverse  # noqa: PLC0415  # as above

    page = client.get("/page").content.decode()
    assert 'href="/procore/start?return_to=/who"' in page
    assert "Connect &lt;it&gt;" in page
    assert f'action="{reverse("procore_signin:start")}"' in page
    assert f'action="{reverse("procore_signin:sign_out")}"' in page


def test_the_pages_have_the_same_names_in_every_framework(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in settings_for_tests(f"{ORIGIN}/procore/callback").items():
        monkeypatch.setenv(name, value)
    flask = Flask("names")
    SignIn(flask)
    routes = sign_in_routes(AsyncProcoreSignIn.from_env(env_file=None)).routes
    of_django = importlib.import_module("procore_signin.web.django.urls")

    found_in = {
        "django": {f"{of_django.app_name}:{each.name}" for each in of_django.urlpatterns},
        "fastapi": {each.name for each in routes if isinstance(each, Route)},
        "flask": {rule.endpoint.replace(".", ":") for rule in flask.url_map.iter_rules()},
    }
    common = {f"procore_signin:{name}" for name in NAMES_OF_PAGES}
    assert [(key, common - names) for key, names in found_in.items() if common - names] == []


def with_templates(folder: Path, **files: str) -> Any:
    """Return settings with these templates of the project in front of ours."""
    for name, text in files.items():
        path = folder / "procore_signin" / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    [engine] = importlib.import_module("django_host").TEMPLATES
    return override_settings(TEMPLATES=[{**engine, "DIRS": [str(folder)]}])


def written(folder: Path) -> Path:
    """Write the templates of docs/how-to/own-look.md and return their folder."""
    for block in run_by("own-look"):
        [name] = (word.removeprefix("file=") for word in block.words if word.startswith("file="))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(block.text, encoding="utf-8")
    return folder / "templates"


def test_templates_of_the_project_win_with_djangos_own_loaders(
    tmp_path: Path, client: Client
) -> None:
    taken = (
        '{% extends "procore_signin/signed_out.html" %}'
        "{% block title %}{{ request.path }}|{{ messages|length }}|{{ app_name }}{% endblock %}"
    )
    with with_templates(written(tmp_path), signed_out=taken):
        signin = client.get("/procore/signin").content.decode()
        out = client.post("/procore/sign-out", headers=OUR_FORM).content.decode()
        wrong = client.get(f"/procore/callback?code=x&state={'s' * 43}").content.decode()

    assert "<title>Welcome – Site Diary</title>" in signin
    for page in (signin, out, wrong):
        assert '<header><a href="/">Site Diary</a></header>' in page
    assert "<title>/procore/sign-out|0|Sample application – Site Diary</title>" in out
    assert "<h1>You are signed out</h1>" in out
    assert "This browser did not start that sign-in" in wrong


def test_I6_what_django_renders_is_escaped_and_its_numbers_stay(
    tmp_path: Path, client: Client, emulator: Emulator
) -> None:
    sign_in(client, emulator)
    engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [str(tmp_path)],
        "APP_DIRS": True,
        "OPTIONS": {"autoescape": False},
    }
    text = "{% load procore_signin %}{{ app_name }} {{ status }} {% procore_text app_name %}"
    settings = {
        "PROCORE_SIGNIN": {"APP_NAME": "<b>Fun</b>"},
        "USE_THOUSAND_SEPARATOR": True,
        "THOUSAND_SEPARATOR": ".",
        "NUMBER_GROUPING": 1,
    }
    with with_templates(tmp_path, problem=text), override_settings(TEMPLATES=[engine], **settings):
        page = client.get("/procore/callback?code=x").content.decode()

    assert page == "&lt;b&gt;Fun&lt;/b&gt; 400 &lt;b&gt;Fun&lt;/b&gt;"


def test_a_template_of_the_project_that_fails_leaves_no_one_without_a_page(
    tmp_path: Path, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with with_templates(tmp_path, signin="{{ paths.signin|nothing }}", base="x"):
        page = client.get("/procore/signin")
        said = StringIO()
        call_command("check", stderr=said, stdout=said)

    assert (page.status_code, "Procore asks for" in page.content.decode()) == (200, True)
    assert "template of the page signin failed" in caplog.text
    assert f"It failed in {tmp_path / 'procore_signin/signin.html'}, line 1" in caplog.text
    assert "Invalid filter: 'nothing'" in caplog.text
    assert "procore_signin.W005" in said.getvalue()
    assert "procore_signin/signin.html cannot be used: Invalid filter" in said.getvalue()


def test_a_template_that_is_not_utf_8_is_named(
    tmp_path: Path, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with with_templates(tmp_path, signin=""):
        file = tmp_path / "procore_signin/signin.html"
        file.write_bytes("señal".encode("latin-1"))
        page = client.get("/procore/signin").content.decode()
        said = StringIO()
        call_command("check", stderr=said, stdout=said)

    assert "Procore asks for" in page
    assert f"It failed in {file}" in caplog.text
    assert "signin.html cannot be used: 'utf-8' codec can't decode" in said.getvalue()
    assert str(file) in said.getvalue()


def test_a_template_that_refers_to_a_missing_file_is_named(
    tmp_path: Path, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with with_templates(tmp_path, signin='\n{# x #}\n{% include "nowhere.html" %}'):
        page = client.get("/procore/signin").content.decode()

    assert "Procore asks for" in page
    assert f"{tmp_path / 'procore_signin/signin.html'}, line 3" in caplog.text
    assert "TemplateDoesNotExist: nowhere.html" in caplog.text


def test_a_base_that_no_page_of_ours_can_be_put_into_is_told(tmp_path: Path) -> None:
    [usual] = importlib.import_module("django_host").TEMPLATES
    engine = {**usual, "DIRS": [str(tmp_path)], "APP_DIRS": False}
    said = StringIO()
    with with_templates(tmp_path, base="x"), override_settings(TEMPLATES=[engine]):
        call_command("check", stderr=said, stdout=said)

    assert "is read by no engine of TEMPLATES, so your base is not used for it" in said.getvalue()


def test_pages_are_in_djangos_active_language(client: Client) -> None:
    middleware = "django.middleware.locale.LocaleMiddleware"
    order = importlib.import_module("django_host").MIDDLEWARE
    spanish = {"accept-language": "es-MX"}
    plain = client.get("/procore/signin", headers=spanish)
    with override_settings(MIDDLEWARE=[*order[:2], middleware, *order[2:]]):
        page = browser().get("/procore/signin", headers=spanish)
        unknown = browser().get("/procore/signin", headers={"accept-language": "de"})

    assert (plain["content-language"], plain["vary"]) == ("en", "Cookie, Accept")
    assert '<html lang="es">' in page.content.decode()
    assert "Iniciar sesión con Procore" in page.content.decode()
    assert (page["content-language"], page["vary"]) == ("es", "Cookie, Accept, Accept-Language")
    assert unknown["content-language"] == "en"


@pytest.mark.usefixtures("with_log_in")
def test_buttons_are_in_djangos_active_language(client: Client) -> None:
    with translation.override("fr"), override_settings(LANGUAGE_CODE="fr"):
        page = client.get("/page").content.decode()

    assert "Se déconnecter" in page
    assert "Connect &lt;it&gt;" in page


@pytest.mark.parametrize("tag", ["en", "es"])
def test_django_and_jinja_make_the_same_of_our_templates(
    host: Any, tmp_path: Path, tag: str
) -> None:
    del host
    own = importlib.import_module("procore_signin.web.django.own_templates")
    copy = {"base": (own.OURS / "procore_signin/base.html").read_text("utf-8")}
    with with_templates(tmp_path, **copy):
        for name, values in VALUES.items():
            for more in ({}, {"signed_in": A_USER, "everywhere": True, "revoked": False}):
                whole = {**COMMON, **values, "language": shipped(tag), **more}
                with speaking(shipped(tag)):
                    complete = pages.complete(name, whole)
                    made = own.DjangoTemplates().render(name, complete, RequestFactory().get("/"))
                assert made is not None
                assert shape_of(made) == shape_of(pages.render(name, whole)), name
