"""Safety sessions: a small application with users of its own."""

import os
from pathlib import Path

import click
from flask import Flask, redirect, render_template, request, url_for
from flask_login import LoginManager, UserMixin, login_required, login_user, logout_user
from flask_sqlalchemy import SQLAlchemy
from werkzeug.security import check_password_hash, generate_password_hash

SQLITE = f"sqlite:///{Path(__file__).with_name('safety.db')}"

app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ.get("SECRET_KEY", "fake-secret-key-for-development")
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get("DATABASE_URL", SQLITE)
db = SQLAlchemy(app)
login_manager = LoginManager(app)
login_manager.login_view = "log_in"


class User(UserMixin, db.Model):
    """Someone with an e-mail address and a password."""

    __tablename__ = "users"
    id = db.Column(db.Integer, primary_key=True)
    email = db.Column(db.String(254), unique=True, nullable=False)
    password_hash = db.Column(db.String(200), nullable=False)


class Session(db.Model):
    """A safety session on the site."""

    __tablename__ = "sessions"
    id = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String(100), nullable=False)


@login_manager.user_loader
def load_user(user_id):
    return db.session.get(User, int(user_id))


@app.get("/")
@login_required
def sessions():
    return render_template("sessions.html", sessions=db.session.scalars(db.select(Session)))


@app.post("/")
@login_required
def add_session():
    db.session.add(Session(title=request.form["title"]))
    db.session.commit()
    return redirect(url_for("sessions"))


@app.get("/profile")
@login_required
def profile():
    return render_template("profile.html")


@app.route("/log-in", methods=["GET", "POST"])
def log_in():
    if request.method == "GET":
        return render_template("log_in.html")
    user = db.session.scalar(db.select(User).filter_by(email=request.form["email"]))
    if user is None or not check_password_hash(user.password_hash, request.form["password"]):
        return render_template("log_in.html", wrong=True), 401
    login_user(user)
    return redirect(url_for("sessions"))


@app.post("/log-out")
def log_out():
    logout_user()
    return redirect(url_for("log_in"))


@app.cli.command("add-user")
@click.argument("email")
@click.password_option()
def add_user(email, password):
    """Make the tables, and a user."""
    db.create_all()
    db.session.add(User(email=email, password_hash=generate_password_hash(password)))
    db.session.commit()
