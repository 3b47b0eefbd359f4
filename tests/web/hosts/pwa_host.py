"""A FastAPI application with a service worker, and one that can take browsers for older ones."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from procore_signin import AsyncProcoreSignIn
from procore_signin.web.fastapi import CurrentUser, sign_in_routes

WORKERS: Final = {
    "passes": "event.respondWith(fetch(event.request))",
    "changes": "event.respondWith(fetch(event.request, {cache: 'no-store'}))",
    "remakes": "event.respondWith(fetch(new Request(event.request, {mode: 'cors', "
    "headers: {'x-own': 'yes'}})))",
    "preloads": "event.respondWith((async () => "
    "(await event.preloadResponse) || fetch(event.request))())",
}
START: Final = """
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil((async () => {
  if (location.search === "?preloads") await registration.navigationPreload.enable();
  await clients.claim();
})()));
"""
LISTENER: Final = 'addEventListener("fetch", (event) => { %s });'
WITH_WORKER: Final = """<!doctype html><title>Installed</title><script>
navigator.serviceWorker.register("/worker.js" + location.search);
</script>"""
OLDER: Final = b"x-older-browser"


class OlderBrowsers:
    """Takes `Sec-Fetch-*` from the requests of a browser that says it is to be taken for older."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope.get("headers", [])
        if any(name == OLDER for name, _ in headers):
            kept = [pair for pair in headers if not pair[0].startswith(b"sec-fetch-")]
            scope = {**scope, "headers": kept}
        await self._app(scope, receive, send)


procore = AsyncProcoreSignIn.from_env()
app = FastAPI()
app.add_middleware(OlderBrowsers)
app.include_router(sign_in_routes(procore), prefix="/procore")


@app.get("/")
async def first_page() -> Response:
    return HTMLResponse("<!doctype html><title>First page</title>")


@app.get("/with-worker")
async def with_worker() -> Response:
    return HTMLResponse(WITH_WORKER)


@app.get("/worker.js")
def worker(request: Request) -> Response:
    name = request.url.query
    if name == "documented":  # the page's own, which the test has written here
        listener = Path("documented.js").read_text(encoding="utf-8")
    else:
        listener = LISTENER % WORKERS[name]
    return Response(START + listener, media_type="text/javascript")


@app.get("/me")
async def me(user: CurrentUser) -> Response:
    form = '<form method="post" action="/procore/sign-out"><button>Sign out</button></form>'
    return HTMLResponse(
        f"<!doctype html><title>Inside</title><h1>Inside</h1><p>{user.email}</p>{form}"
    )
