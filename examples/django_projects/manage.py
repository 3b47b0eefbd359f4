# ruff: noqa: INP001  # a program, not a package
"""Django's command line for this project."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "my_projects.settings")
execute_from_command_line(sys.argv)
