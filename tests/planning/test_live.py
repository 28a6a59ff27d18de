"""Explanations, estimates, plans and queues of a real server, over its REST interface."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeEncoder

CONFIG = """
[[instances]]
name = "lab"
[[instances]]
name = "small"
limit_seconds = 3
max_pending_jobs = 2
[[instances]]
name = "others"
[[qpus]]
name = "ket_slow"
device = "manila"
pace = 1.0
seed = 1
lanes = 2
[[qpus]]
name = "ket_fast"
device = "manila"
seed = 2
[money]
currency = "EUR"
[[money.rates]]
per_second = 2.0
"""


class Server:
    """A running server and its administrator."""

    def __init__(self, url: str, data: Path) -> None:
        self.url, self.data = url, data
        key = (data / "administrator.key").read_text().strip()
        grant = "urn:ibm:params:oauth:grant-type:apikey"
        answer = httpx.post(f"{url}/identity/token", data={"grant_type": grant, "apikey": key})
        self._token = answer.json()["access_token"]
        found = httpx.get(
            f"{url}/ketline/v1/instances", headers={"Authorization": f"Bearer {self._token}"}
        ).json()
        self._crns = {item["name"]: item["crn"] for item in found["instances"]}

    def inside(self, instance: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self._token}", "Service-CRN": self._crns[instance]}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("live")
    (folder / "ketline.toml").write_text(CONFIG)
    command = [
        sys.executable,
        "-m",
        "ketline.cli.main",
        "serve",
        "--data",
        str(folder / "data"),
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        [*command, "--config", str(folder / "ketline.toml")],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    try:
        line = next(line for line in process.stdout if "http://" in line)
        yield Server("http://" + line.split("http://", 1)[1].split()[0], folder / "data")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stdout.close()


def submission(shots: int, backend: str) -> str:

    circuit = QuantumCircuit(5, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    params = {"pubs": [[circuit, [], shots]], "options": {}, "version": 2, "support_qiskit": True}
    return json.dumps({"program_id": "sampler", "backend": backend, "params": params}, cls=RuntimeEncoder)


def submit(client: httpx.Client, shots: int = 6_000, backend: str = "ket_slow") -> str:
    answer = client.post("/api/v1/jobs", content=submission(shots, backend))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def queue(server: Server) -> list[str]:
    """Five jobs of several seconds each on a QPU with two lanes."""
    with server.inside("lab") as client:
        return [submit(client) for _ in range(5)]


def explain(client: httpx.Client, job_id: str) -> dict[str, Any]:
    answer = client.get(f"/ketline/v1/jobs/{job_id}/explain")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_waiting_job_is_explained_from_one_snapshot(server: Server, queue: list[str]) -> None:
    with server.inside("lab") as client:
        told = explain(client, queue[-1])
    assert told["status"] == "queued"
    assert told["position"] == told["position_own"] == told["queue_length"]
    assert told["reason"]["why"] == "lanes_busy"
    assert told["story"][0]["what"] == "submitted"
    start = told["start"]
    assert start["coverage"] == 0.9
    assert told["as_of"] <= start["earliest"] <= start["median"] <= start["latest"]
    assert start["median"] <= told["finish"]["median"]


def test_another_instances_job_is_not_found(server: Server, queue: list[str]) -> None:
    with server.inside("others") as client:
        answer = client.get(f"/ketline/v1/jobs/{queue[0]}/explain")
    assert answer.status_code == 404


def test_the_queue_shows_lanes_and_reasons(server: Server, queue: list[str]) -> None:
    with server.inside("lab") as client:
        qpu, fast = client.get("/ketline/v1/queue", params={"limit": 2}).json()["qpus"]
        assert client.get("/ketline/v1/queue", params={"limit": 0}).status_code == 400
    assert (qpu["backend"], qpu["mode"], qpu["lanes"], qpu["calibrating"]) == ("ket_slow", "online", 2, False)
    assert (fast["backend"], fast["queue_length"]) == ("ket_fast", 0)
    assert len(qpu["running"]) == 2
    assert len(qpu["queued"]) <= 2
    assert all(job["id"] in queue and job["reason"] for job in (*qpu["running"], *qpu["queued"]))


def test_a_plan_is_made_under_the_present_queue(server: Server, queue: list[str]) -> None:
    workload = {"jobs": 3, "qpu_seconds": 2, "iterative": True, "think_seconds": 1}
    with server.inside("lab") as client:
        found = client.post(
            "/ketline/v1/plan", json={"backend": "ket_slow", "workload": workload, "replicas": 3}
        ).json()
        refused = client.post(
            "/ketline/v1/plan", json={"backend": "ket_slow", "workload": {**workload, "jobs": 0}}
        )
    assert {mode["mode"] for mode in found["modes"]} == {"job", "batch", "session"}
    assert found["advised"] in {"job", "batch", "session"}
    assert found["reasons"]
    assert all(
        mode["cost"]["median"] == pytest.approx(2 * mode["usage_seconds"]["median"])
        for mode in found["modes"]
    )
    assert len(found["pictures"]) == 3
    assert refused.status_code == 400
    assert "jobs" in refused.json()["errors"][0]["message"]


def test_usage_is_estimated_with_cost_and_limits(server: Server) -> None:
    asked = {"backend": "ket_slow", "executions": 4096, "rep_delay_seconds": 0.00025}
    with server.inside("small") as client:
        found = client.post("/ketline/v1/estimate", json=asked).json()
        wrong = client.post("/ketline/v1/estimate", json={**asked, "circuits": 3})
        unknown = client.post("/ketline/v1/estimate", json={**asked, "backend": "ket_none"})
    assert found["formula_seconds"] == pytest.approx(3.4336)
    assert sum(found["breakdown"].values()) == pytest.approx(3.4336)
    expected = {name: 2 * found["expected_seconds"][name] for name in ("low", "median", "high")}
    assert found["cost"] == {
        "amount": pytest.approx(6.8672),
        "currency": "EUR",
        "per_second": 2.0,
        "expected": expected,
    }
    assert expected["low"] < found["cost"]["amount"] < expected["high"]
    assert "limit_seconds" in [hit["limit"] for hit in found["limits"]]
    assert wrong.status_code == 400
    assert unknown.status_code == 404


def test_a_job_that_has_ended_tells_its_story(server: Server) -> None:
    with server.inside("others") as client:
        job_id = submit(client, shots=100)
        client.post(f"/api/v1/jobs/{job_id}/cancel")
        deadline = time.monotonic() + 20
        while (told := explain(client, job_id))["status"] != "cancelled":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert told["start"] is None
    assert told["position"] is None
    assert told["reason"]["why"] == "ended"
    times = [datetime.fromisoformat(entry["at"]) for entry in told["story"]]
    assert times == sorted(times)
    assert told["story"][-1]["what"] == "cancelled"


# ---------------------------------------------------------------- the verbs that ask this server


def ketline(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ketline.cli.main", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_explain_and_top_tell_what_the_server_tells(server: Server, queue: list[str]) -> None:
    with server.inside("lab") as client:
        session = client.post("/api/v1/sessions", json={"mode": "batch", "backend": "ket_slow"}).json()["id"]
        waiting = [submit(client) for _ in range(3)]
    told = ketline("explain", waiting[-1], "--data", server.data)
    assert f"{waiting[-1]} is queued" in told
    assert "in the queue" in told
    assert "It starts in about" in told
    seen = ketline("top", "--data", server.data, "--once")
    assert "ket_slow" in seen
    assert session in seen
    assert "unused in" in seen
    assert waiting[-1] in seen
    asked = json.loads(ketline("top", "--data", server.data, "--json", "--limit", 1))
    assert {qpu["backend"]: len(qpu["queued"]) for qpu in asked["qpus"]} == {"ket_slow": 1, "ket_fast": 0}


def test_plan_asks_the_server(server: Server, queue: list[str], tmp_path: Path) -> None:
    flags = ("--jobs", 3, "--qpu-seconds", 2, "--data", server.data, "--instance", "lab", "--replicas", 3)
    told = ketline("plan", *flags, "--picture", tmp_path / "live")
    assert "Advice:" in told
    assert "cost (EUR)" in told
    assert (tmp_path / "live.png").stat().st_size > 10_000


def test_what_is_exported_can_be_simulated(server: Server, tmp_path: Path) -> None:
    from ketline.planning.trace_files import read

    with server.inside("others") as client:
        done = submit(client, 100, "ket_fast")
        deadline = time.monotonic() + 30
        while explain(client, done)["status"] not in {"completed", "failed"}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    config = server.data.parent / "ketline.toml"
    file = tmp_path / "trace.csv"
    ketline("export", file, "--data", server.data, "--config", config, "--anonymous")
    trace = read(file)
    mine = next(job for job in trace.jobs if job.job_id == done)
    assert mine.qpu == "ket_fast"
    assert mine.outcome == "completed"
    assert mine.qpu_seconds > 0
    assert mine.recorded is not None
    assert mine.instance.startswith("instance-")
    told = json.loads(ketline("plan", "--of", done, "--data", server.data, "--backend", "ket_fast", "--json"))
    assert told["advised"] == "job"
    assert json.loads(ketline("simulate", file, "--json"))["settings"][0]["runs"][0]["unfinished_jobs"] == 0
