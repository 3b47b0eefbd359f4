"""The shared folder for the metrics of several workers. It is set before they start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Final

METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable in which prometheus-client finds the folder, on import in each worker."""


@contextmanager
def shared_folder(workers: int) -> Iterator[None]:
    """Give several workers a folder for their metrics: each of them reports the sum."""
    if workers == 1 or METRICS_FOLDER in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="procore-signin-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder
        yield
        del os.environ[METRICS_FOLDER]
