"""A server under test, and small helpers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from qiskit_ibm_runtime import RuntimeEncoder

from ketline.config import load
from ketline.service.administration import Administration

GRANT = "urn:ibm:params:oauth:grant-type:apikey"
CLIENT_VARIABLES = (
    "IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL", "QISKIT_FUNCTIONS_EXPERIMENTAL", "QISKIT_IBM_TOKEN",
    "QISKIT_IBM_URL", "QISKIT_IBM_INSTANCE", "QISKIT_IBM_CHANNEL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy",
    "https_proxy",
)  # fmt: skip


def ask(method: str, url: str | httpx.URL, **options: Any) -> httpx.Response:
    """One request on a connection of its own. Certificates, which take long to load, play no part."""
    return httpx.request(method, url, verify=False, timeout=30, **options)


@dataclass(frozen=True)
class Server:
    """A running server, and its administrator's key."""

    url: str
    data: Path
    key: str
    pid: int

    def token(self, key: str | None = None) -> str:
        """A fresh access token."""
        answer = ask(
            "POST", f"{self.url}/identity/token", data={"grant_type": GRANT, "apikey": key or self.key}
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def instances(self) -> dict[str, str]:
        """CRNs by name."""
        answer = ask(
            "POST",
            f"{self.url}/v3/resources/search?limit=100",
            json={"query": "service_name:quantum-computing", "fields": ["crn"]},
            headers={"Authorization": f"Bearer {self.token()}"},
        )
        return {item["name"]: item["crn"] for item in answer.json()["items"]}


def start_server(data: Path, config: str, log: Path) -> tuple[subprocess.Popen[str], str]:
    """Start ``ketline serve`` and wait until it says where."""
    data.mkdir(parents=True, exist_ok=True)
    toml = data.parent / f"{data.name}.toml"
    toml.write_text(config, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k not in CLIENT_VARIABLES}
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "ketline.cli.main", "serve", "--data", str(data), "--port", "0",
             "--config", str(toml)],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
        )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "http://" in line:
            url = "http://" + line.split("http://", 1)[1].split()[0].rstrip("/.,")
            return process, url
    process.wait(10)
    process.stdout.close()
    raise RuntimeError(f"the server didn't start:\n{log.read_text()}")


def stop_server(process: subprocess.Popen[str]) -> int:
    """SIGTERM, and the exit status."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(20)
    finally:
        if process.poll() is None:
            process.kill()
        if process.stdout is not None:
            process.stdout.close()


def until(met: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := met()):
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.02)
    return value


def posted(circuit: Any, shots: int | None = 20, **fields: Any) -> str:
    """A submission's body as the client posts it."""
    body = {
        "program_id": "sampler",
        "backend": "ket_manila",
        "params": {"pubs": [[circuit, [], shots]], "options": {}, "version": 2, "support_qiskit": True},
        **fields,
    }
    return json.dumps(body, cls=RuntimeEncoder)


def submit(http: httpx.Client, circuit: Any, **fields: Any) -> str:
    """Submit by plain HTTP; the job's id."""
    answer = http.post("/jobs", content=posted(circuit, **fields))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def settled(http: httpx.Client, job_id: str, seconds: float = 30.0) -> dict[str, Any]:
    """The job once it is final."""

    def final() -> dict[str, Any] | None:
        job: dict[str, Any] = http.get(f"/jobs/{job_id}", params={"exclude_params": "true"}).json()
        return job if job["state"]["status"] in {"Completed", "Failed", "Cancelled"} else None

    found: dict[str, Any] = until(final, seconds)
    return found


def administration(data: Path, config: Path | None = None) -> Administration:
    """Keys and instances of a server's folder, as the command line handles them."""
    return Administration(data, load(config))


@contextlib.contextmanager
def serving(folder: Path, config: str) -> Iterator[Server]:
    """A server in a folder until the block ends; it must stop cleanly."""
    process, url = start_server(folder / "data", config, folder / "server.log")
    try:
        key = (folder / "data" / "administrator.key").read_text().strip()
        yield Server(url, folder / "data", key, process.pid)
    finally:
        status = stop_server(process)
    assert status == 0, (folder / "server.log").read_text()
