"""The mapping for Django: an app with URLs, a middleware, checks, and an admin page.

```python
INSTALLED_APPS += ["procore_signin.web.django"]
MIDDLEWARE += ["procore_signin.web.django.middleware.SignInMiddleware"]
urlpatterns += [path("procore/", include("procore_signin.web.django.urls"))]
```
"""

from __future__ import annotations

from procore_signin._extras import extra

with extra("django"):
    from procore_signin.web.django.access import current_user, get_user, signed_in
    from procore_signin.web.django.installed import DJANGO_LOGIN, connected_user, procore
    from procore_signin.web.django.requests import auser_of as aget_user

__all__ = [
    "DJANGO_LOGIN",
    "aget_user",
    "connected_user",
    "current_user",
    "get_user",
    "procore",
    "signed_in",
]


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
