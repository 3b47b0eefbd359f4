"""The application's own tests. They pass before and after, as they are."""

import os
import tempfile

os.environ["DATABASE_URL"] = f"sqlite:///{tempfile.mkdtemp()}/test.db"

import pytest
from alembic import command
from alembic.config import Config
from database import User, engine, new_database
from fastapi.testclient import TestClient
from main import add_user, app
from sqlalchemy import delete, inspect
from tokens import user_id_of

ANN = {"email": "ann@example.com", "password": "fake-password"}


@pytest.fixture(scope="module", autouse=True)
def database():
    command.upgrade(Config("alembic.ini"), "head")
    add_user(*ANN.values())


@pytest.fixture
def client():
    with TestClient(app, follow_redirects=False) as client:
        yield client


def test_a_user_logs_in_adds_a_session_and_logs_out(client):
    assert client.post("/log-in", data=ANN).headers["location"] == "/"
    client.post("/", data={"title": "Working at heights"})
    assert "Working at heights" in client.get("/").text
    assert ANN["email"] in client.get("/profile").text
    client.post("/log-out")
    assert client.get("/").headers["location"] == "/log-in"


def test_a_wrong_password_is_refused(client):
    assert client.post("/log-in", data=ANN | {"password": "wrong"}).status_code == 401
    assert client.get("/profile").status_code == 303


def test_a_token_of_someone_else_is_refused(client):
    client.cookies["token"] = "made-up"
    assert client.get("/").status_code == 303


def test_a_token_of_a_user_who_is_gone_names_no_one(client):
    gone = {"email": "gone@example.com", "password": "fake-password"}
    add_user(*gone.values())
    client.post("/log-in", data=gone)
    assert user_id_of(client) is not None
    with new_database.begin() as database:
        database.execute(delete(User).filter_by(email=gone["email"]))
    assert user_id_of(client) is None
    assert client.get("/").status_code == 303


def test_the_tables_are_what_the_models_say():
    command.check(Config("alembic.ini"))
    assert {"users", "sessions"} <= set(inspect(engine).get_table_names())
