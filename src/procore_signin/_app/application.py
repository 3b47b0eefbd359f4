"""Build the ASGI application from settings."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from starlette.applications import Starlette
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from procore_signin._app.connections import Client
from procore_signin._app.home import HomeEndpoints
from procore_signin._app.logs import configure_logs
from procore_signin._app.metrics import Metrics, MetricsEndpoint
from procore_signin._app.probes import Probes
from procore_signin._client import AsyncProcoreSignIn
from procore_signin._settings import Settings, read_settings
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin._transport.pyreqwest import AsyncPyreqwestTransport
from procore_signin._web.janitor import sweeping
from procore_signin._web.settings import completed
from procore_signin._web.site import Site
from procore_signin.events import lines, listen
from procore_signin.web.starlette import SignInApp


def from_environment() -> Application:
    """Return the application for the settings in the environment and `.env`.

    Raises:
        SettingsInvalid: Names every setting that is missing or wrong, with its cure.
    """
    settings = read_settings()
    configure_logs(level=settings.log_level)
    return create_app(settings)


def create_app(settings: Settings) -> Application:
    """Return the application for `settings`. It serves the origin of the redirect URI."""
    metrics = Metrics()
    procore = AsyncProcoreSignIn.from_settings(
        settings, transport=AsyncPyreqwestTransport(observe=metrics.observe)
    )
    site = Site(procore.context, completed(procore, None), own_pages=True)
    HomeEndpoints(site.router, site.sign_in)
    Probes(site.router)
    MetricsEndpoint(site.router, procore.context, metrics, settings.metrics_token)
    return Application(SignInApp(procore, site), _lifespan(procore, metrics), site.trusted)


class Application:
    """The application. Requests go straight to the pages; everything else goes to Starlette.

    Attributes:
        busy: The clients with a request under way, as the server names them.
        trusted: Our own proxies.
    """

    def __init__(
        self, pages: ASGIApp, lifespan: Lifespan[Starlette], trusted: TrustedProxies
    ) -> None:
        self._pages = pages
        self._starlette = Starlette(lifespan=lifespan)
        self.busy: Final[set[Client]] = set()
        self.trusted: Final = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the server's lifespan."""
        if scope["type"] != "http":
            await self._starlette(scope, receive, send)
            return
        client = scope["client"]
        self.busy.add(client)
        try:
            await self._pages(scope, receive, send)
        finally:
            self.busy.discard(client)


def _lifespan(
    procore: AsyncProcoreSignIn, metrics: Metrics
) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        stop_counting = listen(metrics.count)
        try:
            async with procore, sweeping(procore):
                yield
        finally:
            stop_counting()
            lines.tell()  # a worker exits without the interpreter's own shutdown

    return lifespan
