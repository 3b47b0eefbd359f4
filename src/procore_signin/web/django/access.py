"""Letting in only people who are signed in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse

from procore_signin.web.django import requests
from procore_signin.web.django.installed import installed

View = TypeVar("View", bound=Callable[..., Any])


def signed_in(view: View) -> View:
    """Let only people in who are signed in. For views that are functions, plain or async.

    A browser is sent to the sign-in page, and from there back; a program gets 401. For a class, use
    Django's `method_decorator(signed_in, name="dispatch")`.
    """
    if iscoroutinefunction(view):

        @wraps(view)
        async def aguarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if await requests.auser_of(request) is None:
                return turned_away(request)
            return await view(request, *args, **kwargs)

        return aguarded  # type: ignore[return-value]  # the same view, but for a lock on the door

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if requests.user_of(request) is None:
            return turned_away(request)
        return view(request, *args, **kwargs)

    return guarded  # type: ignore[return-value]  # as above


def turned_away(request: HttpRequest) -> HttpResponse:
    """Return what someone gets who is not signed in."""
    site, asked = installed().site, requests.browser_request(request)
    return requests.response_to(site.reply(asked, site.not_signed_in(asked)))
