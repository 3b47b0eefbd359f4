"""What holds for every command: help, usage, errors, time."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from conftest import Command

COMMANDS = [
    ("demo",),
    ("serve",),
    ("emulator",),
    ("init",),
    ("doctor",),
    ("db",),
    ("db", "upgrade"),
    ("db", "current"),
    ("db", "downgrade"),
]
