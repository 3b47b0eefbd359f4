"""A stand-in that gives the admin page its permissions. The users are in the sign-in's tables."""

from __future__ import annotations

from typing import Any

from django.db import models


class NoRows(models.Manager):
    """Finds nothing, and asks no table: Django looks at every model, as `dumpdata` does."""

    def get_queryset(self) -> Any:
        """Return no rows."""
        return super().get_queryset().none()


class Person(models.Model):
    """A user who signed in with Procore. It has no table in Django; see `admin.py`."""

    objects = NoRows()

    class Meta:
        """No table, and the two permissions."""

        managed = False
        base_manager_name = "objects"
        default_permissions = ("view", "change")
        verbose_name = "person"
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return f"person {self.pk}"
