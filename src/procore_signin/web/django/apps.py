"""The app as Django loads it."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_delete, post_migrate


class SignInConfig(AppConfig):
    """`procore_signin` in permissions, URL names and templates."""

    name = "procore_signin.web.django"
    label = "procore_signin"
    verbose_name = "Sign-in with Procore"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, make the tables with Django's own, hear of log-outs, deletions."""
        from django.contrib.auth.signals import (  # noqa: PLC0415  # as Django's apps do
            user_logged_in,
            user_logged_out,
        )

        from procore_signin.web.django import checks, login, tables  # noqa: F401, PLC0415  # as above

        post_migrate.connect(tables.after_migrate, sender=self)
        user_logged_out.connect(login.end_with_django, dispatch_uid="procore_signin")
        user_logged_in.connect(login.follow_django, dispatch_uid="procore_signin")
        whose = settings.AUTH_USER_MODEL.lower()  # as a name: its app need not be installed
        # Each by itself: Django tells of a deletion by a proxy's class, and a receiver for all
        # models would make it look up every row that is to be deleted.
        for model in self.apps.get_models():
            if model._meta.concrete_model._meta.label_lower == whose:  # noqa: SLF001  # as in Django's documentation
                uid = f"procore_signin of {model._meta.label}"  # noqa: SLF001  # as above
                post_delete.connect(login.forget_deleted, sender=model, dispatch_uid=uid)
