"""The emulator under a path prefix of another ASGI application."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from procore_signin.emulator import OUT_OF_BAND, EmulatorApp, EmulatorOptions, LocalProcore

ORIGIN = "http://127.0.0.1:8000"
LINK = re.compile(r'(?:href|src|action)="([^"]*)"')
LOG_IN = {"login": "joecontractor@procore.com", "password": "procore"}
CLIENT = {"client_id": "emulator-client-id", "client_secret": "emulator-client-secret"}


def host_of(procore: LocalProcore) -> Starlette:
    """An application that has pages of its own and the emulator under /procore."""

    async def own(_: Request) -> PlainTextResponse:
        return PlainTextResponse("the host's own page")

    mounted = Mount("/procore", EmulatorApp(procore))
    return Starlette(routes=[mounted, Route("/{path:path}", own, methods=["GET", "POST"])])


@asynccontextmanager
async def browsing(procore: LocalProcore) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=host_of(procore))
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        yield http


def visit(procore: LocalProcore, steps: Callable[[httpx2.AsyncClient], Awaitable[Any]]) -> Any:
    """Do the steps with a browser of their own; returns what they return."""

    async def run() -> Any:
        async with browsing(procore) as http:
            return await steps(http)

    return asyncio.run(run())


@pytest.fixture
def procore() -> LocalProcore:
    return LocalProcore(EmulatorOptions(iss=True))


async def sign_in(http: httpx2.AsyncClient, target: str) -> tuple[list[httpx2.Response], str]:
    """Follow every redirect and fill in every form; returns the pages and the last redirect."""
    to_login = await http.get(f"/procore{target}")
    panel = await http.get(to_login.headers["location"])
    logged_in = await http.post(
        _action(panel.text, "/login"), data={**LOG_IN, "continue_to": _continuation(panel.text)}
    )
    consent = await http.get(logged_in.headers["location"])
    decided = await http.post(
        _action(consent.text, "/oauth/authorize"),
        data={"continue_to": _continuation(consent.text), "decision": "allow"},
    )
    return [panel, consent], decided.headers["location"]


def _action(page: str, ending: str) -> str:
    found: list[str] = re.findall(r'action="([^"]*)"', page)
    return next(action for action in found if action.endswith(ending))


def _continuation(page: str) -> str:
    found: list[str] = re.findall(r'name="continue_to" value="([^"]*)"', page)
    return found[0].replace("&amp;", "&")


def test_a_whole_sign_in_stays_under_the_prefix(
    procore: LocalProcore, authorize: Callable[..., str]
) -> None:
    async def steps(http: httpx2.AsyncClient) -> dict[str, str]:
        _, location = await sign_in(http, authorize())
        answer = dict(httpx2.URL(location).params)
        form = {
            "grant_type": "authorization_code",
            **CLIENT,
            "code": answer["code"],
            "redirect_uri": "http://localhost:4567/callback",
        }
        tokens = (await http.post("/procore/oauth/token", data=form)).json()
        bearer = {"authorization": f"Bearer {tokens['access_token']}"}
        me = (await http.get("/procore/rest/v1.0/me", headers=bearer)).json()
        assert 11111 == me["id"]
        first = await http.get("/procore/rest/v1.0/companies?per_page=1", headers=bearer)
        link = first.headers["link"]
        assert f'<{ORIGIN}/procore/rest/v1.0/companies?page=2&per_page=1>; rel="next"' in link
        in_company = {**bearer, "procore-company-id": "8089"}
        base = await http.get("/procore/rest/v1.0/company_base_url", headers=in_company)
        assert f"{ORIGIN}/procore" == base.json()["web_base_url"]
        return answer

    assert f"{ORIGIN}/procore" == visit(procore, steps)["iss"]


def test_every_link_and_form_of_every_page_leads_to_the_emulator(
    procore: LocalProcore, authorize: Callable[..., str]
) -> None:
    async def steps(http: httpx2.AsyncClient) -> None:
        pages, shown = await sign_in(http, authorize(redirect_uri=OUT_OF_BAND))
        pages.append(await http.get(shown))
        pages += [
            await http.get(f"/procore{path}")
            for path in (
                "/",
                "/logout",
                authorize(client_id="unknown"),
                "/oauth/authorize/unknown",
                "/_emulator/",
            )
        ]
        pages.append(
            await http.get("/procore/_emulator/exchanges/1", headers={"accept": "text/html"})
        )
        found = {urlsplit(link)._replace(fragment="").geturl() for p in pages for link in links(p)}
        assert {"/procore/login", "/procore/logout", "/procore/_emulator/clear"} < found
        assert {"/procore/_emulator/exchanges/1", "/procore/_emulator/static/emulator.css"} < found
        for link in found:
            assert link.startswith("/procore/"), link
            answered = await http.get(link)
            assert answered.status_code not in {404, 500}, link

    visit(procore, steps)


def links(page: httpx2.Response) -> list[str]:
    """Return what a page refers to on its own host."""
    assert "text/html; charset=utf-8" == page.headers["content-type"]
    elsewhere = ("#", "http://localhost:4567")
    return [one for one in LINK.findall(page.text) if not one.startswith(elsewhere)]


def test_what_the_inspector_sends_live_leads_there_too(
    procore: LocalProcore, authorize: Callable[..., str]
) -> None:
    app = EmulatorApp(procore)
    visit(procore, lambda http: http.get(f"/procore{authorize()}"))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/procore/_emulator/events",
        "root_path": "/procore",
        "query_string": b"after=0",
        "headers": [(b"host", b"127.0.0.1")],
    }
    sent: list[bytes] = []

    async def run() -> None:
        left = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            if b"event: chapter" in sent[-1]:
                left.set()

        await app(scope, receive, send)

    asyncio.run(run())
    assert b'href=\\"/procore/_emulator/exchanges/1#request' in b"".join(sent)


def test_the_login_cookie_is_of_the_prefix_only(
    procore: LocalProcore, authorize: Callable[..., str]
) -> None:
    async def steps(http: httpx2.AsyncClient) -> tuple[str, str]:
        form = {**LOG_IN, "continue_to": authorize()}
        logged_in = await http.post("/procore/login", data=form)
        logged_out = await http.post("/procore/logout")
        return logged_in.headers["set-cookie"], logged_out.headers["set-cookie"]

    for cookie in visit(procore, steps):
        assert "Path=/procore;" in cookie


def test_clearing_the_inspector_and_leaving_out_its_slash_stay_under_the_prefix(
    procore: LocalProcore,
) -> None:
    async def steps(http: httpx2.AsyncClient) -> list[tuple[int, str]]:
        answers = [
            await http.post("/procore/_emulator/clear"),
            await http.get("/procore/_emulator"),
        ]
        return [(one.status_code, one.headers["location"]) for one in answers]

    expected = [(303, "/procore/_emulator/"), (308, "/procore/_emulator/")]
    assert expected == visit(procore, steps)


def test_the_control_api_takes_addresses_with_and_without_the_prefix(
    procore: LocalProcore, authorize: Callable[..., str]
) -> None:
    async def steps(http: httpx2.AsyncClient) -> list[int]:
        forms = [f"{ORIGIN}/procore{authorize()}", f"/procore{authorize()}", authorize()]
        forms.append(f"{ORIGIN}/elsewhere{authorize()}")
        answers = [
            await http.post("/procore/_emulator/approve", json={"authorize_url": url})
            for url in forms
        ]
        return [answer.status_code for answer in answers]

    assert [200, 200, 200, 400] == visit(procore, steps)


def test_the_hosts_own_pages_are_left_alone(procore: LocalProcore) -> None:
    async def steps(http: httpx2.AsyncClient) -> str:
        return (await http.get("/login")).text

    assert "the host's own page" == visit(procore, steps)
