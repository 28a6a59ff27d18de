"""A QPU that isn't well is paused by itself, says so, and comes back: shown on a site's own driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from faulty_server import FaultyServer, bell_request

DRIVER = '''
from pathlib import Path
from ketline.qpus.driver import Health
from ketline.qpus.emulator import Emulator

class Cryostat(Emulator):
    """An emulator in a cryostat whose temperature stands in a file."""

    def health(self) -> Health:
        kelvin = float(Path({file!r}).read_text())
        return Health(kelvin < 1, "" if kelvin < 1 else f"{{kelvin:g}} K in the cryostat")
'''
CONFIG = """
[compute]
workers = 1

[[qpus]]
name = "ket_cold"
driver = "cryostat"
device = "manila"
health_interval_seconds = 0.2
"""


def install_driver(site: Path, thermometer: Path) -> None:
    """Install a driver as a site's package does: a module, and an entry point in its metadata."""
    facts = site / "cryostat-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: cryostat\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[ketline.qpus]\ncryostat = cryostat:Cryostat\n")
    (site / "cryostat.py").write_text(DRIVER.format(file=str(thermometer)))


def test_a_qpu_that_is_not_well_is_paused_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thermometer = tmp_path / "kelvin"
    thermometer.write_text("0.01")
    install_driver(tmp_path / "site", thermometer)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    server = FaultyServer(tmp_path, CONFIG)
    server.start()
    try:
        server.wait_healthy()
        with httpx.Client(base_url=server.url, headers={"Authorization": f"apikey {server.key}"}) as http:
            crn = http.get("/ketline/v1/instances").json()["instances"][0]["crn"]
            http.headers["Service-CRN"] = crn

            def status() -> dict[str, Any]:
                found: dict[str, Any] = http.get("/api/v1/backends/ket_cold/status").json()
                return found

            def state(job: str) -> str:
                return str(http.get(f"/api/v1/jobs/{job}").json()["state"]["status"])

            until(lambda: status()["status"] == "active")
            thermometer.write_text("4.2")
            until(lambda: status()["status"] == "paused")
            assert "4.2 K in the cryostat" in status()["message"]
            job = http.post("/api/v1/jobs", content=bell_request("ket_cold")).json()["id"]
            assert state(job) == "Queued"
            thermometer.write_text("0.02")
            until(lambda: state(job) == "Completed")
            assert status()["status"] == "active"
    finally:
        server.stop()


def until(met: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.05)
