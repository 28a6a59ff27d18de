"""Run the benchmarks, print their tables and keep them in ``benchmarks/RESULTS.md``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import Row, machine, show, verdict

MODULES = {
    "core_scheduler": "The scheduler alone",
    "emulator": "The emulated QPU alone",
    "programs": "Programs alone",
    "planning": "The planner",
    "client_bell": "A Bell circuit through the unmodified client",
    "client_session": "A session of Estimator iterations",
    "client_programs": "Programs through the client",
    "http_load": "Plain HTTP",
    "batch_idle": "A batch of small jobs",
    "idle_cost": "What finished jobs and idling cost",
    "growth": "How time and memory grow",
}


def main() -> int:
    """Run all benchmarks, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which ones: {', '.join(MODULES)} (default: all)")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/RESULTS.md")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(MODULES)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    results: dict[str, list[Row]] = {}
    for name in chosen.names or MODULES:
        results[name] = run(name)
        show(MODULES[name], results[name])
        if chosen.keep:
            Path(__file__).with_name("RESULTS.md").write_text(markdown(results), encoding="utf-8")
    return 0


def run(name: str) -> list[Row]:
    """One benchmark in a process of its own, so that none sees what another left."""
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, str(root / "benchmarks" / "one.py"), name, str(file)]
        subprocess.run(
            command, check=True, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.DEVNULL
        )
        return [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))]


def markdown(results: dict[str, list[Row]]) -> str:
    """The tables as a page."""
    lines = ["# Results", "", f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()}.", ""]
    lines += ["Made by `make bench`. Times on shared machines are noisy: the ratios are what to look at.", ""]
    for name, rows in results.items():
        lines += [f"## {MODULES[name]}", "", "| figure | measured | target | reached |", "|---|---|---|---|"]
        lines += [f"| {row.name} | {row.measured} | {row.target} | {verdict(row)} |" for row in rows]
        lines += [""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
