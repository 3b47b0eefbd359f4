"""A browser without a network: it asks the neutral endpoints and keeps their cookies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlencode, urlsplit

from scripted import Clock

from procore_signin._app.home import HomeEndpoints
from procore_signin._client import ProcoreSignIn
from procore_signin._web.company import CompanyEndpoints
from procore_signin._web.endpoints import SignInEndpoints
from procore_signin._web.http.limits import RateLimit
from procore_signin._web.http.messages import Answer, BrowserRequest, Page
from procore_signin._web.router import Paths, Router


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
        headers: dict[str, str] | None = None,
        cookie: str | None = None,
    ) -> Answer:
        path, _, query = target.partition("?")
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
        request = BrowserRequest(
            method=method,
            path=path,
            query=query.encode("latin-1"),
            headers={k.encode(): v.encode("latin-1") for k, v in sent.items() if v},
            cookies=(cookies.encode("latin-1"),) if cookies else (),
            client_address=self.address,
            request_id="f00dfeed0001",
            read_body=lambda _: urlencode(form or {}).encode(),
        )
        answer = self.door.run(self.router.answer(request))
        raw = self.router.headers(answer)
        told = tuple((name.decode(), value.decode("latin-1")) for name, value in raw)
        answer = replace(answer, headers=told)
        if self.accepts_cookies:
            self._keep(answer)
        return answer

    def get(self, target: str, **more: object) -> Answer:
        return self.ask("GET", target, **more)  # type: ignore[arg-type]

    def post(self, target: str, **more: object) -> Answer:
        return self.ask("POST", target, **more)  # type: ignore[arg-type]

    def _keep(self, answer: Answer) -> None:
        for cookie in answer.cookies:
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

    def sign_in(self, page: str = "/") -> Answer:
        """Go through a whole sign-in and return the callback's answer."""
        return self.get(f"/callback?code=fake-code&state={self.begin(page)}")


def page_of(answer: Answer) -> Page:
    """Return the page of `answer`, which must have one."""
    assert answer.page is not None, answer
    return answer.page


def header(answer: Answer, name: str) -> str | None:
    """Return a header of `answer`, or None."""
    return dict(answer.headers).get(name)


def title(answer: Answer) -> str:
    """Return the title of the problem that `answer` shows."""
    assert answer.page is not None
    assert answer.page.name == "problem", answer.page.name
    return str(answer.page.values["title"])
