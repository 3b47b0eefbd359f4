"""The two pages."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from procore_signin.api import paginate
from procore_signin.web.django import current_user, get_user, procore, signed_in


def first_page(request: HttpRequest) -> HttpResponse:
    """Say who is here, and where to go on."""
    return render(request, "first.html", {"person": get_user(request)})


@signed_in
def projects(request: HttpRequest) -> HttpResponse:
    """List the projects of the person's company."""
    user = current_user(request)
    if user.company_id is None:
        return redirect("/procore/company?return_to=/projects")
    with procore.api(user) as api:
        found = paginate(api, "/rest/v1.1/projects", params={"company_id": user.company_id})
        names = [project["display_name"] for project in found]
    return render(request, "projects.html", {"projects": names})
