"""Programs run by the client's own classes (acceptance checks 4 to 9)."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, SamplerV2


def _isa(service, circuit):
    return generate_preset_pass_manager(1, backend=service.backend("ket_manila"), seed_transpiler=1).run(
        circuit
    )


def _rotation() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("a"), 0)
    circuit.cx(0, 1)
    return circuit


def _near(counts: dict[str, int], ideal: dict[str, float], spread: float = 0.1) -> None:
    shots = sum(counts.values())
    for outcome, share in ideal.items():
        sigma = (share * (1 - share) / shots) ** 0.5
        assert abs(counts.get(outcome, 0) / shots - share) < 5 * sigma + spread


@pytest.mark.check(4)
@pytest.mark.feature("Programs", "`SamplerV2` (default import): counts, metadata, execution spans")
def test_sampler(service, bell):
    job = SamplerV2(service.backend("ket_manila")).run([bell], shots=100)
    result = job.result()
    counts = result[0].data.c.get_counts()
    assert sum(counts.values()) == 100
    spans = result.metadata["execution"]["execution_spans"]
    assert spans.stop >= spans.start
    assert spans[0].size == 100


@pytest.mark.check(5)
@pytest.mark.feature("Programs", "`EstimatorV2` (default import): observables × parameters by broadcasting")
def test_estimator(service):
    isa = _isa(service, _rotation())
    observables = [[SparsePauliOp(pauli).apply_layout(isa.layout)] for pauli in ("ZI", "IZ", "XX")]
    angles = np.linspace(0, np.pi, 4).reshape(1, 4, 1)
    result = (
        EstimatorV2(service.backend("ket_manila")).run([(isa, observables, angles)], precision=0.05).result()
    )
    assert result[0].data.evs.shape == (3, 4)
    assert result[0].data.stds.shape == (3, 4)
    expected = np.array([np.cos(angles.ravel())] * 2 + [np.sin(angles.ravel())])
    assert np.abs(result[0].data.evs - expected).max() < 0.3


@pytest.mark.feature("Programs", "A scalar expectation value")
def test_scalar_estimate(service):
    isa = _isa(service, QuantumCircuit(1))
    result = EstimatorV2(service.backend("ket_manila")).run(
        [(isa, SparsePauliOp("Z").apply_layout(isa.layout))], precision=0.1
    )
    evs = result.result()[0].data.evs
    assert evs.shape == ()
    assert float(evs) == pytest.approx(1, abs=0.4)


@pytest.mark.check(6)
@pytest.mark.parametrize("twirled", [False, True])
@pytest.mark.feature("Programs", "`executor_sampler.Sampler`, plain and twirled")
def test_executor_sampler(service, bell, twirled):
    from qiskit_ibm_runtime.executor_sampler import Sampler

    sampler = Sampler(service.backend("ket_manila"))
    if twirled:
        sampler.options.twirling.enable_gates = True
        sampler.options.twirling.enable_measure = True
    counts = sampler.run([bell], shots=1_024).result()[0].data.c.get_counts()
    _near(counts, {"00": 0.5, "11": 0.5})


@pytest.mark.check(7)
@pytest.mark.feature("Programs", "`executor_estimator.Estimator` at resilience level 1")
def test_executor_estimator(service):
    from qiskit_ibm_runtime.executor_estimator import Estimator

    isa = _isa(service, _rotation().assign_parameters([np.pi / 3]))
    estimator = Estimator(service.backend("ket_manila"))
    estimator.options.resilience_level = 1
    observable = SparsePauliOp("ZZ").apply_layout(isa.layout)
    result = estimator.run([(isa, observable)], precision=0.05).result()
    assert float(result[0].data.evs) == pytest.approx(1, abs=0.25)
    assert result[0].metadata is not None


@pytest.mark.check(8)
@pytest.mark.feature("Programs", "`Executor` with kerneled readout and passed-through data")
def test_executor(service, bell):
    from qiskit_ibm_runtime import Executor, QuantumProgram

    program = QuantumProgram(shots=64, meas_level="kerneled", passthrough_data={"mine": [1, {"x": 2.5}]})
    program.append_circuit_item(bell)
    result = Executor(service.backend("ket_manila")).run(program).result()
    assert result[0]["c_iq"].shape == (64, 2)
    assert np.iscomplexobj(result[0]["c_iq"])
    assert result.passthrough_data == {"mine": [1, {"x": 2.5}]}
