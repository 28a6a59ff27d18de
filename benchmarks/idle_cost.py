"""What finished jobs and idling cost: 100,000 finished jobs against 100, and an idle default server."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
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
LOOKS, REPEATS = 90, 400
"""How many jobs are looked at for the first time, and how often a request is repeated."""


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


async def time_requests(servers: Sequence[Server], paths: Sequence[Sequence[str]]) -> list[float]:
    """Median seconds that each server takes for its paths.

    The servers are asked in turn, request by request, so that whatever else the machine does meets all.
    """
    connections = [await Connection.open(server.url, server.headers()) for server in servers]
    taken: list[list[float]] = [[] for _ in servers]
    for round_of_paths in zip(*paths, strict=True):
        for at, path in enumerate(round_of_paths):
            began = time.perf_counter()
            status, answer = await connections[at].request("GET", path)
            taken[at].append(time.perf_counter() - began)
            if status != 200:
                raise RuntimeError(f"{path}: {status} {answer[:300]!r}")
    for connection in connections:
        connection.close()
    return [median(times) for times in taken]


async def ready(server: Server) -> None:
    """Wait until the workers are up: a server that has just started is still busy with them."""
    connection = await Connection.open(server.url, server.headers())
    while True:
        _, answer = await connection.request("GET", "/ketline/v1/health")
        workers = json.loads(answer)["workers"]
        if workers["ready"] == workers["workers"] and not workers["busy"]:
            connection.close()
            return
        await asyncio.sleep(0.1)


def prepared(data: Path, number: int) -> list[str]:
    """A data folder with this many finished jobs; the ids of some of them, spread over all."""
    with serve(data=data) as server:
        asyncio.run(one_job(server))
    database = next(data.glob("*.db"))
    fill(database, number)
    with sqlite3.connect(database) as connection:
        ids = [row[0] for row in connection.execute("SELECT job_id FROM jobs ORDER BY created_at")]
    connection.close()
    return ids[:: max(1, number // LOOKS)][:LOOKS]


def compare() -> list[Row]:
    """The same requests to a server with few finished jobs and to one with many."""
    numbers = (FEW, MANY)
    rows = []
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data" for _ in numbers]
        ids = [prepared(folder, number) for folder, number in zip(folders, numbers, strict=True)]
        servers = [stack.enter_context(serve(data=folder)) for folder in folders]
        for server in servers:
            asyncio.run(ready(server))
        first = [[f"/api/v1/jobs/{job_id}?exclude_params=true" for job_id in own] for own in ids]
        again = [own[:1] * REPEATS for own in first]
        page = [["/api/v1/jobs?limit=20&exclude_params=true"] * REPEATS] * len(numbers)
        for name, paths in (
            ("GET /jobs/{id}, not looked at before", first),
            ("GET /jobs/{id}, looked at before", again),
            ("GET /jobs?limit=20", page),
        ):
            few, many = asyncio.run(time_requests(servers, paths))
            ratio = many / few
            text = f"{many * 1e3:.2f} ms against {few * 1e3:.2f} ms: {ratio:.2f} times"
            heading = f"{name}, with {MANY:,} finished jobs against {FEW}"
            rows.append(Row(heading, text, "<= 1.5 times", ratio <= 1.5))
        seconds = servers[-1].start_seconds
    rows.append(Row(f"start with {MANY:,} finished jobs", f"{seconds:.2f} s", "< 5 s", seconds < 5))
    return rows


async def one_job(server: Server) -> str:
    """Run one job to its end and return its id."""
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
    rows = compare()
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
