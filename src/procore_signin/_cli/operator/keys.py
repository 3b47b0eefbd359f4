"""`procore-signin keys`: create, promote, rotate and retire keys (row V3)."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import typer

from procore_signin._app.logs import configure_logs
from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.operator.open_store import load_settings, open_store
from procore_signin._cli.output import be_sure, counted, print_columns, print_json
from procore_signin._cli.progress import Progress, give_way
from procore_signin._cli.run.demo import new_key_id
from procore_signin._program import command
from procore_signin._protocol.secret import Secret
from procore_signin._settings import env_file
from procore_signin._store import KeyRing, Store
from procore_signin._store.rotation.lost_keys import give_up_key
from procore_signin._store.rotation.rewrap import KeyUse, KeyUses, OlderTokenSets, rewrap
from procore_signin.events import Event, emit

SETTING: Final = "PROCORE_KEYS"
_FILE: Final = Path(".env")
_PASSES: Final = 3
_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class RingText:
    """The present value of the setting, and its place.

    Attributes:
        entries: `<id>:<key>` each, the active one first. Secret.
        in_process: Whether the process environment sets it, which a command cannot change.
    """

    entries: tuple[str, ...]
    in_process: bool

    def __repr__(self) -> str:
        return f"<key ring {', '.join(self.ids)}>"

    @property
    def ids(self) -> tuple[str, ...]:
        """The keys' ids, in order."""
        return tuple(entry.partition(":")[0] for entry in self.entries)

    @classmethod
    def read(cls) -> RingText:
        """Read it from where the application reads it.

        Raises:
            CommandFailed: The value is invalid.
        """
        outer = os.environ.get(SETTING)
        text = outer or env_file.read(_FILE).get(SETTING, "")
        if text:
            try:
                KeyRing.parse(Secret(text, "keys"))
            except ValueError as error:
                raise CommandFailed(
                    f"{SETTING} cannot be used.", why=str(error), cure="Correct it first."
                ) from None
        entries = tuple(entry.strip() for entry in text.split(",") if text)
        return cls(entries, in_process=bool(outer))

    def store(self, entries: Sequence[str]) -> str | None:
        """Replace the entries with `entries`.

        Returns:
            None if the file was written; the new line, for the operator to store, if the process
            environment sets it.
        """
        text = ",".join(entries)
        if self.in_process:
            return f"{SETTING}={text}"
        completed = env_file.complete(env_file.text_of(_FILE), {SETTING: text}, force=True)
        env_file.write(_FILE, completed.text)
        return None


def generate(*, open_only: bool, as_json: bool) -> None:
    """Make a key and put it first: it seals from the next start on, the older ones only open.

    Args:
        open_only: Put it last instead, so that it only opens until it is promoted.
        as_json: Print JSON.

    Raises:
        CommandFailed: The present setting is invalid.
        OSError: The file cannot be written.
    """
    configure_logs()
    ring = RingText.read()
    key_id = _unused_id(ring.ids)
    key = KeyRing.generate(secrets.token_bytes, key_id=key_id).reveal()
    line = ring.store((*ring.entries, key) if open_only else (key, *ring.entries))
    emit(Event.KEY_GENERATED, key=key_id)
    if as_json:
        print_json({"key": key_id, "file": _written(line), "line": line})
        return
    typer.echo(f"Made the key {key_id}.")
    _tell_where(line)
    if not ring.entries:
        typer.echo("It is the first one.")
    elif open_only:
        typer.echo(
            "It seals nothing yet. Start every process of the application again, one after the "
            f"other if you like, and then run: {command(f'keys promote {key_id}')}"
        )
    else:
        typer.echo(
            "Now stop every process of the application, start them again, and then run: "
            f"{command('keys rotate')}. A process that still runs with the older "
            "setting cannot open what is sealed with the new key. If you cannot stop all at "
            "once, make the key with --open-only."
        )


