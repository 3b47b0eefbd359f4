"""A stand-in that gives the admin page its permissions. The users are in the sign-in's tables."""

from __future__ import annotations

from django.db import models


class Person(models.Model):
    """A user who signed in with Procore. It has no table in Django; see `admin.py`."""

    class Meta:
        """No table, and the two permissions."""

        managed = False
        default_permissions = ("view", "change")
        verbose_name = "person"
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return f"person {self.pk}"
