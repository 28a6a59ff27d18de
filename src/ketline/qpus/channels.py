"""The error of a device's gate as a channel, straight from the device's figures.

Aer builds such an error as a mixture of circuits (`DeviceNoise.error`), which takes a while for a pair of
qubits. The same channel in closed form: relaxation of each qubit for the gate's length after depolarisation,
whose strength makes the average gate error come out as recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import SuperOp


def relaxation_paulis(t1: float, t2: float, seconds: float) -> NDArray[np.float64]:
    """Probabilities of I, X, Y, Z in the Pauli twirl of relaxation at temperature 0."""
    flip = -np.expm1(-seconds / t1) / 4
    phase = -np.expm1(-seconds / t2) / 2 - flip
    return np.asarray([1 - 2 * flip - phase, flip, flip, phase])


def relaxation_superop(t1: float, t2: float, seconds: float) -> NDArray[np.float64]:
    """Relaxation at temperature 0 as a superoperator on column-stacked density matrices."""
    kept, coherent = np.exp(-seconds / t1), np.exp(-seconds / t2)
    matrix = np.diag([1.0, coherent, coherent, kept])
    matrix[0, 3] = 1 - kept
    return matrix


def depolarising(error: float, identity: float, width: int) -> float:
    """Strength of the depolarisation that, with relaxation, makes a gate's average error come out.

    Args:
        error: the recorded average gate error.
        identity: probability of the identity in the Pauli twirl of the relaxation.
        width: qubits of the gate.
    """
    size = 2**width
    fidelity = (size * identity + 1) / (size + 1)
    if error <= 1 - fidelity:
        return 0.0
    strength = size * (min(error, size / (size + 1)) - (1 - fidelity)) / (size * fidelity - 1)
    return float(min(strength, 4**width / (4**width - 1)))


def gate_strength(times: Sequence[tuple[float, float]], seconds: float, error: float) -> float:
    """`depolarising` for a gate of a length on qubits with these (T1, T2)."""
    identity = float(np.prod([relaxation_paulis(t1, t2, seconds)[0] for t1, t2 in times]))
    return depolarising(error, identity, len(times))


def gate_paulis(times: Sequence[tuple[float, float]], seconds: float, strength: float) -> NDArray[np.float64]:
    """Pauli twirl of relaxation after depolarisation; shape ``(4,) * n``, I X Y Z, first qubit first.

    Args:
        times: T1 and T2 of each qubit.
        seconds: the gate's length.
        strength: of the depolarisation.
    """
    width = len(times)
    relaxed = reduce(np.multiply.outer, [relaxation_paulis(t1, t2, seconds) for t1, t2 in times])
    return np.asarray((1 - strength) * relaxed + strength / 4**width)


def gate_superop(times: Sequence[tuple[float, float]], seconds: float, strength: float) -> SuperOp:
    """Relaxation after depolarisation as a superoperator."""
    width = len(times)
    relaxed = SuperOp(relaxation_superop(*times[0], seconds))
    for t1, t2 in times[1:]:
        relaxed = relaxed.expand(SuperOp(relaxation_superop(t1, t2, seconds)))
    identity = np.eye(2**width).reshape(-1, order="F")
    mixed = np.outer(identity, identity) / 2**width
    depolarised = (1 - strength) * np.eye(4**width) + strength * mixed
    return SuperOp(relaxed.data @ depolarised)
