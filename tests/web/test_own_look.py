"""An application's own look: its templates in front of ours, its policy, its users' languages.

The files are those of docs/how-to/own-look.md. Django's part is in `test_django.py`.
"""

from __future__ import annotations

import logging
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI, Request
from fastapi.templating import Jinja2Templates
from fastapi.testclient import TestClient
from flask import Flask, render_template_string
from jinja2 import DictLoader, Environment, StrictUndefined, UndefinedError
from pages import run_by

from procore_signin import AsyncProcoreSignIn, Login, Look, Options
from procore_signin._settings import read_settings
from procore_signin._web.look.jinja import JinjaTemplates
from procore_signin._web.look.languages import Language, Languages, shipped
from procore_signin._web.look.po import WrongCatalogueError, translations_in
from procore_signin._web.look.values import COMMON, PAGES
from procore_signin.errors import SettingsInvalid
from procore_signin.testing import procore_signed_in, settings_for_tests
from procore_signin.web.fastapi import CurrentUser, buttons, sign_in_routes
from procore_signin.web.flask import SignIn

ROOT = Path(__file__).parents[2]
CALLBACK = "http://localhost:8000/procore/callback"
SIGNIN = "/procore/signin"
CALLED_BACK = f"/procore/callback?code=fake-code&state={'s' * 43}"
BROWSER = {"accept": "text/html", "host": "localhost:8000"}
SCRIPTS = ROOT / "scripts"
LOCALE = ROOT / "src/procore_signin/_web/locale"


def write(folder: Path, **files: str) -> Path:
    """Write templates of these pages, and return the folder to name."""
    for name, text in files.items():
        path = folder / "procore_signin" / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def files_of_the_page(folder: Path) -> Path:
    """Write the files that docs/how-to/own-look.md shows."""
    for block in run_by("own-look"):
        [name] = (word.removeprefix("file=") for word in block.words if word.startswith("file="))
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    return folder


def door() -> AsyncProcoreSignIn:
    settings = read_settings(environ=settings_for_tests(CALLBACK), env_file=None)
    return AsyncProcoreSignIn.from_settings(settings)


def fastapi_of(look: Look, **options: Any) -> FastAPI:
    app = FastAPI()
    routes = sign_in_routes(door(), Options(app_name="Site Diary", look=look, **options))
    app.include_router(routes, prefix="/procore")
    return app


@contextmanager
def fastapi(look: Look, **options: Any) -> Iterator[TestClient]:
    app = fastapi_of(look, **options)
    client = TestClient(app, "http://localhost:8000", headers=BROWSER, follow_redirects=False)
    with procore_signed_in(client, "ann@example.com"):
        client.cookies.clear()
        yield client


@contextmanager
def flask_of(root: Path, look: Look, **options: Any) -> Iterator[Flask]:
    app = Flask("diary", root_path=str(root))
    app.config.update(settings_for_tests(CALLBACK))
    SignIn(app, options=Options(app_name="Site Diary", look=look, **options))
    with app.extensions["procore_signin"].procore:
        yield app


