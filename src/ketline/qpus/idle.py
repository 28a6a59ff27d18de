"""The noise of qubits that wait: relaxation, and a slow dephasing that echoes undo.

While a qubit waits it relaxes with its T1 and T2, and it turns about Z because its frequency is off by a
little. That detuning changes slowly: it is the same during a whole shot, and is drawn anew every few shots
from a Gaussian of mean 0 and standard deviation ``sqrt(2) / T2``, so that a Ramsey signal decays with
``exp(-t/T2) exp(-(t/T2)^2)`` and an echo leaves ``exp(-t/T2)``. That is what dynamical decoupling works
against on a device (`docs/decisions/idle-noise.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Delay, QuantumCircuit

if TYPE_CHECKING:
    from qiskit.circuit import Parameter

    from ketline.qpus.noise import DeviceNoise
    from ketline.qpus.schedule import Schedule

_MOST_DETUNINGS = 128
_LEAST_DETUNINGS = 8
_MOST_ROWS = 4096


def padded(circuit: QuantumCircuit, plan: Schedule) -> QuantumCircuit:
    """The circuit with every wait of its schedule spelled out as a delay.

    Waits before a qubit's first instruction are left out: it is in its ground state.
    """
    full = circuit.copy_empty_like()
    append = full._append  # noqa: SLF001 - all instructions come from a circuit that is already checked
    index = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    free: dict[int, int] = {}
    for event in plan.events:
        if event.instruction.operation.name == "barrier":
            continue
        for qubit in event.instruction.qubits:
            place = index[qubit]
            gap = event.start - free.get(place, event.start)
            if gap > 0:
                full.append(Delay(gap, "dt"), [qubit], copy=False)
            free[place] = event.start + event.duration
        append(event.instruction)
    return full


def detunings(sets: int, shots: int) -> int:
    """How many detunings the shots of one parameter set are spread over."""
    return min(shots, _MOST_DETUNINGS, max(_LEAST_DETUNINGS, _MOST_ROWS // sets))


def turns(
    slow: Mapping[Parameter, tuple[int, int]], rows: int, noise: DeviceNoise, rng: np.random.Generator
) -> dict[Parameter, NDArray[np.float64]]:
    """Angles about Z by which qubits turn while they wait.

    Args:
        slow: the physical qubit and the length in dt of the wait that each parameter stands for.
        rows: how many detunings are drawn; the same one holds for all waits of a qubit.
        noise: tells how far qubits are off.
        rng: randomness.
    """
    drawn = {
        qubit: rng.normal(0.0, noise.detuning(qubit), rows) for qubit in sorted({q for q, _ in slow.values()})
    }
    return {parameter: drawn[qubit] * noise.seconds(length) for parameter, (qubit, length) in slow.items()}
