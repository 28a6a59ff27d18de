"""Circuits fall apart into components, and the whole is what Aer says of the parts together."""

import itertools
import time

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Parameter, QuantumRegister
from qiskit.circuit.classical import expr, types
from qiskit.quantum_info import PTM, Operator, SuperOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qpu_lab import device, emulator, fits, histogram, item, numbers, run, same, settings

from ketline.qpus.components import components
from ketline.qpus.counts import unpack
from ketline.qpus.emulator import Emulator
from ketline.qpus.methods import bond
from ketline.qpus.noise import DeviceNoise
from ketline.qpus.reduce import reduce
from ketline.qpus.schedule import Durations
from ketline.qpus.transfer import TURNING, of_superop, of_unitary
from ketline.units.errors import JobError
from ketline.units.work import WorkUnit


def apart(circuit: QuantumCircuit) -> list[list[int]]:
    fez = device("fez")
    small = reduce(circuit, Durations(fez.target, fez.dt_seconds), noisy=True)
    return sorted([small.qubits[q] for q in part.qubits] for part in components(small))


def test_gates_bits_and_control_flow_join_qubits():
    circuit = QuantumCircuit(QuantumRegister(156), ClassicalRegister(8, "c"))
    circuit.cz(1, 2)
    circuit.barrier()
    circuit.measure([1, 2], [0, 1])
    circuit.sx(7)
    circuit.measure(7, 2)
    circuit.x(8)
    circuit.measure([9, 10], [3, 3])
    circuit.measure(20, 4)
    with circuit.if_test((circuit.clbits[4], 1)):
        circuit.x(30)
    assert apart(circuit) == [[1, 2], [7], [9, 10], [20, 30]]


def test_conditions_on_registers_and_expressions_join_what_they_read():
    first, second = ClassicalRegister(2, "first"), ClassicalRegister(1, "second")
    circuit = QuantumCircuit(QuantumRegister(156), first, second)
    circuit.measure([0, 1], first)
    circuit.measure(5, second)
    with circuit.if_test((first, 2)):
        circuit.x(3)
    with circuit.if_test(expr.logic_not(second[0])):
        circuit.x(6)
    assert apart(circuit) == [[0, 1, 3], [5, 6]]


def test_classical_variables_are_refused():
    circuit = QuantumCircuit(5, 2)
    kept = circuit.add_var("kept", expr.lift(False, types.Bool()))
    circuit.measure(0, 0)
    circuit.store(kept, circuit.clbits[0])
    with circuit.if_test(kept):
        circuit.x(4)
    with pytest.raises(JobError, match="stores to a classical variable"):
        run(WorkUnit([item(circuit, 20)]))


@pytest.mark.parametrize("name", sorted(TURNING))
def test_matrices_are_qiskits(name):
    from qiskit.circuit.library import get_standard_gate_name_mapping

    from ketline.qpus.transfer import _turn

    gate = get_standard_gate_name_mapping()[name].base_class(0.7)
    even, cosine, sine = _turn(name)
    expected = PTM(Operator(gate)).data.real
    assert np.allclose(even + cosine * np.cos(0.7) + sine * np.sin(0.7), expected)
    assert np.allclose(of_unitary(Operator(gate).data, gate.num_qubits), expected)


def test_noise_is_the_same_channel():
    noise = DeviceNoise(device("fez"))
    for name, where in (("cz", (10, 11)), ("sx", (10,)), ("delay:700", (10,)), ("reset", (10,))):
        error = SuperOp(noise.error(name, where))
        assert np.allclose(noise.transfer(name, where), PTM(error).data.real, atol=1e-9)
        assert np.allclose(of_superop(error.data, len(where)), PTM(error).data.real, atol=1e-9)


def test_small_components_have_the_distribution_of_the_whole_device():
    """Three, one and one qubits of Manila together, with resets, delays and bits out of order."""
    circuit = QuantumCircuit(5, 5)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.rz(0.4, 1)
    circuit.reset(2)
    circuit.cx(1, 2)
    circuit.sx(2)
    circuit.delay(3000, 2)
    circuit.sx(2)
    circuit.x(3)
    circuit.delay(40_000, 3)
    circuit.sx(4)
    circuit.measure([0, 1, 2, 3, 4], [3, 0, 4, 2, 1])
    shots = 40_000
    admission = Emulator.admit(WorkUnit([item(circuit, shots)]), device("manila"), settings("manila"))
    assert admission.methods == ("transfer",)
    ours = histogram(numbers(run(WorkUnit([item(circuit, shots)])).items[0], "c", 5), 5)
    backend = AerSimulator(noise_model=NoiseModel.from_backend(FakeManilaV2()), method="density_matrix")
    counts = backend.run(circuit, shots=shots, seed_simulator=3).result().get_counts()
    theirs = np.zeros(32, dtype=np.int64)
    for key, count in counts.items():
        theirs[int(key, 2)] = count
    assert same(ours, theirs)


