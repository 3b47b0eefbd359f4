"""The project's own tables, two of which are called as ours would be."""

from __future__ import annotations

from django.db import models


class Member(models.Model):
    """A user of the project."""

    email = models.EmailField()

    class Meta:
        """Its table's name."""

        db_table = "users"

    def __str__(self) -> str:
        return str(self.email)


class Visit(models.Model):
    """A session of the project."""

    cookie = models.CharField(max_length=40)

    class Meta:
        """Its table's name."""

        db_table = "sessions"

    def __str__(self) -> str:
        return str(self.cookie)
