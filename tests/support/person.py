"""A person with a browser, over real HTTP: cookies, clicks, and the emulator in between."""

from __future__ import annotations

import html
import re
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx2

from procore_signin.emulator import DEMO_LOGIN, Emulator

OUR_FORM = {"sec-fetch-site": "same-origin", "sec-fetch-dest": "document"}


class Person:
    """One person's browser at the application at `url`."""

    def __init__(self, url: str, emulator: Emulator, login: str = DEMO_LOGIN) -> None:
        self.http = httpx2.Client(
            base_url=url,
            timeout=40,
            headers={"accept": "text/html", "user-agent": "Firefox/150.0"},
        )
        self.emulator = emulator
        self.login = login

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.http.close()

    def button(self, page: str = "/") -> str:
        """Open a page and return where its button leads."""
        content = self.http.get(page).text
        found = re.search(r'href="(http[^"]*/oauth/authorize[^"]*)"', content)
        assert found, content
        return html.unescape(found[1])

    def callback_address(self, page: str = "/") -> str:
        """Press the button, log in, allow; return the path that Procore sends the browser to."""
        location = urlsplit(self.emulator.approve(self.button(page), login=self.login))
        return f"{location.path}?{location.query}"

    def sign_in(self, page: str = "/") -> httpx2.Response:
        """Go through a whole sign-in and return the callback's answer."""
        return self.http.get(self.callback_address(page))

    def post(self, path: str, **fields: str) -> httpx2.Response:
        """Press a button on one of the application's own pages."""
        return self.http.post(path, data=fields, headers=OUR_FORM)

    def row(self) -> httpx2.Response:
        """Ask for home as a program does."""
        return self.http.get("/home", headers={"accept": "application/json"})

    @property
    def signed_in(self) -> bool:
        return self.row().status_code == httpx2.codes.OK


def exchanges(emulator: Emulator) -> int:
    """Return how often a code was sent. Tokens of an earlier test may still be given back."""
    return sum(each.grant_type == "authorization_code" for each in emulator.token_requests)