class TestTemplates:
    def test_the_files_of_the_page_stand_in_front_of_ours(self, tmp_path: Path) -> None:
        folder = files_of_the_page(tmp_path) / "templates"
        with fastapi(Look(templates=folder, stylesheet="/static/brand.css")) as client:
            signin, problem = client.get(SIGNIN).text, client.get("/procore/callback?x=1").text
            wrong = client.get(CALLED_BACK).text

        for page in (signin, problem, wrong):
            assert '<header><a href="/">Site Diary</a></header>' in page
            assert '<link rel="stylesheet" href="/static/brand.css">' in page
        assert "<title>Welcome – Site Diary</title>" in signin
        assert "Welcome to the Site Diary" in signin
        assert "Procore asks for your e-mail" not in signin
        assert "<script src=" in problem, "the page that moves a response out of the fragment"
        assert "This browser did not start that sign-in" in wrong

    def test_ours_can_be_taken_but_for_a_block(self, tmp_path: Path) -> None:
        folder = write(
            tmp_path,
            signin='{% extends "shipped/procore_signin/signin.html" %}'
            "{% block title %}{{ request.url.path }} {{ url_for('procore_signin:signin') }}"
            "{% endblock %}",
        )
        with fastapi(Look(templates=str(folder))) as client:
            page = client.get(SIGNIN).text

        assert f"<title>{SIGNIN} http://localhost:8000{SIGNIN} · Site Diary</title>" in page
        assert "Procore asks for your e-mail" in page

    def test_an_applications_own_environment_brings_what_its_pages_have(self) -> None:
        loader = DictLoader(
            {
                "layout.html": "{{ menu }}|{{ 'x'|shout }}|{% block content %}{% endblock %}",
                "procore_signin/base.html": '{% extends "layout.html" %}',
                "procore_signin/signin.html": '{% extends "procore_signin/base.html" %}'
                "{% block content %}{{ app_name }} {{ procore_sign_out_button() }}{% endblock %}",
            }
        )
        environment = Environment(loader=loader)  # noqa: S701  # the test is that it escapes all the same
        environment.filters["shout"] = str.upper
        own = Jinja2Templates(
            env=environment,
            context_processors=[buttons, lambda request: {"menu": f"at {request.url.path}"}],
        )
        with fastapi(Look(templates=own)) as client:
            page = client.get(SIGNIN).text
            other = client.get(CALLED_BACK).text

        assert page.startswith(f"at {SIGNIN}|X|Site Diary <link")
        assert "This browser did not start that sign-in" in other
        assert not environment.extensions, "its environment stays as it is"

    def test_I6_names_are_escaped_whatever_the_environment_says(self) -> None:
        loader = DictLoader({"procore_signin/sessions.html": "<p>{{ signed_in.name }}</p>"})
        environment = Environment(loader=loader)  # noqa: S701  # as above
        app = fastapi_of(Look(templates=environment))
        client = TestClient(app, "http://localhost:8000", headers=BROWSER)
        with procore_signed_in(client, "ann@example.com", name="<b>Ann</b>"):
            assert client.get("/procore/sessions").text == "<p>&lt;b&gt;Ann&lt;/b&gt;</p>"

    def test_a_template_that_fails_leaves_no_one_without_a_page(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = write(tmp_path, base="{{ head }}\n{{ request.nothing.at_all }}", signed_out="x")
        with fastapi(Look(templates=folder)) as client, caplog.at_level(logging.ERROR):
            page = client.get(SIGNIN)
            with procore_signed_in(client, "bob@example.com"):
                out = client.post("/procore/sign-out", headers={"origin": "http://localhost:8000"})

        assert page.status_code == 200
        assert "Procore asks for your e-mail" in page.text
        assert out.text == "x"
        [record] = caplog.records
        file = folder / "procore_signin" / "base.html"
        assert f"It failed in {file}, line 2" in record.getMessage()
        assert "page signin failed" in record.getMessage()

    @pytest.mark.parametrize(
        ("name", "text", "expected"),
        [
            ("signin", "{% block content %}", "signin.html, line 1: Unexpected end"),
            ("signin", '{% extends "nowhere.html" %}', "signin.html refers to nowhere.html"),
            ("signin", '{% include "nowhere.html" %}', "signin.html refers to nowhere.html"),
            ("signin", "{{ sign_in_ulr }}", "signin.html has unknown names: sign_in_ulr"),
            ("base", "{{ nothing }}", "base.html has unknown names: nothing"),
            ("signin", "{% procore_text title %}", "signin.html, line 1: expected token 'string'"),
        ],
    )
    def test_a_template_that_cannot_work_stops_the_application(
        self, tmp_path: Path, name: str, text: str, expected: str
    ) -> None:
        with pytest.raises(SettingsInvalid) as caught:
            fastapi_of(Look(templates=write(tmp_path, **{name: text})))

        assert expected in str(caught.value)
        assert "docs/reference/pages.md" in str(caught.value)

    @pytest.mark.parametrize("name", ["procore_signin/signin", "layout"])
    def test_a_file_that_is_not_utf_8_is_named(self, tmp_path: Path, name: str) -> None:
        write(tmp_path, signin="{% extends 'layout.html' %}")
        file = tmp_path / f"{name}.html"
        file.write_bytes("señal".encode("latin-1"))
        with pytest.raises(SettingsInvalid, match="is not UTF-8") as caught:
            fastapi_of(Look(templates=tmp_path))

        assert str(file) in str(caught.value)

    def test_a_folder_that_is_not_there_stops_it_too(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsInvalid, match="names a folder that is not there: /"):
            fastapi_of(Look(templates=tmp_path / "nothing"))

    def test_a_file_that_looks_like_a_pages_is_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        fastapi_of(Look(templates=write(tmp_path, sign_in="x", _card="x")))

        [told] = caplog.messages
        assert told.endswith("sign_in.html is no page's template. Is it meant to be signin.html?")

    def test_without_an_environment_a_missing_value_is_an_error(self) -> None:
        templates = JinjaTemplates(
            None, [], lambda template, values, _: template.render(values), more_values=()
        )

        assert templates._environment.undefined is StrictUndefined
        with pytest.raises(UndefinedError):
            templates._environment.from_string("{{ nothing }}").render()


class TestFlask:
    def test_templates_of_the_application_win_with_all_that_its_pages_have(
        self, tmp_path: Path
    ) -> None:
        folder = files_of_the_page(tmp_path)
        write(
            folder / "templates",
            signed_out="{{ url_for('procore_signin.signin') }} {{ request.path }} {{ menu }} "
            "{{ app_name }}",
        )
        with flask_of(folder, Look()) as app:
            app.context_processor(lambda: {"menu": "A menu", "app_name": "another"})
            client = app.test_client()
            signin = client.get(SIGNIN, headers=BROWSER).text
            ours = BROWSER | {"origin": "http://localhost:8000"}
            out = client.post("/procore/sign-out", headers=ours).text
            other = client.get(CALLED_BACK, headers=BROWSER).text

        assert "<title>Welcome – Site Diary</title>" in signin
        assert '<header><a href="/">Site Diary</a></header>' in other
        assert out == f"{SIGNIN} /procore/sign-out A menu Site Diary"

    def test_a_template_that_cannot_work_stops_the_application(self, tmp_path: Path) -> None:
        write(tmp_path / "templates", signin='{% extends "nowhere.html" %}')
        with pytest.raises(SettingsInvalid, match=r"signin\.html refers to nowhere\.html"):
            flask_of(tmp_path, Look()).__enter__()

    def test_a_template_that_fails_leaves_no_one_without_a_page(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write(tmp_path / "templates", signin="{{ nothing.at_all }}")
        with flask_of(tmp_path, Look()) as app:
            page = app.test_client().get(SIGNIN, headers=BROWSER)

        assert (page.status_code, "Procore asks for" in page.text) == (200, True)
        assert "signin.html, line 1" in caplog.text

    def test_a_button_speaks_the_language_of_the_browser(self, tmp_path: Path) -> None:
        with flask_of(tmp_path, Look()) as app:
            button = "{{ procore_button() }}"
            app.add_url_rule("/", "first", lambda: render_template_string(button))
            client = app.test_client()
            spanish = client.get("/", headers=BROWSER | {"accept-language": "es-MX"})
            english = client.get("/", headers=BROWSER)

        assert '<a class="procore-signin-button" lang="es"' in spanish.text
        assert "Iniciar sesión con Procore" in spanish.text
        assert "Accept-Language" in spanish.headers["vary"]
        assert "Sign In with Procore" in english.text


class TestPolicy:
    def test_K6_an_application_adds_sources_and_loosens_nothing(self) -> None:
        more = {"img-src": ["https://cdn.example.com"], "font-src": ["'self'", "data:"]}
        with fastapi(Look(csp=more, logo="https://cdn.example.com/l.svg")) as client:
            own = client.get(SIGNIN)
        with fastapi(Look()) as client:
            strict = client.get(SIGNIN).headers["content-security-policy"]

        assert own.headers["content-security-policy"] == strict.replace(
            "img-src 'self'", "img-src 'self' https://cdn.example.com"
        ) + ("; font-src 'self' data:")
        assert '<img src="https://cdn.example.com/l.svg" alt=""' in own.text

    @pytest.mark.parametrize(
        "directive",
        ["script-src", "default-src", "frame-ancestors", "base-uri", "form-action", "img-src;x"],
    )
    def test_K6_what_may_run_or_frame_the_pages_cannot_be_changed(self, directive: str) -> None:
        with pytest.raises(ValueError, match="cannot change"):
            Look(csp={directive: ["'self'"]})

    @pytest.mark.parametrize(
        "source",
        [
            *("*", "https:", "http://cdn.example.com", "'unsafe-inline'", "'unsafe-eval'", "blob:"),
            *(
                "https://*",
                "https://a b",
                "https://cdn.example.com; script-src *",
                "cdn.example.com",
            ),
            "https://cdn.example.com\r\nx: y",
        ],
    )
    def test_K6_a_source_is_one_origin(self, source: str) -> None:
        with pytest.raises(ValueError, match="cannot add"):
            Look(csp={"img-src": [source]})

    def test_K6_styles_may_not_be_data(self) -> None:
        with pytest.raises(ValueError, match="cannot add data: to style-src"):
            Look(csp={"style-src": ["data:"]})
        with pytest.raises(ValueError, match="takes a list"):
            Look(csp={"img-src": "'self'"})

    @pytest.mark.parametrize(
        "address", ["//evil.example/a.css", "a.css", "javascript:x", "/a b", "http://x/y", '/a"b']
    )
    def test_an_address_is_a_path_or_https(self, address: str) -> None:
        with pytest.raises(ValueError, match="is a path such as"):
            Look(stylesheet=address)

    def test_an_address_elsewhere_says_what_the_policy_lacks(self) -> None:
        with pytest.raises(ValueError, match=r"Add csp=\{'style-src': \['https://cdn.example"):
            Look(stylesheet="https://cdn.example.com/brand.css")
        Look(
            stylesheet="https://cdn.example.com/brand.css",
            csp={"style-src": ["https://*.example.com"]},
        )


class TestLanguages:
    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            (None, "en"),
            ("", "en"),
            ("es", "es"),
            ("es-MX,es;q=0.9,en;q=0.8", "es"),
            ("fr-CA;q=0.4, es-419;q=0.5", "es"),
            ("de-DE,de;q=0.9,fr;q=0.8,en;q=0.7", "fr"),
            ("FR", "fr"),
            ("de", "en"),
            ("*", "en"),
            ("es;q=0, fr;q=0.1", "fr"),
            ("es;q=much, fr", "fr"),
            ("es ; q=0.5 , fr ; q=0.7", "fr"),
            ("essence, frost", "en"),
            ("," * 5000, "en"),
            ("es\u00e9", "en"),
        ],
    )
    def test_the_browser_chooses(self, header: str | None, expected: str) -> None:
        assert str(Languages().of(header, lambda: None)) == expected

    def test_the_first_language_is_for_all_others_and_one_for_everyone(self) -> None:
        assert str(Languages(["fr", "en"]).of("de", lambda: None)) == "fr"
        one = Languages(["es"])
        assert (str(one.of("fr", lambda: None)), one.is_negotiated) == ("es", False)

    def test_an_application_may_choose_itself(self) -> None:
        own = Languages(named_by=lambda request: f"fr_{request}")
        assert str(own.of("en", lambda: "CA")) == "fr"
        assert str(Languages(named_by=lambda _: "de").of("es", lambda: None)) == "en"

    def test_pages_say_their_language_and_what_it_depends_on(self) -> None:
        with fastapi(Look()) as client:
            pages = {
                tag: client.get(SIGNIN, headers={"accept-language": tag}) for tag in ("es", "fr")
            }
            refused = client.get(CALLED_BACK, headers={"accept-language": "fr"})
            script = client.get("/procore/static/app.css")
        for tag, page in pages.items():
            assert f'<html lang="{tag}">' in page.text
            assert page.headers["content-language"] == tag
            assert page.headers["vary"] == "Cookie, Accept, Accept-Language"
        assert "Iniciar sesión con Procore" in pages["es"].text
        assert "Ce navigateur n’a pas commencé cette connexion" in refused.text
        assert "Se connecter avec Procore" in refused.text
        assert "accept-language" not in script.headers["vary"].lower()

    def test_one_language_depends_on_nothing(self) -> None:
        with fastapi(Look(), languages=["es"]) as client:
            page = client.get(SIGNIN, headers={"accept-language": "fr"})

        assert (page.headers["content-language"], page.headers["vary"]) == ("es", "Cookie, Accept")

    def test_the_setting_is_taken_where_the_application_says_nothing(self) -> None:
        [block] = run_by("own-look-languages")
        name, _, value = block.text.strip().partition("=")
        settings = read_settings(
            environ={**settings_for_tests(CALLBACK), name: value}, env_file=None
        )
        assert settings.languages == ("es", "en")
        app = FastAPI()
        procore = AsyncProcoreSignIn.from_settings(settings)
        app.include_router(sign_in_routes(procore), prefix="/procore")
        client = TestClient(app, "http://localhost:8000", headers=BROWSER)
        with procore_signed_in(client, "ann@example.com"):
            assert '<html lang="es">' in client.get("/procore/sessions").text

    def test_an_error_in_a_page_of_the_application_is_in_the_language_too(self) -> None:
        app = fastapi_of(Look())

        @app.get("/mine")
        async def mine(user: CurrentUser) -> str:
            raise procore_error(user.email)

        client = TestClient(app, "http://localhost:8000", headers=BROWSER)
        with procore_signed_in(client, "ann@example.com"):
            page = client.get("/mine", headers={"accept-language": "es"})
            told = client.get("/mine", headers={"accept": "application/json"})

        assert "Procore no le permite hacer eso" in page.text
        assert page.headers["vary"] == "Cookie, Accept-Language"
        assert told.json()["title"] == "Procore does not let you do that"

    def test_buttons_of_a_page_speak_the_language_of_the_browser(self) -> None:
        app = fastapi_of(Look())

        @app.get("/")
        async def first(request: Request) -> str:
            made = buttons(request)
            return str(made["procore_button"]() + made["procore_connect_button"]("Connect me"))

        client = TestClient(app, "http://localhost:8000", headers=BROWSER)
        with procore_signed_in(client, "ann@example.com"):
            page = client.get("/", headers={"accept-language": "fr"})

        assert "Se connecter avec Procore" in page.json()
        assert "Connect me" in page.json()
        assert page.json().count('lang="fr"') == 1
        assert page.headers["vary"] == "Accept-Language"

    def test_the_languages_are_told_one_by_one(self) -> None:
        with pytest.raises(ValueError, match=r'such as \("es", "en"\)'):
            Options(languages="es, en")

    def test_what_is_no_plain_function_names_no_language(self) -> None:
        async def of_the_user(_: Request) -> str:
            return "es"

        for given in (of_the_user, partial(of_the_user), "es"):
            with pytest.raises(ValueError, match=r"Look\(language=…\) is a plain function"):
                Look(language=given)  # type: ignore[arg-type]  # what the check is for

    def test_a_language_without_texts_stops_the_application(self) -> None:
        with pytest.raises(SettingsInvalid, match="no texts in the language de"):
            fastapi_of(Look(), languages=["de"])


