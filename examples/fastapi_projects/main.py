"""List my projects: a FastAPI application that people sign in to with Procore.

Set it up as `docs/how-to/fastapi.md` says, then run it: `uvicorn main:app`.
"""
# ruff: noqa: INP001  # a program, not a package

from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.templating import Jinja2Templates

from procore_signin import AsyncProcoreSignIn
from procore_signin.api import apaginate
from procore_signin.web.fastapi import (
    CurrentUser,
    OptionalUser,
    Options,
    buttons,
    sign_in_routes,
)

procore = AsyncProcoreSignIn.from_env()
pages = Jinja2Templates(Path(__file__).parent / "templates", context_processors=[buttons])

app = FastAPI(title="My projects")
app.include_router(sign_in_routes(procore, Options(choose_company=True)), prefix="/procore")


@app.get("/", include_in_schema=False)
async def first_page(request: Request, user: OptionalUser) -> Response:
    """Say who is here, and where to go on."""
    return pages.TemplateResponse(request, "first.html", {"user": user})


@app.get("/projects")
async def projects(request: Request, user: CurrentUser) -> Response:
    """List the projects of the person's company."""
    if user.company_id is None:
        return RedirectResponse("/procore/company?return_to=/projects", status_code=303)
    async with procore.api(user) as api:
        found = apaginate(api, "/rest/v1.1/projects", params={"company_id": user.company_id})
        names = [project["display_name"] async for project in found]
    return pages.TemplateResponse(request, "projects.html", {"user": user, "projects": names})
