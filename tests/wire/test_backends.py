"""Backends as the client sees them (acceptance check 3)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from qiskit_ibm_runtime import SamplerV2
from wire_lab import ask


@pytest.mark.check(3)
@pytest.mark.feature("Backends", "`least_busy()`, also with `min_num_qubits`, `operational`, `simulator`")
def test_least_busy(service):
    listed = {b.name: b.status().pending_jobs for b in service.backends()}
    assert listed[service.least_busy().name] == min(listed.values())
    assert service.least_busy(operational=True, simulator=False, min_num_qubits=5).num_qubits == 5


@pytest.mark.feature("Backends", "`backends()` with filters, by name and with mocks")
def test_filters(service):
    assert [b.name for b in service.backends(simulator=True)] == ["ket_simulator"]
    assert {b.name for b in service.backends(dynamic_circuits=True)} >= {"ket_manila"}
    assert not service.backends(min_num_qubits=6)
    assert service.backend("mock_manila").name == "mock_manila"
    assert {b.name for b in service.backends(include_mocks=True)} >= {"mock_manila", "mock_paced"}


@pytest.mark.feature("Backends", "Configuration, properties, target and status")
def test_what_a_backend_tells(service):
    backend = service.backend("ket_manila")
    assert backend.configuration().backend_name == "ket_manila"
    assert backend.num_qubits == 5
    properties = backend.properties()
    assert properties.backend_name == "ket_manila"
    assert 0 < properties.t1(0) < 1
    assert backend.properties(datetime=datetime.now(UTC)) is not None
    assert backend.target.instruction_supported("cx", (0, 1))
    assert not backend.target.instruction_supported("cx", (0, 4))
    status = backend.status()
    assert (status.operational, status.status_msg) == (True, "active")


def test_configuration_is_under_the_listed_name(http):
    for device in http.get("/backends", params={"include_mocks": "True"}).json()["devices"]:
        configuration = http.get(f"/backends/{device['name']}/configuration").json()
        assert configuration["backend_name"] == device["name"]
        assert configuration["simulator"] is device["is_simulator"]


def test_defaults_are_null(http):
    assert http.get("/backends/ket_manila/defaults").text == "null"


@pytest.mark.feature("Backends", "A paused backend says so, and still takes jobs, which wait")
def test_a_paused_backend_takes_jobs(service, server, bell):
    headers = {"Authorization": f"apikey {server.key}"}
    mode = f"{server.url}/ketline/v1/qpus/ket_paced/mode"
    backend = service.backend("ket_paced")
    try:
        paused = ask("PUT", mode, headers=headers, json={"mode": "paused", "reason": "cooling down"})
        assert paused.status_code == 204
        status = backend.status()
        assert (status.operational, status.status_msg) == (False, "paused")
        assert service.least_busy(simulator=False).name == "ket_manila"
        job = SamplerV2(backend).run([bell], shots=10)
        assert job.status() == "QUEUED"
    finally:
        ask("PUT", mode, headers=headers, json={"mode": "online", "reason": ""})
    assert job.result()[0].data.c.num_shots == 10
