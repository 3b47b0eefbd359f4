"""Measure everything; write `bench/results.json`, `docs/explanation/performance.md`, its plot."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import measure, remote, report
from harness.place import BENCH, MEASURED_CORE, OTHER_CORE


def main() -> None:
    """Measure what the arguments ask for; what is not measured keeps its earlier figures."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (5)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a turn (1.5)")
    parser.add_argument("--quick", action="store_true", help="two short rounds, to see it work")
    parser.add_argument("--only", nargs="*", choices=sorted(_PARTS), help="only these parts")
    parser.add_argument("--report", action="store_true", help="write the report again, only that")
    parser.add_argument("--folder", help="where databases go, for some minutes (8 GB)")
    given = parser.parse_args()
    path = BENCH / "results.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if not given.report:
        with TemporaryDirectory(dir=given.folder, prefix="procore-signin-bench-") as folder:
            plan = measure.Plan(
                rounds=2 if given.quick else given.rounds,
                seconds=0.5 if given.quick else given.seconds,
                sizes=tuple(measure.SIZES)[: 2 if given.quick else 3],
                folder=Path(folder),
                say=_say,
            )
            for name in given.only or _PARTS:
                _say(name)
                load = os.getloadavg()[0]
                results[name] = {"load_before": load, "figures": _PARTS[name](plan)}
                results["machine"] = _machine()
                results["plan"] = {"rounds": plan.rounds, "seconds": plan.seconds}
                path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    report.write(results)


_PARTS = {
    "side by side": measure.side_by_side,
    "postgresql": remote.postgresql,
    "distance": remote.distance,
    "starts": lambda plan: measure.starts(plan, plan.rounds),
    "imports": lambda plan: measure.imports(2 * plan.rounds),
    "storm": lambda plan: measure.storm(plan, plan.rounds),
    "slow upstream": measure.slow_upstream,
    "growth": measure.growth,
    "workers": measure.workers,
    "calls": measure.calls,
}


def _machine() -> dict[str, Any]:
    information = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in information if "model name" in line]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "measured_core": MEASURED_CORE,
        "other_core": OTHER_CORE,
        "system": platform.system() + " " + platform.release().partition("-")[0],
        "python": platform.python_version(),
        "versions": _versions(),
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _versions() -> dict[str, str]:
    asked = {
        "node": ["node", "--version"],
        "ruby": ["ruby", "-e", "print RUBY_VERSION"],
        "nginx": ["nginx", "-v"],
    }
    found = {}
    for name, command in asked.items():
        try:
            ended = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            found[name] = "absent"
        else:
            found[name] = (ended.stdout or ended.stderr).strip().rpartition("/")[2]
    return found


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
