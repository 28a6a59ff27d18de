"""Starting and stopping a server, and its own endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import time

import httpx
import pytest
from wire_lab import ask, settled, start_server, stop_server, submit, until

from ketline.api import server as serving
from ketline.errors import CANNOT_LISTEN, KetlineError

CONFIG = """
[server]
hold_seconds = 20

[[qpus]]
name = "ket_paced"
device = "manila"
pace = 1.0
"""


def test_health(server):
    answer = ask("GET", f"{server.url}/ketline/v1/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert set(answer.json()["qpus"]) == {"ket_manila", "ket_paced"}


def test_health_names_no_jobs_and_no_processes(server, http, bell):
    """It is for anyone: what runs is nobody else's business."""
    job_id = submit(http, bell, backend="ket_paced", shots=4000)
    seen = until(lambda: http.get(f"{server.url}/ketline/v1/jobs/{job_id}").json()["stage"] == "on_qpu")
    told = ask("GET", f"{server.url}/ketline/v1/health")
    assert seen
    assert told.json()["jobs"]["unfinished"] >= 1
    assert job_id not in told.text
    assert set(told.json()["qpus"]["ket_paced"]) == {"ready", "message", "starts", "status"}
    http.post(f"/jobs/{job_id}/cancel")


def test_metrics_for_a_monitoring_system(server, http, bell):
    refused = ask("GET", f"{server.url}/ketline/v1/metrics")
    assert refused.status_code == 401
    job_id = submit(http, bell, backend="ket_paced", shots=4000)

    def read() -> dict[str, float]:
        answer = http.get(f"{server.url}/ketline/v1/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    told = read()
    assert told['ketline_qpu_queue_length{qpu="ket_paced"}'] >= 1
    assert told["ketline_jobs_unfinished"] >= 1
    assert told['ketline_qpu_mode{qpu="ket_manila",mode="online"}'] == 1
    assert told['ketline_qpu_mode{qpu="ket_manila",mode="retired"}'] == 0
    http.post(f"/jobs/{job_id}/cancel")
    until(lambda: read()['ketline_qpu_queue_length{qpu="ket_paced"}'] == 0)


def test_versions_need_no_credentials(server):
    versions = ask("GET", f"{server.url}/api/v1/versions").json()["versions"]
    assert versions[0] == {"version": "2026-04-15", "status": "live", "sunset_date": None}


def test_tags_in_use(http, bell):
    settled(http, submit(http, bell, tags=["vqe-run-1", "other"]))
    assert http.get("/tags", params={"type": "job", "search": "vqe"}).json() == {"tags": ["vqe-run-1"]}


def test_the_stages_of_a_running_job_are_told(http, server, bell):
    job_id = submit(http, bell, backend="ket_paced", shots=20_000)
    url = f"{server.url}/ketline/v1/jobs/{job_id}"
    seen = set()
    deadline = time.monotonic() + 20
    while "on_qpu" not in seen:
        assert time.monotonic() < deadline
        detail = ask("GET", url, headers=http.headers).json()
        seen.add(detail["stage"])
    assert detail["state"]["status"] == "Running"
    assert seen <= {"none", "preparing", "waiting_qpu", "on_qpu", "finalizing"}
    http.post(f"/jobs/{job_id}/cancel")
    settled(http, job_id)
    assert ask("GET", url, headers=http.headers).json()["stage"] == "none"


def test_the_limit_of_an_instance_is_read_and_set(http, crns):
    headers = {"Service-CRN": crns["limited"]}
    assert http.get("/instances/configuration", headers=headers).json() == {"instance_limit": 600}
    assert (
        http.put("/instances/configuration", json={"instance_limit": 700}, headers=headers).status_code == 204
    )
    assert http.get("/instances/configuration", headers=headers).json() == {"instance_limit": 700}
    assert http.get("/instance", headers=headers).json()["instance_limit_seconds"] == "700"
    assert http.get("/instances/usage", headers=headers).json()["usage_limit_seconds"] == 700
    assert (
        http.put("/instances/configuration", json={"instance_limit": None}, headers=headers).status_code
        == 204
    )
    assert http.get("/instances/configuration", headers=headers).json() == {"instance_limit": None}
    assert (
        http.put("/instances/configuration", json={"instance_limit": 600}, headers=headers).status_code == 204
    )


def test_workloads_are_listed_in_pages(http, bell):
    made = [settled(http, submit(http, bell))["id"] for _ in range(3)]
    batch = http.post("/sessions", json={"mode": "batch", "backend": "ket_manila"}).json()["id"]
    inside = submit(http, bell, session_id=batch)
    http.patch(f"/sessions/{batch}", json={"accepting_jobs": False})
    settled(http, inside)
    found = []
    page = http.get("/workloads", params={"limit": 2}).json()
    for _ in range(2):
        found += page["workloads"]
        assert page["limit"] == 2
        page = ask("GET", http.base_url.join(page["next"]["href"]), headers=http.headers).json()
        assert "previous" in page
    assert [entry["id"] for entry in found] == [batch, *made[::-1]]
    assert inside not in {entry["id"] for entry in found}
    assert found[0]["mode"] == "batch"
    assert found[0]["status"] in {"in_progress", "completed"}
    assert found[1]["mode"] == "job"
    assert found[1]["usage"]["status"] == "complete"
    assert found[1]["accepting_jobs"] is None
    assert http.get("/workloads", params={"mode": "batch", "search": batch}).json()["total_count"] == 1


def test_a_server_stops_cleanly_and_lets_held_requests_go(tmp_path, bell):
    process, url = start_server(tmp_path / "data", CONFIG, tmp_path / "log")
    try:
        key = (tmp_path / "data" / "administrator.key").read_text().strip()
        headers = {"Authorization": f"apikey {key}"}
        crn = ask("POST", f"{url}/v3/resources/search", json={}, headers=headers).json()["items"][0]["crn"]
        headers["Service-CRN"] = crn
        with httpx.Client(base_url=f"{url}/api/v1", headers=headers) as http:
            job_id = submit(http, bell, backend="ket_paced", shots=200_000)

        async def held() -> httpx.Response:
            async with httpx.AsyncClient(headers=headers, timeout=30) as client:
                asking = asyncio.create_task(
                    client.get(f"{url}/api/v1/jobs/{job_id}", params={"exclude_params": "true"})
                )
                await asyncio.sleep(1)
                assert not asking.done()
                process.terminate()
                return await asking

        begun = time.monotonic()
        answer = asyncio.run(held())
        assert answer.json()["state"]["status"] in {"Queued", "Running"}
    finally:
        status = stop_server(process)
    assert status == 0, (tmp_path / "log").read_text()
    assert time.monotonic() - begun < 15


def test_an_address_in_use_is_named(server, tmp_path):
    from ketline.config import Settings

    port = httpx.URL(server.url).port
    with pytest.raises(KetlineError) as caught, contextlib.suppress(SystemExit):
        serving.run(Settings(server={"port": port}), tmp_path)
    assert caught.value.kind is CANNOT_LISTEN
    assert str(port) in caught.value.message
