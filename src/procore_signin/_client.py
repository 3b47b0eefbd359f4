"""The two front doors: `ProcoreSignIn` (sync) and `AsyncProcoreSignIn` (async)."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar
from uuid import UUID

from procore_signin import _forks as forks
from procore_signin._flow import users as access
from procore_signin._flow.context import (
    NO_HOOKS,
    SESSION_ABSOLUTE_SECONDS,
    SESSION_IDLE_SECONDS,
    Context,
)
from procore_signin._flow.hooks import Hooks
from procore_signin._flow.refresh import FreshToken, fresh_tokens
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.steps import Flow, ask
from procore_signin._flow.users import AccessEnded
from procore_signin._program import command
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import Client
from procore_signin._public import public_in
from procore_signin._store import Store
from procore_signin._store.engine.address import Address, Naming, parse_address
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.keys.seal import Seal
from procore_signin._store.records import NewLink, User, reference_of
from procore_signin._store.store import DATABASE_CONNECTIONS, DATABASE_TIMEOUT, Opening
from procore_signin._store.users import FindUsers
from procore_signin._transport.contract import AsyncTransport, Transport
from procore_signin._transport.pyreqwest import AsyncPyreqwestTransport, PyreqwestTransport
from procore_signin.environments import Environment

if TYPE_CHECKING:
    import httpx2

    from procore_signin._settings import Settings

T = TypeVar("T")
TransportT = TypeVar("TransportT")

ENV_FILE: Final = Path(".env")


@dataclass(slots=True)
class Equipment(Generic[TransportT]):
    """What a front door works with, for `equip`.

    Attributes:
        new_store: Opens the database. Called again whenever the front door is opened again.
        transport: Sends requests to Procore's authorization server.
        wire: Sends calls of the API, for all clients that `api` returns; None for connections of
            their own.
        store: The database, open.
        closed: Set when the front door is closed.
        runner: Runs flows; None until there is one to run.
    """

    new_store: Callable[[], Store] = field(repr=False)
    transport: TransportT
    wire: httpx2.BaseTransport | httpx2.AsyncBaseTransport | None
    store: Store
    closed: forks.Event = field(default_factory=forks.Event)
    runner: Runner | AsyncRunner | None = None


class _FrontDoor(Generic[TransportT]):
    """The base of both front doors. They differ only in being sync or async.

    A new front door is open. After it was closed, `open()` or a `with` or `async with` block opens
    it again.

    Attributes:
        context: The surroundings of every flow.
        store: The database.
        settings: The settings it was made from, or None if the arguments were given one by one.
        closed: Set when the front door is closed. Each opening has its own event.
        wire: Sends calls of the API, or None for connections of their own.

    Args:
        environment: The Procore to sign in with, from `procore_signin.environments`.
        client_id: The client as registered on Procore's developer portal.
        client_secret: Its secret; plain text becomes a `Secret`.
        redirect_uri: Where Procore sends browsers back, exactly as registered. It also sets the
            origin of this application; request headers never do (row A10).
        keys: The key ring, or the text of `PROCORE_KEYS` that makes one, plain or as a `Secret`.
        database_url: Such as `sqlite:///test.db`, `postgresql://…` or `mysql://…`.
        table_prefix: What the names of our tables begin with, so that they stand beside an
            application's own: 1 to 24 letters, digits and underscores.
        database_schema: The schema of PostgreSQL that the tables are in; None for the
            connection's own.
        database_timeout: Seconds after which a call of the database is given up.
        database_connections: The most connections to a database server, half of them for reads.
        pkce: Whether to send a code challenge (RFC 7636). Leave it on.
        session_idle: Seconds after which an unused session ends.
        session_absolute: Seconds after which every session ends.
        hooks: The application's own functions.
        transport: Sends requests to Procore; by default, a new one.
        clock: Returns now, in UTC seconds.
        random_bytes: Returns a given number of unpredictable bytes.

    Raises:
        ValueError: `keys`, `database_url`, `table_prefix` or `database_schema` cannot be used. The
            message gives the reason and the cure.
        TypeError: `client_secret` or `keys` is not text, but for example bytes or None.
    """

    def __init__(
        self,
        *,
        environment: Environment,
        client_id: str,
        client_secret: Secret | str,
        redirect_uri: str,
        keys: KeyRing | Secret | str,
        database_url: str = "sqlite:///test.db",
        table_prefix: str = "",
        database_schema: str | None = None,
        database_timeout: float = DATABASE_TIMEOUT,
        database_connections: int = DATABASE_CONNECTIONS,
        pkce: bool = True,
        session_idle: int = SESSION_IDLE_SECONDS,
        session_absolute: int = SESSION_ABSOLUTE_SECONDS,
        hooks: Hooks = NO_HOOKS,
        transport: TransportT | None = None,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        # Rebind each name: a traceback that shows local variables then has no plain text.
        client_secret = Secret.of(client_secret, argument="client_secret")
        keys = keys if isinstance(keys, KeyRing) else Secret.of(keys, argument="keys")
        ring = keys if isinstance(keys, KeyRing) else KeyRing.parse(keys)
        self.context = Context(
            environment=environment,
            client=Client(
                client_id=client_id, client_secret=client_secret, redirect_uri=redirect_uri
            ),
            attempt_seal=Seal(ring, purpose="attempt", random_bytes=random_bytes),
            clock=clock,
            random_bytes=random_bytes,
            pkce=pkce,
            session_idle=session_idle,
            session_absolute=session_absolute,
            hooks=hooks,
        )

        self._address: Address | None = None
        where = self._where(database_url, Naming(table_prefix, database_schema))

        def new_store() -> Store:  # no `partial`, whose repr would show the address's password
            return Store(where, ring, timeout=database_timeout, connections=database_connections)

        self._new_store: Callable[[], Store] = new_store
        self.store = self._new_store()
        self._transport = self._new_transport() if transport is None else transport
        self.wire: httpx2.BaseTransport | httpx2.AsyncBaseTransport | None = None
        self.settings: Settings | None = None
        self.closed = forks.Event()

    @classmethod
    def from_env(
        cls,
        *,
        env_file: Path | None = ENV_FILE,
        pkce: bool = True,
        hooks: Hooks = NO_HOOKS,
        transport: TransportT | None = None,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """Return a front door with the settings from the environment and `.env`.

        `procore-signin serve` reads the same settings by the same rules. `procore-signin init`
        writes them, `procore-signin doctor` checks them, `.env.example` lists them.

        Args:
            env_file: The path of `.env`, or None to read no file. The file may be missing.
            pkce: As for the front door; so are those that follow.
            hooks: The application's own functions.
            transport: Sends requests to Procore; by default, a new one.
            clock: Returns now, in UTC seconds.
            random_bytes: Returns a given number of unpredictable bytes.

        Raises:
            SettingsInvalid: Names every setting that is missing or wrong, with its cure.
        """
        from procore_signin._settings import read_settings  # noqa: PLC0415  # not every door has any

        return cls.from_settings(
            read_settings(env_file=env_file),
            pkce=pkce,
            hooks=hooks,
            transport=transport,
            clock=clock,
            random_bytes=random_bytes,
        )

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        pkce: bool = True,
        hooks: Hooks = NO_HOOKS,
        transport: TransportT | None = None,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """Return a front door with these settings.

        Args:
            settings: The settings, checked.
            pkce: As in `from_env`; so are those that follow.
            hooks: See there.
            transport: See there.
            clock: See there.
            random_bytes: See there.

        Raises:
            ValueError: The database's driver is not installed.
        """
        door = cls(
            environment=settings.environment,
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            redirect_uri=settings.redirect_uri,
            keys=settings.keys,
            database_url=settings.database_url,
            table_prefix=settings.table_prefix,
            database_schema=settings.database_schema,
            database_timeout=settings.database_timeout,
            database_connections=settings.database_connections,
            session_idle=settings.session_idle,
            session_absolute=settings.session_absolute,
            pkce=pkce,
            hooks=hooks,
            transport=transport,
            clock=clock,
            random_bytes=random_bytes,
        )
        door.settings = settings
        if door._address is not None:  # else the database is a framework's
            door._address.label.upgrade = command("db upgrade")
        return door

    def open(self) -> None:
        """Open the front door again, if it was closed. It connects on first use."""
        if self.closed.is_set():
            self.__dict__.pop("_runner", None)  # its threads have ended, and its store is closed
            self.store = self._new_store()
            self.closed = forks.Event()

    def upgrade_tables(self) -> None:
        """Make the tables in this front door's database, or update them to this version.

        For when the application is deployed, or before it serves: it blocks its caller, for as long
        as the database needs. Processes that do it at the same time wait for one another. It is
        what the command `procore-signin db upgrade` does.

        Raises:
            StoreUnavailable: The database does not answer, has tables of these names that are not
                ours, or was migrated by a newer version.
        """
        from procore_signin._store.migrate import upgrade  # noqa: PLC0415  # slow, seldom needed

        if self._address is not None:
            upgrade(self._address)

    def _where(self, database_url: str, naming: Naming) -> Address | Opening:
        """Return what to open: a framework may have a database of its own, and have it open."""
        self._address = address = parse_address(database_url, naming)
        # No command knows what stands in the application's code.
        address.label.upgrade = "procore.upgrade_tables()"
        return address

    def _new_transport(self) -> TransportT:
        raise TypeError("Use ProcoreSignIn or AsyncProcoreSignIn")


def equip(door: _FrontDoor[TransportT], other: Equipment[TransportT]) -> Equipment[TransportT]:
    """Have `door` work with `other` from now on; return what it had, still open.

    A test does so for a while (`_testing/stand_in.py`).
    """
    runner = door.__dict__.pop("_runner", None)
    before = Equipment(
        door._new_store,  # noqa: SLF001  # a function of this file
        door._transport,  # noqa: SLF001  # as above
        door.wire,
        door.store,
        door.closed,
        runner,
    )
    door._new_store = other.new_store  # noqa: SLF001  # as above
    door._transport = other.transport  # noqa: SLF001  # as above
    door.wire, door.store, door.closed = other.wire, other.store, other.closed
    if other.runner is not None:
        door.__dict__["_runner"] = other.runner
    return before


def _page_of_users(context: Context, after: int) -> Flow[list[User]]:
    environment = context.environment.name
    return ask(FindUsers(environment=environment, after=after))


def _id_of(user: User | int) -> int:
    return user if isinstance(user, int) else user.id


def _company_of(user: User | int, company_id: int | None) -> int | None:
    return user.company_id if company_id is None and isinstance(user, User) else company_id


@public_in("procore_signin")
class ProcoreSignIn(_FrontDoor[Transport]):
    """The sync front door, for scripts, Flask and Django under WSGI.

    Safe to share between threads. Use it as a context manager, or call `close()`.
    """

    def _new_transport(self) -> Transport:
        return PyreqwestTransport()

    @forks.Made
    def _runner(self) -> Runner:
        return Runner(self.store, self._transport)

    def run(self, flow: Flow[T]) -> T:
        """Run `flow` to its end and return its value. Raises what the flow raises."""
        return self._runner.run(flow)

    def fresh_tokens(self, user: User | int, *, rejected: int | None = None) -> FreshToken:
        """Return an access token of `user` that is valid now, refreshed if necessary.

        Args:
            user: The user, or their id.
            rejected: The `generation` of a token that Procore just refused. A newer one is
                returned.

        Raises:
            GrantLost: Ask the user to sign in again.
            SignInRefused: The user is disabled here.
            ClientMisconfigured, VaultSealed: Tell the operator.
            ProcoreUnavailable, StoreUnavailable: Try again later.
        """
        return self.run(fresh_tokens(self.context, _id_of(user), rejected=rejected))

    def users(self, *, disabled: bool = False) -> Iterator[User]:
        """Return all users of this environment, fetched page by page.

        Args:
            disabled: Whether to include disabled users.

        Raises:
            StoreUnavailable: Try again.
        """
        after = 0
        while page := self.run(_page_of_users(self.context, after)):
            after = page[-1].id
            yield from (user for user in page if disabled or user.disabled_at is None)

    def disable(self, user: User | int) -> AccessEnded | None:
        """End all access of `user` from this moment on, in every process.

        No other user's access changes. The tokens are revoked at Procore, now or by the janitor.

        Returns:
            What was ended, or None if no user has that id.

        Raises:
            StoreUnavailable: Try again; repeating is harmless.
        """
        return self.run(access.disable(self.context, _id_of(user)))

    def enable(self, user: User | int) -> User | None:
        """Let `user` sign in again, and return the user, or None if no user has that id.

        Raises:
            StoreUnavailable: Try again; repeating is harmless.
        """
        return self.run(access.enable(_id_of(user)))

    def disconnect(self, user: User | int) -> AccessEnded | None:
        """End the sessions of `user`, undo the connections, and forget and revoke the tokens.

        `user` may sign in again, as someone who is connected to no user of the application;
        `disable` keeps the connections.

        Returns:
            What was ended, or None if no user has that id.

        Raises:
            StoreUnavailable: Try again; repeating is harmless.
        """
        return self.run(access.disconnect(self.context, _id_of(user)))

    def delete(self, user: User | int, *, even_sealed: bool = False) -> AccessEnded | None:
        """Disable `user`, and erase all their data.

        Tokens whose end Procore has not confirmed yet stay until it has, sealed, and with them
        Procore's number of the user.

        Args:
            user: The user, or their id.
            even_sealed: Also erase tokens that cannot be opened. Procore keeps accepting them.

        Returns:
            What was ended, or None if no user has that id.

        Raises:
            VaultSealed: The tokens cannot be opened. The user is disabled but not erased.
            StoreUnavailable: Try again; repeating is harmless.
        """
        return self.run(access.delete(self.context, _id_of(user), even_sealed=even_sealed))

    def end_sessions(self, user: User | int) -> int:
        """End every session of `user`, and return how many there were. The tokens stay."""
        return self.run(access.end_sessions(_id_of(user)))

    def link(
        self,
        user: User | int,
        reference: str | int | UUID,
        *,
        several_users: bool = False,
        several_references: bool = False,
    ) -> bool:
        """Connect `user` and a user of the application, and return whether that is new.

        Do it only for two that are known to be one person: in a hook, with an invitation that came
        back, or by the button that connects, which does it itself. An e-mail address proves nothing
        (row I2).

        Args:
            user: The user who signed in with Procore, or their id.
            reference: What the application calls its own user for good, such as the primary key:
                text, a whole number or a UUID.
            several_users: Whether `reference` may be connected to several users.
            several_references: Whether `user` may be connected to several references.

        Raises:
            AlreadyLinked: One of both is connected to another one. Nothing was changed.
            ValueError: There is no such user, or `reference` is not 1 to 255 characters that print,
                or ends with a space.
            TypeError: `reference` is something else, such as None or the user itself.
            StoreUnavailable: Try again; repeating is harmless.
        """
        new = NewLink(reference_of(reference), several_users, several_references)
        return self.run(access.link(self.context, _id_of(user), new))

    def unlink(self, user: User | int, reference: str | int | UUID | None = None) -> int:
        """Undo the connections of `user`, or the one to `reference`; return how many there were.

        Sessions and tokens stay; `disconnect` ends them too.

        Raises:
            StoreUnavailable: Try again; repeating is harmless.
        """
        named = None if reference is None else reference_of(reference)
        return self.run(access.unlink(self.context, _id_of(user), named))

    def unlink_all(self, reference: str | int | UUID) -> int:
        """Undo every connection of a user of the application, and return how many there were.

        Call it when that user is deleted, before the reference is given to someone else: they would
        have the Procore account. Sessions that belong to the login of `reference` end too; tokens
        stay.

        Raises:
            StoreUnavailable: Try again; repeating is harmless.
        """
        return self.run(access.unlink_all(self.context, reference_of(reference)))

    def user_of(self, reference: str | int | UUID) -> User | None:
        """Return the user of this environment who is connected to `reference`, or None.

        Of several, the one who was connected first. The user may be disabled.

        Raises:
            StoreUnavailable: Try again.
        """
        return next(iter(self.users_of(reference)), None)

    def users_of(self, reference: str | int | UUID) -> list[User]:
        """Return all users who are connected to `reference`; see `user_of`."""
        return self.run(access.users_of(self.context, reference_of(reference)))

    def references_of(self, user: User | int) -> list[str]:
        """Return what `user` is connected to, the first connection first.

        Raises:
            StoreUnavailable: Try again.
        """
        return self.run(access.references_of(_id_of(user)))

    def api(self, user: User | int, *, company_id: int | None = None) -> httpx2.Client:
        """Return a client of Procore's API that acts for `user`; see `api.client_for`.

        Args:
            user: The user, or their id. A `User` carries the company that the user chose.
            company_id: The company for `Procore-Company-Id`, instead of the chosen one.
        """
        from procore_signin import api  # noqa: PLC0415  # httpx2 is loaded when it is used

        return api.client_for(self, user, _company_of(user, company_id))

    def service_api(self, company_id: int) -> httpx2.Client:
        """Return a client that acts for the app's own service account in one company (DMSA)."""
        from procore_signin import api  # noqa: PLC0415  # as above

        return api.service_client_for(self, company_id)

    def close(self) -> None:
        """Let refreshes and sign-ins of other threads finish, then close every connection."""
        self.closed.set()
        if "procore_signin.api" in sys.modules:
            sys.modules["procore_signin.api"].close(self)
        self._runner.close()
        self._transport.close()
        self.store.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@public_in("procore_signin")
