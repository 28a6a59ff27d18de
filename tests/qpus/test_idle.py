"""Waiting qubits lose their phase as theory says, and echoes give the slow part of it back."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qpu_lab import device, item, numbers, run

from ketline.qpus.idle import detunings, padded
from ketline.qpus.schedule import Durations, schedule
from ketline.units.work import WorkUnit

QUBIT = 2


def ramsey(wait: int, echoes: int, explicit: bool = True) -> QuantumCircuit:
    """Half a turn, a wait with perfect echoes in it, half a turn back: 0 if the phase is kept."""
    circuit = QuantumCircuit(5, 1)
    circuit.sx(QUBIT)
    part = wait // (2 * echoes) if echoes else wait
    if explicit:
        circuit.delay(part, QUBIT)
        for number in range(echoes):
            circuit.x(QUBIT)
            circuit.delay(part * (1 if number == echoes - 1 else 2), QUBIT)
    else:
        circuit.x(0)
        circuit.delay(wait, 0)
        circuit.barrier()
    circuit.sxdg(QUBIT) if echoes % 2 == 0 else circuit.sx(QUBIT)
    circuit.measure(QUBIT, 0)
    return circuit


def kept(circuit: QuantumCircuit, shots: int, **more: bool) -> float:
    unit = WorkUnit([item(circuit, shots)], simulator={}, **more)
    return 1 - 2 * float(numbers(run(unit).items[0], "c", 1).mean())


def theory(wait: int, echoed: bool, slow: bool) -> float:
    """Contrast with relaxation, slow dephasing and readout errors; gates are perfect but for about 1e-3."""
    qubit = device("manila").target.qubit_properties[QUBIT]
    seconds = wait * device("manila").dt_seconds
    contrast = np.exp(-seconds / qubit.t2)
    if slow and not echoed:
        contrast *= np.exp(-((seconds / qubit.t2) ** 2))
    return contrast * (1 - 2 * device("manila").target["measure"][QUBIT,].error)


@pytest.mark.parametrize("echoes", [0, 1, 2])
def test_echoes_undo_slow_dephasing_and_nothing_else(echoes):
    qubit = device("manila").target.qubit_properties[QUBIT]
    wait = 4 * round(0.6 * qubit.t2 / device("manila").dt_seconds / 4)
    shots = 40_000
    found = kept(ramsey(wait, echoes), shots, idle_noise=True)
    expected = theory(wait, echoed=echoes > 0, slow=True)
    # The detunings are a sample too: their spread, at 128 of them, is the larger part of the deviation.
    sampled = 0.6 / np.sqrt(detunings(1, shots)) if echoes == 0 else 0.0
    deviation = np.hypot(1 / np.sqrt(shots), sampled)
    assert abs(found - expected) < 5 * deviation + 0.005
    wrong = theory(wait, echoed=echoes == 0, slow=True)
    assert abs(found - wrong) > abs(found - expected)


def test_without_idle_noise_a_delay_only_relaxes():
    qubit = device("manila").target.qubit_properties[QUBIT]
    wait = round(0.6 * qubit.t2 / device("manila").dt_seconds)
    found = kept(ramsey(wait, 0), 40_000)
    assert abs(found - theory(wait, echoed=False, slow=False)) < 5 / np.sqrt(40_000) + 0.005


def test_waits_that_nobody_wrote_down_are_simulated_too():
    """The qubit waits because of a barrier; only idle noise sees that."""
    qubit = device("manila").target.qubit_properties[QUBIT]
    wait = round(0.8 * qubit.t2 / device("manila").dt_seconds)
    circuit = QuantumCircuit(5, 1)
    circuit.sx(QUBIT)
    circuit.barrier(0, QUBIT)
    circuit.delay(wait, 0)
    circuit.barrier(0, QUBIT)
    circuit.sxdg(QUBIT)
    circuit.measure(QUBIT, 0)
    unaware, aware = (kept(circuit, 20_000, idle_noise=idle) for idle in (False, True))
    read = 1 - 2 * device("manila").target["measure"][QUBIT,].error
    assert unaware > 0.97 * read
    assert aware < 0.5 * read


def test_padding_spells_out_the_waits():
    manila = device("manila")
    durations = Durations(manila.target, manila.dt_seconds)
    circuit = QuantumCircuit(5, 2)
    circuit.sx(0)
    circuit.sx(1)
    circuit.delay(10_000, 1)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    plan = schedule(circuit, durations, {q: i for i, q in enumerate(circuit.qubits)})
    full = padded(circuit, plan)
    assert schedule(full, durations, {q: i for i, q in enumerate(full.qubits)}).duration == plan.duration
    assert full.count_ops()["delay"] == 1
    circuit = QuantumCircuit(5, 2)
    circuit.sx(0)
    circuit.sx(1)
    circuit.barrier(0, 1)
    circuit.delay(10_000, 1)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    plan = schedule(circuit, durations, {q: i for i, q in enumerate(circuit.qubits)})
    full = padded(circuit, plan)
    waits = [
        (full.find_bit(entry.qubits[0]).index, entry.operation.duration)
        for entry in full.data
        if entry.operation.name == "delay"
    ]
    assert (0, 10_000) in waits
    assert (1, 10_000) in waits


def test_sweeps_with_idle_noise_keep_their_sets_apart():
    from qiskit.circuit import Parameter

    angle = Parameter("angle")
    circuit = QuantumCircuit(5, 1)
    circuit.rx(angle, QUBIT)
    circuit.delay(400, QUBIT)
    circuit.measure(QUBIT, 0)
    unit = WorkUnit([item(circuit, 999, np.asarray([[0.0], [np.pi]]), chunk_sets=1)], idle_noise=True)
    outcome = run(unit)
    means = numbers(outcome.items[0], "c", 1).mean(axis=1)
    assert means[0] < 0.2
    assert means[1] > 0.75
    assert [(span.first_set, span.last_set) for span in outcome.spans] == [(0, 1), (1, 2)]


def test_detunings_are_bounded():
    assert detunings(1, 5) == 5
    assert detunings(1, 4096) == 128
    assert detunings(1000, 4096) == 8
