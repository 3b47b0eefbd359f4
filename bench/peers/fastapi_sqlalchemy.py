"""FastAPI with Authlib and SQLAlchemy's asyncio extension on PostgreSQL, sessions in a table.

Authlib keeps the state of a sign-in in Starlette's signed cookie, as its documentation shows; who
is signed in stands in a table, so that a session can be ended. Models, engine and the session of
each request are as SQLAlchemy's and FastAPI's documentation show them.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from authlib.integrations.starlette_client import OAuth
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from sqlalchemy import BigInteger, DateTime, ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship
from starlette.middleware.sessions import SessionMiddleware

from page import SESSION, Person, row_of, values
from procore import REDIRECT_URI, REGISTRATION, wants_row

engine = create_async_engine(
    os.environ["BENCH_POSTGRESQL"].replace("postgresql://", "postgresql+asyncpg://", 1),
    pool_size=16,  # with the 5 of the default, the other requests would connect anew each time
)
make_session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    procore_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    email: Mapped[str]
    name: Mapped[str]
    me: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_signed_in_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    def person(self) -> Person:
        return Person(
            *(self.id, self.procore_id, self.email, self.name, self.me),
            *(self.created_at, self.last_signed_in_at),
        )


class SignedIn(Base):
    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    user: Mapped[User] = relationship()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


async def database() -> AsyncIterator[AsyncSession]:
    async with make_session() as session:
        yield session


Database = Annotated[AsyncSession, Depends(database)]


async def current_session(request: Request, session: Database) -> SignedIn | None:
    token = request.cookies.get("signed_in")
    if token is None:
        return None
    found: SignedIn | None = await session.scalar(
        select(SignedIn)
        .options(joinedload(SignedIn.user))
        .where(SignedIn.token_hash == hashed(token), SignedIn.expires_at > datetime.now(UTC))
    )
    return found


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, secret_key="a secret of the benchmark")
templates = Jinja2Templates("templates")
oauth = OAuth()
oauth.register("procore", **REGISTRATION)


@app.get("/login")
async def login(request: Request) -> Response:
    response: Response = await oauth.procore.authorize_redirect(request, REDIRECT_URI)
    return response


@app.get("/callback")
async def callback(request: Request, session: Database) -> Response:
    token = await oauth.procore.authorize_access_token(request)
    me = (await oauth.procore.get("rest/v1.0/me", token=token)).json()
    now = datetime.now(UTC)
    user = await session.scalar(select(User).where(User.procore_id == me["id"]))
    if user is None:
        user = User(procore_id=me["id"], created_at=now)
        session.add(user)
    user.email, user.name, user.me = me["login"], me["name"], json.dumps(me)
    user.last_signed_in_at = now
    cookie = secrets.token_urlsafe(32)
    session.add(SignedIn(token_hash=hashed(cookie), user=user, expires_at=now + SESSION))
    await session.commit()
    response = RedirectResponse("/home", 303)
    response.set_cookie("signed_in", cookie, max_age=int(SESSION.total_seconds()), httponly=True)
    return response


@app.get("/home")
async def home(
    request: Request, signed_in: Annotated[SignedIn | None, Depends(current_session)]
) -> Response:
    if signed_in is None:
        return RedirectResponse("/login", 303)
    person = signed_in.user.person()
    if wants_row(request.headers.get("accept")):
        return JSONResponse(row_of(person))
    return templates.TemplateResponse(request, "home.html", values(person, signed_in.expires_at))
