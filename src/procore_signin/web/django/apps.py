"""The app as Django loads it."""

from __future__ import annotations

from django.apps import AppConfig


class SignInConfig(AppConfig):
    """`procore_signin` in permissions, URL names and templates."""

    name = "procore_signin.web.django"
    label = "procore_signin"
    verbose_name = "Sign-in with Procore"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from procore_signin.web.django import checks  # noqa: F401, PLC0415  # as Django's apps do
