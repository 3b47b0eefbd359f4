"""Python programs that a test writes, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run_script(
    script: str, *arguments: str, options: tuple[str, ...] = (), timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `script` with this Python and wait for it, whatever comes of it.

    Args:
        script: Its text.
        arguments: From `sys.argv[1]` on.
        options: Of the interpreter, such as `-W error`.
        timeout: Seconds after which it is killed, and the test fails.
    """
    return subprocess.run(
        [sys.executable, *options, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
