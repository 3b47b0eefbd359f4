"""The storage of a user's own grant: a folder for each profile, readable only by its owner.

```
$XDG_DATA_HOME/procore-signin/<profile>/     0700
  profile.json    the environment, the client (its secret sealed), the user's id grants.db       the
  store, as the application has one: tokens sealed key             the key that seals
```

The key lies beside what it seals, so the seal protects only a copy of the database, such as a
backup without the key. The permissions protect the rest; they are checked at every use.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from procore_signin._cli.failure import CommandFailed
from procore_signin._protocol.secret import Secret
from procore_signin._settings import env_file
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.keys.seal import Seal
from procore_signin.environments import Environment, by_name
from procore_signin.errors import VaultSealed

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY_ID: Final = "own"
_OTHERS: Final = 0o077
_FOLDER: Final = 0o700
_FILE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Registration:
    """The client of this profile, as registered at Procore, and the user of its grant.

    Attributes:
        environment: Which Procore.
        client_id: The client.
        client_secret: Its secret.
        redirect_uri: Where Procore sends its codes.
        user_id: The signed-in user's id in the store, or None.
    """

    environment: Environment
    client_id: str
    client_secret: Secret = field(repr=False)
    redirect_uri: str
    user_id: int | None = None

    def same_client(self, other: Registration) -> bool:
        """Return whether both are the same client in the same environment, and share grants."""
        ours, theirs = (self.environment, self.client_id), (other.environment, other.client_id)
        return ours == theirs

    def signed_in(self, user_id: int | None) -> Registration:
        """Return this registration with another user, or none, signed in."""
        return replace(self, user_id=user_id)


class Profile:
    """The folder for one user's grant.

    Args:
        name: Letters, digits, `.`, `_` and `-`; chosen by the user.
        environ: The process environment, which names the folder of user data.

    Attributes:
        name: As given.
        folder: The folder, which may not exist yet.

    Raises:
        CommandFailed: The name is invalid.
    """

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        if not _NAME.fullmatch(name):
            raise CommandFailed(
                "That is not a valid profile name.",
                why="A profile's name has 1 to 64 letters, digits, dots, underscores and hyphens.",
                cure="Choose another, such as --profile sandbox.",
            )
        self.name: Final = name
        self._root: Final = _data_home(environ) / "procore-signin"
        self.folder: Final = self._root / name
        self._details: Final = self.folder / "profile.json"
        self._database: Final = self.folder / "grants.db"
        self._key: Final = self.folder / "key"

    @property
    def database_url(self) -> str:
        """The URL of its store."""
        return f"sqlite:///{self._database}"

    def exists(self) -> bool:
        """Return whether the profile has any data."""
        return self.folder.is_dir()

    def make(self) -> None:
        """Create the folder if necessary.

        Raises:
            CommandFailed: Other users of the machine can read it.
            OSError: It cannot be created.
        """
        self._root.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER)
        for folder in (self._root, self.folder):
            folder.mkdir(exist_ok=True, mode=_FOLDER)
        self.check()

    def check(self) -> None:
        """Check that only the owner can access the folder and its files.

        Raises:
            CommandFailed: Other users of the machine can read or change something, or own it.
        """
        if os.name != "posix":
            return  # the folder is in the user's own, which the system protects
        for folder in (self._root, self.folder):
            _refuse_others(folder, stat.S_ISDIR, _FOLDER)
        for entry in sorted(self.folder.iterdir()):
            _refuse_others(entry, stat.S_ISREG, _FILE)

    def keys(self) -> KeyRing:
        """Return the profile's key, made on first use.

        Raises:
            CommandFailed: The file has no valid key.
            OSError: It cannot be read or created.
        """
        if not self._key.exists():
            self._make_key()
        try:
            return KeyRing.parse(Secret(self._key.read_text(encoding="ascii").strip(), "key"))
        except ValueError:
            raise CommandFailed(
                f"The key of the profile {self.name!r} cannot be used.",
                why=f"{self._key} was changed or cut.",
                cure="Put it back from a backup; or run procore-signin logout --force, end the "
                "access at Procore (My Profile Settings > Connected Apps), and log in again.",
            ) from None

    def _make_key(self) -> None:
        """Write a new key to a draft and link it to its name; an existing key wins."""
        draft = self.folder / f".key.{secrets.token_hex(8)}"
        key = KeyRing.generate(secrets.token_bytes, key_id=_KEY_ID)
        try:
            env_file.write(draft, f"{key.reveal()}\n")
            os.link(draft, self._key)
        except FileExistsError:
            return
        finally:
            draft.unlink(missing_ok=True)

    def registration(self) -> Registration | None:
        """Return the profile's client, or None before the first login.

        Raises:
            CommandFailed: The file is damaged, or its key is lost.
            OSError: It cannot be read.
        """
        try:
            members = json.loads(self._details.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise self._damaged() from None
        try:
            environment = by_name(members["environment"], emulator_url=members["login_origin"])
            client_id, user_id = str(members["client_id"]), members["user_id"]
            sealed, redirect_uri = str(members["client_secret"]), str(members["redirect_uri"])
            secret = self._seal().open_secret(
                sealed, context=_place(environment, client_id), label="client secret"
            )
        except (KeyError, TypeError, ValueError, VaultSealed):
            raise self._damaged() from None
        return Registration(environment, client_id, secret, redirect_uri, user_id)

    def keep(self, registration: Registration) -> None:
        """Store `registration`, replacing the previous one.

        Raises:
            OSError: The folder cannot be written to. The previous one is unchanged.
        """
        environment, client_id = registration.environment, registration.client_id
        members = {
            "environment": environment.name,
            "login_origin": environment.login_origin,
            "client_id": client_id,
            "client_secret": self._seal().seal(
                registration.client_secret.reveal(), context=_place(environment, client_id)
            ),
            "redirect_uri": registration.redirect_uri,
            "user_id": registration.user_id,
        }
        env_file.write(self._details, json.dumps(members, indent=2) + "\n")

    def delete(self) -> None:
        """Delete the profile; the key last, so that leftovers can still be opened.

        Raises:
            OSError: Something cannot be deleted.
        """
        inside = set(self.folder.iterdir()) - {self._details, self._key}
        for file in (self._details, *sorted(inside), self._key):
            file.unlink(missing_ok=True)
        self.folder.rmdir()

    def _seal(self) -> Seal:
        return Seal(self.keys(), purpose="profile")

    def _damaged(self) -> CommandFailed:
        return CommandFailed(
            f"The profile {self.name!r} cannot be read.",
            why=f"{self._details} was changed, or its key was.",
            cure="Run procore-signin logout --force, end the access at Procore (My Profile "
            "Settings > Connected Apps), and log in again.",
        )


def _data_home(environ: Mapping[str, str]) -> Path:
    """Return the folder of user data (XDG Base Directory Specification: absolute, or unset)."""
    named = environ.get("XDG_DATA_HOME", "")
    return Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "share"


def _place(environment: Environment, client_id: str) -> tuple[str, ...]:
    return "client_secret", environment.name, environment.login_origin, client_id


def _refuse_others(path: Path, is_kind: Callable[[int], bool], mode: int) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not is_kind(found.st_mode):
        raise CommandFailed(
            "The profile's store was not opened.",
            why=f"{path} is not of the expected kind: perhaps it is a link that leads elsewhere.",
            cure="Find out where it came from, and remove it.",
        )
    if found.st_uid != os.geteuid():
        raise CommandFailed(
            "The profile's store was not opened.",
            why=f"{path} belongs to another user of this machine.",
            cure="Run the command as that user, or set XDG_DATA_HOME to a folder of your own.",
        )
    if stat.S_IMODE(found.st_mode) & _OTHERS:
        raise CommandFailed(
            "The profile's store was not opened.",
            why=f"Others may read or change {path}.",
            cure=f"Run: chmod {mode:o} {path}. If someone else may have read it, "
            "log out and log in again.",
        )