def promote(key_id: str, *, as_json: bool) -> None:
    """Put a key of the ring first: it seals from the next start on, the others only open.

    Raises:
        CommandFailed: It is not in the ring, or the present setting is invalid.
        OSError: The file cannot be written.
    """
    configure_logs()
    ring = RingText.read()
    if key_id not in ring.ids:
        raise CommandFailed(
            f"There is no key {key_id} in {SETTING}.",
            why="Only a key that every process already has can be promoted.",
            cure=f"Make one first: {command('keys generate --open-only')}",
        )
    if key_id == ring.ids[0]:
        if as_json:
            print_json({"key": key_id, "file": None, "line": None})
        else:
            typer.echo(f"The key {key_id} is already the active one.")
        return
    chosen = ring.entries[ring.ids.index(key_id)]
    line = ring.store((chosen, *(entry for entry in ring.entries if entry != chosen)))
    emit(Event.KEY_PROMOTED, key=key_id)
    if as_json:
        print_json({"key": key_id, "file": _written(line), "line": line})
        return
    typer.echo(f"The key {key_id} is now the active one.")
    _tell_where(line)
    typer.echo(
        "Start every process of the application again, one after the other if you like, and then "
        f"run: {command('keys rotate')}"
    )


def _unused_id(taken: Sequence[str]) -> str:
    """Return an id for a key made today. The suffix makes it unique."""
    while (key_id := f"{new_key_id()}-{secrets.token_hex(2)}") in taken:
        continue
    return key_id


def list_keys(*, as_json: bool) -> bool:
    """Print each key and its uses.

    Returns:
        Whether the ring has every key that the database needs.
    """
    settings = load_settings()
    ids = KeyRing.parse(settings.keys).ids
    with open_store(settings) as store:
        uses = store.ask(KeyUses())
    unknown = [use for use in uses if use.key_id not in {*ids, ""}]
    roles = {use.key_id: _role(use, ids) for use in uses}
    if as_json:
        print_json({"keys": [{**asdict(use), "role": roles[use.key_id]} for use in uses]})
        return not unknown
    print_columns(
        ("KEY", "ROLE", "ACCESS TOKENS", "REFRESH TOKENS", "IN ESCROW"),
        [
            (use.key_id, roles[use.key_id], use.access_tokens, use.refresh_tokens, use.escrows)
            for use in uses
        ],
    )
    for use in unknown:
        typer.secho(
            f"ALARM: {counted(use.total, 'value')} in the database need the key {use.key_id}, "
            f"which is not in {SETTING}. The application does not start like this. "
            "Put it back, after the active one. If it is lost for good: "
            f"{command(f'keys retire {use.key_id} --give-up')}",
            fg="red",
            err=True,
        )
    return not unknown


def _role(use: KeyUse, ids: Sequence[str]) -> str:
    if not use.key_id:
        return "unreadable"
    if use.key_id not in ids:
        return "missing"
    return "active" if use.key_id == ids[0] else "open-only"


def rotate(*, as_json: bool) -> bool:
    """Seal everything again with the active key, while the application runs.

    Returns:
        Whether everything is sealed with it now.
    """
    settings = load_settings()
    configure_logs(level=settings.log_level)
    with open_store(settings) as store:
        rewrapped = _rewrap(store)
        left = store.ask(OlderTokenSets())
    active = KeyRing.parse(settings.keys).ids[0]
    emit(Event.KEYS_REWRAPPED, key=active, done=rewrapped.done, left=left)
    if as_json:
        print_json({"key": active, **asdict(rewrapped), "left": left})
        return left == 0
    typer.echo(f"{counted(rewrapped.done, 'token set')} sealed again with the key {active}.")
    unopened = len(rewrapped.users) + len(rewrapped.attempts)
    if unopened:
        _tell_unopened(rewrapped)
    if left > unopened:
        typer.echo(
            f"{counted(left - unopened, 'token set')} were sealed with an older key meanwhile: "
            "some process still runs with the older setting. Start it again, and run this again.",
            err=True,
        )
    if left == 0:
        typer.echo(f"Every other key can be retired: {command('keys retire <id>')}")
    return left == 0


@dataclass(frozen=True, slots=True)
class Rewrapping:
    """The totals of a rewrap.

    Attributes:
        done: Token sets that were sealed again.
        users: The users whose tokens cannot be opened.
        attempts: The attempts whose escrow cannot be opened, by the first digits of the state's
            hash.
    """

    done: int
    users: tuple[int, ...]
    attempts: tuple[str, ...]


def _rewrap(store: Store) -> Rewrapping:
    """Rewrap until no other process interfered, a few times at most."""
    done = 0
    users: dict[int, None] = {}
    attempts: dict[str, None] = {}
    with Progress("Sealing again", store.ask(OlderTokenSets())) as progress:
        for _ in range(_PASSES):
            overtaken = 0
            batches = rewrap(store)
            while True:
                began = time.monotonic()
                batch = next(batches, None)
                if batch is None:
                    break
                done += batch.done
                overtaken += batch.overtaken
                users |= dict.fromkeys(batch.users)
                attempts |= dict.fromkeys(batch.attempts)
                progress.advance(batch.done)
                give_way(store, time.monotonic() - began)
            if not overtaken:
                break
    return Rewrapping(done, tuple(users), tuple(attempts))


