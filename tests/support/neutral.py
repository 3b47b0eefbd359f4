"""A browser without a network: it asks the neutral endpoints and keeps their cookies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from json import dumps
from urllib.parse import parse_qs, urlencode, urlsplit

from scripted import Clock

from procore_signin._app.home import HomeEndpoints
from procore_signin._client import ProcoreSignIn
from procore_signin._web.company import CompanyEndpoints
from procore_signin._web.endpoints import SignInEndpoints
from procore_signin._web.http.limits import RateLimit
from procore_signin._web.http.messages import (
    BrowserRequest,
    BrowserResponse,
    Framework,
    Page,
    raw_headers,
)
from procore_signin._web.paths import Paths
from procore_signin._web.router import Router

# What a script of our own pages says that asks for JSON.
FETCH = {
    "accept": "application/json",
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "cors",
    "sec-fetch-dest": "empty",
    "content-length": "2",
}


def router_of(
    door: ProcoreSignIn, clock: Clock, *, per_minute: int = 0, choose_company: bool = False
) -> Router:
    """Return the application's router on `door`."""
    router = Router(door.context, Paths.under(""))
    limits = RateLimit(per_minute, clock), RateLimit(per_minute, clock)
    sign_in = SignInEndpoints(
        router, starts=limits[0], callbacks=limits[1], choose_company=choose_company
    )
    HomeEndpoints(router, sign_in)
    CompanyEndpoints(router, sign_in)
    return router


@dataclass
class Browser:
    """One person's browser at the application."""

    door: ProcoreSignIn
    router: Router
    cookies: dict[str, str] = field(default_factory=dict)
    accepts_cookies: bool = True
    address: str = "127.0.0.1"

    def ask(
        self,
        method: str,
        target: str,
        *,
        form: dict[str, str] | None = None,
        json: object = None,
        headers: dict[str, str] | None = None,
        cookie: str | None = None,
    ) -> BrowserResponse:
        request = self.request(method, target, form=form, json=json, headers=headers, cookie=cookie)
        response = self.door.run(self.router.respond(request))
        common = self.router.headers_at.get(request.path, self.router.headers)
        raw = raw_headers(response.headers, common)
        told = tuple((name.decode(), value.decode("latin-1")) for name, value in raw)
        response = replace(response, headers=told)
        if self.accepts_cookies:
            self._keep(response)
        return response

    def framework(self) -> Framework | None:
        """Return how the application's framework sees a request."""
        return None

    def request(
        self,
        method: str,
        target: str,
        *,
        form: dict[str, str] | None = None,
        json: object = None,
        headers: dict[str, str] | None = None,
        cookie: str | None = None,
    ) -> BrowserRequest:
        path, _, query = target.partition("?")
        body = urlencode(form or {}).encode()
        if form is not None:
            headers = {"content-type": "application/x-www-form-urlencoded"} | (headers or {})
        if json is not None:
            body = json if isinstance(json, bytes) else dumps(json).encode()
            headers = FETCH | {"content-type": "application/json"} | (headers or {})
        sent = {
            "host": "localhost:4567",
            "accept": "text/html",
            "user-agent": "Firefox/150.0",
            "sec-fetch-site": "same-origin",
            "sec-fetch-dest": "document",
            "cookie": cookie
            if cookie is not None
            else "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        } | (headers or {})
        cookies = sent.pop("cookie")
        return BrowserRequest(
            method=method,
            path=path,
            query=query.encode("latin-1"),
            headers={k.encode(): v.encode("latin-1") for k, v in sent.items() if v},
            cookies=(cookies.encode("latin-1"),) if cookies else (),
            client_address=self.address,
            request_id="f00dfeed0001",
            read_body=lambda _: body,
            framework=self.framework,
        )

    def get(self, target: str, **more: object) -> BrowserResponse:
        return self.ask("GET", target, **more)  # type: ignore[arg-type]

    def post(self, target: str, **more: object) -> BrowserResponse:
        return self.ask("POST", target, **more)  # type: ignore[arg-type]

    def _keep(self, response: BrowserResponse) -> None:
        for cookie in response.cookies:
            pair, *attributes = cookie.split("; ")
            name, _, value = pair.partition("=")
            if "Max-Age=0" in attributes:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value

    def begin(self, page: str = "/") -> str:
        """Open a page with a button and return the state that its link carries."""
        values = page_of(self.get(page)).values
        url = str(values.get("sign_up_url") or values.get("sign_in_url"))
        return parse_qs(urlsplit(url).query)["state"][0]

    def sign_in(self, page: str = "/") -> BrowserResponse:
        """Go through a whole sign-in and return the callback's answer."""
        return self.get(f"/callback?code=fake-code&state={self.begin(page)}")


def page_of(response: BrowserResponse) -> Page:
    """Return the page of `response`, which must have one."""
    assert response.page is not None, response
    return response.page


def header(response: BrowserResponse, name: str) -> str | None:
    """Return a header of `response`, or None."""
    return dict(response.headers).get(name)


def title(response: BrowserResponse) -> str:
    """Return the title of the problem that `response` shows."""
    assert response.page is not None
    assert response.page.name == "problem", response.page.name
    return str(response.page.values["title"])
