"""What finished jobs and idling cost: 100,000 finished jobs against 100, and an idle default server."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import (
    Connection,
    Row,
    Server,
    cpu_seconds,
    median,
    proportional_mb,
    sampler_body,
    serve,
    show,
)

FEW, MANY = 100, 100_000


def fill(database: Path, number: int) -> None:
    """Multiply the one finished job in a stopped server's database, as if many had been run."""
    with sqlite3.connect(database) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(jobs)")]
        found = dict(zip(columns, connection.execute("SELECT * FROM jobs").fetchone(), strict=True))
        rows = []
        for index in range(number - 1):
            copy = {**found, "job_id": f"{found['job_id'][:-6]}{index:06d}", "seq": -1 - index}
            copy["created_at"] = found["created_at"] - 10.0 * (index + 1)
            rows.append(tuple(copy[name] for name in columns))
        marks = ",".join("?" * len(columns))
        connection.executemany(f"INSERT INTO jobs VALUES ({marks})", rows)
        connection.execute("UPDATE job_counts SET jobs = ? WHERE jobs = 1", (number,))
        bill = [row[1] for row in connection.execute("PRAGMA table_info(usage)") if row[1] != "number"]
        line = dict(
            zip(bill, connection.execute(f"SELECT {','.join(bill)} FROM usage").fetchone(), strict=True)
        )
        lines = [
            tuple(
                {**line, "job_id": row[0], "ended_at": row[columns.index("finished_at")]}[name]
                for name in bill
            )
            for row in rows
        ]
        connection.executemany(
            f"INSERT INTO usage ({','.join(bill)}) VALUES ({','.join('?' * len(bill))})", lines
        )
    connection.close()


async def time_requests(server: Server, job_id: str) -> tuple[float, float]:
    """Median seconds of ``GET /jobs/{id}`` and ``GET /jobs?limit=20``."""
    connection = await Connection.open(server.url, server.headers())
    medians = []
    for path in (f"/api/v1/jobs/{job_id}?exclude_params=true", "/api/v1/jobs?limit=20&exclude_params=true"):
        taken = []
        for _ in range(300):
            began = time.perf_counter()
            status, answer = await connection.request("GET", path)
            taken.append(time.perf_counter() - began)
            if status != 200:
                raise RuntimeError(f"{path}: {status} {answer[:300]!r}")
        medians.append(median(taken))
    connection.close()
    return medians[0], medians[1]


async def one_job(server: Server) -> str:
    """Run one job to its end and return its id."""
    import json

    connection = await Connection.open(server.url, server.headers())
    _, answer = await connection.request("POST", "/api/v1/jobs", sampler_body())
    job_id: str = json.loads(answer)["id"]
    while True:
        _, answer = await connection.request("GET", f"/api/v1/jobs/{job_id}?exclude_params=true")
        if json.loads(answer)["state"]["status"] == "Completed":
            connection.close()
            return job_id
        await asyncio.sleep(0.05)


def main() -> list[Row]:
    """Compare both sizes, then look at an idle server."""
    figures: dict[int, tuple[float, float, float]] = {}
    for number in (FEW, MANY):
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            with serve(data=data) as server:
                job_id = asyncio.run(one_job(server))
            fill(next(data.glob("*.db")), number)
            with serve(data=data) as server:
                one, page = asyncio.run(time_requests(server, job_id))
                figures[number] = (one, page, server.start_seconds)
    few, many = figures[FEW], figures[MANY]
    rows = []
    for index, name in enumerate(("GET /jobs/{id}", "GET /jobs?limit=20")):
        ratio = many[index] / few[index]
        text = f"{many[index] * 1e3:.2f} ms against {few[index] * 1e3:.2f} ms: {ratio:.2f} times"
        rows.append(
            Row(f"{name} with {MANY:,} finished jobs against {FEW}", text, "<= 1.5 times", ratio <= 1.5)
        )
    rows.append(Row(f"start with {MANY:,} finished jobs", f"{many[2]:.2f} s", "< 5 s", many[2] < 5))
    with serve() as server:
        asyncio.run(one_job(server))
        time.sleep(10)
        before = cpu_seconds(server.pids)
        time.sleep(20)
        share = (cpu_seconds(server.pids) - before) / 20
        memory = proportional_mb(server.pids)
    rows.append(
        Row("processor share of an idle server", f"{share * 100:.2f} % of a core", "< 1 %", share < 0.01)
    )
    rows.append(
        Row("memory of an idle default server, all processes", f"{memory:.0f} MB", "< 800 MB", memory < 800)
    )
    taken = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run([Path(sys.executable).with_name("ketline"), "--help"], check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    rows.append(Row("ketline --help", f"{median(taken):.2f} s", "< 0.3 s", median(taken) < 0.3))
    return rows


if __name__ == "__main__":
    show("Idle cost", main())
