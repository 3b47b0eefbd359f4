"""The settings: every rule, everything at once, and never a secret in a message."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procore_signin._protocol.secret import Secret
from procore_signin._settings import Settings, env_file, read_address, read_settings
from procore_signin._settings.settings import _tell_alike
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.store import DATABASE_CONNECTIONS, DATABASE_TIMEOUT
from procore_signin.environments import PRODUCTION, emulator
from procore_signin.errors import Problem, SettingsInvalid

KEYS = KeyRing.generate(lambda count: b"\x07" * count, key_id="k20270131").reveal()
GOOD = {
    "PROCORE_ENVIRONMENT": "production",
    "PROCORE_CLIENT_ID": "fake-id-0123456789",
    "PROCORE_CLIENT_SECRET": "fake-secret-0123456789",
    "PROCORE_REDIRECT_URI": "https://app.example.com/callback",
    "PROCORE_KEYS": KEYS,
}
EMULATOR = {"PROCORE_ENVIRONMENT": "emulator", "PROCORE_KEYS": KEYS}


def problems_of(environ: dict[str, str], env_file: Path | None = None) -> tuple[Problem, ...]:
    with pytest.raises(SettingsInvalid) as refused:
        Settings.load(environ, env_file)
    return refused.value.problems


def problem_of(**changes: str) -> Problem:
    """Return the one problem that `changes` make in otherwise good settings."""
    (problem,) = problems_of(GOOD | changes)
    assert [problem.setting] == list(changes)
    return problem


def written(folder: Path, text: str) -> Path:
    path = folder / ".env"
    path.write_text(text, encoding="utf-8")
    return path


def test_good_settings_are_read() -> None:
    settings = Settings.load(GOOD, None)

    assert settings.environment == PRODUCTION
    assert settings.client_id == "fake-id-0123456789"
    assert Secret("fake-secret-0123456789", "") == settings.client_secret
    assert settings.redirect_uri == "https://app.example.com/callback"
    assert Secret(KEYS, "") == settings.keys


def test_what_is_left_out_has_its_documented_default() -> None:
    settings = Settings.load(EMULATOR, None)

    assert emulator("http://127.0.0.1:4568") == settings.environment
    assert settings.client_id == "emulator-client-id"
    assert Secret("emulator-client-secret", "") == settings.client_secret
    assert settings.redirect_uri == "http://localhost:4567/callback"
    assert settings.database_url == "sqlite:///test.db"
    assert settings.emulator_url == "http://127.0.0.1:4568"
    assert settings.rate_limit == 120
    assert settings.session_idle == 12 * 3600
    assert settings.session_absolute == 14 * 24 * 3600


def test_nothing_set_names_everything_that_must_be_set_at_once() -> None:
    problems = problems_of({})

    assert [(problem.setting, problem.what) for problem in problems] == [
        ("PROCORE_ENVIRONMENT", "is not set"),
        ("PROCORE_CLIENT_ID", "is not set"),
        ("PROCORE_CLIENT_SECRET", "is not set"),
        ("PROCORE_KEYS", "is not set"),
    ]
    assert all(problem.cure for problem in problems)


def test_every_wrong_setting_is_named_at_once() -> None:
    wrong = {
        "PROCORE_ENVIRONMENT": "prod",
        "PROCORE_CLIENT_ID": "<CLIENT_ID>",
        "PROCORE_CLIENT_SECRET": "two words",
        "PROCORE_REDIRECT_URI": "/callback",
        "PROCORE_DATABASE_URL": "oracle://host/name",
        "PROCORE_KEYS": "k1:short",
        "PROCORE_EMULATOR_URL": "http://10.0.0.1:4568",
        "PROCORE_RATE_LIMIT": "-1",
        "PROCORE_SESSION_IDLE_SECONDS": "soon",
        "PROCORE_SESSION_ABSOLUTE_SECONDS": "1.5",
        "PROCORE_APP_NAME": "x" * 61,
    }

    assert list(wrong) == [problem.setting for problem in problems_of(wrong)]


def test_the_message_lists_each_problem_with_its_cure() -> None:
    with pytest.raises(SettingsInvalid) as refused:
        Settings.load(GOOD | {"PROCORE_KEYS": "", "PROCORE_RATE_LIMIT": "many"}, None)

    assert "PROCORE_KEYS: is not set. Run `procore-signin init`" in str(refused.value)
    assert "PROCORE_RATE_LIMIT: is not a whole number from 0" in str(refused.value)


class TestEnvironment:
    @pytest.mark.parametrize("name", ["production", "sandbox", "monthly", "federal"])
    def test_each_procore_can_be_chosen(self, name: str) -> None:
        assert name == Settings.load(GOOD | {"PROCORE_ENVIRONMENT": name}, None).environment.name

    def test_an_unknown_name_is_answered_with_the_choices_and_the_nearest(self) -> None:
        problem = problem_of(PROCORE_ENVIRONMENT="Sandbox")

        assert problem.what == "names no Procore environment"
        assert problem.cure.startswith("Did you mean sandbox? Choose one of: production, sandbox,")

    def test_the_emulator_is_where_the_settings_say(self) -> None:
        moved = EMULATOR | {"PROCORE_EMULATOR_URL": "http://127.0.0.1:9999/"}

        assert Settings.load(moved, None).environment.api_origin == "http://127.0.0.1:9999"

    def test_A7_an_emulator_url_never_moves_a_real_environment(self) -> None:
        given_both = GOOD | {"PROCORE_EMULATOR_URL": "http://127.0.0.1:9999"}

        assert Settings.load(given_both, None).environment == PRODUCTION


class TestClient:
    @pytest.mark.parametrize("name", ["PROCORE_CLIENT_ID", "PROCORE_CLIENT_SECRET"])
    @pytest.mark.parametrize(
        ("text", "what"),
        [
            (" fake ", "has spaces or quotes around it"),
            ('"fake"', "has spaces or quotes around it"),
            ("'fake'", "has spaces or quotes around it"),
            ("<CLIENT_ID>", "is still a placeholder"),
            ("changeme", "is still a placeholder"),
            ("Change-Me", "is still a placeholder"),
            ("your-client-secret", "is still a placeholder"),
            ("xxxx", "is still a placeholder"),
            ("client_id", "is still a placeholder"),
            ("{{ id }}", "is still a placeholder"),
            ("fa ke", "has spaces, control characters or letters beyond ASCII in it"),
            ("fa\nke", "has spaces, control characters or letters beyond ASCII in it"),
            ("fäke", "has spaces, control characters or letters beyond ASCII in it"),
        ],
    )
    def test_what_cannot_be_a_credential_is_refused(self, name: str, text: str, what: str) -> None:
        assert what == problem_of(**{name: text}).what

    def test_a_secret_that_is_the_id_again_is_refused(self) -> None:
        problem = problem_of(PROCORE_CLIENT_SECRET=GOOD["PROCORE_CLIENT_ID"])

        assert problem.what == "is the client ID again"

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("PROCORE_CLIENT_ID", "emulator-client-id"),
            ("PROCORE_CLIENT_SECRET", "emulator-client-secret"),
        ],
    )
    def test_E1_the_emulators_client_is_refused_at_a_real_procore(
        self, name: str, text: str
    ) -> None:
        assert problem_of(**{name: text}).what.startswith("is the local emulator's")


class TestAppName:
    def test_it_has_a_name_that_nobody_chose_until_somebody_does(self) -> None:
        assert Settings.load(GOOD, None).app_name == "Sample application"
        chosen = Settings.load(GOOD | {"PROCORE_APP_NAME": " Site Diary "}, None)
        assert chosen.app_name == "Site Diary"

    @pytest.mark.parametrize("text", ["  ", "x" * 61, "two\nlines", "turned \u202e round"])
    def test_what_would_not_fit_on_a_page_is_refused(self, text: str) -> None:
        assert problem_of(PROCORE_APP_NAME=text).what == "is not a name that fits on a page"


class TestRedirectUri:
    @pytest.mark.parametrize(
        "uri",
        [
            "https://app.example.com/callback",
            "https://app.example.com:8443/callback",
            "https://app.example.com/procore/callback",
            "http://localhost:4567/callback",
            "http://127.0.0.1:4567/callback",
            "http://[::1]:4567/callback",
            "https://localhost/callback",
        ],
    )
    def test_a_good_one_is_kept_to_the_letter(self, uri: str) -> None:
        assert uri == Settings.load(GOOD | {"PROCORE_REDIRECT_URI": uri}, None).redirect_uri

    @pytest.mark.parametrize(
        ("uri", "what"),
        [
            ("/callback", "is not a complete web address"),
            ("app.example.com/callback", "is not a complete web address"),
            ("ftp://app.example.com/callback", "is not a complete web address"),
            ("javascript:alert(1)//callback", "is not a complete web address"),
            ("https:///callback", "is not a complete web address"),
            ("https://[/callback", "is not a web address"),
            ("https://app.example.com:99999/callback", "is not a web address"),
            ("https://app.example.com:0/callback", "is not a complete web address"),
            ("<REDIRECT_URI>", "has characters that a redirect URI cannot have"),
            (" https://app.example.com/callback", "has spaces or quotes around it"),
            ('"https://app.example.com/callback"', "has spaces or quotes around it"),
            ("https://äpp.example.com/callback", "has characters that a redirect URI cannot have"),
            ("https://app.example.com\\callback", "has characters that a redirect URI cannot have"),
            ("https://app.example.com/callback?", "has a user name, a query or a fragment"),
            ("https://app.example.com/callback?a=b", "has a user name, a query or a fragment"),
            ("https://app.example.com/callback#", "has a user name, a query or a fragment"),
            ("https://app.example.com/callback#top", "has a user name, a query or a fragment"),
            ("https://me@app.example.com/callback", "has a user name, a query or a fragment"),
            ("https://*.example.com/callback", "has a wildcard for a host"),
            ("http://0.0.0.0:4567/callback", "names a host that no browser can open"),
            ("http://[::]:4567/callback", "names a host that no browser can open"),
            ("https://-.example.com/callback", "has a host that is not a valid name"),
            ("https://App.Example.com/callback", "has capitals in its scheme or host"),
            ("HTTPS://app.example.com/callback", "has capitals in its scheme or host"),
            ("https://app.example.com:443/callback", "names the default port of its scheme"),
            ("http://localhost:80/callback", "names the default port of its scheme"),
            ("https://app.example.com/callback/", "ends with a slash"),
            ("https://app.example.com/", "ends with a slash"),
            ("https://app.example.com", "does not lead to the application's callback"),
            ("https://app.example.com/home", "does not lead to the application's callback"),
            ("https://app.example.com//callback", "does not lead to the application's callback"),
            ("https://app.example.com/../callback", "does not lead to the application's callback"),
            ("https://app.example.com/%2e/callback", "does not lead to the application's callback"),
            ("https://app.example.com/mycallback", "does not lead to the application's callback"),
        ],
    )
    def test_a_wrong_one_is_refused_with_its_reason(self, uri: str, what: str) -> None:
        assert what == problem_of(PROCORE_REDIRECT_URI=uri).what

    @pytest.mark.parametrize(
        "uri",
        [
            "http://app.example.com/callback",
            "http://192.168.1.10:4567/callback",
            "http://localhost.example.com/callback",
            "http://127.0.0.1.example.com/callback",
            "http://notlocalhost/callback",
            "http://evil-localhost/callback",
            "http://10.127.0.0.1/callback",
        ],
    )
    def test_K2_plain_http_to_another_machine_is_refused(self, uri: str) -> None:
        problem = problem_of(PROCORE_REDIRECT_URI=uri)

        assert problem.what.startswith("uses plain http to another machine")
        assert problem.cure == "Use https. Plain http is for localhost only."

    def test_E1_the_emulator_refuses_a_redirect_away_from_this_machine(self) -> None:
        (problem,) = problems_of(
            EMULATOR | {"PROCORE_REDIRECT_URI": "https://app.example.com/callback"}
        )

        assert problem.setting == "PROCORE_REDIRECT_URI"
        assert problem.what.startswith("leads away from this machine")

    @given(text=st.text())
    def test_any_text_is_accepted_or_refused_and_what_is_accepted_is_safe(self, text: str) -> None:
        try:
            settings = Settings.load(GOOD | {"PROCORE_REDIRECT_URI": text or "-"}, None)
        except SettingsInvalid:
            return
        assert settings.redirect_uri.startswith(("https://", "http://localhost", "http://127."))

    @pytest.mark.parametrize(
        ("uri", "origin"),
        [
            ("https://app.example.com/callback", "https://app.example.com"),
            ("https://a.example:8443/in/callback", "https://a.example:8443"),
            ("http://localhost:4567/callback", "http://localhost:4567"),
            ("http://[::1]:4567/callback", "http://[::1]:4567"),
        ],
    )
    def test_the_origin_follows_from_it(self, uri: str, origin: str) -> None:
        settings = Settings.load(GOOD | {"PROCORE_REDIRECT_URI": uri}, None)

        assert origin == settings.origin


class TestDatabaseUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "sqlite:///test.db",
            "sqlite:////var/lib/app/users.db",
            "sqlite+pysqlite:///test.db",
            "postgresql://user:fake@db.example/name",
            "postgresql+psycopg://user:fake@db.example:5432/name?sslmode=require",
            "mysql://user:fake@db.example/name",
            "mysql+pymysql://user:fake@db.example/name",
            "mariadb+pymysql://user:fake@db.example/name",
        ],
    )
    def test_each_supported_database_is_accepted(self, url: str) -> None:
        assert url == Settings.load(GOOD | {"PROCORE_DATABASE_URL": url}, None).database_url

    @pytest.mark.parametrize(
        ("url", "what"),
        [
            ("test.db", "The database's address cannot be read"),
            ("oracle://db.example/name", "The database's address starts with an unknown scheme"),
            ("postgresql://db.example", "The database's address names no database"),
            ("sqlite://test.db", "SQLite needs a file, because threads and processes share it"),
        ],
    )
    def test_a_wrong_one_is_refused_with_its_reason(self, url: str, what: str) -> None:
        problem = problem_of(PROCORE_DATABASE_URL=url)

        assert problem.what == f"cannot be used: {what}"
        assert problem.cure.startswith("Write ")


EDGES = ("\r", "\n", "\r\n", " ", "\t", "\u00a0", "\ufeff", "\u200b", "\u2028", "\0")
LISTS = ("PROCORE_KEYS", "PROCORE_TRUSTED_PROXIES", "PROCORE_APP_NAME", "PROCORE_LANGUAGES")
VALUES = GOOD | {
    "PROCORE_DATABASE_URL": "postgresql://db.example/app",
    "PROCORE_TABLE_PREFIX": "procore_signin_",
    "PROCORE_DATABASE_SCHEMA": "procore",
    "PROCORE_EMULATOR_URL": "http://127.0.0.1:4568",
    "PROCORE_DATABASE_TIMEOUT_SECONDS": "5",
    "PROCORE_DATABASE_CONNECTIONS": "8",
    "PROCORE_RATE_LIMIT": "5",
    "PROCORE_SESSION_IDLE_SECONDS": "600",
    "PROCORE_SESSION_ABSOLUTE_SECONDS": "6000",
    "PROCORE_LOG_LEVEL": "info",
    "PROCORE_METRICS_TOKEN": "0123456789abcdef",
    "PROCORE_CHOOSE_COMPANY": "yes",
    "PROCORE_TRUSTED_PROXIES": "127.0.0.1",
    "PROCORE_APP_NAME": "Site Diary",
    "PROCORE_LANGUAGES": "es,en",
}


def test_the_front_door_and_the_settings_have_the_same_defaults_for_the_database() -> None:
    settings = Settings.load(GOOD, None)
    limits = (settings.database_timeout, settings.database_connections)
    assert (DATABASE_TIMEOUT, DATABASE_CONNECTIONS) == limits == (4, 20)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PROCORE_DATABASE_TIMEOUT_SECONDS", "0"),
        ("PROCORE_DATABASE_TIMEOUT_SECONDS", "61"),
        ("PROCORE_DATABASE_CONNECTIONS", "1"),
        ("PROCORE_DATABASE_CONNECTIONS", "many"),
    ],
)
def test_a_limit_for_the_database_is_a_number_within_bounds(name: str, text: str) -> None:
    assert problem_of(**{name: text}).what.startswith("is not a whole number from ")


class TestEdges:
    """What no one sees at the ends of a setting: row N4."""

    def test_every_setting_is_tried(self) -> None:
        assert set(VALUES) == {row.name for row in Settings.rows().values()}

    @pytest.mark.parametrize("text", ["spanish!", "es;en", "es\u200b", "e"])
    def test_languages_are_tags(self, text: str) -> None:
        assert problem_of(PROCORE_LANGUAGES=text).what == "is not a list of languages"
        assert Settings.load(GOOD | {"PROCORE_LANGUAGES": " es ,pt-BR"}, None).languages == (
            "es",
            "pt-BR",
        )

    @pytest.mark.parametrize("name", [name for name in VALUES if name not in LISTS])
    @pytest.mark.parametrize("edge", EDGES)
    def test_N4_what_nobody_sees_around_a_setting_is_refused_by_name(
        self, name: str, edge: str
    ) -> None:
        for text in (VALUES[name] + edge, edge + VALUES[name]):
            problem = next(
                each for each in problems_of(VALUES | {name: text}) if each.setting == name
            )
            assert problem.what == "has spaces or quotes around it"
            assert "line end" in problem.cure

    @pytest.mark.parametrize("name", LISTS)
    @pytest.mark.parametrize("edge", ["\r", "\n", " ", "\t", "\u00a0"])
    def test_N4_blanks_around_lists_and_words_mean_nothing(self, name: str, edge: str) -> None:
        plain = Settings.load(VALUES, None)
        text = f"{edge}{VALUES[name]}{edge}"
        settings = Settings.load(VALUES | {name: text}, None)

        assert settings.trusted_proxies == plain.trusted_proxies
        assert settings.app_name == plain.app_name
        assert KeyRing.parse(settings.keys).ids == KeyRing.parse(plain.keys).ids

    @pytest.mark.parametrize("name", LISTS)
    def test_N4_an_invisible_character_is_no_part_of_a_list_or_a_name(self, name: str) -> None:
        assert [each.setting for each in problems_of(VALUES | {name: f"\ufeff{VALUES[name]}"})] == [
            name
        ]

    @pytest.mark.parametrize("name", VALUES)
    @pytest.mark.parametrize("quote", ["'", '"'])
    def test_N4_quotes_that_an_env_file_kept_are_refused_by_name(
        self, name: str, quote: str
    ) -> None:
        found = problems_of(VALUES | {name: quote + VALUES[name] + quote})

        assert Problem(name, "has spaces or quotes around it", "Remove them.") in found

    def test_N4_a_file_from_windows_is_read_with_its_byte_order_mark_and_line_ends(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / ".env"
        lines = "".join(f"{name}={value}\r\n" for name, value in VALUES.items())
        path.write_bytes(b"\xef\xbb\xbf" + lines.encode())

        assert Settings.load({}, path) == Settings.load(VALUES, None)
        assert env_file.read(path) == VALUES


class TestKeys:
    def test_V1_there_is_no_start_without_a_key(self) -> None:
        assert problem_of(PROCORE_KEYS="") == Problem(
            "PROCORE_KEYS",
            "is not set",
            "Run `procore-signin init`, which writes one into .env.",
        )

    @pytest.mark.parametrize(
        ("keys", "what"),
        [
            ("k1:tooshort", "cannot be used: entry 1 is not a key of 32 bytes in base64url"),
            (f"{KEYS},{KEYS}", "cannot be used: two keys have the same id"),
        ],
    )
    def test_the_rings_own_rule_is_named_without_the_key(self, keys: str, what: str) -> None:
        problem = problem_of(PROCORE_KEYS=keys)

        assert what == problem.what
        assert problem.cure
        assert KEYS.partition(":")[2] not in problem.what + problem.cure


class TestEmulatorUrl:
    @pytest.mark.parametrize(
        ("url", "what"),
        [
            ("http://procore.example:4568", "is not an origin on this machine"),
            ("http://127.0.0.1:4568/oauth", "is not an origin on this machine"),
            ("http://127.0.0.1:99999", "is not a web address"),
            ("127.0.0.1:4568", "is not a complete web address"),
        ],
    )
    def test_E1_it_has_to_be_on_this_machine(self, url: str, what: str) -> None:
        assert what == problem_of(PROCORE_EMULATOR_URL=url).what

    @pytest.mark.parametrize(
        "url",
        [
            "http://localhost.evil.example:4568",
            "http://localhostess:4568",
            "http://127.0.0.1.evil.example:4568",
            "http://127.evil.example",
        ],
    )
    def test_K2_a_host_that_begins_like_this_machine_is_no_emulator(self, url: str) -> None:
        problem = problem_of(PROCORE_EMULATOR_URL=url)

        assert problem.what == "is not an origin on this machine"


class TestNumbers:
    @pytest.mark.parametrize("text", ["-1", "1.5", "1e3", "many", "٣", "5 5", "1000001", "9" * 30])
    def test_a_rate_limit_is_a_whole_number(self, text: str) -> None:
        assert problem_of(PROCORE_RATE_LIMIT=text).what == "is not a whole number from 0 to 1000000"

    def test_zero_switches_the_rate_limit_off(self) -> None:
        assert Settings.load(GOOD | {"PROCORE_RATE_LIMIT": "0"}, None).rate_limit == 0

    @pytest.mark.parametrize("text", ["59", "34560001", "12h"])
    def test_an_idle_time_is_a_minute_at_least(self, text: str) -> None:
        problem = problem_of(PROCORE_SESSION_IDLE_SECONDS=text)

        assert problem.what == "is not a whole number from 60 to 34560000"

    @pytest.mark.parametrize("text", ["299", "34560001", "14d"])
    def test_a_session_lasts_five_minutes_at_least(self, text: str) -> None:
        changes = {"PROCORE_SESSION_IDLE_SECONDS": "60", "PROCORE_SESSION_ABSOLUTE_SECONDS": text}
        (problem,) = problems_of(GOOD | changes)

        assert problem.setting == "PROCORE_SESSION_ABSOLUTE_SECONDS"
        assert problem.what == "is not a whole number from 300 to 34560000"

    def test_an_idle_time_longer_than_the_session_is_refused(self) -> None:
        changes = {
            "PROCORE_SESSION_IDLE_SECONDS": "601",
            "PROCORE_SESSION_ABSOLUTE_SECONDS": "600",
        }
        (problem,) = problems_of(GOOD | changes)

        assert problem.setting == "PROCORE_SESSION_IDLE_SECONDS"
        assert problem.what.startswith("is longer than PROCORE_SESSION_ABSOLUTE_SECONDS")


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("PROCORE_CLEINT_ID", "PROCORE_CLIENT_ID"),
            ("PROCORE_CLIENT_SECRT", "PROCORE_CLIENT_SECRET"),
            ("procore_client_id", "PROCORE_CLIENT_ID"),
            ("PROCORE_KEY", "PROCORE_KEYS"),
            ("PROCORE_ENVIROMENT", "PROCORE_ENVIRONMENT"),
            # Its default leads browsers to the developer's own machine.
            ("PROCORE_REDIRECT_URL", "PROCORE_REDIRECT_URI"),
            ("PROCORE_REDIRECT_URIS", "PROCORE_REDIRECT_URI"),
        ],
    )
    def test_a_name_like_that_of_a_missing_setting_is_named_with_it(
        self, name: str, meant: str
    ) -> None:
        others = {each: value for each, value in GOOD.items() if each != meant}
        [problem] = problems_of(others | {name: "fake"})

        assert problem.setting == meant
        assert problem.what == f"is not set (is {name} a misspelling of it?)"
        [row] = [row for row in Settings.rows().values() if row.name == meant]
        assert problem.cure == (row.missing or row.misspelt)
        given = GOOD | {"PROCORE_REDIRECT_URI": "https://example.com/callback"}
        assert Settings.load(given | {name: "fake"}, None) == Settings.load(given, None)

    @pytest.mark.parametrize(
        "name",
        [
            *("PROCORE_COMPANY_ID", "PROCORE_WEBHOOK_SECRET", "PROCORE_API_BASE", "PROCORE_ZZZ"),
            *("PROCORE_PROJECT_ID", "PROCORE_API_KEY", "PROCORE_BASE_URL", "PROCORE_TOKEN"),
            *("PROCORE_API_VERSION", "PROCORE_ENABLED", "PROCORE_TIMEOUT", "PROCORE_SYNC_USERS"),
            "PROCORE_CLIENT_IDS",  # PROCORE_CLIENT_ID is there: nothing is missing
        ],
    )
    def test_the_application_may_have_settings_of_the_same_prefix(
        self, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert Settings.load(GOOD | {name: "8089"}, None) == Settings.load(GOOD, None)
        assert caplog.messages == []

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("PROCORE_LANGUAGE", "PROCORE_LANGUAGES"),
            ("PROCORE_DATABASE_URI", "PROCORE_DATABASE_URL"),
            ("PROCORE_APPNAME", "PROCORE_APP_NAME"),
            ("PROCORE_LOG_LEVELS", "PROCORE_LOG_LEVEL"),
            ("PROCORE_RATE_LIMITS", "PROCORE_RATE_LIMIT"),
        ],
    )
    def test_one_that_is_like_a_setting_with_a_default_is_told_once_and_stops_nothing(
        self, name: str, meant: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        _tell_alike.cache_clear()
        for _ in range(2):
            assert Settings.load(GOOD | {name: "fake"}, None) == Settings.load(GOOD, None)
        [told] = caplog.messages
        assert told.startswith(f"{name} is no setting of procore-signin")
        assert f"set {meant} as well, and this is not said again" in told
        assert "fake" not in told
        _tell_alike.cache_clear()
        [row] = [row for row in Settings.rows().values() if row.name == meant]
        Settings.load(GOOD | {name: "fake", meant: row.default or row.example}, None)
        assert caplog.messages == [told]

    def test_other_names_are_nobodys_business(self) -> None:
        others = {"PATH": "/bin", "PROCORE_SIGNIN_CHROMIUM": "chromium", "MY_PROCORE_ID": "1"}

        assert Settings.load(GOOD, None) == Settings.load(GOOD | others, None)


class TestEnvFile:
    def test_the_file_is_read(self, tmp_path: Path) -> None:
        lines = "\n".join(f"{name}={value}" for name, value in GOOD.items())

        assert Settings.load(GOOD, None) == Settings.load({}, written(tmp_path, lines))

    def test_comments_quotes_and_export_are_understood(self, tmp_path: Path) -> None:
        file = written(
            tmp_path,
            "# the sandbox\nexport PROCORE_ENVIRONMENT=sandbox # for now\n"
            "PROCORE_CLIENT_ID='fake-#-id'\n\n",
        )
        rest = {name: GOOD[name] for name in ("PROCORE_CLIENT_SECRET", "PROCORE_KEYS")}
        settings = Settings.load(rest, file)

        assert settings.environment.name == "sandbox"
        assert settings.client_id == "fake-#-id"

    def test_the_process_environment_beats_the_file(self, tmp_path: Path) -> None:
        file = written(tmp_path, "PROCORE_RATE_LIMIT=7\nPROCORE_CLIENT_ID=other")

        settings = Settings.load(GOOD, file)
        assert settings.rate_limit == 7
        assert settings.client_id == "fake-id-0123456789"

    def test_a_problem_says_when_the_process_environment_hides_the_file(
        self, tmp_path: Path
    ) -> None:
        file = written(tmp_path, "PROCORE_RATE_LIMIT=7")
        (problem,) = problems_of(GOOD | {"PROCORE_RATE_LIMIT": "many"}, file)

        assert problem.cure.endswith(" The process environment sets it, and beats .env.")

    def test_a_problem_says_when_the_application_hides_the_file(self, tmp_path: Path) -> None:
        file = written(tmp_path, "PROCORE_RATE_LIMIT=7")
        own = {"PROCORE_RATE_LIMIT": "many"}
        with pytest.raises(SettingsInvalid) as refused:
            read_settings(own, environ=GOOD, env_file=file)

        (problem,) = refused.value.problems
        assert problem.cure.endswith(" The application itself sets it, and beats .env.")

    def test_what_is_set_to_nothing_is_not_set(self, tmp_path: Path) -> None:
        file = written(
            tmp_path, "PROCORE_RATE_LIMIT=7\nPROCORE_EMULATOR_URL=\nPROCORE_DATABASE_URL"
        )

        settings = Settings.load(GOOD | {"PROCORE_RATE_LIMIT": ""}, file)
        assert settings.rate_limit == 7
        assert settings.emulator_url == "http://127.0.0.1:4568"
        assert settings.database_url == "sqlite:///test.db"

    def test_a_dollar_in_a_secret_means_nothing(self, tmp_path: Path) -> None:
        without = {name: value for name, value in GOOD.items() if name != "PROCORE_CLIENT_SECRET"}
        file = written(tmp_path, "PROCORE_CLIENT_SECRET=fa${PROCORE_CLIENT_ID}ke$HOME")

        secret = Settings.load(without, file).client_secret
        assert Secret("fa${PROCORE_CLIENT_ID}ke$HOME", "") == secret

    def test_a_file_that_is_not_there_is_fine(self, tmp_path: Path) -> None:
        assert Settings.load(GOOD, None) == Settings.load(GOOD, tmp_path / ".env")

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, tmp_path: Path) -> None:
        file = written(tmp_path, "\ufeffPROCORE_RATE_LIMIT=7")

        assert Settings.load(GOOD, file).rate_limit == 7

    def test_a_line_that_cannot_be_read_is_named_without_its_text(self, tmp_path: Path) -> None:
        file = written(tmp_path, "# first\n\n\nPROCORE_CLIENT_SECRET='fake-unclosed\n")

        assert problems_of(GOOD, file) == (
            Problem(".env", "cannot be read at line 4", "Write NAME=value, and close every quote."),
        )

    def test_a_setting_that_stands_there_twice_is_named(self, tmp_path: Path) -> None:
        file = written(tmp_path, "PROCORE_RATE_LIMIT=7\n\nPROCORE_RATE_LIMIT=8\nA=1\nA=2\n")

        assert problems_of(GOOD, file) == (
            Problem(
                "PROCORE_RATE_LIMIT", "occurs in .env twice, at lines 1 and 3", "Keep one of them."
            ),
        )

    def test_a_file_in_another_encoding_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / ".env"
        file.write_bytes("PROCORE_RATE_LIMIT=7".encode("utf-16"))

        assert [problem.setting for problem in problems_of(GOOD, file)] == [".env"]

    def test_a_folder_in_its_place_is_named(self, tmp_path: Path) -> None:
        (problem,) = problems_of(GOOD, tmp_path)

        assert problem.what == "cannot be read (Is a directory)"

    def test_an_error_says_where_the_file_was_looked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for told in ("There is no file {}, which", "The file that was read is {}."):
            with pytest.raises(SettingsInvalid) as missing:
                Settings.load({}, Path(".env"))
            assert told.format(tmp_path / ".env") in str(missing.value)
            assert told.format(tmp_path / ".env") in str(missing.value.hint)
            written(tmp_path, "PROCORE_RATE_LIMIT=7")
        with pytest.raises(SettingsInvalid, match="PROCORE_TABLE_PREFIX") as address:
            read_address({"PROCORE_TABLE_PREFIX": "1"})
        assert str(tmp_path / ".env") in str(address.value)

    def test_a_working_directory_that_was_deleted_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        with pytest.raises(SettingsInvalid, match="working directory, which was deleted"):
            Settings.load({}, Path(".env"))


class TestSecrecy:
    def test_O1_the_repr_shows_no_secret(self) -> None:
        secretive = GOOD | {"PROCORE_DATABASE_URL": "mysql://user:fake-password@db.example/name"}
        shown = repr(Settings.load(secretive, None))

        assert "fake-id-0123456789" in shown
        assert "fake-secret" not in shown
        assert "fake-password" not in shown
        assert KEYS.partition(":")[2] not in shown

    @given(text=st.text(min_size=12, alphabet=st.characters(codec="ascii", categories=["L", "N"])))
    def test_O1_no_message_shows_a_value_whatever_setting_it_was_pasted_into(
        self, text: str
    ) -> None:
        pasted = f"{text}%"
        names = [*GOOD, "PROCORE_DATABASE_URL", "PROCORE_EMULATOR_URL", "PROCORE_RATE_LIMIT"]
        with pytest.raises(SettingsInvalid) as refused:
            Settings.load(dict.fromkeys(names, pasted), None)

        assert pasted not in str(refused.value)

    def test_settings_cannot_be_changed(self) -> None:
        settings = Settings.load(GOOD, None)
        with pytest.raises(FrozenInstanceError):
            settings.client_id = "other"  # type: ignore[misc]


def test_N2_the_settings_of_a_framework_may_have_secrets_as_such() -> None:
    own = {name: GOOD[name] for name in ("PROCORE_CLIENT_ID", "PROCORE_ENVIRONMENT")} | {
        "PROCORE_REDIRECT_URI": GOOD["PROCORE_REDIRECT_URI"],
        "PROCORE_CLIENT_SECRET": Secret(GOOD["PROCORE_CLIENT_SECRET"], "client secret"),
        "PROCORE_KEYS": Secret(KEYS, "keys"),
    }

    assert read_settings(own, environ={}, env_file=None) == Settings.load(GOOD, None)


@pytest.mark.parametrize("name", ["PROCORE_CLIENT_SECRET", "PROCORE_KEYS"])
def test_N2_bytes_in_the_settings_of_a_framework_are_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        read_settings(GOOD | {name: GOOD[name].encode()}, environ={}, env_file=None)

    assert [each.setting for each in refused.value.problems] == [name]
    assert GOOD[name] not in str(refused.value)


def test_O1_a_traceback_that_shows_variables_shows_no_setting(tmp_path: Path) -> None:
    wrong = GOOD | {
        "PROCORE_REDIRECT_URI": "nowhere",
        "PROCORE_DATABASE_URL": "postgresql://us:hidden-password@db/app",
    }
    in_file = written(tmp_path, "\n".join(f"{name}={value}" for name, value in wrong.items()))
    secrets = (KEYS, GOOD["PROCORE_CLIENT_SECRET"], "hidden-password")

    loads: list[Callable[[], Settings]] = [
        lambda: Settings.load(wrong, None),
        lambda: Settings.load({}, in_file),
        lambda: read_settings(wrong, environ={}, env_file=None),
        lambda: read_settings(environ=wrong, env_file=None),
    ]
    for load in loads:
        with pytest.raises(SettingsInvalid) as refused:
            load()
        ours = "".join(
            f"{name}={value!r}\n"
            for frame, _ in traceback.walk_tb(refused.value.__traceback__)
            if "procore_signin" in frame.f_code.co_filename
            for name, value in frame.f_locals.items()
        )
        assert ours
        assert [each for each in secrets if each in ours] == []
