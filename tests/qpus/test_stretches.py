"""Stretches take the room that the schedule leaves, and no more."""

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Duration
from qiskit.circuit.classical import expr
from qpu_lab import device, emulator, item, run

from ketline.qpus.schedule import Durations, schedule
from ketline.qpus.stretches import resolve
from ketline.units.errors import JobError
from ketline.units.work import WorkUnit


@pytest.fixture
def durations() -> Durations:
    return Durations(device("fez").target, device("fez").dt_seconds)


def total(circuit: QuantumCircuit, durations: Durations) -> int:
    return schedule(circuit, durations, {q: i for i, q in enumerate(circuit.qubits)}).duration


def test_an_echo_is_spread_over_its_gap(durations):
    circuit = QuantumCircuit(156, 2)
    gap = circuit.add_stretch("gap")
    circuit.barrier(10, 11)
    circuit.delay(1003, 10)
    circuit.delay(gap, 11)
    circuit.x(11)
    circuit.delay(expr.mul(gap, 2), 11)
    circuit.x(11)
    circuit.delay(gap, 11)
    circuit.barrier(10, 11)
    circuit.measure([10, 11], [0, 1])
    concrete, (told,) = resolve(circuit, durations)
    # 1003 - 2 * 6 = 991 = 4 * 247 + 3
    assert told["name"] == "gap"
    assert told["value"] == 247
    assert told["remainder"] == 3
    assert [length for _, length in told["expanded_values"]] == [247, 494, 247]
    starts = [start for start, _ in told["expanded_values"]]
    assert starts[1] - starts[0] == 247 + 6
    assert starts[2] - starts[1] == 494 + 6
    assert total(concrete, durations) == 1003 + 390
    assert all(entry.operation.unit == "dt" for entry in concrete.data if entry.operation.name == "delay")


def test_stretches_that_share_a_gap_share_it_fairly(durations):
    circuit = QuantumCircuit(156)
    first, second, third = (circuit.add_stretch(name) for name in "abc")
    circuit.barrier(0, 1, 2)
    circuit.delay(900, 0)
    circuit.delay(expr.add(first, Duration.dt(100)), 1)
    circuit.delay(second, 1)
    circuit.delay(third, 2)
    circuit.barrier(0, 1, 2)
    _, told = resolve(circuit, durations)
    assert {entry["name"]: entry["value"] for entry in told} == {"a": 400, "b": 400, "c": 900}


def test_a_stretch_without_room_is_nothing(durations):
    circuit = QuantumCircuit(156)
    gap = circuit.add_stretch("gap")
    circuit.x(3)
    circuit.delay(gap, 3)
    circuit.x(3)
    concrete, (told,) = resolve(circuit, durations)
    assert (told["value"], told["remainder"], told["expanded_values"]) == (0, 0, [[6, 0]])
    assert total(concrete, durations) == 12


def test_what_makes_no_sense_is_refused(durations):
    circuit = QuantumCircuit(156)
    circuit.add_stretch("unused")
    circuit.x(3)
    with pytest.raises(JobError, match="the stretch unused isn't used"):
        resolve(circuit, durations)
    circuit = QuantumCircuit(156)
    gap = circuit.add_stretch("gap")
    circuit.delay(expr.sub(Duration.dt(100), gap), 3)
    with pytest.raises(JobError, match="positive multiples"):
        resolve(circuit, durations)


def test_values_are_told_where_they_are_asked_for():
    circuit = QuantumCircuit(156, 2)
    gap = circuit.add_stretch("gap")
    circuit.x(10)
    circuit.barrier(10, 11)
    circuit.delay(300, 10)
    circuit.delay(gap, 11)
    circuit.barrier(10, 11)
    circuit.measure([10, 11], [0, 1])
    asked = run(WorkUnit([item(circuit, 20)], stretch_values=True), emulator("fez")).items[0]
    assert asked.stretch_values[0]["value"] == 300
    assert asked.bits["c"].shape == (1, 20, 1)
    assert run(WorkUnit([item(circuit, 20)]), emulator("fez")).items[0].stretch_values is None
