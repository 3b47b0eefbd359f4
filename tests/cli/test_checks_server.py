"""Each finding about the server, made by a response that asks for it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterable
from email.utils import formatdate

import pytest

from procore_signin._cli.setup import checks_server
from procore_signin._cli.setup.finding import Finding
from procore_signin._cli.setup.tls import Handshake
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._settings import Settings
from procore_signin.errors import ProcoreUnavailable, UnexpectedResponse

NOW = 1_790_000_000.0
SECRET = "fake-client-secret-Ωmega"[:18]
SETTINGS = Settings.load(
    {
        "PROCORE_ENVIRONMENT": "sandbox",
        "PROCORE_CLIENT_ID": "fake-client-id",
        "PROCORE_CLIENT_SECRET": SECRET,
        "PROCORE_KEYS": f"k1:{'A' * 43}",
    },
    None,
)


class Answering:
    """A transport whose every response is the same, and which keeps what was sent."""

    def __init__(self, answer: HttpResponse | Exception) -> None:
        self.answer = answer
        self.sent: list[HttpRequest] = []

    def send(self, request: HttpRequest) -> HttpResponse:
        self.sent.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        pass


def response(
    status: int = 401,
    body: object = None,
    *,
    date: float | None = NOW,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    sent = {"content-type": "application/json"} | (headers or {})
    if date is not None:
        sent["date"] = formatdate(date, usegmt=True)
    return HttpResponse(
        status, sent, body if isinstance(body, bytes) else json.dumps(body).encode()
    )


def token_findings(
    answer: HttpResponse | Exception, clock: Callable[[], float] = lambda: NOW
) -> dict[str, Finding]:
    found = checks_server.check_token_endpoint(SETTINGS, Answering(answer), clock)
    return by_check(found)


def by_check(found: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in found}


INVALID_GRANT = response(body={"error": "invalid_grant"})


def test_a_client_whose_made_up_code_is_refused_is_accepted() -> None:
    found = token_findings(INVALID_GRANT)

    assert {name: finding.level for name, finding in found.items()} == {
        "server": "ok",
        "clock": "ok",
        "client": "ok",
    }


@pytest.mark.parametrize("status", [400, 401])
def test_a_client_that_is_not_accepted_is_a_problem_whatever_the_status(status: int) -> None:
    finding = token_findings(response(status, {"error": "invalid_client"}))["client"]

    assert finding.level == "problem"
    assert "Procore (sandbox) does not accept" in finding.what
    assert "Sandbox and production have a pair each" in finding.cure


@pytest.mark.parametrize("code", ["unauthorized_client", "invalid_request"])
def test_a_client_that_may_not_use_the_grant_is_a_problem(code: str) -> None:
    finding = token_findings(response(400, {"error": code}))["client"]

    assert (finding.level, finding.why) == ("problem", f"It responded with {code}.")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_leaves_the_client_unknown(status: int) -> None:
    finding = token_findings(response(status, b"<html>busy</html>"))["client"]

    assert (finding.level, finding.cure) == ("warning", "Run doctor again in a minute.")


def test_tokens_for_a_made_up_code_are_a_problem() -> None:
    granted = {"access_token": "fake-access-token", "token_type": "bearer", "expires_in": 5400}
    finding = token_findings(response(200, granted))["client"]

    assert (finding.level, "Do not sign in there" in finding.cure) == ("problem", True)


@pytest.mark.parametrize("body", [b"<html>A captive portal</html>", {"hello": "world"}])
def test_an_answer_that_is_not_procores_is_a_problem(body: object) -> None:
    finding = token_findings(response(200, body))["client"]

    assert (finding.level, "does not respond as Procore does" in finding.what) == ("problem", True)


def test_a_server_that_is_not_reached_is_one_problem() -> None:
    found = token_findings(ProcoreUnavailable("No one there", ambiguous=False, hint="Look."))

    assert found == {
        "server": Finding(
            "server",
            "problem",
            "login-sandbox.procore.com was not reached.",
            "No one there.",
            "Look.",
        )
    }


def test_a_server_that_breaks_http_is_one_problem() -> None:
    found = token_findings(UnexpectedResponse("The response is too large"))

    assert [(f.check, f.level) for f in found.values()] == [("server", "problem")]


@pytest.mark.parametrize(
    ("skew", "level"),
    [(0, "ok"), (30, "ok"), (-30, "ok"), (31, "warning"), (-300, "warning"), (301, "problem")],
)
def test_the_clock_may_be_half_a_minute_wrong(skew: int, level: str) -> None:
    finding = token_findings(
        response(body={"error": "invalid_grant"}, date=NOW - skew), lambda: NOW + 0.5
    )

    assert finding["clock"].level == level


@pytest.mark.parametrize(("skew", "direction"), [(90, "ahead of"), (-90, "behind")])
def test_the_clock_finding_says_which_way(skew: int, direction: str) -> None:
    answer = response(body={"error": "invalid_grant"}, date=NOW - skew)
    finding = token_findings(answer, lambda: NOW + 0.5)["clock"]

    assert finding.what == f"This machine's clock is 90 seconds {direction} the server's."


def test_a_slow_answer_does_not_make_the_clock_look_wrong() -> None:
    """The server wrote its time between our sending and our receiving."""
    times = iter([NOW - 50, NOW + 50])

    assert token_findings(INVALID_GRANT, lambda: next(times))["clock"].level == "ok"


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 2026 25:00:00 GMT"])
def test_an_answer_without_a_date_leaves_the_clock_unknown(date: str) -> None:
    answer = response(body={"error": "invalid_grant"}, date=None, headers={"date": date})

    assert token_findings(answer)["clock"].level == "warning"


def test_O1_no_finding_and_no_address_shows_the_client_secret() -> None:
    transport = Answering(response(body={"error": "invalid_client"}))
    found = [
        *checks_server.check_token_endpoint(SETTINGS, transport, lambda: NOW),
        *checks_server.check_authorization_page(SETTINGS, transport),
        *checks_server.check_api(SETTINGS, transport),
    ]

    assert SECRET not in repr(found)
    assert SECRET not in "".join(request.url for request in transport.sent)


def authorization_page(answer: HttpResponse | Exception) -> Finding:
    (finding,) = checks_server.check_authorization_page(SETTINGS, Answering(answer))
    return finding


def page(text: str, status: int = 200) -> HttpResponse:
    html = f"<html><body><h1>An error</h1><p>{text}</p></body></html>".encode()
    return response(status, html, headers={"content-type": "text/html"})


@pytest.mark.parametrize("status", [200, 400, 401])
@pytest.mark.parametrize(
    "text",
    [
        "The redirect uri included is not valid.",
        "The requested redirect uri is malformed or doesn&#39;t match client redirect URI.",
        "The requested redirect URI is malformed or doesn't match the client redirect URI.",
    ],
)
def test_a_redirect_uri_that_is_not_registered_is_a_problem(text: str, status: int) -> None:
    finding = authorization_page(page(text, status))

    assert (finding.level, "does not accept the redirect URI" in finding.what) == ("problem", True)
    assert SETTINGS.redirect_uri in finding.what
    assert "Register exactly this one" in finding.cure


def test_a_client_id_of_another_environment_is_a_problem() -> None:
    finding = authorization_page(
        page(
            "Client authentication failed due to unknown client, no client authentication "
            "included, or unsupported authentication method."
        )
    )

    assert (finding.level, "does not know the client id" in finding.what) == ("problem", True)


def test_a_log_in_page_is_a_good_sign() -> None:
    assert authorization_page(page("Log in to Procore")).level == "ok"


def test_a_redirect_to_the_log_in_page_is_a_good_sign() -> None:
    elsewhere = response(302, b"", headers={"location": "https://login.example/login"})

    assert authorization_page(elsewhere).level == "ok"


def test_a_redirect_back_with_an_error_is_a_problem() -> None:
    back = f"{SETTINGS.redirect_uri}?error=unsupported_response_type&state=0"
    finding = authorization_page(response(302, b"", headers={"location": back}))

    assert (finding.level, "unsupported_response_type" in finding.why) == ("problem", True)


def test_an_unknown_error_page_is_a_warning() -> None:
    assert authorization_page(page("Something is broken", 500)).level == "warning"


def test_a_page_that_does_not_come_is_a_warning() -> None:
    assert authorization_page(ProcoreUnavailable("Too slow", ambiguous=True)).level == "warning"


def api(answer: HttpResponse | Exception) -> Finding:
    (finding,) = checks_server.check_api(SETTINGS, Answering(answer))
    return finding


def test_an_api_that_refuses_a_made_up_token_is_procores() -> None:
    assert api(response(401, {"errors": "Unauthorized"})).level == "ok"


@pytest.mark.parametrize("status", [429, 502])
def test_an_api_that_is_busy_is_a_warning(status: int) -> None:
    assert api(response(status, b"")).level == "warning"


@pytest.mark.parametrize("status", [200, 302, 404])
def test_an_api_that_does_not_refuse_is_a_problem(status: int) -> None:
    assert api(response(status, b"")).level == "problem"


@pytest.mark.parametrize(
    "failure", [ProcoreUnavailable("Gone", ambiguous=True), UnexpectedResponse("Too large")]
)
def test_an_api_that_does_not_answer_is_a_problem(failure: Exception) -> None:
    assert api(failure).level == "problem"


def tls(outcome: Handshake | OSError) -> list[Finding]:
    def shake_hands(_origin: str) -> Handshake:
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    return list(checks_server.check_tls(SETTINGS, shake_hands, lambda: NOW))


def test_both_servers_are_looked_at() -> None:
    found = tls(Handshake("TLSv1.3", NOW + 90 * 86_400))

    assert [finding.what for finding in found] == [
        f"{origin} speaks TLSv1.3; its certificate is trusted, for 90 days more."
        for origin in ("https://login-sandbox.procore.com", "https://sandbox.procore.com")
    ]


def test_a_certificate_that_soon_ends_is_a_warning() -> None:
    found = tls(Handshake("TLSv1.3", NOW + 13 * 86_400))

    assert {finding.level for finding in found} == {"warning"}


def test_a_certificate_that_is_not_trusted_is_a_problem() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate in certificate chain"
    finding = tls(error)[0]

    assert (finding.level, finding.why) == (
        "problem",
        "Self-signed certificate in certificate chain.",
    )


def test_a_server_without_an_answer_is_a_problem() -> None:
    finding = tls(ConnectionRefusedError(111, "Connection refused"))[0]

    assert (finding.level, finding.why) == ("problem", "Connection refused.")
