"""How Authlib's integrations are told of Procore, for FastAPI and Flask alike."""

from __future__ import annotations

import os

UPSTREAM = os.environ["BENCH_UPSTREAM"]
REDIRECT_URI = os.environ["BENCH_REDIRECT_URI"]
REGISTRATION = {
    "client_id": "bench-client-id",
    "client_secret": "bench-client-secret",
    "access_token_url": f"{UPSTREAM}/oauth/token",
    "authorize_url": f"{UPSTREAM}/oauth/authorize",
    "api_base_url": f"{UPSTREAM}/",
    "client_kwargs": {
        "code_challenge_method": "S256",
        "token_endpoint_auth_method": "client_secret_post",
    },
}


def wants_row(accept: str | None) -> bool:
    """Whether home is asked for by a program: the harness says so in one word."""
    return accept == "application/json"
