"""A loaded server is killed at twenty random moments: nothing it acknowledged may be lost or done twice."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest
from faulty_server import FaultyServer, Gone, Line, bell_request

from ketline.config import Settings
from ketline.service.checkup import check_up
from ketline.service.data import DataFolder

KILLS = 20
SEED = 20_260_727
FINAL = {"Completed", "Failed", "Cancelled"}


class Client:
    """Submits as fast as it is answered, and remembers what it was told."""

    def __init__(self, server: FaultyServer, crn: str, mode: str | None) -> None:
        self.line = Line(server, server.headers(crn))
        self.mode = mode
        self.workload: str | None = None
        self.acknowledged: list[str] = []
        self.seen_final: dict[str, tuple[str, str]] = {}

    async def submit_for_ever(self) -> None:
        plain = json.loads(bell_request(tags=["kill"]))
        while True:
            try:
                await self._submit_one(plain)
            except Gone:
                await asyncio.sleep(0.05)

    async def _submit_one(self, plain: dict[str, object]) -> None:
        request = dict(plain)
        if self.mode is not None:
            if self.workload is None:
                body = json.dumps({"mode": self.mode, "backend": "ket_manila"}).encode()
                status, answer = await self.line.ask("POST", "/api/v1/sessions", body)
                assert status == 200, answer
                self.workload = json.loads(answer)["id"]
            request["session_id"] = self.workload
        status, answer = await self.line.ask("POST", "/api/v1/jobs", json.dumps(request).encode())
        assert status == 200, answer
        self.acknowledged.append(json.loads(answer)["id"])
        if len(self.acknowledged) % 12 == 0 and self.workload is not None:
            body = b'{"accepting_jobs": false}'
            await self.line.ask("PATCH", f"/api/v1/sessions/{self.workload}", body)
            self.workload = None
        # Leave the server time to work on what it has.
        await asyncio.sleep(0.1)
        if len(self.acknowledged) % 3 == 0:
            await self.look(random.choice(self.acknowledged))

    async def look(self, job_id: str) -> str:
        status, answer = await self.line.ask("GET", f"/api/v1/jobs/{job_id}?exclude_params=true")
        assert status == 200, (job_id, answer)
        shown: str = json.loads(answer)["state"]["status"]
        if shown in FINAL:
            status, result = await self.line.ask("GET", f"/api/v1/jobs/{job_id}/results")
            assert status == 200, (job_id, status, result)
            told = (shown, hashlib.sha256(result).hexdigest())
            # An end that was told once never changes, however often the server dies.
            assert self.seen_final.setdefault(job_id, told) == told
        return shown


async def crn_of(server: FaultyServer) -> str:
    line = Line(server, {"Authorization": f"apikey {server.key}"})
    status, answer = await line.ask(
        "POST", "/v3/resources/search", b'{"query": "service_name:quantum-computing", "fields": []}'
    )
    assert status == 200, answer
    line.close()
    found: str = next(i["crn"] for i in json.loads(answer)["items"] if i["name"] == "default")
    return found


async def load_and_kill(server: FaultyServer) -> list[Client]:
    chance = random.Random(SEED)
    server.start()
    await asyncio.to_thread(server.wait_healthy)
    crn = await crn_of(server)
    clients = [Client(server, crn, mode) for mode in (None, None, "batch", "batch", "dedicated")]
    submitting = [asyncio.create_task(client.submit_for_ever()) for client in clients]
    for _ in range(KILLS):
        await asyncio.to_thread(server.wait_healthy)
        await asyncio.sleep(chance.uniform(0.0, 2.0))
        server.kill()
        server.start()
    await asyncio.to_thread(server.wait_healthy)
    for task in submitting:
        task.cancel()
    for ended in await asyncio.gather(*submitting, return_exceptions=True):
        assert isinstance(ended, asyncio.CancelledError), ended
    for client in clients:
        client.line.close()
        if client.workload is not None:
            await client.line.ask(
                "PATCH", f"/api/v1/sessions/{client.workload}", b'{"accepting_jobs": false}'
            )
    return clients


async def wait_for_the_end(clients: list[Client]) -> None:
    deadline = time.monotonic() + 120
    while True:
        status, answer = await clients[0].line.ask("GET", "/api/v1/jobs?pending=true&limit=1")
        assert status == 200
        left = json.loads(answer)["count"]
        if left == 0:
            return
        assert time.monotonic() < deadline, f"{left} jobs never end"
        await asyncio.sleep(0.1)


async def account(clients: list[Client]) -> None:
    for client in clients:
        for job_id in client.acknowledged:
            shown = await client.look(job_id)
            assert shown == "Completed", (job_id, client.mode, shown)
        client.line.close()


def audit(database: Path, clients: list[Client]) -> None:
    acknowledged = [job_id for client in clients for job_id in client.acknowledged]
    assert len(set(acknowledged)) == len(acknowledged)
    with contextlib.closing(sqlite3.connect(database)) as tables:
        jobs = dict(tables.execute("SELECT job_id, workload_id FROM jobs"))
        missing = set(acknowledged) - set(jobs)
        assert not missing
        statuses = Counter(status for (status,) in tables.execute("SELECT status FROM jobs"))
        assert set(statuses) == {"completed"}
        ends = Counter(
            subject for (subject,) in tables.execute("SELECT subject FROM events WHERE kind = 'JobFinalized'")
        )
        assert set(ends) == set(jobs)
        assert set(ends.values()) == {1}, "a job ended twice"
        sessions = {
            row[0] for row in tables.execute("SELECT workload_id FROM workloads WHERE mode = 'dedicated'")
        }
        bills = Counter(job for (job,) in tables.execute("SELECT job_id FROM usage WHERE job_id IS NOT NULL"))
        billed_by_job = {job for job, workload in jobs.items() if workload not in sessions}
        assert set(bills) == billed_by_job
        assert set(bills.values()) == {1}, "a job was billed twice"
        assert tables.execute("SELECT count(*) FROM usage WHERE seconds < 0").fetchone() == (0,)
        overlapping = tables.execute(
            "SELECT a.workload_id FROM usage a JOIN usage b ON a.workload_id = b.workload_id AND "
            "a.job_id IS NULL AND b.job_id IS NULL AND a.number < b.number AND "
            "a.started_at < b.ended_at AND b.started_at < a.ended_at"
        ).fetchall()
        assert not overlapping, "a session's time was billed twice"
        counted = tables.execute("SELECT sum(jobs) FROM job_counts WHERE status = 'completed'").fetchone()
        assert counted == (len(jobs),)
        assert tables.execute("SELECT sum(jobs) FROM job_counts").fetchone() == counted


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_acknowledged_job_ends_once_with_one_result_and_one_bill(tmp_path: Path) -> None:
    server = FaultyServer(tmp_path)

    async def ordeal() -> list[Client]:
        clients = await load_and_kill(server)
        await wait_for_the_end(clients)
        await account(clients)
        return clients

    try:
        clients = asyncio.run(ordeal())
        assert server.stop() == 0
    finally:
        server.abandon()
    assert sum(len(client.acknowledged) for client in clients) > 5 * KILLS
    for client in clients:
        assert client.acknowledged, f"nobody could submit in mode {client.mode}"
    audit(server.data / "ketline.db", clients)
    looked_over = check_up(DataFolder(server.data), Settings())
    assert looked_over.jobs > 5 * KILLS
    assert looked_over.findings == []
