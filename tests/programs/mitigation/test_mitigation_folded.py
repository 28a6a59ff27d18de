"""Folding a twirled template: every set the same circuit, the right number of gates, frames of every kind."""

from __future__ import annotations

from collections import Counter

import aer_qpu
import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import Operator, Pauli
from qiskit_aer.noise import NoiseModel, coherent_unitary_error

from ketline.programs.mitigation.folded import fold_template
from ketline.programs.mitigation.folding import Folding
from ketline.programs.mitigation.twirling import twirl, undo
from ketline.units.work import ItemOutcome, WorkItem

QUBITS = (5, 1, 3, 0)


def _circuit(gate: str = "cz") -> QuantumCircuit:
    """Four qubits of six; two gates side by side, then one between them, then one of them again."""
    circuit = QuantumCircuit(6, 4)
    angle = Parameter("a")
    for number, qubit in enumerate(QUBITS):
        circuit.rz(angle + number, qubit)
        circuit.sx(qubit)
    for first, second in ((0, 1), (2, 3), (1, 2), (0, 1)):
        getattr(circuit, gate)(QUBITS[first], QUBITS[second])
        circuit.sx(QUBITS[second])
    circuit.measure(QUBITS, range(4))
    return circuit


@pytest.mark.parametrize("gate", ["cz", "cx", "ecr"])
@pytest.mark.parametrize("strategy", ["active", "active-accum", "active-circuit"])
@pytest.mark.parametrize(
    ("factor", "method", "gates"),
    [
        (3.0, "gate_folding", 12),
        (5.0, "gate_folding", 20),
        (1.5, "gate_folding_front", 6),
        (2.0, "gate_folding", 8),
        (4.0, "gate_folding_back", 16),
    ],
)
def test_every_set_of_a_folded_template_is_the_same_circuit(gate, strategy, factor, method, gates):
    circuit = _circuit(gate)
    template = twirl(circuit, gates=True, measures=True, strategy=strategy)
    rng = np.random.default_rng(3)
    folded = fold_template(template, Folding.choose(factor, method, rng), strategy)
    assert folded.circuit.count_ops()[gate] == gates
    points = np.array([[0.4], [2.1]])
    drawn = folded.draw(template.draw(points, 4, rng), rng)
    assert len(np.unique(drawn.parameter_values, axis=0)) == 8
    bare = circuit.remove_final_measurements(inplace=False)
    for index in range(8):
        bound = folded.circuit.assign_parameters(drawn.parameter_values[index])
        bound.remove_final_measurements()
        for clbit, qubit in enumerate(QUBITS):
            if drawn.flips["c"][index, clbit]:
                bound.x(qubit)
        expected = Operator(bare.assign_parameters(points[index % 2])).data
        # A twirled measurement may be preceded by Z: equal are the magnitudes.
        np.testing.assert_allclose(np.abs(Operator(bound).data), np.abs(expected), atol=1e-6)


@pytest.mark.parametrize(
    ("method", "gates"), [("gate_folding_front", [3, 3, 1, 1]), ("gate_folding_back", [1, 1, 3, 3])]
)
def test_the_first_or_the_last_gates_are_folded(method, gates):
    circuit = _circuit()
    for strategy in ("active", "active-accum"):
        template = twirl(circuit, gates=True, measures=False, strategy=strategy)
        folded = fold_template(template, Folding(2.0, method), strategy).circuit
        pairs = Counter(
            tuple(folded.find_bit(qubit).index for qubit in instruction.qubits)
            for instruction in folded.data
            if instruction.operation.name == "cz"
        )
        assert pairs == {
            (5, 1): gates[0] + gates[3],
            (3, 0): gates[1],
            (1, 3): gates[2],
        }


def test_the_number_of_gates_follows_the_pass():
    for factor in (1.2, 2.0, 2.7, 3.0, 6.4):
        for method in ("gate_folding", "gate_folding_front", "gate_folding_back"):
            folding = Folding.choose(factor, method, np.random.default_rng(1))
            circuit = QuantumCircuit(2)
            for _ in range(10):
                circuit.cz(0, 1)
                circuit.sx(0)
            whole = folding.fold(circuit).count_ops()["cz"]
            assert sum(2 * folds + 1 for folds in folding.counts(10)) == whole
    chosen = Folding(2.0, "gate_folding", 5).counts(40)
    assert chosen == Folding(2.0, "gate_folding", 5).counts(40) != Folding(2.0, "gate_folding", 6).counts(40)
    assert sum(chosen) == 20


