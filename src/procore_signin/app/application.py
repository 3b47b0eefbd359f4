"""Put the application together: settings in, an ASGI application out."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from procore_signin.app.home import HomeEndpoints
from procore_signin.app.logs import configure_logs
from procore_signin.app.metrics import Metrics, MetricsEndpoint, TimedTransport
from procore_signin.app.service import ServiceEndpoints
from procore_signin.client import AsyncProcoreSignIn
from procore_signin.events import lines, listen
from procore_signin.settings import Settings, read_settings
from procore_signin.transport.pyreqwest import AsyncPyreqwestTransport
from procore_signin.web.janitor import sweeping
from procore_signin.web.settings import completed
from procore_signin.web.site import Site
from procore_signin.web.starlette import SignInApp


def from_environment() -> ASGIApp:
    """Return the application that the environment and `.env` describe.

    Raises:
        SettingsInvalid: Names every setting that is missing or wrong, with its cure.
    """
    settings = read_settings()
    configure_logs(level=settings.log_level)
    return create_app(settings)


def create_app(settings: Settings) -> ASGIApp:
    """Return the application for `settings`. It answers at the origin of the redirect URI."""
    metrics = Metrics()
    procore = AsyncProcoreSignIn.from_settings(
        settings, transport=TimedTransport(AsyncPyreqwestTransport(), metrics)
    )
    site = Site(procore.context, completed(procore, None), own_pages=True)
    HomeEndpoints(site.router, site.sign_in)
    ServiceEndpoints(site.router)
    MetricsEndpoint(site.router, procore.context, metrics, settings.metrics_token)
    return _Application(SignInApp(procore, site), _lifespan(procore, metrics))


class _Application:
    """Requests go to the pages, which find their own way; everything else goes to Starlette."""

    def __init__(self, pages: ASGIApp, lifespan: Lifespan[Starlette]) -> None:
        self._pages = pages
        self._starlette = Starlette(lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inside = self._pages if scope["type"] == "http" else self._starlette
        await inside(scope, receive, send)


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
            lines.tell()  # a worker ends without the interpreter's own farewell

    return lifespan
