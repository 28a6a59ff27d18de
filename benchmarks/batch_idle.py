"""A batch of 200 small jobs: how long the QPU idles between two of them while more are ready."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise

from benchmarks.harness import Connection, Row, Server, median, percentile, sampler_body, serve, show

JOBS = 200
CONFIG = '[[qpus]]\nname = "ket_fez"\ndevice = "fez"\n'


async def run_batch(server: Server) -> list[dict[str, str]]:
    """Submit a batch by plain HTTP, wait for its end, and read every job's own times."""
    connection = await Connection.open(server.url, server.headers())

    async def ask(method: str, path: str, body: bytes = b"") -> dict[str, object]:
        status, answer = await connection.request(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
        found: dict[str, object] = json.loads(answer) if answer else {}
        return found

    request = json.dumps({"mode": "batch", "backend": "ket_fez"}).encode()
    batch = (await ask("POST", "/api/v1/sessions", request))["id"]
    body = json.dumps({**json.loads(sampler_body()), "session_id": batch}).encode()
    ids = [(await ask("POST", "/api/v1/jobs", body))["id"] for _ in range(JOBS)]
    deadline = time.monotonic() + 300
    while (await ask("GET", f"/api/v1/jobs?pending=true&limit=1&session_id={batch}"))["count"]:
        if time.monotonic() > deadline:
            raise RuntimeError("the batch does not end")
        await asyncio.sleep(0.2)
    facts = [await ask("GET", f"/ketline/v1/jobs/{job}") for job in ids]
    connection.close()
    return facts  # type: ignore[return-value]


def gaps(facts: list[dict[str, str]]) -> list[float]:
    """Seconds from one job's release to the next one's lock, where the next was ready by then."""
    from datetime import datetime

    def at(job: dict[str, str], name: str) -> float:
        return datetime.fromisoformat(job[name]).timestamp()

    order = sorted(facts, key=lambda job: at(job, "locked"))
    return [
        at(later, "locked") - at(earlier, "released")
        for earlier, later in pairwise(order)
        if at(later, "ready") <= at(earlier, "released")
    ]


def main() -> list[Row]:
    """Measure one batch."""
    with serve(CONFIG) as server:
        asyncio.run(run_batch(server))
        idle = gaps(asyncio.run(run_batch(server)))
    if not idle:
        return [Row("idle time between ready jobs", "no job was ever ready in time", "<= 5 ms")]
    middle = median(idle)
    return [
        Row(
            f"idle time between two jobs, the next one ready ({len(idle)} of {JOBS - 1})",
            f"{middle * 1e3:.2f} ms in the median, {percentile(idle, 0.95) * 1e3:.2f} ms at 95 %",
            "<= 5 ms in the median",
            middle <= 0.005,
        )
    ]


if __name__ == "__main__":
    show("A batch of small jobs", main())
