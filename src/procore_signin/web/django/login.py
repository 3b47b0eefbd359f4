"""The bridge to `django.contrib.auth`: a user who signs in with Procore is logged in there as well.

The project's function in `DJANGO_USER` finds the Django user. Users are never matched by e-mail: a
user who can change an address at Procore could otherwise enter another user's account (row I2).
"""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.contrib.auth import login, logout
from django.http import HttpRequest

from procore_signin._web.http.messages import BrowserRequest, BrowserResponse
from procore_signin.web.django.installed import Installed
from procore_signin.web.django.requests import user_of

WHOSE: Final = "procore_signin_user"
"""The key in Django's session for the id of our user."""


def log_in(
    here: Installed, request: HttpRequest, asked: BrowserRequest, response: BrowserResponse
) -> None:
    """Log in the Django user of the user whose session `response` opens, if both exist."""
    if here.django_user is None:
        return
    opened = "; ".join(cookie.partition(";")[0] for cookie in response.cookies)
    came_back = BrowserRequest(
        method="GET",
        path=asked.path,
        query=b"",
        headers={},
        cookies=(opened.encode("latin-1"),),
        client_address=asked.client_address,
        request_id=asked.request_id,
    )
    session = here.procore.run(here.site.session(came_back))
    django_user = None if session is None else here.django_user(session.user)
    if session is None or django_user is None or not django_user.is_active:
        return
    backend = getattr(django_user, "backend", settings.AUTHENTICATION_BACKENDS[0])
    login(request, django_user, backend=backend)
    request.session[WHOSE] = session.user.id


def log_out_if_over(request: HttpRequest) -> None:
    """Log the Django user out if the session that logged them in has ended.

    A session that was ended from another device, or a disabled user, must not live on in Django's
    session (rows S3, I5).
    """
    whose = request.session.get(WHOSE)
    if whose is None:
        return
    user = user_of(request)
    if user is None or user.id != whose:
        logout(request)
