"""A server whose tables are in PostgreSQL: the same promises as over a file."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import own_postgresql
import pytest
import sqlalchemy as sa
from faulty_server import CONFIG, FaultyServer, bell_request

JOBS = 12


def test_jobs_run_survive_a_kill_and_are_billed_once(tmp_path: Path) -> None:
    with own_postgresql.database() as url:
        server = FaultyServer(tmp_path, f'{CONFIG}\n[store]\ndatabase_url = "{url}"\n')
        try:
            server.start()
            server.wait_healthy()
            http = httpx.Client(base_url=server.url, headers={"Authorization": f"apikey {server.key}"})
            http.headers["Service-CRN"] = http.get("/ketline/v1/instances").json()["instances"][0]["crn"]
            opened = http.post("/api/v1/sessions", json={"mode": "batch", "backend": "ket_manila"})
            batch = opened.json()["id"]
            told = [
                http.post("/api/v1/jobs", content=bell_request(**({"session_id": batch} if n % 2 else {})))
                for n in range(JOBS)
            ]
            jobs = [answer.json()["id"] for answer in told]
            server.kill()
            server.start()
            server.wait_healthy()
            deadline = time.monotonic() + 60
            states: list[str] = []
            while time.monotonic() < deadline and states != ["Completed"] * JOBS:
                states = [http.get(f"/api/v1/jobs/{job}").json()["state"]["status"] for job in jobs]
                time.sleep(0.1)
            assert states == ["Completed"] * JOBS
            assert all(http.get(f"/api/v1/jobs/{job}/results").status_code == 200 for job in jobs)
            # A job by itself is a span of its own; those of a batch are spans of the batch.
            billed = [
                http.get(f"/api/v1/jobs/{job}/metrics").json()["usage"]["quantum_seconds"] for job in jobs
            ]
            used = http.get("/api/v1/instances/usage").json()["usage_consumed_seconds"]
            assert used == pytest.approx(sum(billed), abs=2e-3)
            engine = sa.create_engine(url)
            with engine.connect() as connection:
                lines = connection.execute(
                    sa.text("select count(*), count(distinct job_id) from usage")
                ).one()
            engine.dispose()
            assert lines[0] == lines[1] == JOBS
            assert server.stop() == 0
            http.close()
        finally:
            server.abandon()
        assert not (server.data / "ketline.db").exists()
