"""The doctor's checks of this machine: settings, redirect URI, database and keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from procore_signin._cli.setup.finding import Finding
from procore_signin._program import command, database_setting
from procore_signin._settings import Settings, default_of, env_file
from procore_signin._store import KeyRing, Store
from procore_signin._store.keys.seal import Seal
from procore_signin._store.tokens import FirstAndLastOwner, TokensOf
from procore_signin.environments import LOOPBACK_HOSTS
from procore_signin.errors import SettingsInvalid, StoreUnavailable, VaultSealed

# Hosts that are often written instead of the name of an environment. Some of them do not exist, but
# appear in published instructions.
_ENVIRONMENT_OF_HOST: Final = {
    "login.procore.com": "production",
    "api.procore.com": "production",
    "app.procore.com": "production",
    "login-sandbox.procore.com": "sandbox",
    "sandbox.procore.com": "sandbox",
    "login-sandbox-monthly.procore.com": "monthly",
    "api-monthly.procore.com": "monthly",
    "api-sandbox-monthly.procore.com": "monthly",
    "monthly-sandbox.procore.com": "monthly",
    "login.procoregov.com": "federal",
    "api.procoregov.com": "federal",
}
_APP_NAME: Final = "PROCORE_APP_NAME"
_REAL: Final = frozenset({"production", "federal"})
_PROCORE_DOMAINS: Final = ("procore.com", "procoregov.com")


def check_settings(
    environ: Mapping[str, str], path: Path
) -> tuple[Settings | None, tuple[Finding, ...]]:
    """Read the settings.

    Returns:
        The settings, or None if they cannot be used, and a finding for each problem.
    """
    try:
        settings = Settings.load(environ, path)
    except SettingsInvalid as invalid:
        in_file, _ = env_file.read_and_check(path)
        named = environ.get("PROCORE_ENVIRONMENT") or in_file.get("PROCORE_ENVIRONMENT", "")
        meant = _environment_of(named)
        findings = [
            Finding(
                "settings",
                "problem",
                f"{problem.setting} {problem.what}.",
                " ".join(
                    ("The application does not start like this.", invalid.hint or "")
                ).rstrip(),
                f"Write a name, not a host: PROCORE_ENVIRONMENT={meant}"
                if meant and problem.setting == "PROCORE_ENVIRONMENT"
                else problem.cure,
            )
            for problem in invalid.problems
        ]
        return None, tuple(findings)
    what = (
        f"Every setting is there and well formed; the environment is {settings.environment.name}."
    )
    return settings, (Finding("settings", "ok", what),)


def _environment_of(text: str) -> str | None:
    """Return the environment of a host or URL, if it is one of Procore's."""
    host = urlsplit(text if "//" in text else f"//{text}").hostname or ""
    zone_of_production = host.endswith(".procore.com") and host[:2] in {"us", "uk"}
    return _ENVIRONMENT_OF_HOST.get(host, "production" if zone_of_production else None)


def check_redirect_uri(settings: Settings, *, port: int) -> Iterator[Finding]:
    """Check that a browser that comes back from Procore reaches this application.

    Args:
        settings: The settings, which are well formed.
        port: The port that `serve` will listen at.
    """
    uri = settings.redirect_uri
    parts = urlsplit(uri)
    prefix = parts.path.removesuffix("/callback")
    host = parts.hostname or ""
    own_port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    if any(host == domain or host.endswith(f".{domain}") for domain in _PROCORE_DOMAINS):
        yield Finding(
            "redirect-uri",
            "problem",
            f"The redirect URI {uri} leads to Procore itself.",
            "It has to lead to this application, which takes the code there.",
            "Set PROCORE_REDIRECT_URI to this application's address, such as "
            "http://localhost:4567/callback, and register the same at Procore.",
        )
    elif host not in LOOPBACK_HOSTS:
        what = f"The redirect URI is {uri}; register exactly that at Procore."
        yield Finding("redirect-uri", "ok", what)
    elif prefix:
        what = (
            f"The redirect URI is {uri}: an application of your own, with the sign-in's pages at "
            f"{prefix} and its server at port {own_port}. Register exactly that at Procore."
        )
        yield Finding("redirect-uri", "ok", what)
    elif own_port != port:
        yield Finding(
            "redirect-uri",
            "warning",
            f"Browsers come back to port {own_port}, but serve will listen at port {port}.",
            f"The redirect URI is {uri}.",
            f"Start it with: {command(f'serve --port {own_port}')} (or your own application, if "
            "it has the sign-in's pages)",
        )
    elif host != "localhost" and settings.environment.name != "emulator":
        yield Finding(
            "redirect-uri",
            "warning",
            f"The redirect URI {uri} uses plain http to an address instead of localhost.",
            "Procore's documentation allows plain http for http://localhost only.",
            "Write localhost instead, here and at Procore.",
        )
    else:
        what = f"The redirect URI is {uri}; register exactly that at Procore."
        yield Finding("redirect-uri", "ok", what)


