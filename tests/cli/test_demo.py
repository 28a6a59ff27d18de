"""The demo, as `make demo` runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from matplotlib.image import imread


@pytest.mark.slow
def test_the_demo_shows_what_the_modes_are_for(tmp_path: Path) -> None:
    output = tmp_path / "picture"
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "ketline.cli.main", "demo", "--output", str(output), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    took = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert took < 120
    for mode in ("Job mode: 2", "Batch: 5", "Session: 50"):
        assert f"{mode} jobs done" in done.stderr
    told = json.loads(done.stdout)
    job, batch, session, other = told["modes"]
    assert [row["jobs"] for row in told["modes"]] == [2, 5, 48, 2]
    for row in (job, batch, other):
        assert row["billed_seconds"] == pytest.approx(row["qpu_seconds"], abs=0.01)
    # Idle time between the iterations is paid for, and nobody else ran meanwhile.
    assert session["qpu_seconds"] < session["billed_seconds"] <= session["wall_seconds"] + 0.01
    assert other["queued_seconds"] > session["wall_seconds"] / 2
    assert session["queued_seconds"] < session["wall_seconds"] / 2
    assert Path(told["svg"]).read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert Path(told["png"]).stat().st_size < 250_000
    assert imread(told["png"]).shape[0] > 1_000
