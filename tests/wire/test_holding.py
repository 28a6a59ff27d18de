"""Holding the answer about an unfinished job: what it costs, and when it is given."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from wire_lab import submit

HELD = 2_000


@pytest.fixture
def _many_connections() -> Iterator[None]:
    """Room for one open file a connection, in the process of the test too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HELD + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def _whole(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))


@pytest.mark.usefixtures("_many_connections")
def test_two_thousand_held_answers_cost_next_to_nothing(other_server, other_http, bell):
    """Held for 20 s by configuration; all are answered when the job ends."""
    job_id = submit(other_http, bell, backend="ket_paced", shots=200_000)
    request = (
        f"GET /api/v1/jobs/{job_id}?exclude_params=true HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: {other_http.headers['authorization']}\r\n"
        f"Service-CRN: {other_http.headers['service-crn']}\r\n\r\n"
    ).encode()
    port = httpx.URL(other_server.url).port

    async def ask() -> tuple[float, list[bytes], float]:
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(HELD)]
        for _, writer in connections:
            writer.write(request)
        await asyncio.sleep(2.5)
        before = _cpu_seconds(other_server.pid)
        await asyncio.sleep(2)
        cpu = (_cpu_seconds(other_server.pid) - before) / 2
        begun = time.perf_counter()
        cancel = (
            f"POST /api/v1/jobs/{job_id}/cancel HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {other_http.headers['authorization']}\r\n"
            f"Service-CRN: {other_http.headers['service-crn']}\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        canceller, cancelling = await asyncio.open_connection("127.0.0.1", port)
        cancelling.write(cancel)
        await canceller.readuntil(b"\r\n\r\n")
        answers = await asyncio.gather(*(_whole(reader) for reader, _ in connections))
        took = time.perf_counter() - begun
        for _, writer in (*connections, (None, cancelling)):
            writer.close()
        return cpu, list(answers), took

    cpu, answers, took = asyncio.run(ask())
    assert cpu < 0.25
    assert [answer for answer in answers if b'"Cancelled"' not in answer] == []
    assert took < 10


def test_an_answer_comes_the_moment_the_job_ends(other_http, bell):
    job_id = submit(other_http, bell, backend="ket_paced", shots=10_000)
    job = other_http.get(f"/jobs/{job_id}?exclude_params=true").json()
    if job["state"]["status"] == "Running":  # the change from queued to running was told
        job = other_http.get(f"/jobs/{job_id}?exclude_params=true").json()
    assert job["state"]["status"] == "Completed"


def test_a_look_at_many_jobs_is_not_held(http, bell):
    ids = [submit(http, bell, backend="ket_paced", shots=20_000) for _ in range(10)]
    begun = time.perf_counter()
    words = [http.get(f"/jobs/{job_id}?exclude_params=true").json()["state"]["status"] for job_id in ids]
    took = time.perf_counter() - begun
    for job_id in reversed(ids):
        http.post(f"/jobs/{job_id}/cancel")
    assert set(words) == {"Queued", "Running"}
    assert took < 2, "only the first is held"


def test_nothing_is_held_when_it_is_turned_off(other_http, bell):
    """``hold_session_seconds`` is 0 there."""
    batch = other_http.post("/sessions", json={"mode": "batch", "backend": "ket_paced"}).json()["id"]
    job_id = submit(other_http, bell, backend="ket_paced", shots=20_000, session_id=batch)
    begun = time.perf_counter()
    for _ in range(5):
        assert other_http.get(f"/jobs/{job_id}?exclude_params=true").status_code == 200
    took = time.perf_counter() - begun
    other_http.post(f"/jobs/{job_id}/cancel")
    assert took < 1
