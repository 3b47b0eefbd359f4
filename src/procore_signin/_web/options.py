"""The options of the sign-in's pages. This module needs no template library."""

from __future__ import annotations

from dataclasses import dataclass

from procore_signin._flow.return_to import safe_return_to
from procore_signin._public import public_in
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin._web.http.messages import Render


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Options:
    """An application's options for the sign-in's pages.

    Attributes:
        first_page: The application's first page: users land there after signing in without a
            `return_to`, and problem pages link to it.
        root_path: The prefix that a proxy or server in front removes from every path, such as
            `/app`, if the framework cannot know it at startup.
        render: Turns the sign-in's pages into HTML; None for the built-in design.
        starts_per_minute: The most sign-ins that one address may begin in a minute, in each
            process; 0 for no limit. None takes PROCORE_RATE_LIMIT if the front door came from
            settings, else 120.
        choose_company: Whether a user with several companies is asked to choose one after signing
            in. None takes PROCORE_CHOOSE_COMPANY if the front door came from settings, else no.
        trusted_proxies: The proxies that are trusted to name the client. None takes
            PROCORE_TRUSTED_PROXIES if the front door came from settings, else none.
        app_name: The application's name on the sign-in's pages. None takes PROCORE_APP_NAME if the
            front door came from settings, else "Sample application".

    Raises:
        ValueError: `first_page` is not a path of this application.
    """

    first_page: str = "/"
    root_path: str = ""
    render: Render | None = None
    starts_per_minute: int | None = None
    choose_company: bool | None = None
    trusted_proxies: TrustedProxies | None = None
    app_name: str | None = None

    def __post_init__(self) -> None:
        if safe_return_to(self.first_page, default="/") != self.first_page:
            raise ValueError(f"first_page must be a path such as /projects, not {self.first_page}")
