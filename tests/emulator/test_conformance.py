"""What Procore documents about signing in, asked of a server over a real socket.

By default that server is the emulator, in each of its generations. `PROCORE_SIGNIN_CONFORMANCE_URL`
names another by its login origin, such as `https://login-sandbox.procore.com`. What else is
needed then: docs/how-to/compare-with-a-real-procore.md. Someone has to be there to log in: the
suite prints addresses and asks where the browser ended. What the documentation leaves open is not
asserted but observed, and
printed at the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from procore_signin.emulator import Emulator
from procore_signin.environments import FEDERAL, MONTHLY, PRODUCTION, SANDBOX

NAMED = os.environ.get("PROCORE_SIGNIN_CONFORMANCE_URL")
STATE = "0123456789abcdef" * 2
OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
API_OF = {e.login_origin: e.api_origin for e in (PRODUCTION, SANDBOX, MONTHLY, FEDERAL)}
Observe = Callable[[str, object], None]
Tokens = dict[str, Any]


@dataclass
class Subject:
    """The server that is looked at, and a client that is registered with it.

    Attributes:
        decide: Takes an authorization request and what to press; returns where the browser went.
    """

    login_origin: str
    api_origin: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    decide: Callable[[str, str], str] = field(repr=False)

    @property
    def client(self) -> dict[str, str]:
        return {"client_id": self.client_id, "client_secret": self.client_secret}

    def authorize_url(self, **changes: str) -> str:
        parameters = {
            "client_id": self.client_id,
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "state": STATE,
        }
        return f"{self.login_origin}/oauth/authorize?{urlencode(parameters | changes)}"

    def code(self, **changes: str) -> str:
        """Have a person press Allow; returns the code."""
        location = self.decide(self.authorize_url(**changes), "Allow")
        if self.redirect_uri == OUT_OF_BAND:
            return location.rpartition("/")[2].rpartition("=")[2]
        assert location.startswith(self.redirect_uri)
        answer = parse_qs(urlsplit(location).query)
        assert [STATE] == answer["state"]
        return answer["code"][0]

    def exchange_form(self, code: str, /, **changes: str) -> dict[str, str]:
        form = {"grant_type": "authorization_code", **self.client, "code": code}
        return {**form, "redirect_uri": self.redirect_uri, **changes}

    def refresh_form(self, refresh_token: str) -> dict[str, str]:
        return {"grant_type": "refresh_token", **self.client, "refresh_token": refresh_token}


@pytest.fixture(scope="module", params=[4, 5] if NAMED is None else [NAMED])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """The server: each generation of the emulator, or the one that the variable names."""
    if NAMED is not None:
        yield _named(NAMED.rstrip("/"), request.config)
        return
    with Emulator.started(doorkeeper=request.param) as emulator:
        yield _emulated(emulator)


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    """A client that follows no redirect and has no cookie."""
    with httpx2.Client(timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def tokens(subject: Subject, http: httpx2.Client) -> Tokens:
    """The response to the exchange of one code."""
    answered = http.post(
        f"{subject.login_origin}/oauth/token", data=subject.exchange_form(subject.code())
    )
    assert 200 == answered.status_code
    found: Tokens = answered.json()
    return found


@pytest.fixture(scope="module")
def observe(request: pytest.FixtureRequest) -> Iterator[Observe]:
    """Note a response to a question that is open; they are printed of a server that was named."""
    observed: dict[str, set[str]] = {}
    yield lambda question, answer: observed.setdefault(question, set()).add(str(answer))
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    if NAMED is None or terminal is None:
        return
    with _talking(request.config):
        terminal.write_line("")
        for question, answers in observed.items():
            terminal.write_line(f"Observed: {question}: {', '.join(sorted(answers))}")


@contextmanager
def _talking(config: pytest.Config) -> Iterator[None]:
    """Let the suite print and read at the terminal while the block runs."""
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.suspend_global_capture(in_=True)
    try:
        yield
    finally:
        capture.resume_global_capture()


def _emulated(emulator: Emulator) -> Subject:
    def decide(authorize_url: str, press: str) -> str:
        return (emulator.approve if press == "Allow" else emulator.deny)(authorize_url)

    return Subject(
        emulator.url,
        emulator.url,
        emulator.options.client_id,
        emulator.options.client_secret,
        emulator.options.redirect_uris[0],
        decide,
    )


def _named(login_origin: str, config: pytest.Config) -> Subject:
    missing = [name for name in ("CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URI") if not _ours(name)]
    if missing:
        pytest.exit(f"Set PROCORE_{', PROCORE_'.join(missing)} too", returncode=1)

    def decide(authorize_url: str, press: str) -> str:
        with _talking(config):
            return input(
                f"\nOpen {authorize_url}\nPress {press}. "
                "Paste the address where the browser ended, or the code it shows:\n"
            ).strip()

    return Subject(
        login_origin,
        API_OF.get(login_origin, login_origin),
        _ours("CLIENT_ID"),
        _ours("CLIENT_SECRET"),
        _ours("REDIRECT_URI"),
        decide,
    )


def _ours(name: str) -> str:
    return os.environ.get(f"PROCORE_{name}", "")


# --- Without a person ----------------------------------------------------------------------------


def test_E2_who_is_not_logged_in_is_sent_to_a_login(subject: Subject, http: httpx2.Client) -> None:
    answered = http.get(subject.authorize_url())
    assert 302 == answered.status_code
    assert "code=" not in answered.headers["location"]


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "0" * 64},
        {"redirect_uri": "https://elsewhere.invalid/callback"},
        {"response_type": "unheard-of"},
    ],
    ids=["client_id", "redirect_uri", "response_type"],
)
def test_E2_a_wrong_request_never_leads_the_browser_away(
    subject: Subject, http: httpx2.Client, observe: Observe, changes: dict[str, str]
) -> None:
    answered = http.get(subject.authorize_url(**changes))
    location = answered.headers.get("location", "")
    assert urlsplit(location).netloc in {"", urlsplit(subject.login_origin).netloc}
    observe(f"status of the page about a wrong {', '.join(changes)}", answered.status_code)


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"client_secret": "wrong"}, {"invalid_client"}),
        ({"client_id": "0" * 64}, {"invalid_client"}),
        ({"code": "0" * 64}, {"invalid_grant"}),
        ({"grant_type": "unheard-of"}, {"unsupported_grant_type"}),
        ({"grant_type": ""}, {"invalid_request"}),
        ({"grant_type": "refresh_token", "refresh_token": "0" * 64}, {"invalid_grant"}),
    ],
)
@pytest.mark.parametrize("encoding", ["form", "multipart", "json"])
def test_E2_a_wrong_token_request_is_refused_in_json(
    subject: Subject,
    http: httpx2.Client,
    observe: Observe,
    encoding: str,
    changes: dict[str, str],
    errors: set[str],
) -> None:
    form = subject.exchange_form("0" * 64, **changes)
    parts = {name: (None, value) for name, value in form.items()}
    ways: dict[str, dict[str, Any]] = {
        "form": {"data": form},
        "multipart": {"files": parts},
        "json": {"json": form},
    }
    answered = http.post(f"{subject.login_origin}/oauth/token", **ways[encoding])
    error = answered.json()
    assert error["error"] in errors
    assert isinstance(error["error_description"], str)
    assert answered.status_code in {400, 401}
    observe(f"status of {error['error']}", answered.status_code)
    observe(f"description of {error['error']}", error["error_description"])
    observe("WWW-Authenticate of a refusal", answered.headers.get("www-authenticate"))


def test_E2_revoking_a_token_that_was_never_issued_is_a_success(
    subject: Subject, http: httpx2.Client
) -> None:
    form = {**subject.client, "token": "0" * 64}
    answered = http.post(f"{subject.login_origin}/oauth/revoke", data=form)
    assert (200, {}) == (answered.status_code, answered.json())


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer " + "0" * 64}])
def test_E2_nothing_is_told_without_a_good_token(
    subject: Subject, http: httpx2.Client, observe: Observe, headers: dict[str, str]
) -> None:
    asked = f"{subject.api_origin}/rest/v1.0/me", f"{subject.login_origin}/oauth/token/info"
    for url in asked:
        answered = http.get(url, headers=headers)
        assert 401 == answered.status_code
        observe(f"body of a 401 of {urlsplit(url).path}", answered.text)


# --- With a person -------------------------------------------------------------------------------


def test_E2_deny_sends_the_browser_back_with_the_error_and_the_state(subject: Subject) -> None:
    if subject.redirect_uri == OUT_OF_BAND:
        pytest.skip("out of band there is nowhere to be sent back to")
    answer = parse_qs(urlsplit(subject.decide(subject.authorize_url(), "Deny")).query)
    assert (["access_denied"], [STATE]) == (answer["error"], answer["state"])
    assert "code" not in answer


def test_E2_a_code_brings_a_pair_of_tokens(tokens: Tokens, observe: Observe) -> None:
    assert "bearer" == tokens["token_type"].lower()
    assert all(isinstance(tokens[name], str) for name in ("access_token", "refresh_token"))
    assert 300 <= tokens["expires_in"] <= 7200
    assert abs(tokens["created_at"] - time.time()) < 120
    observe("members of a token response", " ".join(tokens))
    observe("token_type", tokens["token_type"])
    observe("expires_in", tokens["expires_in"])


def test_E2_the_token_tells_who_it_is(
    subject: Subject, http: httpx2.Client, tokens: Tokens, observe: Observe
) -> None:
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    answered = http.get(f"{subject.api_origin}/rest/v1.0/me", headers=headers)
    me = answered.json()
    assert isinstance(me["id"], int)
    assert "@" in me["login"]
    info = http.get(f"{subject.login_origin}/oauth/token/info", headers=headers).json()
    assert subject.client_id == info["application"]["uid"]
    observe("/me has a name", "name" in me)
    observe("/me's id is token info's resource_owner_id", me["id"] == info["resource_owner_id"])
    observe("members of token info", " ".join(info))


def test_E2_lists_are_paged_and_limits_are_told(
    subject: Subject, http: httpx2.Client, tokens: Tokens, observe: Observe
) -> None:
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    url = f"{subject.api_origin}/rest/v1.0/companies?page=1&per_page=1"
    answered = http.get(url, headers=headers)
    assert 200 == answered.status_code
    assert {"id", "name", "is_active"} <= answered.json()[0].keys()
    assert int(answered.headers["x-rate-limit-remaining"]) >= 0
    assert int(answered.headers["x-rate-limit-reset"]) > time.time() - 120
    observe("Link of a first page", answered.headers.get("link"))
    observe("X-Rate-Limit-Limit", answered.headers.get("x-rate-limit-limit"))


def test_E2_a_code_works_once(subject: Subject, http: httpx2.Client, observe: Observe) -> None:
    form = subject.exchange_form(subject.code())
    first, second = (http.post(f"{subject.login_origin}/oauth/token", data=form) for _ in range(2))
    assert (200, "invalid_grant") == (first.status_code, second.json()["error"])
    headers = {"authorization": f"Bearer {first.json()['access_token']}"}
    alive = http.get(f"{subject.api_origin}/rest/v1.0/me", headers=headers).status_code == 200
    observe("a code sent again leaves its tokens alive", alive)


def test_E2_a_code_is_bound_to_its_redirect_uri(subject: Subject, http: httpx2.Client) -> None:
    form = subject.exchange_form(subject.code(), redirect_uri="http://localhost:1/elsewhere")
    answered = http.post(f"{subject.login_origin}/oauth/token", data=form)
    assert "invalid_grant" == answered.json()["error"]


def test_a_wrong_code_verifier_shows_whether_pkce_is_enforced(
    subject: Subject, http: httpx2.Client, observe: Observe
) -> None:
    """RFC 7636, Appendix B has this challenge; the verifier sent is another."""
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    code = subject.code(code_challenge=challenge, code_challenge_method="S256")
    form = subject.exchange_form(code, code_verifier="v" * 43)
    answered = http.post(f"{subject.login_origin}/oauth/token", data=form)
    assert answered.status_code == 200 or "invalid_grant" == answered.json()["error"]
    observe("PKCE is enforced", answered.status_code != 200)


def test_E2_a_refresh_token_works_once_and_revoking_ends_both(
    subject: Subject, http: httpx2.Client, observe: Observe
) -> None:
    token_url, me_url = f"{subject.login_origin}/oauth/token", f"{subject.api_origin}/rest/v1.0/me"
    first = http.post(token_url, data=subject.exchange_form(subject.code())).json()
    second = http.post(token_url, data=subject.refresh_form(first["refresh_token"])).json()
    assert first["refresh_token"] != second["refresh_token"]
    old = {"authorization": f"Bearer {first['access_token']}"}
    new = {"authorization": f"Bearer {second['access_token']}"}
    observe("the old access token outlives the refresh", http.get(me_url, headers=old).is_success)
    assert 200 == http.get(me_url, headers=new).status_code
    again = http.post(token_url, data=subject.refresh_form(first["refresh_token"]))
    assert "invalid_grant" == again.json()["error"]
    form = {**subject.client, "token": second["access_token"]}
    revoked = http.post(f"{subject.login_origin}/oauth/revoke", data=form)
    assert (200, {}) == (revoked.status_code, revoked.json())
    after = http.post(token_url, data=subject.refresh_form(second["refresh_token"]))
    observe("revoking the access token ends the refresh token", not after.is_success)
    observe("a revoked access token dies at once", not http.get(me_url, headers=new).is_success)


def test_E2_a_service_account_gets_no_refresh_token(
    subject: Subject, http: httpx2.Client, observe: Observe
) -> None:
    form = {"grant_type": "client_credentials", **subject.client}
    answered = http.post(f"{subject.login_origin}/oauth/token", data=form)
    answer = answered.json()
    if answered.is_success:
        assert "refresh_token" not in answer
    observe("client credentials", answer.get("error", "a token"))
