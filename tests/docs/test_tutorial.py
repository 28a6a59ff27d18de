"""The tutorial, done as it says: its programs against a server, with the environment that it tells to set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ketline.cli.demo.server import serving

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "first-steps.md"


def programs() -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.slow
def test_the_programs_do_what_the_text_says(tmp_path: Path) -> None:
    file = tmp_path / "tutorial.py"
    file.write_text(programs(), encoding="utf-8")
    with serving() as server:
        done = subprocess.run(
            [sys.executable, str(file)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **server.one("env")},
            timeout=200,
        )
        rows = {row["mode"]: row for row in server.many("sessions", "list")}
        jobs = server.many("jobs", "list", "--limit", "100")
    assert done.returncode == 0, done.stderr
    counts, job_usage, batch_usage, energy, session_usage = done.stdout.splitlines()
    measured = {key: int(value) for key, value in re.findall(r"'([01]{2})': (\d+)", counts)}
    assert sum(measured.values()) == 1024
    assert measured["00"] + measured["11"] > 900
    assert float(job_usage.split()[0]) >= 0
    found, exact = (float(text) for text in re.findall(r"-\d+\.\d+", energy))
    assert exact == pytest.approx(-(5**0.5))
    # 30 evaluations on a noisy device come near, and noise alone can put them a little below.
    assert exact - 0.3 < found < exact + 0.6
    assert len(jobs) == 1 + 5 + rows["session"]["jobs"]
    assert {job["status"] for job in jobs} == {"completed"}
    assert rows["batch"]["jobs"] == 5
    for mode, printed in (("batch", batch_usage), ("session", session_usage)):
        assert rows[mode]["state"] == "closed"
        assert rows[mode]["usage_seconds"] == pytest.approx(float(printed.split()[0]), abs=0.5)
    alone = sum(job["usage_seconds"] for job in jobs if job["workload_id"] == rows["batch"]["workload_id"])
    assert rows["batch"]["usage_seconds"] == pytest.approx(alone, abs=0.01)
    assert session_pays_for_idle_time(jobs, rows["session"])


def session_pays_for_idle_time(jobs: list[dict[str, object]], session: dict[str, object]) -> bool:
    on_qpu = sum(float(str(j["qpu_seconds"])) for j in jobs if j["workload_id"] == session["workload_id"])
    return float(str(session["usage_seconds"])) > on_qpu
