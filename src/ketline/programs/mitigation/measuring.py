"""Measuring chosen qubits of a circuit at its end, in any basis, with or without bit flips.

    circuit, name = with_measurement(circuit, qubits)      # bit i of register `name` is qubits[i]
    template = dress(circuit_without_measurement, qubits)  # the same with the basis as parameters
    drawn = template.draw(points, randomizations, rng, bases=bases, flips=True)

A dressing is ``rz(a) sx rz(b) sx`` on each qubit: every basis change, followed by a flip or not, takes the
same pulses, so that all bases and flips suffer the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ClassicalRegister, Parameter, ParameterVector, QuantumCircuit

from ketline.programs.mitigation.circuits import without_final_measurements
from ketline.programs.mitigation.twirling import Drawn

_FIRST = np.array([0.0, 0.0, np.pi, np.pi / 2])
_SECOND = np.array([np.pi, np.pi, 3 * np.pi / 2, 3 * np.pi / 2])


def with_measurement(circuit: QuantumCircuit, qubits: Sequence[int]) -> tuple[QuantumCircuit, str]:
    """Replace a circuit's final measurements by one of ``qubits``, into a register of their own.

    Measurements in the middle of the circuit stay. Returns the circuit and the register's name.
    """
    bare = without_final_measurements(circuit)
    name = _measure(bare, qubits)
    return bare, name


def _measure(circuit: QuantumCircuit, qubits: Sequence[int]) -> str:
    taken = {register.name for register in circuit.cregs}
    name = next(
        name for name in ("_meas", *(f"_meas{k}" for k in range(len(taken) + 1))) if name not in taken
    )
    register = ClassicalRegister(len(qubits), name)
    circuit.add_register(register)
    # Without the barrier a scheduler would measure early those qubits that are done early.
    circuit.barrier()
    circuit.measure(list(qubits), register)
    return name


@dataclass(frozen=True)
class Dressed:
    """A circuit whose last measurement has its bases and flips as parameters.

    ``register`` is that of the measurement. Without ``dressing`` there are no such parameters, and all bases
    must be Z or I.
    """

    circuit: QuantumCircuit
    register: str
    original: tuple[Parameter, ...]
    dressing: tuple[Parameter, ...]

    def draw(
        self,
        points: NDArray[np.float64],
        randomizations: int,
        rng: np.random.Generator,
        *,
        bases: NDArray[np.uint8],
        flips: bool,
    ) -> Drawn:
        """Parameter sets for every point in its basis, with fresh random flips in each if asked for.

        Args:
            points: ``(n_points, n_parameters)``, columns in the order of the original circuit's parameters.
            randomizations: Copies of all points; set ``r * n_points + i`` is point ``i``.
            rng: The source of the flips.
            bases: uint8 ``(n_points, n_qubits)``: 0 I, 1 Z, 2 X, 3 Y.
            flips: Whether to flip at random; the same pulses are applied either way.
        """
        n_points, n_qubits = bases.shape
        sets = randomizations * n_points
        drawn = {}
        order = {parameter: column for column, parameter in enumerate(self.circuit.parameters)}
        values = np.empty((sets, len(order)))
        values[:, [order[parameter] for parameter in self.original]] = np.tile(points, (randomizations, 1))
        if self.dressing or not n_qubits:
            tiled = np.tile(bases, (randomizations, 1))
            flipped = np.zeros((sets, n_qubits), np.bool_)
            if flips:
                flipped = rng.integers(0, 2, (sets, n_qubits), dtype=np.uint8).view(np.bool_)
                drawn[self.register] = flipped
            values[:, [order[parameter] for parameter in self.dressing[0::2]]] = _FIRST[tiled]
            values[:, [order[parameter] for parameter in self.dressing[1::2]]] = (
                _SECOND[tiled] + np.pi * flipped
            )
        elif flips or (bases > 1).any():
            raise ValueError("this circuit measures in the computational basis only")
        return Drawn(values, drawn)


def dress(circuit: QuantumCircuit, qubits: Sequence[int], *, dressing: bool = True) -> Dressed:
    """Replace the final measurements by one of ``qubits`` in a basis that is a parameter.

    Args:
        circuit: On physical qubits; control flow and mid-circuit measurement are allowed.
        qubits: What to measure.
        dressing: False to measure in the computational basis only, without any additional gate.
    """
    original = tuple(circuit.parameters)
    bare = without_final_measurements(circuit)
    parameters: tuple[Parameter, ...] = ()
    if dressing:
        taken = {parameter.name.partition("[")[0] for parameter in original}
        prefix = "_basis"
        while prefix in taken:
            prefix += "_"
        parameters = tuple(ParameterVector(prefix, 2 * len(qubits)))
        for i, qubit in enumerate(qubits):
            bare.rz(parameters[2 * i], qubit)
            bare.sx(qubit)
            bare.rz(parameters[2 * i + 1], qubit)
            bare.sx(qubit)
    name = _measure(bare, qubits)
    return Dressed(bare, name, original, parameters)
