"""An application's own tests: someone is signed in, in one line, and nothing leaves the process.

With pytest, ask for the fixture `procore_signed_in`; in a `unittest.TestCase`, such as Django's,
write `self.enterContext(procore_signed_in(self.client, "ann@example.com"))`.
"""

from __future__ import annotations

from procore_signin._extras import extra

with extra("pytest"):
    from procore_signin._testing.settings import settings_for_tests
    from procore_signin._testing.sign_in import SignedInUser, procore_signed_in
    from procore_signin._testing.stand_in import Companies

__all__ = [
    "Companies",
    "SignedInUser",
    "procore_signed_in",
    "settings_for_tests",
]


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
