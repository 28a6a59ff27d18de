"""Noise learning, calibration and dry runs with the client's classes (acceptance check 9)."""

from __future__ import annotations

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import Calibrator
from samplomatic import Twirl
from wire_lab import submit

PAIRS = (0, 2)


@pytest.fixture(scope="module")
def layer():
    """A twirled layer of one two-qubit gate, as an instruction of a circuit on the whole device."""
    circuit = QuantumCircuit(5)
    with circuit.box([Twirl(dressing="left")]):
        circuit.cx(0, 1)
    return list(circuit.data)


def _short(options) -> None:
    options.num_randomizations = 4
    options.shots_per_randomization = 32
    options.layer_pair_depths = list(PAIRS)


@pytest.mark.check(9)
@pytest.mark.feature("Programs", "`NoiseLearner` (legacy): layer errors")
def test_legacy_noise_learner(service, bell):
    from qiskit_ibm_runtime.noise_learner import NoiseLearner

    with pytest.warns(DeprecationWarning, match="NoiseLearner"):
        learner = NoiseLearner(service.backend("ket_manila"))
    _short(learner.options)
    result = learner.run([bell]).result()
    assert [tuple(error.qubits) for error in result.data] == [(0, 1)]
    assert result[0].error.rates.shape == (len(result[0].error.generators),)


@pytest.mark.check(9)
@pytest.mark.feature("Programs", "`NoiseLearnerV3` (top level)")
def test_noise_learner(service, layer):
    from qiskit_ibm_runtime.noise_learner_v3 import NoiseLearnerV3

    learner = NoiseLearnerV3(service.backend("ket_manila"))
    _short(learner.options)
    result = learner.run(layer).result()
    assert len(result) == 1
    assert result[0].to_pauli_lindblad_map().num_qubits == 2


@pytest.mark.check(9)
@pytest.mark.feature("Programs", "`executor_noise_learner.NoiseLearnerV3`")
def test_executor_noise_learner(service, layer):
    from qiskit_ibm_runtime.executor_noise_learner import NoiseLearnerV3

    learner = NoiseLearnerV3(service.backend("ket_manila"))
    _short(learner.options)
    result = learner.run(layer).result()
    assert len(result) == 1
    assert result[0].to_pauli_lindblad_map().num_qubits == 2


@pytest.mark.check(9)
@pytest.mark.feature("Programs", "`Calibrator`")
def test_calibrator(service):
    result = Calibrator(service.backend("ket_manila")).run().result()
    assert result.stop >= result.start


@pytest.mark.feature("Programs", "`dry_run` on the mock twin: right shapes, random data")
def test_dry_run(service, bell):
    from qiskit_ibm_runtime.executor_sampler import Sampler

    job = Sampler(service.backend("ket_manila")).run([bell], shots=64, dry_run=True)
    assert job.backend().name == "mock_manila"
    assert job.result()[0].data.c.num_shots == 64


def test_jobs_on_mock_twins_are_listed_when_asked_for(http, bell):
    job_id = submit(http, bell, backend="mock_manila", tags=["mock-list"])
    for tags in ({"tags": "mock-list"}, {"limit": 1}):
        found = http.get("/jobs", params={**tags, "include_mocks": "True"}).json()
        assert found["jobs"][0]["id"] == job_id
        without = http.get("/jobs", params=tags).json()
        assert job_id not in {job["id"] for job in without["jobs"]}
        assert without["count"] < found["count"]
