"""Each page's values as a sample, for tests of templates."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Final

from procore_signin._web.look.languages import shipped
from procore_signin._web.paths import Paths

PATHS: Final = Paths.under("/in")
COMMON: Final = {
    "app_name": "Site Diary",
    "paths": PATHS,
    "environment": "production",
    "signed_in": None,
    "language": shipped("en"),
    "logo": None,
    "stylesheet": None,
}
PROCORE: Final = "https://login.procore.com/oauth/authorize?client_id=fake&state=fake"
JOE: Final = SimpleNamespace(
    id=1,
    procore_id=11111,
    email="joecontractor@procore.com",
    name="Joe Contractor",
    environment="production",
    created_at=1_777_816_920,
    last_signed_in_at=1_791_816_131,
)
ROW: Final = '[1, 11111, "joecontractor@procore.com"]'
VALUES: Final[dict[str, Mapping[str, object]]] = {
    "landing": {"sign_up_url": PROCORE, "user": None},
    "signin": {"sign_in_url": PROCORE, "return_to": None, "notice": None, "sign_up_page": "/"},
    "fragment": {"sign_in_url": PROCORE},
    "home": {
        "user": JOE,
        "row": ROW,
        "me_json": '{"id":11111,"login":"joecontractor@procore.com","name":"Joe Contractor"}',
        "session": SimpleNamespace(created_at=1_791_816_131, absolute_expires_at=1_793_025_731),
    },
    "sessions": {
        "sessions": [
            SimpleNamespace(
                id=7, current=True, created_at=0, last_seen_at=60, user_agent=None, expires_at=120
            ),
            SimpleNamespace(
                id=8, current=False, created_at=0, last_seen_at=60, user_agent=None, expires_at=120
            ),
        ]
    },
    "company": {
        "companies": (
            SimpleNamespace(id=42, name="Ours"),
            SimpleNamespace(id=7, name="<b>Theirs</b>"),
        ),
        "chosen": 42,
        "return_to": "/home",
    },
    "signed_out": {"everywhere": False, "sign_in_url": PROCORE},
    "disconnected": {"sign_in_url": PROCORE, "revoked": True},
    "onward": {"authorization_url": PROCORE},
    "returning": {"onward_url": "/callback?code=fake-code&state=fake-state&again=1"},
    "problem": {
        "title": "That sign-in took too long",
        "what": "It is no longer valid.",
        "why": None,
        "cure": "Sign in again.",
        "action_label": "Sign In with Procore",
        "action_url": PROCORE,
        "second_label": None,
        "second_url": None,
        "reference": "fake-reference",
        "status": 400,
    },
}


def shape_of(html: str) -> list[str]:
    """Return what a page is to a browser: its elements and its words, but no blanks between."""
    reader = _Shape()
    reader.feed(html)
    reader.close()
    return reader.found


class _Shape(HTMLParser):
    """Reads a page; adjacent texts are one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(f"<{tag} {attrs}>")

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.found.append(" ".join(data.split()))