SX = np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2


def _turns(angles):
    """Matrices ``(sets, 2, 2)`` of rz by angles ``(sets,)``."""
    phases = np.exp(0.5j * np.stack([-angles, angles], axis=-1))
    return phases[:, :, None] * np.eye(2)


def _frames(circuit, values):
    """The Paulis, as numbers of `LABELS`, in front of each cz of a two-qubit circuit of nothing else."""
    columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    cz = np.diag([1, 1, 1, -1]).astype(complex)
    whole, ideal, found = np.broadcast_to(np.eye(4, dtype=complex), (len(values), 4, 4)), np.eye(4), []
    for step in circuit.data:
        name = step.operation.name
        if name == "cz":
            frame = whole @ ideal.conj().T
            sizes = np.abs(np.einsum("pij,sji->sp", PAULIS, frame))
            np.testing.assert_allclose(sizes.max(axis=1), 4)
            found.append(sizes.argmax(axis=1))
            whole, ideal = cz @ whole, cz @ ideal
        elif name in ("rz", "sx"):
            one = np.broadcast_to(SX, (len(values), 2, 2))
            if name == "rz":
                one = _turns(values[:, columns[step.operation.params[0]]])
            pair = [np.broadcast_to(np.eye(2), one.shape)] * 2
            pair[1 - circuit.find_bit(step.qubits[0]).index] = one
            whole = np.einsum("sij,skl->sikjl", *pair).reshape(-1, 4, 4) @ whole
        elif name == "measure":
            break
    return found


LABELS = [first + second for first in "IXYZ" for second in "IXYZ"]
PAULIS = np.array([Pauli(label).to_matrix() for label in LABELS])


def test_copies_have_independent_frames_of_every_kind():
    circuit = QuantumCircuit(2, 2)
    circuit.cz(0, 1)
    circuit.measure([0, 1], [0, 1])
    template = twirl(circuit, gates=True, measures=True)
    rng = np.random.default_rng(11)
    folded = fold_template(template, Folding(3.0, "gate_folding"), "active-accum")
    drawn = folded.draw(template.draw(np.zeros((1, 0)), 8000, rng), rng)
    frames = _frames(folded.circuit, drawn.parameter_values)
    assert len(frames) == 3
    for frame in frames:
        # 15 degrees of freedom: one in ten thousand exceeds 44.3.
        assert ((np.bincount(frame, minlength=16) - 500) ** 2 / 500).sum() < 45
    for one, other in ((0, 1), (1, 2), (0, 2)):
        pairs = np.bincount(16 * frames[one] + frames[other], minlength=256)
        # 255 degrees of freedom: one in ten thousand exceeds 347.
        assert ((pairs - 31.25) ** 2 / 31.25).sum() < 350


def test_a_coherent_error_of_folded_gates_is_turned_into_a_stochastic_one():
    angle, factor = 0.1, 5
    circuit = QuantumCircuit(2, 2)
    for _ in range(2):
        circuit.rz(np.pi / 2, 0)
        circuit.sx(0)
        circuit.rz(np.pi / 2, 0)
        circuit.barrier()
        if circuit.count_ops()["sx"] == 1:
            circuit.cz(0, 1)
            circuit.cz(0, 1)
            circuit.barrier()
    circuit.measure([0, 1], [0, 1])
    error = QuantumCircuit(2)
    error.rzz(angle, 0, 1)
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(coherent_unitary_error(Operator(error)), ["cz"])
    coherent, stochastic = np.cos(2 * factor * angle), np.cos(angle) ** (2 * factor)
    assert stochastic - coherent > 0.3
    template = twirl(circuit, gates=True, measures=True)
    rng = np.random.default_rng(1)
    folded = fold_template(template, Folding(float(factor), "gate_folding"), "active-accum")
    drawn = folded.draw(template.draw(np.zeros((1, 0)), 600, rng), rng)
    outcome = aer_qpu.run([WorkItem(folded.circuit, drawn.parameter_values, 60)], noise)[0]
    outcome = ItemOutcome(bits=undo(outcome.bits, drawn.flips))
    values = 1 - 2 * aer_qpu.means(outcome, "c", 2)[:, 0]
    assert np.mean(values) == pytest.approx(stochastic, abs=5 * np.std(values) / np.sqrt(600))
