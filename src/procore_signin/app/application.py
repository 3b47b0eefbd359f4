"""Put the application together: settings in, an ASGI application out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount

from procore_signin.app.home import HomeEndpoints
from procore_signin.app.logs import configure_logs
from procore_signin.app.metrics import Metrics, MetricsEndpoint, TimedTransport
from procore_signin.app.service import ServiceEndpoints
from procore_signin.app.settings import Settings
from procore_signin.client import AsyncProcoreSignIn
from procore_signin.events import listen
from procore_signin.transport.pyreqwest import AsyncPyreqwestTransport
from procore_signin.web import pages
from procore_signin.web.company import CompanyEndpoints
from procore_signin.web.endpoints import SignInEndpoints
from procore_signin.web.forward_auth import ForwardAuthEndpoint
from procore_signin.web.forwarded import ForwardedClients
from procore_signin.web.http import Page
from procore_signin.web.janitor import sweeping
from procore_signin.web.limits import RateLimit
from procore_signin.web.router import Paths, Router
from procore_signin.web.starlette import SignInApp


def from_environment() -> Starlette:
    """Return the application that the environment and `.env` describe.

    Raises:
        SettingsInvalid: Names every setting that is missing or wrong, with its cure.
    """
    settings = Settings.load(os.environ, Path(".env"))
    configure_logs(level=settings.log_level)
    return create_app(settings)


def create_app(settings: Settings) -> Starlette:
    """Return the application for `settings`. It answers at the origin of the redirect URI."""
    metrics = Metrics()
    procore = AsyncProcoreSignIn(
        environment=settings.environment,
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        redirect_uri=settings.redirect_uri,
        keys=settings.keys,
        database_url=settings.database_url,
        session_idle=settings.session_idle,
        session_absolute=settings.session_absolute,
        transport=TimedTransport(AsyncPyreqwestTransport(), metrics),
    )
    router = Router(procore.context, Paths.under(settings.mount_path))
    sign_in = SignInEndpoints(
        router,
        starts=RateLimit(settings.rate_limit, time.monotonic),
        callbacks=RateLimit(settings.rate_limit, time.monotonic),
        choose_company=settings.choose_company,
    )
    if settings.choose_company:
        CompanyEndpoints(router, sign_in)
    HomeEndpoints(router, sign_in)
    ForwardAuthEndpoint(router, sign_in)
    ServiceEndpoints(router)
    MetricsEndpoint(router, procore.context, metrics, settings.metrics_token)

    def render(page: Page) -> str:
        return pages.render(page.name, page.values)

    return Starlette(
        routes=[
            Mount(
                "/", ForwardedClients(SignInApp(procore, router, render), settings.trusted_proxies)
            )
        ],
        lifespan=_lifespan(procore, metrics),
    )


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

    return lifespan
