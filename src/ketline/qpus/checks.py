"""What a unit of work may not ask of the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ketline.errors import INVALID_REQUEST, NOT_EMULATED
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from ketline.units.device import Device
    from ketline.units.work import WorkUnit


def check(unit: WorkUnit, device: Device, first: int = 0) -> None:
    """Refuse what a unit asks for that the emulator can't do; its items are numbered from ``first`` on.

    Raises:
        JobError: naming the option.
    """
    known = {"noise_model", "seed_simulator", "coupling_map", "basis_gates"}
    unknown = sorted(set(unit.simulator) - known)
    if unknown:
        raise JobError(
            NOT_EMULATED.code,
            f"simulator.{unknown[0]}: the emulator has no such option; it has {', '.join(sorted(known))}",
            NOT_EMULATED.solution,
        )
    for number, item in enumerate(unit.items, first):
        if item.circuit.num_qubits > device.num_qubits:
            raise JobError(
                INVALID_REQUEST.code,
                f"the circuit of item {number} has {item.circuit.num_qubits} qubits, "
                f"{device.name} has {device.num_qubits}",
                "Transpile the circuit for this backend.",
            )
        shape, expected = np.shape(item.parameter_values), item.circuit.num_parameters
        if len(shape) != 2 or shape[0] < 1 or shape[1] != expected:
            raise JobError(
                INVALID_REQUEST.code,
                f"the circuit of item {number} has {expected} parameters, its values have shape {shape}",
                "Give one value a parameter, in the order of circuit.parameters.",
            )
        if item.shots < 1:
            raise JobError(
                INVALID_REQUEST.code, f"item {number} asks for {item.shots} shots", "Ask for 1 shot or more."
            )
        _check_simulator_options(unit, number, item.circuit)


def _check_simulator_options(unit: WorkUnit, number: int, circuit: QuantumCircuit) -> None:
    coupling: Any = unit.simulator.get("coupling_map")
    basis: Any = unit.simulator.get("basis_gates")
    if coupling is None and basis is None:
        return
    pairs = None if coupling is None else {tuple(pair) for pair in coupling}
    always = {"measure", "reset", "delay", "barrier", "if_else", "for_loop", "while_loop", "switch_case"}
    index = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        name = instruction.operation.name
        if name in always:
            continue
        if basis is not None and name not in basis:
            raise JobError(
                INVALID_REQUEST.code,
                f"the circuit of item {number} uses {name}, which isn't in simulator.basis_gates",
                "Transpile the circuit for these basis gates.",
            )
        where = tuple(index[q] for q in instruction.qubits)
        if pairs is not None and len(where) == 2 and where not in pairs and where[::-1] not in pairs:
            raise JobError(
                INVALID_REQUEST.code,
                f"the circuit of item {number} has {name} on qubits {where}, "
                "which simulator.coupling_map doesn't couple",
                "Transpile the circuit for this coupling map.",
            )
