"""Submissions and status requests by plain HTTP: how many a second, and how long they take."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import count

from benchmarks.harness import Connection, Row, Server, cpu_seconds, percentile, sampler_body, serve, show

CONNECTIONS = 8


async def storm(
    server: Server, method: str, paths: list[str], body: bytes = b"", connections: int = CONNECTIONS
) -> tuple[float, list[float], list[bytes]]:
    """Send all requests over a few connections, as fast as they are answered."""
    turn = count()
    latencies: list[float] = []
    answers: list[bytes] = []

    async def client() -> None:
        connection = await Connection.open(server.url, server.headers())
        while (index := next(turn)) < len(paths):
            began = time.perf_counter()
            status, answer = await connection.request(method, paths[index], body)
            latencies.append(time.perf_counter() - began)
            if status != 200:
                raise RuntimeError(f"{method} {paths[index]}: {status} {answer[:500]!r}")
            answers.append(answer)
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    return time.perf_counter() - began, latencies, answers


async def held(server: Server, job_id: str, number: int) -> tuple[float, float]:
    """Hold status requests of one unfinished job, all at once: processor time and wall time."""
    connections = [await Connection.open(server.url, server.headers()) for _ in range(number)]
    before, began = cpu_seconds([server.process.pid]), time.perf_counter()
    answers = await asyncio.gather(
        *(c.request("GET", f"/api/v1/jobs/{job_id}?exclude_params=true") for c in connections)
    )
    wall = time.perf_counter() - began
    spent = cpu_seconds([server.process.pid]) - before
    if any(status != 200 for status, _ in answers):
        raise RuntimeError("a held request failed")
    for connection in connections:
        connection.close()
    return spent, wall


def main() -> list[Row]:
    """Measure both against one server."""
    rows = []
    config = '[[qpus]]\nname = "ket_fez"\ndevice = "fez"\n'
    with serve(config) as server:
        body = sampler_body()
        asyncio.run(storm(server, "POST", ["/api/v1/jobs"] * 100, body))
        before, before_all = cpu_seconds([server.process.pid]), cpu_seconds(server.pids)
        wall, latencies, answers = asyncio.run(storm(server, "POST", ["/api/v1/jobs"] * 3000, body))
        spent = (cpu_seconds([server.process.pid]) - before) / len(latencies)
        spent_all = (cpu_seconds(server.pids) - before_all) / len(latencies)
        rate, slow = len(latencies) / wall, percentile(latencies, 0.99)
        rows.append(
            Row(
                "submissions accepted, durable, jobs running meanwhile",
                f"{rate:.0f} /s",
                ">= 500 /s",
                rate >= 500,
            )
        )
        rows.append(
            Row(
                "processor time for each of them, the jobs that ran meanwhile included",
                f"{spent * 1e3:.2f} ms of the server's process, {spent_all * 1e3:.2f} ms of all",
                "4 ms at 500 /s on 2 cores",
                spent_all <= 0.004,
            )
        )
        rows.append(Row("their 99th percentile", f"{slow * 1e3:.1f} ms", "< 50 ms", slow < 0.05))
        first = json.loads(answers[0])["id"]
        last = json.loads(answers[-1])["id"]
        before = cpu_seconds([server.process.pid])
        spent, wall = asyncio.run(held(server, last, 2000))
        rows.append(
            Row(
                "2,000 status requests held at once",
                f"{spent / 2000 * 1e3:.2f} ms of processor each",
                "next to nothing",
            )
        )
        wait_final(server, first)
        before = cpu_seconds([server.process.pid])
        wall, latencies, _ = asyncio.run(
            storm(server, "GET", [f"/api/v1/jobs/{first}?exclude_params=true"] * 5000)
        )
        spent = cpu_seconds([server.process.pid]) - before
        rate = len(latencies) / spent
        rows.append(
            Row(
                "status requests a second a core of the server",
                f"{rate:.0f} ({len(latencies) / wall:.0f} /s by the clock, with jobs running)",
                ">= 1,500",
                rate >= 1500,
            )
        )
    return rows


def wait_final(server: Server, job_id: str) -> None:
    """Wait for the end of a job."""

    async def poll() -> None:
        connection = await Connection.open(server.url, server.headers())
        while True:
            _, answer = await connection.request("GET", f"/api/v1/jobs/{job_id}?exclude_params=true")
            if json.loads(answer)["state"]["status"] not in ("Queued", "Running"):
                return
            await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(poll(), 120))


if __name__ == "__main__":
    show("Plain HTTP", main())
