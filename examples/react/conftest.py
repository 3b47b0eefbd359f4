"""Settings for the tests, before the application is imported."""
# ruff: noqa: INP001  # a program, not a package

import os

from procore_signin.testing import settings_for_tests

os.environ.update(settings_for_tests("http://localhost:8000/procore/callback"))
