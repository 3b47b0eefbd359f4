"""The pages of the sign-in."""

from __future__ import annotations

import logging
from typing import Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from procore_signin._web.site import CALLBACK
from procore_signin.errors import ProcoreSignInError
from procore_signin.web.django.installed import installed
from procore_signin.web.django.login import log_in
from procore_signin.web.django.requests import browser_request, response_to

LOGGER: Final = logging.getLogger("procore_signin")


# The sign-in itself refuses forms from other origins, in every framework (row K8). And no one is
# logged in before signing in: Django's LoginRequiredMiddleware must not close these pages.
@csrf_exempt
@login_not_required
def page(request: HttpRequest, *, below: str) -> HttpResponse:
    """Return the page at `below`, the path under that of `urls.py`."""
    here = installed()
    here.janitor.start()
    asked = browser_request(request, f"{here.site.prefix}{below}")
    try:
        response = here.procore.run(here.site.router.respond(asked))
        if below == CALLBACK:
            response = log_in(here, request, asked, response)
        raw = here.site.raw_response(asked, response)
    except ProcoreSignInError as error:  # the bridge could not look up the session
        raw = here.site.raw_response(asked, here.site.problem(asked, error))
    except Exception:  # the last resort (row O3): a page for the user, a traceback for us
        LOGGER.exception("Request %s failed", asked.request_id)
        raw = here.site.failure(asked)
    return response_to(raw)