def test_sweeps_of_small_components_bind_their_own_parameters():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(156, 4)
    circuit.rx(a, 0)
    circuit.ry(b - a, 5)
    circuit.rx(np.pi / 2, 9)
    circuit.rzz(b, 9, 10)
    circuit.rx(-np.pi / 2, 9)
    circuit.x(20)
    circuit.measure([0, 5, 9, 20], [0, 1, 2, 3])
    values = np.random.default_rng(7).uniform(0, 3, (30, 2))
    outcome = run(WorkUnit([item(circuit, 3000, values, chunk_sets=7)], noise=False), emulator("fez"))
    found = numbers(outcome.items[0], "c", 4)
    for row, (va, vb) in zip(found, values, strict=True):
        ones = [np.sin(va / 2) ** 2, np.sin((vb - va) / 2) ** 2, np.sin(vb / 2) ** 2, 1.0]
        expected = np.ones(16)
        for index in range(16):
            for bit in range(4):
                expected[index] *= ones[bit] if index >> bit & 1 else 1 - ones[bit]
        assert fits(histogram(row, 4), expected)
    assert len(outcome.spans) == 5


def test_components_are_independent():
    circuit = QuantumCircuit(156, 6)
    for place in range(3):
        circuit.h(10 * place)
        circuit.cx(10 * place, 10 * place + 1)
        circuit.measure([10 * place, 10 * place + 1], [2 * place, 2 * place + 1])
    found = histogram(
        numbers(run(WorkUnit([item(circuit, 40_000)], noise=False), emulator("fez")).items[0], "c", 6), 6
    )
    expected = np.zeros(64)
    for index in range(8):
        expected[sum(3 << 2 * bit for bit in range(3) if index >> bit & 1)] = 1 / 8
    assert fits(found, expected)


def test_few_and_many_qubits_side_by_side():
    """Six entangled qubits among 150 that are only read: what the client's Estimator posts."""
    angle = Parameter("angle")
    circuit = QuantumCircuit(156, 156)
    circuit.rx(angle, 40)
    for qubit in range(40, 45):
        circuit.cx(qubit, qubit + 1)
    for qubit in range(156):
        if not 40 <= qubit < 46:
            circuit.sx(qubit)
            circuit.rz(angle, qubit)
            circuit.sx(qubit)
    circuit.measure(range(156), range(156))
    values = np.asarray([[0.0], [np.pi]])
    unit = WorkUnit([item(circuit, 400, values)])
    admission = Emulator.admit(unit, device("fez"), settings("fez"))
    assert admission.methods == ("density_matrix+transfer",)
    run(unit, emulator("fez"))
    began = time.monotonic()
    outcome = run(unit, emulator("fez"))
    assert time.monotonic() - began < 3
    bits = unpack(outcome.items[0].bits["c"], 156)
    assert bits.shape == (2, 400, 156)
    means = bits.mean(axis=1)
    assert (means[0, 40:46] < 0.4).all()
    assert (means[1, 40:46] > 0.6).all()
    alone = np.delete(means, range(40, 46), axis=1)
    assert np.median(alone[0]) > 0.9
    assert np.median(alone[1]) < 0.1


def test_a_layer_of_pairs_takes_no_time():
    circuit = QuantumCircuit(156, 156)
    taken: set[int] = set()
    for a, b in device("fez").configuration["coupling_map"]:
        if not taken & {a, b} and (a, b) in device("fez").target["cz"]:
            circuit.sx([a, b])
            circuit.cz(a, b)
            taken |= {a, b}
    circuit.measure(range(156), range(156))
    unit = WorkUnit([item(circuit, 100, np.zeros((10, 0)))], seed=1)
    run(unit, emulator("fez"))
    began = time.monotonic()
    first = run(unit, emulator("fez"))
    assert time.monotonic() - began < 2
    assert np.array_equal(first.items[0].bits["c"], run(unit, emulator("fez")).items[0].bits["c"])
    assert first.approximations == []


def test_wide_circuits_are_put_into_an_order_that_keeps_bonds_small():
    """An entangled state, no Clifford one, over a line of 40 qubits that winds over the device."""
    fez = device("fez")
    line = [*range(16), 19, *range(35, 20, -1), 36, *range(41, 49)][:40]
    pairs = list(itertools.pairwise(line))
    circuit = QuantumCircuit(156, 40)
    circuit.ry(0.8, line[0])
    for layer in range(3):
        # Each layer spreads the state over the line, or takes it back and leaves a rotation behind.
        for a, b in pairs if layer % 2 == 0 else reversed(pairs):
            circuit.cx(a, b)
        if layer == 1:
            circuit.ry(1.1, line[-1])
    circuit.measure(line, range(40))
    small = reduce(circuit, Durations(fez.target, fez.dt_seconds), noisy=False)
    (whole,) = components(small)
    assert bond(small) > 16 * bond(whole.reduced(small))
    unit = WorkUnit([item(circuit, 4000)], noise=False)
    admission = Emulator.admit(unit, fez, settings("fez"))
    assert admission.methods == ("matrix_product_state",)
    assert admission.qpu_seconds < 1.0
    bits = unpack(run(unit, emulator("fez")).items[0].bits["c"], 40)[0]
    # Before the last layer only the ends are in superposition; then all but the last follow the first.
    assert (bits[:, :39] == bits[:, :1]).all()
    turned = (bits[:, 39] != bits[:, 38]).mean()
    assert abs(bits[:, 0].mean() - np.sin(0.4) ** 2) < 5 * 0.5 / np.sqrt(4000)
    assert abs(turned - np.sin(0.55) ** 2) < 5 * 0.5 / np.sqrt(4000)
