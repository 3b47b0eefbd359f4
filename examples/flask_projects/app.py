"""List my projects: a Flask application that people sign in to with Procore.

Set it up as `docs/how-to/flask.md` says, then run it: `flask run`, or
`gunicorn 'app:create_app()'`.
"""
# ruff: noqa: INP001  # a program, not a package

from flask import Flask, redirect, render_template
from flask.typing import ResponseReturnValue

from procore_signin.api import paginate
from procore_signin.web.flask import Options, SignIn, current_user, get_user, procore, signed_in

sign_in = SignIn(options=Options(choose_company=True))


def create_app() -> Flask:
    """Return the application."""
    app = Flask(__name__)
    sign_in.init_app(app)
    app.add_url_rule("/", view_func=first_page)
    app.add_url_rule("/projects", view_func=projects)
    return app


def first_page() -> ResponseReturnValue:
    """Say who is here, and where to go on."""
    return render_template("first.html", user=get_user())


@signed_in
def projects() -> ResponseReturnValue:
    """List the projects of the person's company."""
    company_id = current_user.company_id
    if company_id is None:
        return redirect("/procore/company?return_to=/projects", 303)
    with procore.api(current_user) as api:
        found = paginate(api, "/rest/v1.1/projects", params={"company_id": company_id})
        names = [project["display_name"] for project in found]
    return render_template("projects.html", user=current_user, projects=names)
