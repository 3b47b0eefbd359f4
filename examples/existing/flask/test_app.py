"""The application's own tests. They pass before and after, as they are."""

import os

os.environ["DATABASE_URL"] = "sqlite://"

import pytest
from app import User, app, db
from werkzeug.security import generate_password_hash

ANN = {"email": "ann@example.com", "password": "fake-password"}


@pytest.fixture
def client():
    with app.app_context():
        db.create_all()
        db.session.add(
            User(email=ANN["email"], password_hash=generate_password_hash(ANN["password"]))
        )
        db.session.commit()
    yield app.test_client()
    with app.app_context():
        db.drop_all()


def test_a_user_logs_in_adds_a_session_and_logs_out(client):
    assert client.post("/log-in", data=ANN).location == "/"
    client.post("/", data={"title": "Working at heights"})
    assert "Working at heights" in client.get("/").text
    assert ANN["email"] in client.get("/profile").text
    client.post("/log-out")
    assert client.get("/").status_code == 302


def test_a_wrong_password_is_refused(client):
    assert client.post("/log-in", data=ANN | {"password": "wrong"}).status_code == 401
    assert client.get("/profile").location.startswith("/log-in")


def test_no_table_is_in_the_way(client):
    with app.app_context():
        assert {"users", "sessions"} <= set(db.inspect(db.engine).get_table_names())
