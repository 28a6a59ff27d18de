"""Estimating before submitting, with the client's own primitives and by plain HTTP."""

from __future__ import annotations

import json

import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import Batch, EstimatorV2, IBMRuntimeError, SamplerV2
from wire_lab import posted, settled, submit

from ketline.client import estimate


@pytest.mark.feature("Jobs", "`ketline.client.estimate(service, lambda: sampler.run(…))`: before submitting")
def test_a_primitives_call_is_estimated_and_nothing_is_submitted(service, bell):
    backend = service.backend("ket_paced")
    sampler = SamplerV2(backend)
    before = service.jobs(limit=1)
    told = estimate(service, lambda: sampler.run([bell], shots=200))
    assert told["program"] == "sampler"
    assert told["executions"] == 200
    assert [job.job_id() for job in service.jobs(limit=1)] == [job.job_id() for job in before]
    job = sampler.run([bell], shots=200)
    assert job.usage_estimation["quantum_seconds"] == pytest.approx(told["estimated_running_time_seconds"])
    assert job.result()[0].data.c.num_shots == 200


def test_in_a_batch_and_with_options(service, bell):
    with Batch(backend=service.backend("ket_manila")) as batch:
        estimator = EstimatorV2(mode=batch)
        estimator.options.resilience_level = 0
        estimator.options.default_shots = 500
        circuit = bell.remove_final_measurements(inplace=False)
        told = estimate(service, lambda: estimator.run([(circuit, SparsePauliOp("IIIZZ"))]))
    assert told["program"] == "estimator"
    assert told["executions"] == 500
    assert [one["at_least"] for one in told["rounds"]] == [False]


def test_a_payload_that_is_refused_is_the_clients_own_error(service, bell):
    sampler = SamplerV2(service.backend("ket_manila"))
    sampler.options.simulator.seed_simulator = -5
    with pytest.raises(IBMRuntimeError, match="seed_simulator"):
        estimate(service, lambda: sampler.run([bell], shots=10))
    with pytest.raises(ValueError, match="nothing was submitted"):
        estimate(service, lambda: None)
    sampler.options.simulator.seed_simulator = 5
    assert sampler.run([bell], shots=10).result()[0].data.c.num_shots == 10


def test_over_plain_http(http, bell):
    url = http.base_url.copy_with(path="/ketline/v1/estimate")
    told = http.post(url, content=posted(bell, backend="ket_paced", shots=300)).json()
    job = settled(http, submit(http, bell, backend="ket_paced", shots=300))
    assert told["estimated_running_time_seconds"] == pytest.approx(
        job["estimated_running_time_seconds"], abs=1e-3
    )
    assert sum(told["breakdown"].values()) == pytest.approx(told["formula_seconds"])
    assert "cost" not in told, "there are no rates"

    wide = QuantumCircuit(2, 1)
    wide.h(0)
    wide.measure(0, 0)
    refused = http.post(url, content=posted(wide))
    failed = settled(http, submit(http, wide))
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["code"] == failed["state"]["reason_code"] == 1517


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "body"),
        (b"[]", 400, "body"),
        (b'{"backend": "ket_manila"}', 400, "executions"),
        (b'{"backend": "ket_manila", "params": {}}', 400, "program_id"),
        (b'{"backend": "ket_manila", "program_id": "sampler"}', 400, "params"),
        (b'{"backend": "ket_manila", "program_id": "sampler", "params": 7}', 400, "params"),
        (b'{"backend": "ket_manila", "program_id": "sampler", "params": {}, "shots": 4}', 400, "shots"),
        (b'{"backend": "ket_manila", "program_id": "sampler", "params": {}, "cost": -1}', 400, "cost"),
        (b'{"backend": "ket_manila", "program_id": "sampler", "params": {}, "cost": NaN}', 400, "body"),
        (b'{"backend": "ket_manila", "executions": 1e400}', 400, "body"),
        (b'{"backend": "ket_manila", "executions": 99999999999999999999}', 400, "executions"),
        (b'{"backend": "ket_manila", "executions": 5, "rep_delay_seconds": -1}', 400, "rep_delay_seconds"),
        (b'{"backend": "\\u0000", "executions": 5}', 400, "backend"),
        (b'{"backend": "ket_none", "executions": 5}', 404, "ket_none"),
        (b'{"backend": "ket_manila", "program_id": "sampler", "params": {"pubs": []}}', 400, "pubs"),
        (b'{"x": "' + b"x" * 2_000_001 + b'"}', 413, "2000000"),
    ],
)
def test_what_makes_no_sense_is_named(http, content, status, words):
    answer = http.post(http.base_url.copy_with(path="/ketline/v1/estimate"), content=content)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["errors"][0]["message"]


def test_the_command_line_takes_a_payload_file(server, bell, tmp_path):
    import subprocess
    import sys

    file = tmp_path / "job.json"
    file.write_text(posted(bell, backend="ket_paced", shots=100))

    def ketline(*words: object) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "ketline.cli.main",
            "estimate",
            *map(str, words),
            "--data",
            server.data,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    told = json.loads(ketline(file, "--instance", "lab", "--json").stdout)
    assert told["executions"] == 100
    text = ketline("--backend", "ket_paced", "--circuits", 2, "--shots", 50, "--instance", "lab").stdout
    assert "A sampler job on ket_paced will use about" in text
    assert "100 executions" in text
    assert ketline("--shots", 3, file).stderr.strip()
    assert ketline(file, "--instance", "none").returncode == 1
