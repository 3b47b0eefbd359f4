"""The landing page and home (tutorial, steps 1 and 5)."""

from __future__ import annotations

import json
from typing import Final

from procore_signin._flow.steps import Flow
from procore_signin._store.records import User
from procore_signin._web.endpoints import SignInEndpoints
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse
from procore_signin._web.router import Router

_ENCODE: Final = json.JSONEncoder(ensure_ascii=False).encode


class HomeEndpoints:
    """The landing page with "Sign Up with Procore", and home.

    Args:
        router: Where the endpoints are added.
        sign_in: Finds the session of a request, and begins sign-ins.
    """

    def __init__(self, router: Router, sign_in: SignInEndpoints) -> None:
        self._router = router
        self._sign_in = sign_in
        router.add("GET", router.paths.landing, self.landing)
        router.add("GET", router.paths.home, self.home)

    def landing(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Show "Sign Up with Procore"."""
        session = yield from self._sign_in.session(request)
        return self._sign_in.begin_page(
            request,
            "landing",
            "sign_up_url",
            return_to=self._router.paths.home,
            values={"user": None if session is None else session.user},
            session=session,
        )

    def home(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Show the user's row and Procore's response; to a program, only the row."""
        if request.wants_json:
            session = yield from self._sign_in.session(request)
            if session is None:
                return self._sign_in.to_sign_in(request)
            row = user_row(session.user)
            return BrowserResponse(status=200, body=row.encode(), content_type="application/json")
        found = yield from self._sign_in.session_and_me(request)
        if found is None:
            return self._sign_in.to_sign_in(request)
        session, me_json = found
        row = user_row(session.user)
        return self._router.page(
            "home",
            session=session,
            values={"user": session.user, "row": row, "me_json": me_json, "session": session},
        )


def user_row(user: User) -> str:
    """Return the tutorial's `[1, 11111, "joecontractor@procore.com"]`, which is also JSON."""
    return f"[{user.id}, {user.procore_id}, {_ENCODE(user.email)}]"
