"""Safety sessions: a small application with users of its own."""

import sys
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from sqlalchemy import select

from database import Session, User, new_database
from tokens import COOKIE, hash_password, is_password, remember, user_id_of

HERE = Path(__file__).parent
app = FastAPI(title="Safety sessions")
app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
pages = Jinja2Templates(HERE / "templates")


def logged_in(request: Request) -> User:
    user_id = user_id_of(request)
    with new_database() as database:
        user = None if user_id is None else database.get(User, user_id)
    if user is None:
        raise HTTPException(303, headers={"location": "/log-in"})
    return user


def page(request: Request, name: str, status: int = 200, **values: object):
    return pages.TemplateResponse(request, name, values, status)


Me = Annotated[User, Depends(logged_in)]
Field = Annotated[str, Form()]


@app.get("/")
def sessions(request: Request, user: Me):
    with new_database() as database:
        found = database.scalars(select(Session)).all()
    return page(request, "sessions.html", user=user, sessions=found)


@app.post("/")
def add_session(user: Me, title: Field):
    with new_database.begin() as database:
        database.add(Session(title=title))
    return RedirectResponse("/", 303)


@app.get("/profile")
async def profile(request: Request, user: Me):
    return page(request, "profile.html", user=user)


@app.get("/log-in")
def log_in_page(request: Request):
    return page(request, "log_in.html")


@app.post("/log-in")
def log_in(request: Request, email: Field, password: Field):
    with new_database() as database:
        user = database.scalar(select(User).filter_by(email=email))
    if user is None or not is_password(password, user.password_hash):
        return page(request, "log_in.html", 401, wrong=True)
    response = RedirectResponse("/", 303)
    remember(response, user.id)
    return response


@app.post("/log-out")
def log_out():
    response = RedirectResponse("/log-in", 303)
    response.delete_cookie(COOKIE)
    return response


def add_user(email: str, password: str) -> None:
    with new_database.begin() as database:
        database.add(User(email=email, password_hash=hash_password(password)))


if __name__ == "__main__":  # python main.py ann@example.com fake-password
    add_user(*sys.argv[1:])
