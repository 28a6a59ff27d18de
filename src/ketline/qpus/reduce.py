"""A circuit on the few qubits that it touches.

A device has many qubits and a circuit touches few. Qubits on which nothing but barriers and delays happens
stay in their ground state, and nothing that is measured depends on them, so leaving them out changes no
distribution. Classical bits and registers stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qiskit.circuit import ForLoopOp, Parameter, QuantumCircuit, Qubit
from qiskit.circuit.library import IGate, RZGate

from ketline.errors import INVALID_REQUEST, NOT_EMULATED
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from qiskit.circuit import CircuitInstruction

    from ketline.qpus.schedule import Durations

DELAY = "delay:"
"""Start of the label that a delay of so many dt carries in a reduced circuit, where it is an identity."""

_SILENT = frozenset({"barrier", "delay"})
_GATES = """
    id x y z h s sdg t tdg sx sxdg rx ry rz p r u u1 u2 u3 cx cy cz cp crx cry crz ch ecr swap csx rxx ryy
    rzz rzx ccx ccz cswap
"""
KNOWN = frozenset([*_GATES.split(), "measure", "reset", "delay", "barrier", "break_loop", "continue_loop"])
"""Instructions that can be emulated, besides control flow."""


@dataclass(slots=True)
class Reduced:
    """A circuit on the qubits that it touches.

    ``qubits`` are the physical qubits of the circuit's qubits, ``uses`` the pairs (name, physical qubits)
    of all its instructions (a delay's name is ``delay:<dt>``) with how often each stands there.
    ``terminal`` tells that every measurement comes after everything else on its qubit, once, without
    control flow or resets; ``entangling`` counts the instructions on each pair of physical qubits.
    ``slow`` are parameters for the angles by which waiting qubits turn, as (physical qubit, length in dt).
    """

    circuit: QuantumCircuit
    qubits: tuple[int, ...]
    uses: dict[tuple[str, tuple[int, ...]], int]
    terminal: bool
    dynamic: bool
    entangling: dict[tuple[int, int], int] = field(default_factory=dict)
    slow: dict[Parameter, tuple[int, int]] = field(default_factory=dict)

    @property
    def gates(self) -> int:
        """Instructions, barriers and those left out not counted."""
        return sum(self.uses.values())


def touched(circuit: QuantumCircuit) -> list[int]:
    """Indices of the qubits on which something besides barriers and delays happens, in order."""
    index = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    found = {index[q] for q in _touched(circuit)}
    return sorted(found)


def _touched(circuit: QuantumCircuit) -> set[Qubit]:
    found: set[Qubit] = set()
    for instruction in circuit.data:
        if instruction.name in _SILENT:
            continue
        if instruction.is_control_flow():
            for block in instruction.operation.blocks:
                inner = _touched(block)
                found.update(
                    outer
                    for outer, q in zip(instruction.qubits, block.qubits, strict=True)
                    if q in inner
                )  # fmt: skip
        else:
            found.update(instruction.qubits)
    return found


class _Reducer:
    def __init__(self, durations: Durations, noisy: bool, slow: bool) -> None:
        self.durations = durations
        self.noisy = noisy
        self.turning: dict[tuple[int, int], Parameter] | None = {} if slow else None
        self.pending: dict[Qubit, list[int]] = {}
        self.uses: dict[tuple[str, tuple[int, ...]], int] = {}
        self.entangling: dict[tuple[int, int], int] = {}
        self.measured: set[Qubit] = set()
        self.terminal = True
        self.dynamic = False

    def fill(
        self, source: QuantumCircuit, into: QuantumCircuit, qubits: dict[Qubit, Qubit],
        places: dict[Qubit, int], weight: int, top: bool,
    ) -> None:  # fmt: skip
        append = into._append  # noqa: SLF001 - the checks of `append` were made when the circuit was loaded
        uses, measured = self.uses, self.measured
        for instruction in source.data:
            name = instruction.name
            if name == "barrier":
                continue
            if instruction.is_control_flow():
                self.dynamic, self.terminal = True, False
                self._wait(into, instruction, qubits, places, weight)
                self._control_flow(instruction, into, qubits, places, weight)
                continue
            if name == "store":
                raise JobError(
                    NOT_EMULATED.code,
                    "the circuit stores to a classical variable, which the emulator can't do",
                    "Use classical bits and registers.",
                )
            if name not in KNOWN:
                raise JobError(
                    INVALID_REQUEST.code,
                    f"the instruction {name!r} can't be emulated",
                    "Transpile the circuit for this backend.",
                )
            if name == "delay":
                qubit = instruction.qubits[0]
                if self.noisy and qubit in qubits and (length := self.durations.delay(instruction.operation)):
                    self.pending.setdefault(qubits[qubit], []).append(length)
                continue
            if self.pending:
                self._wait(into, instruction, qubits, places, weight)
            where = tuple([places[q] for q in instruction.qubits])
            key = (name, where)
            uses[key] = uses.get(key, 0) + weight
            if len(where) == 2:
                pair = (min(where), max(where))
                self.entangling[pair] = self.entangling.get(pair, 0) + weight
            if top:
                if name == "measure":
                    if instruction.qubits[0] in measured:
                        self.terminal = False
                    measured.add(instruction.qubits[0])
                elif name == "reset" or (measured and not measured.isdisjoint(instruction.qubits)):
                    self.terminal = False
            append(instruction.replace(qubits=[qubits[q] for q in instruction.qubits]))

    def _wait(
        self, into: QuantumCircuit, instruction: CircuitInstruction, qubits: dict[Qubit, Qubit],
        places: dict[Qubit, int], weight: int,
    ) -> None:  # fmt: skip
        """Put down the waits of an instruction's qubits; those that nothing follows are never put down."""
        for qubit in instruction.qubits:
            if qubit in qubits:
                for length in self.pending.pop(qubits[qubit], ()):
                    self._put_down(into, qubits[qubit], places[qubit], length, weight)

    def _put_down(self, into: QuantumCircuit, qubit: Qubit, place: int, length: int, weight: int) -> None:
        waiting = (f"{DELAY}{length}", (place,))
        self.uses[waiting] = self.uses.get(waiting, 0) + weight
        into.append(IGate(label=waiting[0]), [qubit], copy=False)
        if self.turning is not None:
            angle = self.turning.get((place, length))
            if angle is None:
                angle = self.turning[place, length] = Parameter(f"\0wait {place} {length}")
            into.append(RZGate(angle), [qubit], copy=False)

    def _control_flow(
        self, instruction: CircuitInstruction, into: QuantumCircuit, qubits: dict[Qubit, Qubit],
        places: dict[Qubit, int], weight: int,
    ) -> None:  # fmt: skip
        operation = instruction.operation
        kept = [q for q in instruction.qubits if q in qubits]
        times = len(operation.params[0]) if operation.name == "for_loop" else 1
        blocks = []
        for block in operation.blocks:
            outer = dict(zip(block.qubits, instruction.qubits, strict=True))
            inside = [q for q in block.qubits if outer[q] in qubits]
            small = like(block, inside)
            self.fill(
                block, small, {q: q for q in inside}, {q: places[outer[q]] for q in inside},
                weight * times, top=False,
            )  # fmt: skip
            for q in inside:
                for length in self.pending.pop(q, ()):
                    self._put_down(small, q, places[outer[q]], length, weight * times)
            blocks.append(small)
        changed = operation.replace_blocks(blocks)
        if operation.name == "for_loop":
            indices, parameter, _ = operation.params
            if parameter is not None and parameter not in blocks[0].parameters:
                # Aer would look for it in vain.
                changed = ForLoopOp(indices, None, blocks[0])
        into.append(changed, [qubits[q] for q in kept], list(instruction.clbits), copy=False)


def like(circuit: QuantumCircuit, qubits: Iterable[Qubit]) -> QuantumCircuit:
    """An empty circuit with the classical side of another and only these qubits."""
    small = QuantumCircuit(
        list(qubits), list(circuit.clbits), *circuit.cregs, global_phase=0.0,
        inputs=list(circuit.iter_input_vars()), captures=list(circuit.iter_captures()),
    )  # fmt: skip
    for variable in circuit.iter_declared_vars():
        small.add_uninitialized_var(variable)
    return small


def reduce(circuit: QuantumCircuit, durations: Durations, noisy: bool, slow: bool = False) -> Reduced:
    """Put a circuit on the qubits that it touches.

    Delays become identities labelled with their length in dt, so that noise can be bound to them, followed
    by a turn about Z when ``slow`` asks for it; without noise they are left out.

    Raises:
        JobError: an instruction can't be emulated.
    """
    active = touched(circuit)
    inside = [Qubit() for _ in active]
    qubits = {circuit.qubits[q]: new for q, new in zip(active, inside, strict=True)}
    places = {circuit.qubits[q]: q for q in active}
    small = like(circuit, inside)
    reducer = _Reducer(durations, noisy, slow)
    reducer.fill(circuit, small, qubits, places, 1, top=True)
    turning = {angle: wait for wait, angle in (reducer.turning or {}).items()}
    return Reduced(
        small, tuple(active), reducer.uses, reducer.terminal, reducer.dynamic, reducer.entangling, turning
    )


def registers(circuit: QuantumCircuit) -> dict[str, list[int]]:
    """The classical registers by name, as the places of their bits among the circuit's classical bits."""
    index: dict[Any, int] = {bit: i for i, bit in enumerate(circuit.clbits)}
    return {register.name: [index[bit] for bit in register] for register in circuit.cregs}
