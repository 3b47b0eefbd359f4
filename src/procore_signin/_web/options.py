"""What an application chooses about the sign-in's pages. It needs no template library."""

from __future__ import annotations

from dataclasses import dataclass

from procore_signin._flow.return_to import safe_return_to
from procore_signin._public import public_in
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin._web.http.messages import Render


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Options:
    """What an application may choose about the sign-in's pages.

    Attributes:
        first_page: The application's own first page: where people land who signed in without a
            page in mind, and where a problem page sends them.
        root_path: What a proxy or server in front takes from the beginning of every path, such as
            `/app`, where the framework cannot know it when it starts.
        render: Turns the sign-in's pages into HTML; None for the ones that come with it.
        starts_per_minute: How many sign-ins one address may begin in a minute, in each process; 0
            for no limit. None takes PROCORE_RATE_LIMIT where the front door came from settings,
            else 120.
        choose_company: Whether a person with several companies is asked for one after signing in.
            None takes PROCORE_CHOOSE_COMPANY where the front door came from settings, else no.
        trusted_proxies: Whose word is taken for who the client is. None takes
            PROCORE_TRUSTED_PROXIES where the front door came from settings, else no one's.
        app_name: What the application is called on the sign-in's pages. None takes
            PROCORE_APP_NAME where the front door came from settings, else "Sample application".

    Raises:
        ValueError: `first_page` is no path of this application.
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
