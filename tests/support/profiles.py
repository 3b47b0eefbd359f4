"""Browser profiles that tests take one after the other, each as empty as a new one.

To make a profile costs Chromium half a second of processor time: a window and its processes. To
empty one costs nearly nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]
PATIENCE = 60_000
"""Milliseconds that a page has for what is wanted of it: a busy machine has taken more than ten."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a page looks like from within.

    Attributes:
        width: Of the window, in CSS pixels.
        height: As above.
        scheme: Which colours are preferred.
    """

    width: int = 1280
    height: int = 800
    scheme: Scheme = "light"


class Profile:
    """A profile whose window stays open.

    Attributes:
        context: The profile itself, as Playwright calls it.
    """

    def __init__(self, browser: Browser, look: Look) -> None:
        self.context: Final = browser.new_context(
            viewport={"width": look.width, "height": look.height},
            color_scheme=look.scheme,
            reduced_motion="reduce",
        )
        # With no page left the window would close, and the next page would have to open one.
        self._stays: Final = self.context.new_page()
        self._chromium: Final = self.context.new_cdp_session(self._stays)

    def open(self) -> Page:
        """Return a new page."""
        self.context.set_default_timeout(PATIENCE)
        return self.context.new_page()

    def empty(self) -> None:
        """Close every page, and forget cookies, stores, caches, workers and permissions.

        What belongs to a page alone, such as its `sessionStorage`, ends with that page.
        """
        for page in self.context.pages:
            if page is not self._stays:
                page.close()
        self.context.clear_cookies()
        self.context.clear_permissions()
        everything = {"origin": "*", "storageTypes": "all"}
        self._chromium.send("Storage.clearDataForOrigin", everything)
        self._chromium.send("Network.clearBrowserCache")


class Profiles:
    """The profiles of one browser."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: defaultdict[Look, list[Profile]] = defaultdict(list)

    @contextmanager
    def lent(self, look: Look) -> Iterator[Profile]:
        """Lend a profile in which nothing is."""
        free = self._free[look]
        profile = free.pop() if free else Profile(self._browser, look)
        yield profile
        profile.empty()
        free.append(profile)
