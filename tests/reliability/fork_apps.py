"""Applications for servers and queues that fork: loaded, and used, before they do.

`FORKING_USED` says whether the parent uses Procore before it forks; the rest is told in `forking`.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from typing import Any

from tests.reliability.forking import PEOPLE, STRANGER, acall, call, doors, sign_in


def sign_in_again_and_again() -> None:
    while threading.main_thread().is_alive():
        sign_in(doors().sync, STRANGER)


if os.environ.get("FORKING_USED"):
    call(PEOPLE[0], 3)
    # And it goes on: it reads, refreshes, and signs in.
    threading.Thread(target=call, args=(PEOPLE[1], 2000), daemon=True).start()
    threading.Thread(target=sign_in_again_and_again, daemon=True).start()


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer `/person/times` with what was counted."""
    _, person, times = environ["PATH_INFO"].split("/")
    body = json.dumps({**call(int(person), int(times)), "pid": os.getpid()}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """As `wsgi`, for asyncio."""
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"].removeprefix("lifespan.")
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                return
    _, person, times = scope["path"].split("/")
    counts: Counter[str] = await acall(int(person), int(times))
    body = json.dumps({**counts, "pid": os.getpid()}).encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


def celery_app() -> Any:
    """Return an application of Celery whose one task calls Procore."""
    import celery  # noqa: PLC0415  # the other applications do without it

    app = celery.Celery("fork_apps", broker=os.environ["FORKING_BROKER"])
    app.conf.update(result_backend=os.environ["FORKING_BROKER"], broker_connection_retry=False)

    @app.task(name="ask")  # type: ignore[untyped-decorator, unused-ignore]
    def ask(person: int, times: int) -> dict[str, int]:
        return {**call(person, times), "pid": os.getpid()}

    return app


if os.environ.get("FORKING_BROKER"):
    app = celery_app()
    doors()
