"""Gates that a circuit defines itself, which a simulator takes: what they are made of, in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qiskit.circuit import CONTROL_FLOW_OP_NAMES

from ketline.errors import INVALID_REQUEST
from ketline.qpus.reduce import KNOWN
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qiskit.circuit import CircuitInstruction, QuantumCircuit

_MOST_INSTRUCTIONS = 1_000_000
_MOST_QUBITS = 6
"""Of a gate that is to be taken apart; with wider ones that takes too long."""
_DEEPEST = 100
_ASIDE = frozenset({"store"})
"""Refused in words of its own."""


def expanded(circuit: QuantumCircuit) -> QuantumCircuit:
    """The same circuit in instructions that can be simulated.

    Raises:
        JobError: an instruction has no definition, or comes to too many instructions.
    """
    if not _unknown(circuit):
        return circuit
    return _Expander().expand(circuit)


def _unknown(circuit: QuantumCircuit) -> bool:
    names = set(circuit.count_ops()) - KNOWN - _ASIDE
    if not names - CONTROL_FLOW_OP_NAMES:
        return any(
            _unknown(block)
            for instruction in (circuit.data if names else ())
            if instruction.is_control_flow()
            for block in instruction.operation.blocks
        )
    return True


class _Expander:
    def __init__(self) -> None:
        self._left = _MOST_INSTRUCTIONS

    def expand(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """A block or a whole circuit."""
        into = circuit.copy_empty_like()
        same: dict[Any, Any] = {bit: bit for bit in (*circuit.qubits, *circuit.clbits)}
        for instruction in circuit.data:
            self._put(instruction, into, same, 0)
        return into

    def _put(
        self, instruction: CircuitInstruction, into: QuantumCircuit, bits: Mapping[Any, Any], depth: int
    ) -> None:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise JobError(
                INVALID_REQUEST.code,
                f"the circuit's own gates come to more than {_MOST_INSTRUCTIONS:,} instructions, or stand "
                f"more than {_DEEPEST} deep in each other",
                "Transpile the circuit for this backend.",
            )
        placed = instruction.replace(
            qubits=[bits[qubit] for qubit in instruction.qubits],
            clbits=[bits[clbit] for clbit in instruction.clbits],
        )
        if instruction.is_control_flow():
            blocks = [self.expand(block) for block in instruction.operation.blocks]
            into.append(placed.replace(operation=instruction.operation.replace_blocks(blocks)))
            return
        if instruction.name in KNOWN or instruction.name in _ASIDE:
            into.append(placed)
            return
        definition = None
        if len(instruction.qubits) <= _MOST_QUBITS:
            definition = instruction.operation.definition
        if definition is None:
            raise JobError(
                INVALID_REQUEST.code,
                f"the instruction {instruction.name[:80]!r} on {len(instruction.qubits)} qubits can't be "
                "emulated",
                "Transpile the circuit for this backend.",
            )
        inner = dict(zip(definition.qubits, placed.qubits, strict=True))
        inner |= dict(zip(definition.clbits, placed.clbits, strict=True))
        for inside in definition.data:
            self._put(inside, into, inner, depth + 1)
