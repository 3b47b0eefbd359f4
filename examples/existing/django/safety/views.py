"""The pages."""

from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect, render

from .models import Session


@login_required
def sessions(request):
    if request.method == "POST":
        Session.objects.create(title=request.POST["title"])
        return redirect("sessions")
    return render(request, "sessions.html", {"sessions": Session.objects.all()})


@login_required
def profile(request):
    return render(request, "profile.html")
