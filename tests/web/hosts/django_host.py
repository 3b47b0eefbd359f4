"""A Django project in one file that people sign in to, for the tests of its mapping."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path

# As someone has them who ran `startproject`.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "procore_signin.web.django.middleware.SignInMiddleware",
]
APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "procore_signin.web.django",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def configure(**more: Any) -> None:
    """Set the project up. What is to be different is given by name."""
    own = {
        "SECRET_KEY": "fake-django-secret",
        "ALLOWED_HOSTS": ["localhost", "127.0.0.1", "app.example.com"],
        "ROOT_URLCONF": __name__,
        "INSTALLED_APPS": APPS,
        "MIDDLEWARE": MIDDLEWARE,
        "TEMPLATES": TEMPLATES,
        "USE_TZ": True,
        "STATIC_URL": "static/",
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path(os.environ.get("DJANGO_FOLDER", "")) / "django.db",
            }
        },
    }
    settings.configure(**(own | more))
    django.setup()


def first_page(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("The first page")


def me(request: HttpRequest) -> HttpResponse:
    return JsonResponse(request.procore_user.email, safe=False)


async def ame(request: HttpRequest) -> HttpResponse:
    user = await request.aprocore_user()
    return JsonResponse(user.email, safe=False)


def places(_request: HttpRequest, place: str) -> HttpResponse:
    return JsonResponse(place, safe=False)


def who(request: HttpRequest) -> HttpResponse:
    user = request.procore_user
    return JsonResponse(user.email if user else None, safe=False)


async def blocking(request: HttpRequest) -> HttpResponse:
    """Ask in the wrong way: a look-up on the event loop."""
    return JsonResponse(request.procore_user.email, safe=False)


def companies(request: HttpRequest) -> HttpResponse:
    with procore.api(request.procore_user.id) as api:
        return JsonResponse(api.get("/rest/v1.0/companies").json(), safe=False)


def projects(request: HttpRequest) -> HttpResponse:
    company_id = int(request.GET["company_id"])
    with procore.api(request.procore_user, company_id=company_id) as api:
        asked = api.get("/rest/v1.1/projects", params={"company_id": company_id})
    return JsonResponse(raise_for_procore(asked).json(), safe=False)


if not settings.configured:
    configure()

# Django's apps have to be there first.
from django.contrib import admin  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

from procore_signin.api import raise_for_procore  # noqa: E402
from procore_signin.web.django import procore, signed_in  # noqa: E402

urlpatterns = [
    path("procore/", include("procore_signin.web.django.urls")),
    path("admin/", admin.site.urls),
    path("", first_page),
    path("me", csrf_exempt(signed_in(me))),
    path("ame", signed_in(ame)),
    path("places/<path:place>", signed_in(places)),
    path("who", who),
    path("blocking", blocking),
    path("companies", signed_in(companies)),
    path("projects", signed_in(projects)),
]

wsgi = get_wsgi_application()
asgi = get_asgi_application()
