"""Views for signed-in users only."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isawaitable
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse

from procore_signin._store.records import User
from procore_signin.web.django import requests
from procore_signin.web.django.installed import installed

View = TypeVar("View", bound=Callable[..., Any])


def signed_in(view: View) -> View:
    """Admit only signed-in users. For views, sync or async.

    A browser is redirected to the sign-in page and then back; a program gets 401. For a class, use
    Django's `method_decorator(signed_in, name="dispatch")`.
    """
    if _is_async(view):

        @wraps(view)
        async def aguarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if await requests.auser_of(request) is None:
                return turned_away(request)
            response = view(request, *args, **kwargs)
            # `dispatch` is no coroutine function: one of the project's may return a response.
            return await response if isawaitable(response) else response

        return aguarded  # type: ignore[return-value]  # the same view, but for a lock on the door

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if requests.user_of(request) is None:
            return turned_away(request)
        return view(request, *args, **kwargs)

    return guarded  # type: ignore[return-value]  # as above


def _is_async(view: Callable[..., Any]) -> bool:
    """Return whether Django runs `view` on an event loop.

    It runs there all methods of a class whose views are async, `dispatch` too, which is no
    coroutine function but returns what theirs does. `method_decorator` gives them in a `partial`.
    """
    owner = getattr(getattr(view, "func", view), "__self__", None)
    return iscoroutinefunction(view) or bool(getattr(owner, "view_is_async", False))


def get_user(request: HttpRequest) -> User | None:
    """Return the user of this request, or None. The database is queried once per request.

    Raises:
        StoreUnavailable: Unknown. If unhandled, the response is 503 (row S7).
        SynchronousOnlyOperation: In an async view. Use `aget_user`.
    """
    user: User | None = requests.user_of(request)
    return user


def current_user(request: HttpRequest) -> User:
    """Return the signed-in user of a view below `@signed_in`. In an async view, use `aget_user`.

    Raises:
        RuntimeError: No user is signed in: the view is not below `@signed_in`.
        StoreUnavailable: Unknown. If unhandled, the response is 503 (row S7).
    """
    user = get_user(request)
    if user is None:
        raise RuntimeError("No user is signed in. Put @signed_in above the view.")
    return user


def turned_away(request: HttpRequest) -> HttpResponse:
    """Return the response to a request that is not signed in."""
    site, asked = installed().site, requests.browser_request(request)
    return requests.response_to(site.raw_response(asked, site.not_signed_in(asked)))
