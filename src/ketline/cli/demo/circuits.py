"""What the demo computes: small, and with known answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp


def bell(*, measured: bool) -> QuantumCircuit:
    """The Bell state (|00> + |11>)/√2."""
    from qiskit.circuit import QuantumCircuit

    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure_all()
    return circuit


def sweep(count: int, rng: np.random.Generator) -> list[tuple[QuantumCircuit, NDArray[np.float64]]]:
    """Parameterised circuits on four qubits, each with five random sets of parameters."""
    from qiskit.circuit.library import real_amplitudes

    pairs = []
    for n in range(count):
        circuit = real_amplitudes(4, reps=1 + n % 2)
        circuit.measure_all()
        pairs.append((circuit, rng.uniform(0, 2 * math.pi, (5, circuit.num_parameters))))
    return pairs


def ising(sites: int) -> SparsePauliOp:
    """A chain of spins in a transverse field: -Σ ZZ - Σ X, open ends."""
    from qiskit.quantum_info import SparsePauliOp

    bonds = [("ZZ", [i, i + 1], -1.0) for i in range(sites - 1)]
    field = [("X", [i], -1.0) for i in range(sites)]
    return SparsePauliOp.from_sparse_list([*bonds, *field], num_qubits=sites)


def ground_energy(observable: SparsePauliOp) -> float:
    """The smallest eigenvalue."""
    return float(np.linalg.eigvalsh(observable.to_matrix())[0])
