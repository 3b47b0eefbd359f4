"""The project's pages."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import LogoutView
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path

from procore_signin.api import raise_for_procore
from procore_signin.web.django import procore, signed_in

from .models import Member


def first_page(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{Member.objects.count()} members")


def who(request: Any) -> HttpResponse:
    user = request.procore_user
    return JsonResponse(user.email if user else None, safe=False)


@transaction.non_atomic_requests  # Django has no transactions for async views
async def awho(request: Any) -> HttpResponse:
    user = await request.aprocore_user()
    return JsonResponse(user.email if user else None, safe=False)


def whose(request: Any) -> HttpResponse:
    own = request.user.get_username() if request.user.is_authenticated else None
    user = request.procore_user
    return HttpResponse(f"{own} {user.email if user else None}")


def companies(request: Any) -> HttpResponse:
    Member.objects.create(email="written-first@example.com")
    with procore.api(request.procore_user) as api:
        answer = raise_for_procore(api.get("/rest/v1.0/companies"))
    return JsonResponse(answer.json(), safe=False)


urlpatterns = [
    path("procore/", include("procore_signin.web.django.urls")),
    path("", first_page),
    path("who", who),
    path("awho", awho),
    path("whose", whose),
    path("log-out", LogoutView.as_view(next_page="/whose")),
    path("companies", signed_in(companies)),
]
