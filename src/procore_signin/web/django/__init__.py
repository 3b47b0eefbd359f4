"""The mapping for Django: an app with URLs, a middleware, checks, and an admin page.

```python
INSTALLED_APPS += ["procore_signin.web.django"]
MIDDLEWARE += ["procore_signin.web.django.middleware.SignInMiddleware"]
urlpatterns += [path("procore/", include("procore_signin.web.django.urls"))]
```
"""

from __future__ import annotations

from procore_signin.web.django.access import signed_in
from procore_signin.web.django.installed import procore

__all__ = ["procore", "signed_in"]


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
