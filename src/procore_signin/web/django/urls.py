"""The sign-in's pages: `path("procore/", include("procore_signin.web.django.urls"))`.

The path must match the redirect URI: `/procore/callback` needs `procore/`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from django.db import connections, transaction
from django.urls import path

from procore_signin._web.pages import STATIC_NAMES
from procore_signin._web.paths import Paths
from procore_signin.web.django import views

_OF_THE_PROJECT: Final = ("landing", "home", "static")

page = views.page
for _alias in connections:
    # Under ATOMIC_REQUESTS the project's transaction and ours would wait for each other on SQLite.
    page = transaction.non_atomic_requests(using=_alias)(page)

app_name = "procore_signin"
urlpatterns = [
    *(
        path(below.removeprefix("/"), page, {"below": below}, name=name)
        for name, below in asdict(Paths.under("")).items()
        if name not in _OF_THE_PROJECT
    ),
    *(path(f"static/{name}", page, {"below": f"/static/{name}"}) for name in STATIC_NAMES),
]
