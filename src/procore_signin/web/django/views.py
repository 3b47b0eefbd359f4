"""The pages of the sign-in."""

from __future__ import annotations

import logging
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from procore_signin._web.site import CALLBACK
from procore_signin.errors import ProcoreSignInError
from procore_signin.web.django.installed import installed
from procore_signin.web.django.login import log_in
from procore_signin.web.django.requests import browser_request, response_to

LOGGER: Final = logging.getLogger("procore_signin")


# The sign-in refuses forms of other origins by itself (row K8), and alike in every framework.
@csrf_exempt
def page(request: HttpRequest, *, below: str) -> HttpResponse:
    """Answer with the page that is at `below`, under the place of `urls.py`."""
    here = installed()
    here.janitor.start()
    asked = browser_request(request, f"{here.site.prefix}{below}")
    try:
        answer = here.procore.run(here.site.router.answer(asked))
        if below == CALLBACK:
            log_in(here, request, asked, answer)
        reply = here.site.reply(asked, answer)
    except ProcoreSignInError as error:  # the bridge could not ask whose session it is
        reply = here.site.reply(asked, here.site.problem(asked, error))
    except Exception:  # the last resort (row O3): a page for the person, a trace for us
        LOGGER.exception("Request %s failed", asked.request_id)
        reply = here.site.failure(asked)
    return response_to(reply)
