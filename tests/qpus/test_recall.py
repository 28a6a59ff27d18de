"""What admission remembers of a circuit, and what it mustn't."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qpu_lab import device, item, settings

from ketline.qpus.emulator import Emulator
from ketline.qpus.engine import _bench
from ketline.qpus.items import Workbench
from ketline.units.errors import JobError
from ketline.units.work import WorkUnit


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items were made ready, call by call."""
    calls: list[int] = []
    real = Workbench.ready

    def counted(self, unit, *args, **kwargs):
        calls.append(len(unit.items))
        return real(self, unit, *args, **kwargs)

    monkeypatch.setattr(Workbench, "ready", counted)
    return calls


def turned(width: int = 2, layers: int = 1) -> QuantumCircuit:
    circuit, angle = QuantumCircuit(width, width), Parameter("a")
    for _ in range(layers):
        for qubit in range(width):
            circuit.rz(angle, qubit)
            circuit.sx(qubit)
        for qubit in range(1, width):
            circuit.cz(qubit - 1, qubit)
    circuit.measure(range(width), range(width))
    return circuit


def admitted(*items, name="fez", **how):
    return Emulator.admit(WorkUnit(list(items), **how), device(name), settings(name))


def test_a_circuit_that_is_still_there_is_taken_apart_once(made):
    circuit = turned()
    first = admitted(item(circuit, 100, [[0.1], [0.2]]))
    assert made == [1]
    # Other values, the same number of sets.
    assert admitted(item(circuit, 100, [[0.3], [0.4]])) == first
    assert made == [1]
    equal = circuit.copy()
    assert admitted(item(equal, 100, [[0.1], [0.2]])) == first
    assert made == [1, 1]


@pytest.mark.parametrize(
    "how",
    [{"idle_noise": True}, {"noise": False}, {"rep_delay_seconds": 3e-4}, {"init_qubits": False}],
)
def test_other_ways_to_run_it_are_other_things_to_know(made, how):
    circuit = turned()
    plain = admitted(item(circuit, 100, [[0.1]]))
    other = admitted(item(circuit, 100, [[0.1]]), **how)
    more = admitted(item(circuit, 200, [[0.1]]))
    assert made == [1, 1, 1]
    assert other == admitted(item(circuit.copy(), 100, [[0.1]]), **how)
    assert more.usage.seconds > plain.usage.seconds


def test_a_unit_with_one_new_circuit_is_made_ready_as_a_whole(made):
    known, fresh = turned(), turned(3)
    admitted(item(known, 100, [[0.1]]))
    both = admitted(item(known, 100, [[0.1]]), item(fresh, 100, [[0.1]]))
    assert made == [1, 2]
    assert admitted(item(known, 100, [[0.1]]), item(fresh, 100, [[0.1]])) == both
    assert made == [1, 2]


def test_what_depends_on_the_values_is_not_remembered(made):
    wide = turned(20, 6)
    clifford = admitted(item(wide, 100, [[np.pi / 2]]))
    other = admitted(item(wide, 100, [[0.1]]))
    assert made == [1, 1]
    assert other.qpu_seconds > 2 * clifford.qpu_seconds


def test_nothing_stays_of_a_circuit_that_is_gone():
    known = _bench(device("fez")).recall._known
    circuit = turned()
    admitted(item(circuit, 100, [[0.1]]))
    number = id(circuit)
    assert number in known
    del circuit
    gc.collect()
    assert number not in known


def test_what_is_refused_is_refused_again(made):
    circuit = turned()
    admitted(item(circuit, 100, [[0.1]]))
    unit = WorkUnit([item(circuit, 100, [[0.1]])], simulator={"seed_transpiler": 1})
    with pytest.raises(Exception, match="seed_transpiler"):
        Emulator.admit(unit, device("fez"), settings("fez"))


def test_an_angle_that_other_values_make_impossible_is_refused(made):
    circuit, angle = QuantumCircuit(1, 1), Parameter("a")
    circuit.rz(1 / angle, 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    admitted(item(circuit, 100, [[2.0]]))
    with pytest.raises(JobError, match="isn't a finite real number at a = 0"):
        admitted(item(circuit, 100, [[0.0]]))
    assert made == [1, 1]
