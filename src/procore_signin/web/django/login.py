"""The bridge to `django.contrib.auth`: one log-in, and one log-out.

A user who signs in with Procore is logged in there as well, if the project says as whom.

The project's function in `DJANGO_USER` finds the Django user. Users are never matched by e-mail: a
user who can change an address at Procore could otherwise enter another user's account (row I2).
"""

from __future__ import annotations

import logging
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import login, logout
from django.db import transaction
from django.http import HttpRequest

from procore_signin._flow.sessions import move_to
from procore_signin._store.records import User
from procore_signin._store.sessions import EndSessionOf
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse
from procore_signin._web.problems import NOT_ADMITTED
from procore_signin.errors import ProcoreSignInError, SettingsInvalid
from procore_signin.web.django.installed import DJANGO_LOGIN, Installed, installed
from procore_signin.web.django.requests import djangos_own, look_again, sign_out, user_of

LOGGER: Final = logging.getLogger("procore_signin")
WHOSE: Final = "procore_signin_user"
"""The key in Django's session for the id of our user."""


def log_in(
    here: Installed, request: HttpRequest, asked: BrowserRequest, response: BrowserResponse
) -> BrowserResponse:
    """Log in the Django user of the user whose session `response` opens, if both exist.

    Returns:
        That response; or the refusal, where the Django user may not log in any more (row L8).
    """
    if here.django_user is None:
        return response
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
    if session is None or django_user is None:
        return response
    if not django_user.is_active:
        here.procore.store.do(EndSessionOf(session.user.id, session.id))
        refusal = here.site.router.problem(asked, NOT_ADMITTED)
        return refusal.with_cookies(*response.cookies, here.site.forget_session)
    login(request, django_user, backend=_backend_of(django_user))
    request.session[WHOSE] = session.user.id
    if here.site.login is not None:
        here.procore.run(move_to(session, str(django_user.pk)))
    return response


def end_with_django(request: HttpRequest | None, **_: Any) -> None:
    """End the sign-in of this browser when its user logs out of Django (row L1).

    Whatever happens here, Django's log-out goes on.
    """
    request = _of_a_browser(request)
    if request is None:
        return
    try:
        if installed().site.login is not None:
            sign_out(request)
    except SettingsInvalid:
        return  # the system checks report it; no one can have signed in
    except ProcoreSignInError as error:
        LOGGER.warning("A session was left open when its user logged out of Django: %s", error)


def follow_django(request: HttpRequest | None, **_: Any) -> None:
    """Look again who the user of this request is: it may be another user's browser now."""
    request = _of_a_browser(request)
    if request is not None:
        look_again(request)


def forget_deleted(instance: Any, using: str, **_: Any) -> None:
    """Undo the connections of a Django user who is deleted, once that is committed (row L9).

    A primary key that is given again would bring the Procore account along. Whatever happens here,
    the user is deleted.
    """
    reference = instance.pk  # which Django takes from the object when it is gone

    def forget() -> None:
        try:
            here = installed()
            if here.site.login is DJANGO_LOGIN:
                here.procore.unlink_all(reference)
        except SettingsInvalid:
            return  # the system checks report it; no one can have signed in
        except ProcoreSignInError as error:
            LOGGER.warning("A connection was left when its user was deleted: %s", error)

    transaction.on_commit(forget, using=using, robust=True)


def _of_a_browser(request: Any) -> HttpRequest | None:
    """Return Django's own request, or None where no browser sent it.

    Django's test client logs out with an empty one.
    """
    found = djangos_own(request)
    if found is None or not ("REQUEST_METHOD" in found.META or hasattr(found, "scope")):
        return None
    return found


def log_in_client(here: Installed, client: Any, user: User) -> str | None:
    """Log the Django user of `user` in at a test client, as the callback page does in a browser.

    Returns:
        The name of the cookie of Django's session, or None if there is no one to log in.
    """
    django_user = None if here.django_user is None else here.django_user(user)
    if django_user is None or not django_user.is_active:
        return None
    client.force_login(django_user, backend=_backend_of(django_user))
    session = client.session
    session[WHOSE] = user.id
    session.save()
    name: str = settings.SESSION_COOKIE_NAME
    return name


def _backend_of(django_user: Any) -> Any:
    return getattr(django_user, "backend", settings.AUTHENTICATION_BACKENDS[0])


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
