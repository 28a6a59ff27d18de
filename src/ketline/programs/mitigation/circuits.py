"""Circuits without the qubits that nothing happens to.

A circuit for a large device uses few of its qubits. `compact` leaves the others away, in the same order, so
that what follows costs as much as what is used; `place` puts a compact circuit back on physical qubits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qiskit.circuit import CircuitInstruction, ClassicalRegister, QuantumCircuit

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
    return _rewrite(circuit, new_index, len(qubits), circuit.data, circuit.cregs)


def place(circuit: QuantumCircuit, qubits: Sequence[int], width: int) -> QuantumCircuit:
    """The inverse of `compact`: qubit ``i`` becomes ``qubits[i]`` of ``width``.

    Circuits without variables only, which is what can be twirled or decoupled.
    """
    placed = QuantumCircuit(width, name=circuit.name, metadata=circuit.metadata)
    placed.add_bits(circuit.clbits)
    for register in circuit.cregs:
        placed.add_register(register)
    placed.compose(circuit, qubits, placed.clbits, inplace=True, copy=False)
    return placed


def without_final_measurements(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit up to the measurements that end it, and without the registers that only they write.

    Unlike Qiskit's own method this keeps a measurement whose bit is read by what comes later.
    """
    kept = []
    busy, read = set(), set()
    for instruction in reversed(circuit.data):
        name = instruction.operation.name
        if name == "measure" and instruction.qubits[0] not in busy and instruction.clbits[0] not in read:
            continue
        kept.append(instruction)
        if name == "barrier":
            continue
        busy.update(instruction.qubits)
        # A store tells its expression's bits nowhere but in the expression.
        read.update(circuit.clbits if name == "store" else instruction.clbits)
    registers = [register for register in circuit.cregs if not read.isdisjoint(register)]
    width = range(circuit.num_qubits)
    return _rewrite(circuit, dict(zip(width, width, strict=True)), len(width), kept[::-1], registers)


def _rewrite(
    circuit: QuantumCircuit,
    new_index: dict[int, int],
    width: int,
    instructions: Iterable[CircuitInstruction],
    registers: Iterable[ClassicalRegister],
) -> QuantumCircuit:
    new = QuantumCircuit(
        width, name=circuit.name, global_phase=circuit.global_phase, metadata=circuit.metadata
    )
    loose = [bit for bit in circuit.clbits if not circuit.find_bit(bit).registers]
    if loose:
        new.add_bits(loose)
    for register in registers:
        new.add_register(register)
    for variable in circuit.iter_input_vars():
        new.add_input(variable)
    for variable in circuit.iter_declared_vars():
        new.add_uninitialized_var(variable)
    for stretch in circuit.iter_declared_stretches():
        new.add_stretch(stretch)
    places = {circuit.qubits[old]: new.qubits[index] for old, index in new_index.items()}
    append = new._append  # noqa: SLF001 - what `append` checks was checked when the circuit was read
    for instruction in instructions:
        qubits = [places[qubit] for qubit in instruction.qubits if qubit in places]
        if not qubits and instruction.qubits:
            continue
        if instruction.name == "barrier" and len(qubits) < len(instruction.qubits):
            new.barrier(qubits, label=instruction.label)
            continue
        append(instruction.replace(qubits=qubits))
    return new
