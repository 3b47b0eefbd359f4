"""An application's options, completed with the settings of its front door."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin._flow.hooks import check_kind
from procore_signin._web.options import Options


def completed(door: ProcoreSignIn | AsyncProcoreSignIn, options: Options | None) -> Options:
    """Return `options`, with unset values taken from the settings of `door`.

    Raises:
        TypeError: `options` is something else.
    """
    options, settings = Options() if options is None else options, door.settings
    check_kind(options, Options, "options", such_as="Options(login=…)")
    if settings is None:
        return options
    own: dict[str, Any] = {
        "starts_per_minute": settings.rate_limit,
        "choose_company": settings.choose_company,
        "trusted_proxies": settings.trusted_proxies,
        "app_name": settings.app_name,
        "languages": settings.languages,
    }
    return replace(options, **{k: v for k, v in own.items() if getattr(options, k) is None})
