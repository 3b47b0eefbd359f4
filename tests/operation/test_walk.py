"""How far a reader goes through the files to follow one sign-in, counted as `make bench` counts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from harness.calls import walk_of_a_callback, way_of_a_write
from harness.stub import Answers


def test_a_warm_callback_changes_file_a_hundred_and_fifty_times_at_most(tmp_path: Path) -> None:
    async def walks() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(Answers, "127.0.0.1", 0) as procore:
            port = procore.sockets[0].getsockname()[1]
            return await walk_of_a_callback(f"http://127.0.0.1:{port}", tmp_path)

    # A wait more, such as for a body that comes after its head, is two changes more.
    assert min(asyncio.run(walks())["changes_of_file"]) <= 150


def test_a_write_reaches_the_driver_in_eight_calls_of_four_files_at_most(tmp_path: Path) -> None:
    way = way_of_a_write(tmp_path)

    assert way["calls"] <= 8
    assert way["files"] <= 4
