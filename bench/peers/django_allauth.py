"""Django with django-allauth, and a provider of our own as its documentation says to write one.

One file holds what Django spreads over settings, provider, views and URLs. Migrations are run when
the server starts; the tables and the sessions in the database are Django's and allauth's own. The
database is SQLite, or PostgreSQL through psycopg where `BENCH_POSTGRESQL` names one.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

UPSTREAM = os.environ["BENCH_UPSTREAM"]


def database() -> dict[str, Any]:
    if "BENCH_POSTGRESQL" in os.environ:
        url = urlsplit(os.environ["BENCH_POSTGRESQL"])
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path.removeprefix("/"),
            "USER": url.username,
            "PASSWORD": url.password or "",
            "HOST": url.hostname,
            "PORT": url.port or 5432,
            "CONN_MAX_AGE": None,
        }
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["BENCH_DATABASE"],
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL",
            "transaction_mode": "IMMEDIATE",
        },
    }


settings.configure(
    SECRET_KEY="a secret of the benchmark",
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF="django_allauth",
    USE_TZ=True,
    TIME_ZONE="UTC",
    LOGIN_REDIRECT_URL="/home",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "allauth.account.middleware.AccountMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [Path(__file__).parent / "templates" / "django"],
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    AUTHENTICATION_BACKENDS=[
        "django.contrib.auth.backends.ModelBackend",
        "allauth.account.auth_backends.AuthenticationBackend",
    ],
    DATABASES={"default": database()},
    ACCOUNT_EMAIL_VERIFICATION="none",
    SOCIALACCOUNT_LOGIN_ON_GET=True,
    SOCIALACCOUNT_STORE_TOKENS=True,
    SOCIALACCOUNT_PROVIDERS={
        "procore": {
            "APPS": [{"client_id": "bench-client-id", "secret": "bench-client-secret"}],
            "OAUTH_PKCE_ENABLED": True,
        }
    },
)
# gunicorn asks for this module's name, and Django's URL configuration for the same one.
sys.modules["django_allauth"] = sys.modules[__name__]
django.setup()

from allauth.socialaccount import providers  # noqa: E402  # as above
from allauth.socialaccount.adapter import get_adapter  # noqa: E402  # as above
from allauth.socialaccount.models import SocialAccount  # noqa: E402  # as above
from allauth.socialaccount.providers.base import ProviderAccount  # noqa: E402  # as above
from allauth.socialaccount.providers.oauth2.provider import OAuth2Provider  # noqa: E402  # as above
from allauth.socialaccount.providers.oauth2.views import (  # noqa: E402  # as above
    OAuth2Adapter,
    OAuth2CallbackView,
    OAuth2LoginView,
)
from django.contrib.auth.decorators import login_required  # noqa: E402  # as above
from django.core.management import call_command  # noqa: E402  # as above
from django.core.wsgi import get_wsgi_application  # noqa: E402  # as above
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402  # as above
from django.shortcuts import render  # noqa: E402  # as above
from django.urls import include, path  # noqa: E402  # as above


class ProcoreAdapter(OAuth2Adapter):
    provider_id = "procore"
    access_token_url = f"{UPSTREAM}/oauth/token"
    authorize_url = f"{UPSTREAM}/oauth/authorize"
    profile_url = f"{UPSTREAM}/rest/v1.0/me"

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **_: Any) -> Any:
        headers = {"Authorization": f"Bearer {token.token}"}
        with get_adapter().get_requests_session() as session:
            response = session.get(self.profile_url, headers=headers)
            response.raise_for_status()
        return self.get_provider().sociallogin_from_response(request, response.json())

    def get_callback_url(self, _request: HttpRequest, _app: Any) -> str:
        return os.environ["BENCH_REDIRECT_URI"]


class ProcoreProvider(OAuth2Provider):
    id = "procore"
    name = "Procore"
    account_class = ProviderAccount
    oauth2_adapter_class = ProcoreAdapter

    def extract_uid(self, data: dict[str, Any]) -> str:
        return str(data["id"])

    def extract_common_fields(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"email": data["login"], "username": f"procore-{data['id']}"}


providers.registry.register(ProcoreProvider)


@login_required
def home(request: HttpRequest) -> HttpResponse:
    account = SocialAccount.objects.get(user_id=request.user.pk)
    row = [request.user.pk, int(account.uid), request.user.email]
    if request.headers.get("accept") == "application/json":
        return JsonResponse(row, safe=False)
    values = {
        "account": account,
        "name": account.extra_data["name"],
        "session_ends_at": request.session.get_expiry_date(),
        "row": json.dumps(row),
        "me": json.dumps(account.extra_data, indent=2),
    }
    return render(request, "home.html", values)


urlpatterns = [
    path("login", OAuth2LoginView.adapter_view(ProcoreAdapter), name="procore_login"),
    path("callback", OAuth2CallbackView.adapter_view(ProcoreAdapter), name="procore_callback"),
    path("home", home),
    path("accounts/", include("allauth.account.urls")),
    path("social/", include("allauth.socialaccount.urls")),
]

call_command("migrate", verbosity=0)
app = get_wsgi_application()
