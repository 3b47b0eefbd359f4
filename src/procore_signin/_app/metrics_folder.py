"""The folder in which the numbers of several workers meet. It is named before they begin."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Final

METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus-client looks for the folder, when it is imported: in each worker."""


@contextmanager
def shared_folder(workers: int) -> Iterator[None]:
    """Give several workers a folder for their numbers: whichever is scraped tells the sum."""
    if workers == 1 or METRICS_FOLDER in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="procore-signin-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder
        yield
        del os.environ[METRICS_FOLDER]
