"""A Django project with a login of its own and a policy for all its pages.

From 6.0 on the policy is Django's own, before it is that of django-csp.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template import engines
from django.urls import include, path

from procore_signin import Login

DIRECTIVES = {
    "default-src": ["'none'"],
    "style-src": ["'self'"],
    "script-src": ["'self'"],
    "img-src": ["'self'"],
    "form-action": ["'self'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}
POLICY: dict[str, Any] = {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": DIRECTIVES}}
MIDDLEWARE = "csp.middleware.CSPMiddleware"
if django.VERSION >= (6,):
    POLICY = {"SECURE_CSP": DIRECTIVES}
    MIDDLEWARE = "django.middleware.csp.ContentSecurityPolicyMiddleware"
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>The application</title></head>
<body>
  {% load procore_signin %}
  <h1>The application</h1>
  <p>Here: {{ own|default:"no one" }}. With Procore: {{ user.email|default:"no one" }}.
    Connected: {{ connected.email|default:"no one" }}.</p>
  <p>{% procore_button return_to="/?signed-in" %}</p>
  <p>{% procore_connect_button return_to="/?connected" %}</p>
  <p>{% procore_sign_out_button return_to="/?signed-out" %}</p>
</body>
</html>"""


def logged_in(request: HttpRequest) -> str | None:
    user: str | None = request.session.get("user")
    return user


def log_out(request: HttpRequest, _response: HttpResponse) -> None:
    request.session.flush()


settings.configure(
    SECRET_KEY="fake-django-secret",
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["procore_signin.web.django"],
    MIDDLEWARE=[
        MIDDLEWARE,
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "procore_signin.web.django.middleware.SignInMiddleware",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    SESSION_COOKIE_SAMESITE=os.environ.get("HOST_SAMESITE", "Lax"),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path("django.db")}},
    PROCORE_SIGNIN={"LOGIN": Login(user=logged_in, log_out=log_out)},
    **POLICY,
)
django.setup()

# Django's apps have to be there first.
from procore_signin.web.django import get_user, procore  # noqa: E402


def first_page(request: HttpRequest) -> HttpResponse:
    own = logged_in(request)
    connected = None if own is None else procore.user_of(own)
    page = engines["django"].from_string(PAGE)
    values = {"own": own, "user": get_user(request), "connected": connected}
    return HttpResponse(page.render(values, request))


def log_in(request: HttpRequest, name: str) -> HttpResponse:
    request.session["user"] = name
    return HttpResponseRedirect("/")


urlpatterns = [
    path("procore/", include("procore_signin.web.django.urls")),
    path("", first_page),
    path("log-in/<name>", log_in),
]
wsgi = get_wsgi_application()
