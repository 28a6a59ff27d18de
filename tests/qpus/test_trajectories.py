"""Shared trajectories sample the noise exactly, whatever it is."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    thermal_relaxation_error,
)
from qpu_lab import device, emulator, fits, histogram, item, numbers, run, same, settings

from ketline.qpus import trajectories
from ketline.qpus.emulator import Emulator
from ketline.qpus.items import Workbench
from ketline.units.work import WorkUnit

WIDTH = 6
LAYERS = 3
SHOTS = 15_000


def layered(width: int = WIDTH) -> tuple[QuantumCircuit, ParameterVector]:
    """Rotations of their own on every qubit, and entangled."""
    angles = ParameterVector("t", LAYERS * width)
    circuit = QuantumCircuit(width, width)
    for layer in range(LAYERS):
        for qubit in range(width):
            circuit.sx(qubit)
            circuit.rz(angles[layer * width + qubit], qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, width - 1, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.sx(range(width))
    return circuit, angles


def loud() -> NoiseModel:
    """Noise of every kind, so strong that most shots have an event: damping, turns, T2 above and below T1."""
    model = NoiseModel()
    turn = coherent_unitary_error(np.asarray([[np.exp(-0.1j), 0], [0, np.exp(0.1j)]]))
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.05, 0.1).compose(turn), "sx")
    model.add_quantum_error(thermal_relaxation_error(50.0, 90.0, 4.0), "sx", [2])
    pair = thermal_relaxation_error(50.0, 30.0, 4.0).tensor(amplitude_damping_error(0.2))
    model.add_all_qubit_quantum_error(depolarizing_error(0.08, 2).compose(pair), "cz")
    model.add_all_qubit_readout_error(ReadoutError([[0.97, 0.03], [0.1, 0.9]]))
    return model


def expected(circuit: QuantumCircuit, row: np.ndarray, model: NoiseModel) -> np.ndarray:
    """Probabilities of what is read, from Aer's density matrix."""
    bound = circuit.assign_parameters(row.tolist())
    bound.save_density_matrix()
    matrix = AerSimulator(method="density_matrix", noise_model=model).run(bound).result().data(0)
    found = np.real(np.diag(matrix["density_matrix"].data)).reshape((2,) * circuit.num_qubits)
    misread = np.asarray([[0.97, 0.03], [0.1, 0.9]])
    for axis in range(circuit.num_qubits):
        found = np.moveaxis(np.moveaxis(found, axis, -1) @ misread, -1, axis)
    return found.ravel()


def sampled(circuit: QuantumCircuit, values: np.ndarray, model: NoiseModel) -> np.ndarray:
    """Values of all classical bits by shared trajectories, shape ``(rows, SHOTS)``."""
    options = {"noise_model": model.to_dict(serializable=True)}
    unit = WorkUnit([item(circuit, SHOTS, values)], simulator=options)
    rng = np.random.default_rng(5)
    (ready,) = Workbench(device("guadalupe")).ready(unit, 10**9, rng)
    (part,) = ready.parts
    method = trajectories.Trajectories(part.reduced.circuit, part.values, part.source)
    bits = method.sample(0, len(values), SHOTS, rng).astype(np.int64)
    return bits @ (1 << np.asarray(method.clbits))


@pytest.mark.parametrize("amplitudes", [trajectories._AMPLITUDES, 2**9], ids=["at once", "in batches"])
def test_noise_of_every_kind_is_sampled_exactly(amplitudes, monkeypatch):
    """Fails if a branch, a batch or an operator is lost, or if the order of any qubits is wrong."""
    monkeypatch.setattr(trajectories, "_AMPLITUDES", amplitudes)
    circuit, angles = layered()
    values = np.random.default_rng(3).uniform(0, 6, (2, len(angles)))
    model = loud()
    measured = circuit.copy()
    measured.measure(range(WIDTH), range(WIDTH))
    for own, row in zip(sampled(measured, values, model), values, strict=True):
        assert fits(histogram(own, WIDTH), expected(circuit, row, model))


def test_pairs_turn_by_parameters_and_some_qubits_are_not_read():
    width = 7
    angle = Parameter("a")
    circuit = QuantumCircuit(width)
    circuit.sx(range(width))
    for qubit in range(width - 1):
        circuit.rzz(angle, qubit, qubit + 1)
        circuit.rx(0.4 + qubit, qubit + 1)
    circuit.p(angle, 3)
    circuit.sx(range(width))
    model = NoiseModel()
    model.add_all_qubit_quantum_error(
        depolarizing_error(0.1, 2).compose(amplitude_damping_error(0.3).tensor(amplitude_damping_error(0.1))),
        "rzz",
    )
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.1), "sx")
    model.add_all_qubit_readout_error(ReadoutError([[0.97, 0.03], [0.1, 0.9]]))
    read = [5, 0, 3]
    measured = QuantumCircuit(width, 4)
    measured.compose(circuit, inplace=True)
    measured.measure(read, [0, 3, 1])
    values = np.asarray([[0.3], [1.9]])
    for own, row in zip(sampled(measured, values, model), values, strict=True):
        every = expected(circuit, row, model).reshape((2,) * width)
        # Axis k is qubit width - 1 - k; bits 0, 3 and 1 read qubits 5, 0 and 3, bit 2 nothing.
        joint = np.einsum("abcdefg->gdb", every)
        wanted = np.zeros((2, 2, 2, 2))
        wanted[:, 0, :, :] = joint
        assert fits(histogram(own, 4), wanted.ravel())


def test_shots_of_a_set_come_in_random_order():
    """Branches are read one after the other; the halves of the shots look alike all the same."""
    circuit, angles = layered()
    circuit.measure(range(WIDTH), range(WIDTH))
    (seen,) = sampled(circuit, np.full((1, len(angles)), 0.7), loud())
    assert same(histogram(seen[: SHOTS // 2], WIDTH), histogram(seen[SHOTS // 2 :], WIDTH))


def test_the_emulator_takes_them_where_they_are_quickest():
    """Ten noisy qubits of a device, with parameters and without; each set gets its shots."""
    circuit, angles = layered(10)
    circuit.measure(range(10), range(10))
    fixed = circuit.assign_parameters(np.full(len(angles), 0.3))
    unit = WorkUnit([item(circuit, 100, np.full((8, len(angles)), 0.3)), item(fixed, 800)])
    admission = Emulator.admit(unit, device("fez"), settings("fez"))
    assert admission.methods == ("trajectories", "trajectories")
    assert admission.qpu_seconds < 1.0
    first, second = run(unit, emulator("fez")).items
    assert first.bits["c"].shape[:2] == (8, 100)
    low = [numbers(outcome, "c", 10).ravel() % 8 for outcome in (first, second)]
    assert same(histogram(low[0], 3), histogram(low[1], 3))
