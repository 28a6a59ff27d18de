"""Programs on the emulated QPU of 156 qubits, from the client's payload to the client's result."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from lab import backend, context, decoded, emulated, posted
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, SamplerV2

from ketline.programs.base import open_params, program

DEVICE = "fez"


def ansatz() -> tuple[QuantumCircuit, SparsePauliOp, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A chain of five qubits in the device's own instructions, an observable, points and exact values."""
    angles = ParameterVector("t", 5)
    circuit = QuantumCircuit(5)
    for qubit, angle in enumerate(angles):
        circuit.ry(angle, qubit)
    for qubit in range(4):
        circuit.cx(qubit, qubit + 1)
    observable = SparsePauliOp(["ZZIII", "IXXII", "IIZZI", "XIIII"], [1.0, 0.5, -0.3, 0.2])
    points = np.random.default_rng(1).uniform(-1, 1, (3, 5))
    exact = [Statevector(circuit.assign_parameters(row)).expectation_value(observable).real for row in points]
    native = generate_preset_pass_manager(1, backend(DEVICE)).run(circuit)
    return native, observable.apply_layout(native.layout), points, np.array(exact)


def test_a_bell_circuit() -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    native = generate_preset_pass_manager(1, backend(DEVICE)).run(circuit)
    _, raw = posted(SamplerV2, lambda sampler: sampler.run([native], shots=1024), DEVICE)
    where = context(DEVICE)
    body = emulated("sampler", raw, where)
    counts = decoded(body)[0].data.meas.get_counts()
    assert counts["00"] + counts["11"] > 900
    assert min(counts["00"], counts["11"]) > 380
    start = time.perf_counter()
    emulated("sampler", raw, where)
    assert time.perf_counter() - start < 1.0


def test_expectation_values_of_every_level() -> None:
    circuit, observable, points, exact = ansatz()
    bias = {}
    for level in (0, 1, 2):
        _, raw = posted(
            lambda machine: EstimatorV2(machine, options={"resilience_level": level}),  # noqa: B023
            lambda estimator: estimator.run([(circuit, observable, points)], precision=0.02),
            DEVICE,
        )
        data = decoded(emulated("estimator", raw, context(DEVICE)))[0].data
        bias[level] = np.abs(data.evs - exact)
        assert (bias[level] < 5 * data.stds + 0.1).all()


def test_only_what_matters_is_measured() -> None:
    circuit, observable, points, _ = ansatz()
    _, raw = posted(EstimatorV2, lambda estimator: estimator.run([(circuit, observable, points)]), DEVICE)
    unit = program("estimator").prepare(open_params(raw, context(DEVICE).limits), context(DEVICE)).unit
    assert all(item.circuit.count_ops()["measure"] <= 5 for item in unit.items)


def test_decoupling_runs_with_the_noise_of_idle_qubits() -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    native = generate_preset_pass_manager(1, backend(DEVICE)).run(circuit)
    options = {"dynamical_decoupling": {"enable": True, "sequence_type": "XpXm"}}
    _, raw = posted(
        lambda machine: SamplerV2(machine, options=options), lambda sampler: sampler.run([native]), DEVICE
    )
    counts = decoded(emulated("sampler", raw, context(DEVICE)))[0].data.meas.get_counts()
    assert counts["00"] + counts["11"] > 0.85 * 4096


def test_a_dry_run_has_the_same_shapes() -> None:
    circuit, observable, points, _ = ansatz()
    where = context(DEVICE, mock=True)
    _, raw = posted(EstimatorV2, lambda estimator: estimator.run([(circuit, observable, points)]), DEVICE)
    assert decoded(emulated("estimator", raw, where))[0].data.evs.shape == (3,)
