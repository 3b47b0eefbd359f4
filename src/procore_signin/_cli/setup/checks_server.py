"""The doctor's checks of the server: network, TLS, clock, and whether it accepts this client.

Each check is a function that returns findings and prints nothing. Network and clock are passed in.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from html import unescape
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from procore_signin._cli.setup.finding import Finding
from procore_signin._cli.setup.tls import Handshake
from procore_signin._protocol.authorization import AuthorizationRequest
from procore_signin._protocol.http_date import http_date
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.me import me_request
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import (
    AuthorizationCodeGrant,
    Client,
    parse_token_response,
    token_request,
)
from procore_signin._settings import Settings, default_of
from procore_signin._transport.contract import Transport
from procore_signin.environments import EMULATOR_URL
from procore_signin.errors import (
    ClientMisconfigured,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
)

Clock = Callable[[], float]

CLOCK_WARNING_SECONDS: Final = 30
CLOCK_PROBLEM_SECONDS: Final = 300
CERTIFICATE_WARNING_DAYS: Final = 14

# No server issues such a code: it is a sentence with "-" at both ends.
IMPOSSIBLE_CODE: Final = "-this-code-was-made-up-by-procore-signin-doctor-"
IMPOSSIBLE_TOKEN: Final = "-this-token-was-made-up-by-procore-signin-doctor-"  # noqa: S105  # as it says

_CREDENTIALS_CURE: Final = (
    "Copy the client id and the client secret again from the app's page in Procore's developer "
    "portal. Sandbox and production have a pair each, so check that PROCORE_ENVIRONMENT names "
    "the environment that yours are for."
)


def check_tls(
    settings: Settings, shake_hands: Callable[[str], Handshake], clock: Clock
) -> Iterator[Finding]:
    """Check that the certificates of the login and API servers are trusted here, and for how long.

    Args:
        settings: The environment to look at.
        shake_hands: Connects to an https origin, as `tls.handshake`.
        clock: UTC, seconds since 1970.
    """
    environment = settings.environment
    for origin in dict.fromkeys((environment.login_origin, environment.api_origin)):
        if origin.startswith("http://"):
            yield Finding("tls", "ok", f"{origin} is on this machine and needs no TLS.")
            continue
        try:
            agreed = shake_hands(origin)
        except ssl.SSLCertVerificationError as error:
            yield Finding(
                "tls",
                "problem",
                f"The certificate of {origin} is not trusted.",
                f"{error.verify_message[:200].capitalize()}.",
                "If a proxy of your organisation opens TLS, add its authority to this machine's "
                "certificates. Check this machine's clock. Do not continue without.",
            )
        except OSError as error:
            yield _not_reached("tls", origin, str(error.strerror or error)[:200])
        else:
            yield _certificate(origin, agreed, clock())


def _certificate(origin: str, agreed: Handshake, now: float) -> Finding:
    days = int((agreed.expires_at - now) // 86_400)
    what = f"{origin} speaks {agreed.version}; its certificate is trusted, for {days} days more."
    if days >= CERTIFICATE_WARNING_DAYS:
        return Finding("tls", "ok", what)
    return Finding(
        "tls",
        "warning",
        what,
        "Servers usually renew earlier, so something may be in between.",
        "Check whose certificate it is, and this machine's clock.",
    )


def check_token_endpoint(
    settings: Settings, transport: Transport, clock: Clock
) -> Iterator[Finding]:
    """Send a code that cannot exist, to check the client credentials and the clock.

    Procore responds with `invalid_grant` to a client that it knows, and with `invalid_client` to
    others (RFC 6749 §5.2).
    """
    client = Client(settings.client_id, settings.client_secret, settings.redirect_uri)
    grant = AuthorizationCodeGrant(Secret(IMPOSSIBLE_CODE, "code"), settings.redirect_uri, None)
    origin = settings.environment.login_origin
    sent_at = clock()
    try:
        response = transport.send(token_request(origin, client, grant))
    except ProcoreUnavailable as error:
        yield _not_reached("server", origin, str(error), error.hint, settings)
        return
    except ProcoreSignInError as error:
        yield _strange("server", origin, error)
        return
    received_at = clock()
    yield Finding("server", "ok", f"{origin} responds.")
    yield _clock(response, (sent_at + received_at) / 2)
    yield _client(settings, response, received_at)


def _clock(response: HttpResponse, now: float) -> Finding:
    server_time = http_date(response.headers.get("date", ""))
    if server_time is None:
        return Finding(
            "clock",
            "warning",
            "The clocks could not be compared.",
            "The server's response has no date.",
            "Check yourself whether this machine's clock is right.",
        )
    # The header has whole seconds, so half a second is the best guess for the rest.
    skew = round(now - server_time - 0.5)
    if abs(skew) <= CLOCK_WARNING_SECONDS:
        return Finding("clock", "ok", "This machine's clock agrees with the server's.")
    direction = "ahead of" if skew > 0 else "behind"
    return Finding(
        "clock",
        "problem" if abs(skew) > CLOCK_PROBLEM_SECONDS else "warning",
        f"This machine's clock is {abs(skew)} seconds {direction} the server's.",
        "Sign-in attempts and tokens would expire too early or too late.",
        "Set the clock, best by switching on time synchronisation (NTP).",
    )


def _client(settings: Settings, response: HttpResponse, received_at: float) -> Finding:
    name = settings.environment.name
    try:
        parse_token_response(response, received_at=received_at)
    except GrantLost:
        what = f"Procore ({name}) accepts the client id and the client secret."
        return Finding("client", "ok", what)
    except ClientMisconfigured as error:
        if error.error == "invalid_client":
            return Finding(
                "client",
                "problem",
                f"Procore ({name}) does not accept the client id with this client secret.",
                "It responded with invalid_client to a token request.",
                _CREDENTIALS_CURE,
            )
        return Finding(
            "client",
            "problem",
            f"Procore ({name}) refuses this client's token requests.",
            f"It responded with {error.error}.",
            error.hint or _CREDENTIALS_CURE,
        )
    except ProcoreUnavailable as error:
        return Finding(
            "client",
            "warning",
            "It is unknown whether Procore accepts the client.",
            f"{error}.",
            "Run doctor again in a minute.",
        )
    except ProcoreSignInError as error:
        return _strange("client", settings.environment.login_origin, error)
    return Finding(
        "client",
        "problem",
        f"{settings.environment.login_origin} issued tokens for a made-up code.",
        "No authorization server does that.",
        "Find out what responds at that address. Do not sign in there.",
    )


def check_api(settings: Settings, transport: Transport) -> Iterator[Finding]:
    """Call the API with a token that cannot exist: it must refuse."""
    origin = settings.environment.api_origin
    try:
        response = transport.send(me_request(origin, Secret(IMPOSSIBLE_TOKEN, "access token")))
    except ProcoreUnavailable as error:
        yield _not_reached("api", origin, str(error), error.hint)
        return
    except ProcoreSignInError as error:
        yield _strange("api", origin, error)
        return
    if response.status == HTTPStatus.UNAUTHORIZED:
        yield Finding("api", "ok", f"{origin} responds, and refuses a made-up token.")
    elif response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus(500):
        yield Finding(
            "api",
            "warning",
            f"{origin} cannot respond now (status {response.status}).",
            "Procore is busy, or limits requests from here.",
            "Run doctor again in a minute.",
        )
    else:
        yield Finding(
            "api",
            "problem",
            f"{origin} did not refuse a made-up token (status {response.status}).",
            "Something else than Procore's API may respond at that address.",
            "Find out what is between this machine and Procore.",
        )


def check_authorization_page(settings: Settings, transport: Transport) -> Iterator[Finding]:
    """Open the first page of a sign-in as a browser would, without following it.

    Procore checks the client and the redirect URI there, for some requests only after the user has
    logged in, so a log-in page is a good sign but not a proof.
    """
    origin = settings.environment.login_origin
    request = AuthorizationRequest(
        login_origin=origin,
        client_id=settings.client_id,
        redirect_uri=settings.redirect_uri,
        state="0" * 64,
        code_challenge=None,
    )
    try:
        response = transport.send(HttpRequest("GET", request.url(), (("accept", "text/html"),)))
    except ProcoreSignInError as error:
        # The token endpoint is on the same server, and its check says more if that is down.
        yield Finding(
            "authorization-page",
            "warning",
            "The first page of a sign-in could not be opened.",
            f"{error}.",
            error.hint or "Open the application and press its button, to see it in a browser.",
        )
        return
    yield _authorization_page(settings, response)


def _authorization_page(settings: Settings, response: HttpResponse) -> Finding:
    location = response.headers.get("location", "")
    text = _visible_text(response.body)
    if location.startswith(settings.redirect_uri) and "error=" in location:
        refused = re.search(r"[?&]error=([A-Za-z_]{1,64})", location)
        return Finding(
            "authorization-page",
            "problem",
            "Procore refuses the sign-in before users can log in.",
            f"It sends browsers straight back with the error {refused[1] if refused else '?'}.",
            "Check the app's settings in Procore's developer portal.",
        )
    if re.search(r"redirect ur[il]\b.{0,60}(not valid|malformed|match|invalid)", text):
        restart = (
            f"Start the emulator again: {emulator_command(settings)}. Or set "
            "PROCORE_REDIRECT_URI to the one that it prints."
        )
        is_emulator = settings.environment.login_origin.startswith("http://")
        return Finding(
            "authorization-page",
            "problem",
            f"Procore does not accept the redirect URI {settings.redirect_uri}.",
            "It shows an error page: the redirect URI is not one of those registered.",
            restart
            if is_emulator
            else "Register exactly this one for the app in Procore's developer portal, or set "
            "PROCORE_REDIRECT_URI to the one registered there. Every character counts.",
        )
    if "unknown client" in text:
        return Finding(
            "authorization-page",
            "problem",
            f"Procore ({settings.environment.name}) does not know the client id.",
            "It shows an error page instead of the log-in panel.",
            _CREDENTIALS_CURE,
        )
    if response.status < HTTPStatus.BAD_REQUEST:
        return Finding(
            "authorization-page",
            "ok",
            f"Procore opens a sign-in that comes back to {settings.redirect_uri}.",
        )
    return Finding(
        "authorization-page",
        "warning",
        f"The first page of a sign-in has status {response.status}.",
        "The page has none of the known error messages.",
        "Open the application and press its button, to read the page in a browser.",
    )


def _visible_text(body: bytes) -> str:
    """Return the text of a page in lower case, for comparison only."""
    text = re.sub(r"<[^<>]*>", " ", body.decode("utf-8", errors="replace"))
    return re.sub(r"\s+", " ", unescape(text)).lower()


def _not_reached(
    check: str,
    origin: str,
    reason: str,
    hint: str | None = None,
    settings: Settings | None = None,
) -> Finding:
    host = urlsplit(origin).netloc
    start = f"Start it: {emulator_command(settings)}"
    is_emulator = origin.startswith("http://")
    return Finding(
        check,
        "problem",
        f"{host} was not reached.",
        f"{reason.rstrip('.')}.",
        start
        if is_emulator
        else hint or "Check this machine's network, firewall and name resolution.",
    )


def emulator_command(settings: Settings | None) -> str:
    """Return the command that starts an emulator that fits these settings."""
    words = ["procore-signin emulator"]
    if settings is not None:
        port = urlsplit(settings.emulator_url).port
        if port != urlsplit(EMULATOR_URL).port:
            words.append(f"--port {port}")
        if settings.redirect_uri != default_of("PROCORE_REDIRECT_URI"):
            words.append(f"--redirect-uri {settings.redirect_uri}")
    return " ".join(words)


def _strange(check: str, origin: str, error: ProcoreSignInError) -> Finding:
    return Finding(
        check,
        "problem",
        f"{origin} does not respond as Procore does.",
        f"{str(error).rstrip('.')}.",
        error.hint or "Find out what is between this machine and Procore.",
    )
