"""`procore-signin demo`: application and emulator on this machine, from one command.

It decides what to start before it imports anything slow, then starts the emulator and the
application as two children at the same time, so that the first page is ready within two seconds.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.parse import urlsplit

import typer

from procore_signin import environments
from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.run.children import Children, Program
from procore_signin._cli.run.ports import choose_port, whoever_answers_at_localhost
from procore_signin._settings import (
    EMULATOR_CLIENT_ID,
    EMULATOR_CLIENT_SECRET,
    default_of,
    env_file,
)

PORT: Final = 4567
EMULATOR_PORT: Final = 4568
EMULATOR_HOST: Final = "127.0.0.1"
LOGIN: Final = "joecontractor@procore.com"
PASSWORD: Final = "procore"  # noqa: S105  # as above

_LOOPBACK_OF_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}  # noqa: S104  # where to knock, not where to listen


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of the command.

    Attributes:
        host: Where the application listens.
        port: Its port, 0 for a free one, or None for the port in the settings.
        emulator_port: The emulator's port; 0 for a free one.
        offline: Use the emulator whatever the settings say.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    emulator_port: int = EMULATOR_PORT
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The programs to start.

    Attributes:
        headline: The first line of output: which Procore this is.
        programs: The children, the application first.
        emulator_url: Origin of the emulator, or None when a real Procore is used.
        notes: Further lines of output.
    """

    headline: str
    programs: tuple[Program, ...]
    emulator_url: str | None
    notes: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The URL of the application."""
        return _origin(self.programs[0].url)


def run(wishes: Wishes, *, folder: Path) -> None:
    """Run the demo until Ctrl-C or SIGTERM.

    Args:
        wishes: The options of the command.
        folder: Where `.env`, the database and its key are.

    Raises:
        CommandFailed: A port is taken, a program ended, or the settings name no environment.
    """
    settings = env_file.read(folder / ".env") | {k: v for k, v in os.environ.items() if v}
    plan = make_plan(wishes, settings, folder=folder, environ=os.environ)
    typer.secho(plan.headline, bold=True, fg=None if plan.emulator_url else "yellow")
    for note in plan.notes:
        typer.echo(note)
    with Children() as children:
        _stop_on_signals(children)
        for program in plan.programs:
            children.start(program)
        if not children.wait_until_ready():
            return
        typer.echo(_welcome(plan))
        children.wait()
    typer.echo("Stopped.")


def make_plan(
    wishes: Wishes, settings: Mapping[str, str], *, folder: Path, environ: Mapping[str, str]
) -> Plan:
    """Decide what to start.

    Args:
        wishes: The options of the command.
        settings: `.env` and the environment, taken together.
        folder: Where the database and its key are.
        environ: The base of the children's environment.

    Raises:
        CommandFailed: A port is taken, or the settings name no environment.
    """
    name = settings.get("PROCORE_ENVIRONMENT", "emulator")
    if name not in environments.NAMES:
        raise CommandFailed(
            f"PROCORE_ENVIRONMENT is {name!r}.",
            why="There is no Procore environment of that name.",
            cure=f"Choose one of: {', '.join(environments.NAMES)}.",
        )
    has_credentials = "PROCORE_CLIENT_ID" in settings and "PROCORE_CLIENT_SECRET" in settings
    if name != "emulator" and has_credentials and not wishes.offline:
        return _plan_real(wishes, settings, folder=folder, environ=environ)
    note = None
    if name != "emulator" and not wishes.offline:
        note = f"PROCORE_CLIENT_ID and PROCORE_CLIENT_SECRET of {name} are not both set"
    elif has_credentials and "PROCORE_ENVIRONMENT" not in settings:
        note = "There are credentials, but PROCORE_ENVIRONMENT does not say of which environment"
    notes = (f"  {note}: the local Procore is used.",) if note else ()
    # The emulator must not use a database that was set up for a real environment.
    database_url = settings.get("PROCORE_DATABASE_URL") if name == "emulator" else None
    return _plan_emulator(
        wishes, settings, folder=folder, environ=environ, database_url=database_url, notes=notes
    )


def _plan_emulator(
    wishes: Wishes,
    settings: Mapping[str, str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    database_url: str | None,
    notes: tuple[str, ...],
) -> Plan:
    port = choose_port(
        wishes.host,
        PORT if wishes.port is None else wishes.port,
        option="demo --port",
        localhost=True,
    )
    emulator_port = choose_port(EMULATOR_HOST, wishes.emulator_port, option="demo --emulator-port")
    url, emulator_url = f"http://localhost:{port}", f"http://{EMULATOR_HOST}:{emulator_port}"
    application = _application(
        wishes.host,
        port,
        url,
        environ=dict(environ)
        | {
            "PROCORE_ENVIRONMENT": "emulator",
            "PROCORE_EMULATOR_URL": emulator_url,
            "PROCORE_CLIENT_ID": EMULATOR_CLIENT_ID,
            "PROCORE_CLIENT_SECRET": EMULATOR_CLIENT_SECRET,
            "PROCORE_REDIRECT_URI": f"{url}/callback",
        },
        database_url=database_url or default_of("PROCORE_DATABASE_URL"),
        keys=settings.get("PROCORE_KEYS"),
        folder=folder,
    )
    emulator = Program(
        name="emulator",
        arguments=(
            "emulator",
            f"--host={EMULATOR_HOST}",
            f"--port={emulator_port}",
            f"--client-id={EMULATOR_CLIENT_ID}",
            f"--client-secret={EMULATOR_CLIENT_SECRET}",
            f"--redirect-uri={url}/callback",
            "--redirect-uri=urn:ietf:wg:oauth:2.0:oob",
            "--as-child",
        ),
        environment=dict(environ) | {"PROCORE_ENVIRONMENT": "emulator"},
        url=f"{emulator_url}/_emulator/",
        address=(EMULATOR_HOST, emulator_port),
    )
    if unheld := whoever_answers_at_localhost(wishes.host):
        notes = (*notes, unheld)
    return Plan(
        "Sign in with Procore, on a local Procore: no account, no network.",
        (application, emulator),
        emulator_url,
        notes,
    )


def _plan_real(
    wishes: Wishes, settings: Mapping[str, str], *, folder: Path, environ: Mapping[str, str]
) -> Plan:
    name = settings["PROCORE_ENVIRONMENT"]
    environment = environments.by_name(name)
    redirect_uri = settings.get("PROCORE_REDIRECT_URI") or default_of("PROCORE_REDIRECT_URI")
    parts = urlsplit(redirect_uri)
    registered = parts.port if parts.hostname in environments.LOOPBACK_HOSTS else None
    port = choose_port(
        wishes.host,
        (registered or PORT) if wishes.port is None else wishes.port,
        option="demo --port",
        localhost=parts.hostname == "localhost",
    )
    notes = [f"  Tokens come from {environment.login_origin}. Use --offline for the local Procore."]
    if parts.hostname == "localhost" and (unheld := whoever_answers_at_localhost(wishes.host)):
        notes.append(unheld)
    if registered is not None and port != registered:
        notes.append(
            f"  Procore will send browsers to {redirect_uri}, but the application listens at "
            f"port {port}."
        )
    application = _application(
        wishes.host,
        port,
        _origin(redirect_uri),
        environ=environ,
        database_url=settings.get("PROCORE_DATABASE_URL") or default_of("PROCORE_DATABASE_URL"),
        keys=settings.get("PROCORE_KEYS"),
        folder=folder,
    )
    headline = f"THIS IS PROCORE'S {name.upper()} ENVIRONMENT, with the credentials you set."
    return Plan(headline, (application,), None, tuple(notes))


def _application(
    host: str,
    port: int,
    url: str,
    *,
    environ: Mapping[str, str],
    database_url: str,
    keys: str | None,
    folder: Path,
) -> Program:
    own = {"PROCORE_DATABASE_URL": database_url}
    if keys is None:
        own["PROCORE_KEYS"] = kept_key(key_file(database_url, folder))
    # Only the operator migrates a shared database.
    migrate = ["--migrate"] if database_url.startswith("sqlite") else []
    return Program(
        name="application",
        arguments=("serve", f"--host={host}", f"--port={port}", *migrate, "--as-child"),
        environment=dict(environ) | own,
        url=f"{url}/healthz",
        address=(_LOOPBACK_OF_ANY.get(host, host), port),
    )


def key_file(database_url: str, folder: Path) -> Path:
    """Return the path of the demo's key: beside its database."""
    scheme, _, path = database_url.partition(":///")
    if scheme.startswith("sqlite") and path:
        database = folder / path.partition("?")[0]
        return database.with_name(f"{database.name}.keys")
    return folder / "test.db.keys"


def kept_key(path: Path) -> str:
    """Return the text for `PROCORE_KEYS` from the file at `path`, made on first use.

    So a restart can open what was sealed before. Only the owner may read the file.

    Raises:
        OSError: The folder cannot be written to, or the file cannot be read.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        pass
    from procore_signin._store.keys.keyring import KeyRing  # noqa: PLC0415  # only the first start needs it

    key = KeyRing.generate(secrets.token_bytes, key_id=new_key_id()).reveal()
    env_file.write(path, f"{key}\n")
    return key


def new_key_id() -> str:
    """Return an id for a key made today (UTC), such as `k20270131`."""
    return time.strftime("k%Y%m%d", time.gmtime())


def _stop_on_signals(children: Children) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        children.stop()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop)


def _welcome(plan: Plan) -> str:
    lines = ["", f"  Open         {plan.url}"]
    if plan.emulator_url is not None:
        lines += [
            f"  Log in as    {LOGIN}   password: {PASSWORD}",
            f"  Watch it     {plan.emulator_url}/_emulator/",
            f"  The local Procore listens at {plan.emulator_url}",
        ]
    return "\n".join([*lines, "", "Ctrl-C stops it."])


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