class AsyncProcoreSignIn(_FrontDoor[AsyncTransport]):
    """The async front door, for Starlette, FastAPI and Django under ASGI.

    Belongs to one event loop from opening to closing. Use it as an async context manager, or await
    `aclose()`.
    """

    def _new_transport(self) -> AsyncTransport:
        return AsyncPyreqwestTransport()

    @forks.Made
    def _runner(self) -> AsyncRunner:
        return AsyncRunner(self.store, self._transport)

    def run(self, flow: Flow[T]) -> Coroutine[Any, Any, T]:
        """Run `flow` to its end and return its value. Raises what the flow raises."""
        return self._runner.run(flow)

    async def fresh_tokens(self, user: User | int, *, rejected: int | None = None) -> FreshToken:
        """Return an access token of `user` that is valid now; see `ProcoreSignIn`."""
        return await self.run(fresh_tokens(self.context, _id_of(user), rejected=rejected))

    async def users(self, *, disabled: bool = False) -> AsyncIterator[User]:
        """Return all users, as `ProcoreSignIn.users`."""
        after = 0
        while page := await self.run(_page_of_users(self.context, after)):
            after = page[-1].id
            for user in page:
                if disabled or user.disabled_at is None:
                    yield user

    async def disable(self, user: User | int) -> AccessEnded | None:
        """End all access of `user`, as `ProcoreSignIn.disable`."""
        return await self.run(access.disable(self.context, _id_of(user)))

    async def enable(self, user: User | int) -> User | None:
        """Let `user` sign in again, as `ProcoreSignIn.enable`."""
        return await self.run(access.enable(_id_of(user)))

    async def disconnect(self, user: User | int) -> AccessEnded | None:
        """Forget and revoke the tokens of `user`, as `ProcoreSignIn.disconnect`."""
        return await self.run(access.disconnect(self.context, _id_of(user)))

    async def delete(self, user: User | int, *, even_sealed: bool = False) -> AccessEnded | None:
        """Erase `user`, as `ProcoreSignIn.delete`."""
        return await self.run(access.delete(self.context, _id_of(user), even_sealed=even_sealed))

    async def end_sessions(self, user: User | int) -> int:
        """End every session of `user`, as `ProcoreSignIn.end_sessions`."""
        return await self.run(access.end_sessions(_id_of(user)))

    async def link(
        self,
        user: User | int,
        reference: str | int | UUID,
        *,
        several_users: bool = False,
        several_references: bool = False,
    ) -> bool:
        """Connect `user` and a user of the application, as `ProcoreSignIn.link`."""
        new = NewLink(reference_of(reference), several_users, several_references)
        return await self.run(access.link(self.context, _id_of(user), new))

    async def unlink(self, user: User | int, reference: str | int | UUID | None = None) -> int:
        """Undo the connections of `user`, as `ProcoreSignIn.unlink`."""
        named = None if reference is None else reference_of(reference)
        return await self.run(access.unlink(self.context, _id_of(user), named))

    async def unlink_all(self, reference: str | int | UUID) -> int:
        """Undo every connection of `reference`, as `ProcoreSignIn.unlink_all`."""
        return await self.run(access.unlink_all(self.context, reference_of(reference)))

    async def user_of(self, reference: str | int | UUID) -> User | None:
        """Return the user who is connected to `reference`, as `ProcoreSignIn.user_of`."""
        return next(iter(await self.users_of(reference)), None)

    async def users_of(self, reference: str | int | UUID) -> list[User]:
        """Return all users who are connected to `reference`; see `user_of`."""
        return await self.run(access.users_of(self.context, reference_of(reference)))

    async def references_of(self, user: User | int) -> list[str]:
        """Return what `user` is connected to, as `ProcoreSignIn.references_of`."""
        return await self.run(access.references_of(_id_of(user)))

    def api(self, user: User | int, *, company_id: int | None = None) -> httpx2.AsyncClient:
        """Return a client of Procore's API that acts for `user`; see `ProcoreSignIn.api`."""
        from procore_signin import api  # noqa: PLC0415  # httpx2 is loaded when it is used

        return api.async_client_for(self, user, _company_of(user, company_id))

    def service_api(self, company_id: int) -> httpx2.AsyncClient:
        """Return a client that acts for the app's own service account in one company (DMSA)."""
        from procore_signin import api  # noqa: PLC0415  # as above

        return api.async_service_client_for(self, company_id)

    async def aclose(self) -> None:
        """Let refreshes and sign-ins under way finish, then close every connection."""
        self.closed.set()
        if "procore_signin.api" in sys.modules:
            await sys.modules["procore_signin.api"].aclose(self)
        runner: AsyncRunner | None = self.__dict__.pop("_runner", None)
        if runner is not None:
            await runner.aclose()
        await self._transport.aclose()
        self.store.close()

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
