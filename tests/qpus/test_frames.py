"""Wide Clifford circuits: the gates are Qiskit's, the twirl is the twirl, what is approximate is told."""

import time

import numpy as np
import pytest
import stim
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator, random_clifford
from qiskit_aer.noise import (
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    depolarizing_error,
    pauli_error,
    thermal_relaxation_error,
)
from qpu_lab import device, emulator, histogram, item, numbers, run, same, settings

from ketline.qpus.counts import unpack
from ketline.qpus.emulator import Emulator
from ketline.qpus.frames import GATES, QUARTERS, twirled
from ketline.units.errors import JobError
from ketline.units.work import WorkUnit


def equal_up_to_phase(lines: list[str], gate: object, width: int) -> bool:
    circuit = stim.Circuit("\n".join([f"I {' '.join(map(str, range(width)))}", *lines]))
    ours = stim.Tableau.from_circuit(circuit).to_unitary_matrix(endian="little")
    return Operator(ours).equiv(Operator(gate), atol=1e-5)


@pytest.mark.parametrize("name", list(GATES))
def test_gates_are_qiskits(name):
    gate = get_standard_gate_name_mapping()[name]
    lines = [line.format(*range(gate.num_qubits)) for line in GATES[name]]
    assert equal_up_to_phase(lines, gate, gate.num_qubits)


@pytest.mark.parametrize("name", list(QUARTERS))
@pytest.mark.parametrize("quarter", [0, 1, 2, 3, -1, 7])
def test_rotations_are_qiskits(name, quarter):
    kind = get_standard_gate_name_mapping()[name]
    gate = kind.base_class(quarter * np.pi / 2)
    line = QUARTERS[name][quarter % 4].format(*range(gate.num_qubits))
    assert equal_up_to_phase([line], gate, gate.num_qubits)


def test_the_twirl_of_pauli_noise_is_itself():
    assert np.allclose(twirled(depolarizing_error(0.16, 1)), [0.88, 0.04, 0.04, 0.04])
    pair = twirled(pauli_error([("XY", 0.1), ("IZ", 0.2), ("II", 0.7)]))
    # Qiskit writes the last qubit first.
    assert pair[2, 1] == pytest.approx(0.1)
    assert pair[3, 0] == pytest.approx(0.2)


def test_the_twirl_of_relaxation_is_the_textbooks():
    gamma = 0.2
    expected = [(2 - gamma + 2 * np.sqrt(1 - gamma)) / 4, gamma / 4, gamma / 4, 0.0]
    expected[3] = 1 - sum(expected)
    assert np.allclose(twirled(amplitude_damping_error(gamma)), expected)
    for t2 in (0.7, 1.6):
        found = twirled(thermal_relaxation_error(1.0, t2, 0.3))
        assert 2 * (found[1] + found[2]) == pytest.approx(1 - np.exp(-0.3))
        assert 1 - 2 * (found[1] + found[3]) == pytest.approx(np.exp(-0.3 / t2))


def pauli_noise(width: int) -> dict[str, object]:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.02, 1), ["h", "s", "sdg", "x", "sx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.06, 2), ["cx", "cz", "swap"])
    for qubit in range(width):
        model.add_readout_error(ReadoutError([[0.97, 0.03], [0.1, 0.9]]), [qubit])
    return model.to_dict(serializable=True)


def test_pauli_noise_is_simulated_exactly(monkeypatch):
    import ketline.qpus.methods as methods

    circuit = QuantumCircuit(156, 7)
    circuit.compose(random_clifford(6, seed=3).to_circuit(), range(6), inplace=True)
    circuit.measure(range(3), range(3))
    circuit.reset(0)
    circuit.cx(1, 0)
    circuit.measure([0, 3, 4, 5], [3, 4, 5, 6])
    every = methods.candidates
    found = {}
    for name in ("pauli_frames", "statevector"):
        monkeypatch.setattr(
            methods, "candidates", lambda *given, name=name: [m for m in every(*given) if m.name == name]
        )
        unit = WorkUnit([item(circuit, 8000)], simulator={"noise_model": pauli_noise(6)})
        outcome = run(unit, emulator("fez"))
        assert outcome.approximations == []
        found[name] = histogram(numbers(outcome.items[0], "c", 7), 7)
    assert same(found["pauli_frames"], found["statevector"])


def brickwork(width: int, layers: int) -> QuantumCircuit:
    """Layers on a line of the device that amount to the identity, so that only noise flips a qubit."""
    circuit = QuantumCircuit(156, width)
    angle = Parameter("angle")
    pairs = [(a, b) for a, b in device("fez").configuration["coupling_map"] if a < b < width]
    layer = QuantumCircuit(156)
    for qubit in range(width):
        layer.sx(qubit)
        layer.rz(angle, qubit)
    for a, b in pairs:
        layer.cz(a, b)
    for _ in range(layers):
        circuit.compose(layer, inplace=True)
        circuit.barrier()
        for a, b in reversed(pairs):
            circuit.cz(a, b)
        for qubit in range(width):
            circuit.rz(-angle, qubit)
            circuit.rz(np.pi, qubit)
            circuit.sx(qubit)
            circuit.rz(np.pi, qubit)
    circuit.measure(range(width), range(width))
    return circuit


def test_a_hundred_noisy_qubits_take_seconds_and_the_approximation_is_told():
    circuit = brickwork(100, 3)
    values = np.asarray([[0.0], [np.pi / 2], [-np.pi]])
    unit = WorkUnit([item(circuit, 2000, values)])
    admission = Emulator.admit(unit, device("fez"), settings("fez"))
    assert admission.methods == ("pauli_frames",)
    began = time.monotonic()
    outcome = run(unit, emulator("fez"))
    assert time.monotonic() - began < 30
    assert len(outcome.approximations) == 1
    assert "Pauli twirl" in outcome.approximations[0]
    wide = unpack(outcome.items[0].bits["c"], 100).mean(axis=(0, 1))
    # The exact noise on a part of the circuit: the qubits 0 to 3 feel little of the rest.
    part = brickwork(5, 3)
    exact = run(WorkUnit([item(part, 8000, values)]), emulator("fez"))
    assert exact.approximations == []
    narrow = unpack(exact.items[0].bits["c"], 5).mean(axis=(0, 1))
    assert np.abs(wide[:3] - narrow[:3]).max() < 0.03
    assert wide.min() > 0
    assert 0.005 < narrow[:3].mean() < 0.3


def test_the_approximation_can_be_forbidden():
    unit = WorkUnit([item(brickwork(100, 3), 2000, np.zeros((1, 1)))], allow_approximation=False)
    with pytest.raises(JobError, match="100 qubits") as refused:
        Emulator.admit(unit, device("fez"), settings("fez"))
    assert "allow approximations" in refused.value.solution


def test_what_isnt_clifford_is_never_twirled():
    circuit = brickwork(100, 3)
    unit = WorkUnit([item(circuit, 2000, np.asarray([[0.0], [0.1]]))])
    with pytest.raises(JobError, match="100 qubits"):
        Emulator.admit(unit, device("fez"), settings("fez"))


def test_frames_are_seeded_and_sets_differ():
    unit = WorkUnit([item(brickwork(40, 2), 500, np.zeros((2, 1)))], seed=5)
    first, second = (run(unit, emulator("fez")).items[0].bits["c"] for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])
