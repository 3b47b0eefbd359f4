"""The bridge to `django.contrib.auth`: who signs in with Procore is logged in there as well.

Which Django user that is, the project says, with the function that `DJANGO_USER` names. No one is
matched by e-mail here: a person who can change an address at Procore could choose whose account to
enter (row I2).
"""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.contrib.auth import login, logout
from django.http import HttpRequest

from procore_signin._web.http.messages import Answer, BrowserRequest
from procore_signin.web.django.installed import Installed
from procore_signin.web.django.requests import user_of

WHOSE: Final = "procore_signin_user"
"""Where Django's session remembers which of our users it belongs to."""


def log_in(here: Installed, request: HttpRequest, asked: BrowserRequest, answer: Answer) -> None:
    """Log in the Django user of the person whose session `answer` opens, if there are both."""
    if here.django_user is None:
        return
    opened = "; ".join(cookie.partition(";")[0] for cookie in answer.cookies)
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
    """Log the Django user out when the sign-in that logged them in has ended, wherever it did.

    A session that was ended from another device, or a person who was disabled, must not live on in
    Django's session (rows S3, I5).
    """
    whose = request.session.get(WHOSE)
    if whose is None:
        return
    user = user_of(request)
    if user is None or user.id != whose:
        logout(request)
