"""The table of pages: when each is shown, and the values that its template is given.

docs/reference/pages.md is made from it, and the tests compare it with what the pages are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PageName = Literal[
    "landing",
    "signin",
    "fragment",
    "home",
    "sessions",
    "signed_out",
    "disconnected",
    "problem",
    "company",
    "onward",
    "returning",
]


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a template: its name, and what it is."""

    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class PageValues:
    """A page: when it is shown, and its values beside those of every page."""

    shown: str
    values: tuple[Value, ...]


_SIGN_IN_URL: Final = Value(
    "sign_in_url",
    "the address of the button. It belongs to this browser and this page: show it nowhere else",
)
COMMON: Final = (
    Value("request", "the framework's request; None on the ready application's pages"),
    Value(
        "language", 'the language of the page, such as `es`; write `<html lang="{{ language }}">`'
    ),
    Value("app_name", "the application's name"),
    Value("environment", "the name of the Procore environment, such as `sandbox`"),
    Value("signed_in", "the user who is signed in (`id`, `procore_id`, `email`, `name`), or None"),
    Value(
        "paths",
        "the paths of the pages: `landing`, `signin`, `start`, `home`, `sessions`, `end_session`, "
        "`sign_out`, `sign_out_everywhere`, `disconnect`, `company`, `static`",
    ),
    Value("head", "HTML for `<head>`: the stylesheets, and the script of the page `fragment`"),
    Value("brand", "HTML: the logo and the name, a link to the first page; the environment"),
    Value("footer", "HTML: a note that this is a sandbox or an emulator, or empty"),
    Value("icon_url", "the address of the logo"),
)
PAGES: Final[dict[str, PageValues]] = {
    "signin": PageValues(
        "a user is asked to sign in",
        (
            _SIGN_IN_URL,
            Value("return_to", "the path that the user goes on to, or None"),
            Value("notice", "a sentence that says why, or None"),
            Value("sign_up_page", "the path of a page to sign up at, or None"),
        ),
    ),
    "problem": PageValues(
        "something went wrong, or was refused",
        (
            Value("title", "what happened, in a few words"),
            Value("what", "what happened, in a sentence"),
            Value("why", "the likely reason, or None; a hook's own words if a hook refused"),
            Value("cure", "what the user can do"),
            Value("action_label", "the text of the button"),
            Value("action_url", "the address of the button; as `sign_in_url` where it signs in"),
            Value("second_label", "the text of the second button, or None"),
            Value("second_url", "its address, or None"),
            Value("reference", "what the log calls this request"),
            Value("status", "the HTTP status"),
        ),
    ),
    "sessions": PageValues(
        "a user looks at their sessions",
        (
            Value(
                "sessions",
                "each: `id`, `current` (whether it is this browser's), `user_agent` or None, and "
                "`created_at`, `last_seen_at`, `expires_at` in UTC unix seconds",
            ),
        ),
    ),
    "company": PageValues(
        "a user with several companies chooses one",
        (
            Value("companies", "each: `id` and `name`"),
            Value("chosen", "the id of the one that is chosen, or None"),
            Value("return_to", "the path that the user goes on to"),
        ),
    ),
    "signed_out": PageValues(
        "a user has signed out",
        (_SIGN_IN_URL, Value("everywhere", "whether in every browser")),
    ),
    "disconnected": PageValues(
        "a user has disconnected from Procore",
        (_SIGN_IN_URL, Value("revoked", "whether Procore has confirmed it")),
    ),
    "onward": PageValues(
        "for a moment, after a form that leads to Procore",
        (
            Value(
                "authorization_url",
                "the address of the link to Procore, for browsers that do not go by themselves",
            ),
        ),
    ),
    "returning": PageValues(
        "for a moment, on the way back from Procore, where the cookie of your own login may be "
        "`SameSite=Strict`",
        (
            Value(
                "onward_url",
                "the address of the link, for browsers that do not go by themselves; show it "
                "nowhere else",
            ),
        ),
    ),
    "fragment": PageValues(
        "the browser came back with nothing in the query of the address",
        (_SIGN_IN_URL,),
    ),
    "landing": PageValues(
        "the first page of the ready application, and of no other",
        (
            Value("sign_up_url", "the address of the button; as `sign_in_url`"),
            Value("user", "the user who is signed in, or None"),
        ),
    ),
    "home": PageValues(
        "the ready application shows the user's row, and no other does",
        (
            Value("user", "the user who is signed in, with `created_at` and `last_signed_in_at`"),
            Value("row", "the row of the table of users, as text"),
            Value("me_json", "what Procore's `/me` answered, as text"),
            Value("session", "`created_at` and `absolute_expires_at`, in UTC unix seconds"),
        ),
    ),
}
"""The pages by their names, which are also those of their templates."""

TEXTS: Final = frozenset({"title", "what", "why", "cure", "action_label", "second_label", "notice"})
"""The values that are texts of ours, in English until a page is rendered."""
