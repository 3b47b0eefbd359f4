"""List my projects: a single-page application in React, and the FastAPI application behind it.

Set it up as `docs/how-to/single-page.md` says, build the page, then run it: `uvicorn main:app`.
"""
# ruff: noqa: INP001  # a program, not a package

import os
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from procore_signin import AsyncProcoreSignIn
from procore_signin.api import apaginate
from procore_signin.web.fastapi import CurrentUser, sign_in_routes

PAGE = Path(os.environ.get("PAGE", Path(__file__).parent / "dist"))
"""What `npm run build` has made."""

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}

procore = AsyncProcoreSignIn.from_env()
app = FastAPI(title="My projects")
app.include_router(sign_in_routes(procore), prefix="/procore")


@app.get("/api/projects")
async def projects(user: CurrentUser) -> list[str]:
    """List the projects of the user's company, or none where the user has not chosen one."""
    if user.company_id is None:
        return []
    async with procore.api(user) as api:
        found = apaginate(api, "/rest/v1.1/projects", params={"company_id": user.company_id})
        return [project["display_name"] async for project in found]


@app.get("/", include_in_schema=False)
@app.get("/projects", include_in_schema=False)
@app.get("/devices", include_in_schema=False)
async def page() -> FileResponse:
    """Return the page, which looks itself at which of these addresses it is."""
    return FileResponse(PAGE / "index.html", headers=HEADERS)


@app.get("/worker.js", include_in_schema=False)
async def worker() -> FileResponse:
    """Return the service worker, whose scope is the folder of its address."""
    return FileResponse(PAGE / "worker.js", headers=HEADERS)


@app.get("/icon.svg", include_in_schema=False)
async def icon() -> FileResponse:
    """Return the icon."""
    return FileResponse(PAGE / "icon.svg")


app.mount("/assets", StaticFiles(directory=PAGE / "assets", check_dir=False))
