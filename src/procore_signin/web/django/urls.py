"""The sign-in's pages: `path("procore/", include("procore_signin.web.django.urls"))`.

The path must match the redirect URI: `/procore/callback` needs `procore/`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from django.urls import path

from procore_signin._web.pages import STATIC_NAMES
from procore_signin._web.router import Paths
from procore_signin.web.django.views import page

_OF_THE_PROJECT: Final = ("landing", "home", "static")

app_name = "procore_signin"
urlpatterns = [
    *(
        path(below.removeprefix("/"), page, {"below": below}, name=name)
        for name, below in asdict(Paths.under("")).items()
        if name not in _OF_THE_PROJECT
    ),
    *(path(f"static/{name}", page, {"below": f"/static/{name}"}) for name in STATIC_NAMES),
]