def procore_error(_: str) -> Exception:
    from procore_signin.errors import Forbidden  # noqa: PLC0415  # the one place that needs it

    return Forbidden("no", status=403)


class TestCatalogues:
    def test_an_application_adds_a_language_and_replaces_words(self, tmp_path: Path) -> None:
        (tmp_path / "de.po").write_text('msgid "Sign in"\nmsgstr "Anmelden"\n', "utf-8")
        (tmp_path / "es.po").write_text('msgid "Sign in"\nmsgstr "Entrar"\n', "utf-8")
        with fastapi(Look(translations=tmp_path)) as client:
            german = client.get(SIGNIN, headers={"accept-language": "de-AT"}).text
            spanish = client.get(SIGNIN, headers={"accept-language": "es"}).text

        assert ("<h1>Anmelden</h1>" in german, "Sign In with Procore" in german) == (True, True)
        assert ("<h1>Entrar</h1>" in spanish, "Iniciar sesión con" in spanish) == (True, True)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('msgid "Ends %(time)s"\nmsgstr "Ende"\n', "line 1: .* has other placeholders"),
            ('msgid "a"\nmsgstr "<b>a</b>"\n', "line 1: .* has other tags"),
            ('msgid "a"\nmsgstr a\n', "line 2 is not understood: msgstr a"),
            ('"a"\n', "line 1 is not understood"),
            ('msgid_plural "a"\n', "line 1 is not understood"),
        ],
    )
    def test_a_catalogue_that_cannot_be_used_is_named(
        self, tmp_path: Path, text: str, expected: str
    ) -> None:
        (tmp_path / "de.po").write_text(text, "utf-8")
        with pytest.raises(WrongCatalogueError, match=expected):
            translations_in(text)
        with pytest.raises(SettingsInvalid, match=r"Look\(translations=…\).*de\.po: line"):
            fastapi_of(Look(translations=tmp_path))

    @pytest.mark.parametrize("name", ["pt-BR", "pt_BR", "pt_br", "PT-br"])
    @pytest.mark.parametrize("chosen", [None, ["pt_BR", "EN"], ["en", "pt-br"]])
    def test_a_language_may_be_written_as_gettext_does(
        self, tmp_path: Path, name: str, chosen: list[str] | None
    ) -> None:
        (tmp_path / f"{name}.po").write_text('msgid "Sign in"\nmsgstr "Entrar"\n', "utf-8")
        with fastapi(Look(translations=tmp_path), languages=chosen) as client:
            shown = client.get(SIGNIN, headers={"accept-language": "pt-BR,pt;q=0.9"})

        assert ("<h1>Entrar</h1>" in shown.text, '<html lang="pt-BR">' in shown.text) == (
            *(True, True),
        )
        assert shown.headers["content-language"] == "pt-BR"

    @pytest.mark.parametrize("names", [["ca@valencia"], ["messages"], ["pt_BR", "pt-br"]])
    def test_a_catalogue_that_no_browser_could_ask_for_is_named(
        self, tmp_path: Path, names: list[str]
    ) -> None:
        for name in names:
            (tmp_path / f"{name}.po").write_text('msgid "Sign in"\nmsgstr "x"\n', "utf-8")
        with pytest.raises(SettingsInvalid, match=r"Look\(translations=…\).*(de\.po|pt-BR\.po)"):
            fastapi_of(Look(translations=tmp_path))

    def test_a_folder_without_catalogues_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsInvalid, match="no catalogues in"):
            fastapi_of(Look(translations=tmp_path))

    def test_fuzzy_and_empty_entries_are_missing_and_long_ones_are_joined(self) -> None:
        text = (
            '#, fuzzy\nmsgid "a"\nmsgstr "x"\n\nmsgid "b"\nmsgstr ""\n\n#~ msgid "c"\n'
            '#: place\nmsgid ""\n"d \\"e\\""\nmsgstr ""\n"D"\n" E"\nmsgid "f"\nmsgstr "F"\n'
        )
        assert translations_in(text) == {'d "e"': "D E", "f": "F"}

    def test_I6_a_translation_is_text_but_for_three_tags(self) -> None:
        hostile = Language("xx", {"a": "<strong>x</strong><img src=x onerror=1><strong onclick=1>"})

        assert hostile.html("a") == (
            "<strong>x</strong>&lt;img src=x onerror=1&gt;&lt;strong onclick=1&gt;"
        )
        assert shipped("en").html("to %(x)s", x="<b>") == "to &lt;b&gt;"

    def test_every_text_is_in_each_catalogue_and_nothing_else(self) -> None:
        script = runpy.run_path(str(SCRIPTS / "catalogues.py"))
        wanted = script["files"]()
        assert {path.stem for path in wanted} == {"new", "es", "fr"}
        for path, text in wanted.items():
            assert path.read_text("utf-8") == text, "Run: .venv/bin/python scripts/catalogues.py"
        texts = script["texts"]().keys()
        for tag in ("es", "fr"):
            translated = shipped(tag).translations
            assert [text for text in texts if text not in translated] == []
            both = [*texts, *translated.values()]
            assert [text for text in both if '"' in text or "&" in text] == []


