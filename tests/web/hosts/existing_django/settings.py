"""Settings as an existing project has them; the environment says which database."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

KIND = os.environ["DJANGO_KIND"]
FOLDER = Path(os.environ["DJANGO_FOLDER"])
NAME = os.environ.get("DJANGO_NAME", "procore_signin_host")

if KIND == "mariadb":
    import pymysql

    pymysql.install_as_MySQLdb()
WITH = os.environ.get("DJANGO_WITH", "").split()
DATABASES: dict[str, Any] = {
    "sqlite": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "db.sqlite3"},
    "sqlite-file": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        "TEST": {"NAME": FOLDER / "test.sqlite3"},
    },
    "postgresql": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": NAME,
        "USER": "postgres",
        "HOST": "127.0.0.1",
    },
    "mariadb": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": NAME,
        "USER": "root",
        "HOST": "127.0.0.1",
    },
}
DATABASE = DATABASES[KIND]
DATABASE.setdefault("TEST", {})["MIGRATE"] = "no-migrations" not in WITH
DATABASE["ATOMIC_REQUESTS"] = "atomic-requests" in WITH
DATABASES = {"default": DATABASE}
SECRET_KEY = "fake-django-secret"  # of a project that serves no one
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "existing_django.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "existing_django",
    "procore_signin.web.django",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "procore_signin.web.django.middleware.SignInMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
STATIC_ROOT = FOLDER / "collected"
USE_TZ = True
PROCORE_SIGNIN = json.loads(os.environ.get("DJANGO_PROCORE_SIGNIN", "{}"))
sys.path.append(str(Path(__file__).parents[1]))
