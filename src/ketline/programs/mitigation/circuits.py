"""Circuits without the qubits that nothing happens to.

A circuit for a large device uses few of its qubits. `compact` leaves the others away, in the same order, so
that what follows costs as much as what is used; `place` puts a compact circuit back on physical qubits.
"""

from __future__ import annotations

from collections.abc import Sequence

from qiskit.circuit import QuantumCircuit

_NOTHING = frozenset({"barrier", "delay"})


def used_qubits(circuit: QuantumCircuit) -> list[int]:
    """Indices of the qubits with an instruction other than a barrier or a delay, ascending."""
    return sorted(
        {
            circuit.find_bit(qubit).index
            for instruction in circuit.data
            if instruction.operation.name not in _NOTHING
            for qubit in instruction.qubits
        }
    )


def compact(circuit: QuantumCircuit, qubits: Sequence[int]) -> QuantumCircuit:
    """The same instructions on ``len(qubits)`` qubits; qubit ``i`` stands for ``qubits[i]``.

    Instructions on other qubits alone (barriers, delays) are left away; a barrier keeps the qubits that stay.
    Classical registers, variables, global phase and metadata stay.
    """
    new_index = {old: new for new, old in enumerate(qubits)}
    return _rewrite(circuit, new_index, len(qubits))


def place(circuit: QuantumCircuit, qubits: Sequence[int], width: int) -> QuantumCircuit:
    """The inverse of `compact`: qubit ``i`` becomes ``qubits[i]`` of ``width``."""
    return _rewrite(circuit, dict(enumerate(qubits)), width)


def _rewrite(circuit: QuantumCircuit, new_index: dict[int, int], width: int) -> QuantumCircuit:
    new = QuantumCircuit(
        width, name=circuit.name, global_phase=circuit.global_phase, metadata=circuit.metadata
    )
    loose = [bit for bit in circuit.clbits if not circuit.find_bit(bit).registers]
    if loose:
        new.add_bits(loose)
    for register in circuit.cregs:
        new.add_register(register)
    for variable in circuit.iter_input_vars():
        new.add_input(variable)
    for variable in circuit.iter_declared_vars():
        new.add_uninitialized_var(variable)
    for stretch in circuit.iter_declared_stretches():
        new.add_stretch(stretch)
    for instruction in circuit.data:
        qubits = [
            new.qubits[new_index[index]]
            for index in (circuit.find_bit(qubit).index for qubit in instruction.qubits)
            if index in new_index
        ]
        operation = instruction.operation
        if not qubits and instruction.qubits:
            continue
        if operation.name == "barrier" and len(qubits) < operation.num_qubits:
            new.barrier(qubits, label=operation.label)
            continue
        new.append(operation, qubits, instruction.clbits, copy=False)
    return new
