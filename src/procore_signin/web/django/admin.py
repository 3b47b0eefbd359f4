"""Users and sessions in Django's admin: view them, end sessions, disconnect and disable users.

The pages use the sign-in's own store, so that they work wherever its tables are, and disabling a
user revokes their tokens, as everywhere else. `view_person` lets a member of staff view, and
`change_person` act. The admin's history records each action.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path

from procore_signin._flow import users
from procore_signin._flow.steps import ask
from procore_signin._flow.users import AccessEnded
from procore_signin._store.records import Session, User
from procore_signin._store.sessions import EndSessionOf, SessionsOf
from procore_signin._store.users import FindUsers, UserOf
from procore_signin._web.look.words import browser_words
from procore_signin.errors import ProcoreSignInError
from procore_signin.web.django.installed import Installed, installed
from procore_signin.web.django.models import Person

PAGE: Final = 100
_DIGITS: Final = 19  # of 2**63 - 1, the largest id
_LIST: Final = "procore_signin_person_changelist"
_ONE: Final = "procore_signin_person_change"


@admin.register(Person)
class PersonAdmin(admin.ModelAdmin):
    """The list of users, and a page for each of them."""

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Return False: users are created by signing in."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: object = None) -> bool:
        """Return False: `procore-signin users delete` erases a user."""
        return False

    def get_urls(self) -> list[Any]:
        """Return the two pages, in place of those for models."""
        guard = self.admin_site.admin_view
        return [
            path("", guard(self.people), name=_LIST),
            path("<int:user_id>/", guard(self.person), name=_ONE),
        ]

    def people(self, request: HttpRequest) -> HttpResponse:
        """Show users in the order of their first sign-in; `q` is an e-mail or Procore's id."""
        self._may_look(request)
        wanted, after = request.GET.get("q", "").strip(), _number(request.GET.get("after"))
        search: dict[str, Any] = {}
        if wanted:
            number = _number(wanted)
            search = {"procore_id": number} if number else {"email": wanted}
        procore = installed().procore
        found = procore.run(ask(FindUsers(after=after or 0, limit=PAGE + 1, **search)))
        shown = found[:PAGE]
        values = {
            "people": [_with_times(user) for user in shown],
            "wanted": wanted,
            "after": shown[-1].id if len(found) > PAGE else None,
            "title": "Users who signed in with Procore",
        }
        return self._page(request, "people", values)

    def person(self, request: HttpRequest, user_id: int) -> HttpResponse:
        """Show one user and their sessions, or perform the posted action."""
        self._may_look(request)
        here = installed()
        user = here.procore.run(ask(UserOf(user_id)))
        if user is None:
            raise Http404
        if request.method == "POST":
            self._act(request, here, user)
            return redirect(f"{self.admin_site.name}:{_ONE}", user_id)
        now = here.procore.context.now()
        sessions = here.procore.run(ask(SessionsOf(user_id, now=now)))
        values = {
            "person": _with_times(user),
            "connected_to": here.procore.run(users.references_of(user_id)),
            "sessions": [_as_shown(session) for session in sessions],
            "may_act": self.has_change_permission(request),
            "title": user.name or user.email,
        }
        return self._page(request, "person", values)

    def _act(self, request: HttpRequest, here: Installed, user: User) -> None:
        if not self.has_change_permission(request):
            raise PermissionDenied
        act = _ACTS.get(request.POST.get("act", ""))
        if act is None:
            raise Http404
        try:
            done, certain = act(here, user, _number(request.POST.get("session_id")))
        except ProcoreSignInError as error:
            messages.error(request, f"It was not done: {error}")
            return
        self.log_change(request, Person(pk=user.id), done)
        messages.add_message(request, messages.SUCCESS if certain else messages.WARNING, done)

    def _may_look(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(self, request: HttpRequest, name: str, values: dict[str, Any]) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **values}
        return TemplateResponse(request, f"procore_signin/admin/{name}.html", context)


Act = Callable[[Installed, User, int | None], tuple[str, bool]]


def _disable(here: Installed, user: User, _: int | None) -> tuple[str, bool]:
    ended = here.procore.run(users.disable(here.procore.context, user.id))
    if ended is None:
        return "There was no user to disable.", False
    return (
        f"Disabled. {ended.sessions} session(s) ended. {_of_tokens(ended, 'disable')}",
        ended.certain,
    )


def _disconnect(here: Installed, user: User, _: int | None) -> tuple[str, bool]:
    ended = here.procore.run(users.disconnect(here.procore.context, user.id))
    if ended is None:
        return "There was no user to disconnect.", False
    done = f"Disconnected. {ended.sessions} session(s) ended. {_of_tokens(ended, 'disconnect')}"
    return done, ended.certain


def _of_tokens(ended: AccessEnded, act: str) -> str:
    if ended.certain:
        return "Procore accepts no token of this user any more."
    return (
        "It is not certain yet that Procore accepts no token of this user any more "
        f"({ended.revocation}): {act} again to see."
    )


def _enable(here: Installed, user: User, _: int | None) -> tuple[str, bool]:
    here.procore.run(users.enable(user.id))
    return "Enabled. The user can sign in again.", True


def _end_sessions(here: Installed, user: User, _: int | None) -> tuple[str, bool]:
    return f"{here.procore.run(users.end_sessions(user.id))} session(s) ended.", True


def _end_session(here: Installed, user: User, session_id: int | None) -> tuple[str, bool]:
    store = here.procore.store
    ended = session_id is not None and store.do(EndSessionOf(user.id, session_id))
    return ("The session has ended.", True) if ended else ("That session had already ended.", False)


_ACTS: Final[dict[str, Act]] = {
    "disable": _disable,
    "disconnect": _disconnect,
    "enable": _enable,
    "end_sessions": _end_sessions,
    "end_session": _end_session,
}


def _number(text: str | None) -> int | None:
    fits = text and text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return int(text) if text and fits else None


def _with_times(user: User) -> dict[str, Any]:
    times = ("created_at", "last_signed_in_at", "disabled_at")
    shown = {name: getattr(user, name) for name in User.__slots__}
    return shown | {name: _time(shown[name]) for name in times}


def _as_shown(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "browser": browser_words(session.user_agent),
        "created_at": _time(session.created_at),
        "last_seen_at": _time(session.last_seen_at),
        "ends_at": _time(min(session.idle_expires_at, session.absolute_expires_at)),
    }


def _time(seconds: int | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