def _tell_unopened(rewrapped: Rewrapping) -> None:
    count = len(rewrapped.users) + len(rewrapped.attempts)
    typer.secho(f"{counted(count, 'token set')} cannot be opened and stay as they are:", fg="red")
    for user_id in rewrapped.users[:_MOST_NAMED]:
        typer.echo(f"  user {user_id}")
    for attempt in rewrapped.attempts[:_MOST_NAMED]:
        typer.echo(f"  escrow of attempt {attempt}")
    hidden = count - len(rewrapped.users[:_MOST_NAMED]) - len(rewrapped.attempts[:_MOST_NAMED])
    if hidden:
        typer.echo(f"  and {hidden} more: --json names all")
    typer.echo("A new sign-in of the user replaces them. No other user is affected.")


def retire(key_id: str, *, give_up: bool, yes: bool, as_json: bool) -> None:
    """Remove a key from the ring, once nothing needs it.

    Args:
        key_id: The key's id. With `give_up` it may be a lost key.
        give_up: Delete what only this key opens: those users have to sign in again.
        yes: Do not ask for confirmation.
        as_json: Print JSON.

    Raises:
        CommandFailed: It is the active key, unknown, or in use.
    """
    settings = load_settings()
    configure_logs(level=settings.log_level)
    ring = RingText.read()
    if key_id == ring.ids[0]:
        raise CommandFailed(
            f"{key_id} is the active key.",
            why="Everything that is stored from now on is sealed with it.",
            cure=f"Make another one first: {command('keys generate')}",
        )
    with open_store(settings) as store:
        given_up = _free(store, key_id, give_up=give_up, yes=yes, known=key_id in ring.ids)
    line = None
    if key_id in ring.ids:
        line = ring.store([e for e in ring.entries if e.partition(":")[0] != key_id])
        emit(Event.KEY_RETIRED, key=key_id)
    if as_json:
        print_json({"key": key_id, "given_up": given_up, "file": _written(line), "line": line})
        return
    if given_up:
        typer.echo(f"{counted(given_up, 'token set')} given up: their users must sign in again.")
    if key_id in ring.ids:
        typer.echo(f"Retired the key {key_id}.")
        _tell_where(line)
        typer.echo("It is out of use once every process of the application has been restarted.")


def _free(store: Store, key_id: str, *, give_up: bool, yes: bool, known: bool) -> int:
    """Make sure that nothing needs a key; return how many token sets were given up."""
    use = next((use for use in store.ask(KeyUses()) if use.key_id == key_id), KeyUse(key_id))
    if not known and not use.total:
        raise CommandFailed(
            f"There is no key {key_id}.",
            why=f"It is neither in {SETTING} nor needed by the database.",
            cure=f"List them: {command('keys list')}",
        )
    if not use.total:
        be_sure(f"Take the key {key_id} out of {SETTING}? Backups may still need it.", yes=yes)
        return 0
    if not give_up:
        raise CommandFailed(
            f"The key {key_id} is in use by {counted(use.total, 'sealed value')}.",
            why="Without it they could never be opened again.",
            cure=f"Seal them again first: {command('keys rotate')}. What that cannot open is "
            f"deleted by: {command(f'keys retire {key_id} --give-up')}",
        )
    be_sure(
        f"Up to {use.total} sealed values need the key {key_id}. What another key does not open "
        "will be DELETED, and those users have to sign in again. Go on?",
        yes=yes,
    )
    if known:
        _rewrap(store)
    given_up = 0
    with Progress("Giving up") as progress:
        while (batch := give_up_key(store, key_id)) is not None:
            given_up += batch.token_sets
            progress.advance(batch.token_sets)
            for user_id in batch.users:
                emit(Event.KEY_GIVEN_UP, key=key_id, user=user_id)
    return given_up


def _tell_where(line: str | None) -> None:
    if line is None:
        typer.echo(f"Wrote {SETTING} to {_FILE}.")
        return
    typer.echo(
        f"The process environment sets {SETTING}, so {_FILE} was not touched. "
        "Put this line, which is secret, where your deployment keeps its settings:",
        err=True,
    )
    typer.echo(line)


def _written(line: str | None) -> str | None:
    return str(_FILE) if line is None else None
