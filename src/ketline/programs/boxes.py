"""Boxes in circuits that run as they are: what is inside takes the box's place.

A box groups instructions. What an annotation asks for is done by a samplex; without one it asks for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketline.programs.failures import rejected

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit


def unboxed(circuit: QuantumCircuit, field: str) -> QuantumCircuit:
    """The same circuit without boxes, those within control flow included.

    Barriers stand where a box's edges were, since nothing moves in or out of a box.

    Raises:
        JobError: a box has a duration of its own, which no schedule could keep without it.
    """
    names = circuit.count_ops()
    if "box" not in names and not circuit.has_control_flow_op():
        return circuit
    flat = circuit.copy_empty_like()
    for instruction in circuit.data:
        operation = instruction.operation
        if instruction.name == "box" and instruction.is_control_flow():
            if operation.duration is not None:
                raise rejected(field, "a box has a duration.", "Use a delay inside of the box instead.")
            body = unboxed(operation.body, field)
            flat.barrier(instruction.qubits)
            flat.compose(
                body, instruction.qubits, instruction.clbits, inplace=True, copy=False, inline_captures=True
            )
            flat.barrier(instruction.qubits)
        elif hasattr(operation, "replace_blocks"):
            blocks = [unboxed(block, field) for block in operation.blocks]
            flat.append(operation.replace_blocks(blocks), instruction.qubits, instruction.clbits, copy=False)
        else:
            flat.append(instruction)
    return flat
