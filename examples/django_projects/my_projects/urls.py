"""Which view answers at which address."""

from django.contrib import admin
from django.urls import include, path

from my_projects import views

urlpatterns = [
    path("procore/", include("procore_signin.web.django.urls")),
    path("admin/", admin.site.urls),
    path("", views.first_page),
    path("projects", views.projects),
]