def next_step(settings: Settings | None) -> str:
    """Return what to do when all is well: the ready application has no prefix, others have one."""
    if settings is None or not urlsplit(settings.redirect_uri).path.removesuffix("/callback"):
        return command("serve")
    page = f"{settings.redirect_uri.removesuffix('/callback')}/signin"
    return f"start your application, and open {page}"


def check_app_name(settings: Settings) -> Iterator[Finding]:
    """Check that users in production read which application they sign in to."""
    if settings.environment.name not in _REAL or settings.app_name != default_of(_APP_NAME):
        return
    yield Finding(
        "app-name",
        "warning",
        f"The sign-in's pages call this application {settings.app_name!r}.",
        f"{_APP_NAME} is not set.",
        f"Set {_APP_NAME} to the name that its users know, unless the application sets it itself.",
    )


def check_database(settings: Settings) -> Iterator[Finding]:
    """Check that the database is reachable and its tables are those of this version."""
    try:
        store = Store(settings.address, KeyRing.parse(settings.keys))
    except ValueError as error:
        yield Finding(
            "database",
            "problem",
            "The database cannot be used.",
            f"{error}",
            f"Correct {database_setting()}, or install what it needs.",
        )
        return
    try:
        store.probe()
    except StoreUnavailable as error:
        cure = error.hint or f"Start it, or correct {database_setting()}."
        why = str(error).removesuffix(cure).rstrip()
        yield Finding("database", "problem", "The database is not ready.", why, cure)
    else:
        yield Finding("database", "ok", f"The database {store.label} is reachable and up to date.")
    finally:
        store.close()


def check_keys(settings: Settings, *, database_ready: bool) -> Iterator[Finding]:
    """Check that the key ring seals and opens, and opens the values in the database."""
    ring = KeyRing.parse(settings.keys)
    seal = Seal(ring, purpose="doctor")
    sealed = seal.seal("round trip", context=("doctor",))
    if seal.open(sealed, context=("doctor",)) != b"round trip":
        raise AssertionError("AES-GCM returned another text than it sealed")
    active, *older = ring.ids
    opens = f", and {', '.join(older)} still open{'' if len(older) > 1 else 's'}" if older else ""
    yield Finding("keys", "ok", f"Key {active} seals{opens}.")
    if database_ready:
        yield from _check_sealed_rows(settings, ring)


def _check_sealed_rows(settings: Settings, ring: KeyRing) -> Iterator[Finding]:
    store = Store(settings.address, ring)
    try:
        people = store.ask(FirstAndLastOwner())
        for user_id, environment in people:
            store.ask(TokensOf(user_id, environment))
    except VaultSealed as error:
        yield Finding(
            "keys",
            "problem",
            "Tokens in the database cannot be opened with these keys.",
            f"{error}",
            "Put the key back that sealed them, as a second entry of PROCORE_KEYS. Without it "
            "those users have to sign in again.",
        )
    except StoreUnavailable:
        yield Finding(
            "keys",
            "warning",
            "It is unknown whether the keys open the tokens in the database.",
            "The database stopped responding.",
            "Run doctor again.",
        )
    else:
        if people:
            yield Finding("keys", "ok", "The keys open the tokens in the database.")
    finally:
        store.close()