def test_the_reference_of_pages_is_made_from_the_table() -> None:
    made = runpy.run_path(str(SCRIPTS / "pages_reference.py"))["page"]()
    shown = (ROOT / "docs/reference/pages.md").read_text("utf-8")

    assert shown == made, "Run: .venv/bin/python scripts/pages_reference.py"


def test_a_template_is_given_the_values_that_the_reference_names(tmp_path: Path) -> None:
    given: dict[str, set[str]] = {}

    def render(_: object, page: str, values: Any, _request: object) -> str:
        given[page] = set(values)
        return "x"

    logged_in: list[str] = []
    login = Login(user=lambda _: logged_in[0] if logged_in else None)
    app = fastapi_of(Look(templates=tmp_path), choose_company=True, login=login)
    client = TestClient(app, "http://localhost:8000", headers=BROWSER, follow_redirects=False)
    ours = {"origin": "http://localhost:8000", "sec-fetch-mode": "navigate"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JinjaTemplates, "render", render)
        with procore_signed_in(client, "ann@example.com", companies={"Acme": [], "Mill": []}):
            for path in (SIGNIN, "/procore/callback", "/procore/sessions", "/procore/company"):
                client.get(path)
            client.post("/procore/start", headers=ours)
            client.post("/procore/sign-out-everywhere", headers=ours)
        with procore_signed_in(client, "ann@example.com"):
            client.post("/procore/disconnect", headers=ours)
            client.get(CALLED_BACK)
            logged_in.append("ann")
            sent = client.post("/procore/start", headers=ours).headers["refresh"]
            logged_in.clear()
            [state] = parse_qs(urlsplit(sent).query)["state"]
            client.get(f"/procore/callback?code=fake-code&state={state}")
    common = {value.name for value in COMMON}
    expected = {
        name: {value.name for value in page.values} | common
        for name, page in PAGES.items()
        if name not in {"landing", "home"}
    }
    beside = {"logo", "stylesheet", "script"}
    assert {name: values - beside for name, values in given.items()} == expected
