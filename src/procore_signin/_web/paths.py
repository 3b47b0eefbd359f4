"""Where the pages are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, unsafe_hash=True)  # the rendered parts of pages are kept by it
class Paths:
    """The path of each page, under the prefix of the routes. `landing` is known at the start."""

    landing: str
    signin: str
    start: str
    callback: str
    home: str
    session: str
    sessions: str
    end_session: str
    sign_out: str
    sign_out_everywhere: str
    disconnect: str
    company: str
    verify: str
    static: str

    @classmethod
    def under(cls, prefix: str = "") -> Paths:
        """Return the paths below `prefix`, which is empty or begins with a slash."""
        return cls(
            landing=f"{prefix}/",
            signin=f"{prefix}/signin",
            start=f"{prefix}/start",
            callback=f"{prefix}/callback",
            home=f"{prefix}/home",
            session=f"{prefix}/session",
            sessions=f"{prefix}/sessions",
            end_session=f"{prefix}/sessions/end",
            sign_out=f"{prefix}/sign-out",
            sign_out_everywhere=f"{prefix}/sign-out-everywhere",
            disconnect=f"{prefix}/disconnect",
            company=f"{prefix}/company",
            verify=f"{prefix}/auth/verify",
            static=f"{prefix}/static",
        )
