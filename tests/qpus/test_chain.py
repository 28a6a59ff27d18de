"""Without initialisation a shot starts where the last one ended."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qpu_lab import device, item, numbers, run

from ketline.units.work import WorkUnit


def flip() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 2)
    circuit.x(0)
    circuit.measure(0, 1)
    return circuit


def test_a_flip_alternates():
    unit = WorkUnit([item(flip(), 501)], noise=False, init_qubits=False)
    found = numbers(run(unit).items[0], "c", 2)[0]
    assert found.tolist() == [2 if shot % 2 == 0 else 0 for shot in range(501)]


def test_with_initialisation_it_doesnt():
    found = numbers(run(WorkUnit([item(flip(), 50)], noise=False)).items[0], "c", 2)
    assert set(found.ravel().tolist()) == {2}


def test_long_pauses_let_the_qubit_relax():
    """How often a shot begins in 1, from T1 and the pause."""
    shots = 3000
    t1 = device("manila").target.qubit_properties[0].t1
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    circuit.x(0)
    unit = WorkUnit([item(circuit, shots)], init_qubits=False, rep_delay_seconds=t1)
    # It reads s, is flipped to 1 - s and relaxes: the chance p of a 1 obeys p = (1 - p) / e.
    expected = np.exp(-1) / (1 + np.exp(-1))
    error = device("manila").target["measure"][0,].error
    expected = expected * (1 - error) + (1 - expected) * error
    found = numbers(run(unit).items[0], "c", 1).mean()
    assert abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / shots) * 1.5 + 0.005


def test_sweeps_and_dynamic_circuits_go_on_too():
    angle = Parameter("angle")
    circuit = QuantumCircuit(5, 2)
    circuit.rx(angle, 0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    values = np.asarray([[0.0], [np.pi], [2 * np.pi]])
    found = numbers(
        run(WorkUnit([item(circuit, 40, values)], noise=False, init_qubits=False)).items[0], "c", 2
    )
    assert set(found[0].tolist()) == {0}
    # The first qubit alternates; the second is flipped at every 1 and keeps its state.
    assert found[1].tolist() == [3, 2, 1, 0] * 10
    assert set(found[2].tolist()) == {0}


@pytest.mark.parametrize("sets", [1, 3])
def test_the_shapes_are_the_same(sets):
    unit = WorkUnit([item(flip(), 77, np.zeros((sets, 0)))], init_qubits=False)
    assert run(unit).items[0].bits["c"].shape == (sets, 77, 1)
