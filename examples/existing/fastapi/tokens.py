"""Passwords, and the token in a cookie that says who is logged in."""

import hashlib
import hmac
import os
import secrets
from datetime import UTC, datetime, timedelta

import jwt
from fastapi import Request, Response
from sqlalchemy import select

from database import User, new_database

COOKIE = "token"
KEY = os.environ.get("SECRET_KEY", "fake-secret-key-for-development-only")
LIFETIME = timedelta(days=1)


def remember(response: Response, user_id: int | str) -> None:
    """Log a user in."""
    claims = {"sub": str(user_id), "jti": secrets.token_hex(8), "exp": datetime.now(UTC) + LIFETIME}
    token = jwt.encode(claims, KEY, algorithm="HS256")
    response.set_cookie(COOKIE, token, httponly=True, samesite="lax")


def user_id_of(request: Request) -> int | None:
    """Return who is logged in, if they are still there."""
    try:
        claims = jwt.decode(request.cookies.get(COOKIE, ""), KEY, algorithms=["HS256"])
    except jwt.InvalidTokenError:
        return None
    with new_database() as database:
        return database.scalar(select(User.id).filter_by(id=int(claims["sub"])))


def hash_password(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(password, salt)}"


def is_password(password: str, password_hash: str) -> bool:
    salt, _, expected = password_hash.partition("$")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)), expected)


def _scrypt(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1).hex()
