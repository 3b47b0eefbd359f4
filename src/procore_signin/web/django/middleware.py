"""The signed-in user of every request: `request.procore_user`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from procore_signin._web.site import NO_STORE, vary
from procore_signin.errors import ProcoreSignInError
from procore_signin.web.django import requests
from procore_signin.web.django.installed import installed, start
from procore_signin.web.django.login import log_out_if_over

NAME: Final = "procore_signin.web.django.middleware.SignInMiddleware"


class SignInMiddleware(MiddlewareMixin):
    """Sets `request.procore_user`, looked up on first use, and `request.aprocore_user`.

    `procore_user` is a proxy for a `User`, or for None: then it is false, but not `None` itself. In
    an async view, write `user = await request.aprocore_user()`.

    It needs to come after `AuthenticationMiddleware` when `DJANGO_USER` is set.

    Raises:
        SettingsInvalid: When the server starts: names every setting that is wrong. When a request
            needs the sign-in: names every setting that is missing.
    """

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        self._logs_in: Final = start()

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Attach the user, and end Django's own session if ours has ended.

        If that is unknown, the request ends here (row S7): Django calls `process_exception` only
        for views.
        """
        requests.attach(request)
        if not self._logs_in:
            return None
        try:
            log_out_if_over(request)
        except ProcoreSignInError as error:
            return requests.problem(request, error)
        return None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Keep responses that depend on the signed-in user out of every cache (row K7)."""
        if hasattr(request, requests.SESSION):
            response["Vary"] = vary(response.get("Vary"))
            # An application that says how long its responses may be kept knows why.
            response.setdefault("Cache-Control", NO_STORE)
        if hasattr(request, requests.FORGETS):
            forget = installed().site.forget_session
            # unless a page of ours has just opened a new one
            if forget.partition("=")[0] not in response.cookies:
                response.cookies.load(forget)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return the response to an error of ours in a view of the project."""
        return requests.problem(request, error) if isinstance(error, ProcoreSignInError) else None
