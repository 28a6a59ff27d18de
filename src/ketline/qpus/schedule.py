"""When every instruction of a circuit happens: as late as possible, with the device's own durations.

All times are whole samples (``dt``). A barrier costs nothing and lines its qubits up; classical bits order
what writes and reads them. A control-flow instruction holds all its qubits for as long as its longest
branch takes; a ``for`` loop that many times, a ``while`` loop once, for nobody knows better beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qiskit.circuit import ControlFlowOp, ForLoopOp, IfElseOp, QuantumCircuit, SwitchCaseOp
from qiskit.circuit.classical import expr
from qiskit.circuit.controlflow import condition_resources

from ketline.errors import INVALID_REQUEST
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from qiskit.circuit import CircuitInstruction, Instruction
    from qiskit.transpiler import Target

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "ps": 1e-12}
UNRECORDED_DT_SECONDS = 1e-9


@dataclass(slots=True)
class Event:
    """One instruction in its place: ``start`` and ``duration`` in dt, ``qubits`` physical, in order."""

    instruction: CircuitInstruction
    qubits: tuple[int, ...]
    start: int
    duration: int
    branches: list[tuple[str, Schedule]] = field(default_factory=list)


@dataclass(slots=True)
class Schedule:
    """A circuit's instructions in program order with their times, and the whole length in dt."""

    events: list[Event]
    duration: int


class Durations:
    """How long instructions take on a device, in dt."""

    def __init__(self, target: Target, dt_seconds: float | None) -> None:
        self.dt_seconds = dt_seconds or UNRECORDED_DT_SECONDS
        self._target = target
        self._known: dict[tuple[str, tuple[int, ...]], int] = {}

    def gate(self, name: str, qubits: tuple[int, ...]) -> int:
        """Length of an instruction on physical qubits; 0 when the device doesn't tell."""
        key = (name, qubits)
        found = self._known.get(key)
        if found is None:
            places = self._target.get(name) if name in self._target else None
            entry = None if places is None else places.get(qubits)
            seconds = (entry.duration if entry is not None else None) or 0.0
            found = self._known[key] = round(seconds / self.dt_seconds)
        return found

    def dt(self, seconds: float) -> int:
        """A length in seconds in whole dt."""
        return round(seconds / self.dt_seconds)

    def seconds(self, dt: float) -> float:
        """The same length in seconds."""
        return dt * self.dt_seconds

    def delay(self, operation: Instruction, stretches: Mapping[Hashable, int] | None = None) -> int:
        """Length of a delay; stretches count as 0 unless they are given."""
        duration, unit = operation.duration, operation.unit
        if unit == "expr":
            return max(0, round(self.expression(duration, stretches or {})))
        try:
            number = float(duration)
        except TypeError as error:
            raise JobError(
                INVALID_REQUEST.code,
                f"a delay of {duration} {unit} can't be scheduled: its length must be a number",
                "Bind the parameters of delays before the circuit is submitted.",
            ) from error
        if unit == "dt":
            return round(number)
        return round(number * _SECONDS[unit] / self.dt_seconds)

    def expression(self, node: Any, stretches: Mapping[Hashable, int]) -> float:
        """Value in dt (or a bare number) of a duration expression; stretches that aren't given are 0."""
        if isinstance(node, expr.Value):
            value = node.value
            if hasattr(value, "unit"):
                return self._duration(value)
            return float(value)
        if isinstance(node, expr.Stretch):
            return float(stretches.get(node, 0))
        if isinstance(node, expr.Cast):
            return self.expression(node.operand, stretches)
        if isinstance(node, expr.Binary):
            left, right = self.expression(node.left, stretches), self.expression(node.right, stretches)
            operations: dict[str, Callable[[float, float], float]] = {
                "ADD": float.__add__, "SUB": float.__sub__, "MUL": float.__mul__, "DIV": float.__truediv__,
            }  # fmt: skip
            if node.op.name in operations:
                return operations[node.op.name](left, right)
        raise JobError(
            INVALID_REQUEST.code,
            f"the length of a delay uses {type(node).__name__}, which can't be scheduled",
            "Use durations, stretches, and +, -, * and / of them.",
        )

    def _duration(self, value: Any) -> float:
        unit = value.unit()
        number = float(value.value())
        return number if unit == "dt" else number * _SECONDS[unit] / self.dt_seconds


def classical_resources(instruction: CircuitInstruction) -> set[Any]:
    """Classical bits and variables that an instruction reads or writes."""
    touched: set[Any] = set(instruction.clbits)
    operation = instruction.operation
    if operation.name == "store":
        touched.update(_expression_bits(operation.lvalue), _expression_bits(operation.rvalue))
    if isinstance(operation, ControlFlowOp):
        for wanted in (getattr(operation, "condition", None), getattr(operation, "target", None)):
            if wanted is None:
                continue
            if isinstance(wanted, tuple | expr.Expr):
                found = condition_resources(wanted) if isinstance(wanted, tuple) else None
                if found is not None:
                    touched.update(found.clbits)
                else:
                    touched.update(_expression_bits(wanted))
            else:
                touched.update(wanted if hasattr(wanted, "__iter__") else [wanted])
    return touched


def _expression_bits(node: Any) -> Iterator[Any]:
    for variable in expr.iter_vars(node):
        inside = variable.var
        if hasattr(inside, "__iter__"):
            yield from inside
        else:
            yield inside


def branches(operation: Instruction) -> list[tuple[str, QuantumCircuit, int]]:
    """The blocks of a control-flow instruction as (name, circuit, how often it runs)."""
    if isinstance(operation, IfElseOp):
        names = ("then", "else")
        return [(names[i], block, 1) for i, block in enumerate(operation.blocks)]
    if isinstance(operation, ForLoopOp):
        return [("main", operation.blocks[0], len(operation.params[0]))]
    if isinstance(operation, SwitchCaseOp):
        return [(f"case{i}", block, 1) for i, block in enumerate(operation.blocks)]
    return [("main", block, 1) for block in operation.blocks]


def schedule(
    circuit: QuantumCircuit,
    durations: Durations,
    qubits: Mapping[Any, int],
    stretches: Mapping[Hashable, int] | None = None,
) -> Schedule:
    """Schedule a circuit as late as possible.

    Args:
        circuit: the circuit; ``qubits`` maps its qubits to physical ones.
        durations: how long instructions take.
        qubits: the physical qubit of each of the circuit's qubits.
        stretches: values in dt of the circuit's stretches.
    """
    busy: dict[Any, int] = {}
    events: list[Event] = []
    for instruction in reversed(circuit.data):
        own = instruction.qubits
        places = tuple([qubits[q] for q in own])
        inner: list[tuple[str, Schedule]] = []
        name = instruction.name
        if name == "barrier":
            length = 0
        elif name == "delay":
            length = durations.delay(instruction.operation, stretches)
        elif instruction.is_control_flow():
            length = 0
            for label, block, times in branches(instruction.operation):
                mapped = dict(zip(block.qubits, places, strict=True))
                part = schedule(block, durations, mapped, stretches)
                inner.append((label, part))
                length = max(length, part.duration * times)
        else:
            length = durations.gate(name, places)
        touched: Iterable[Any] = own
        if instruction.clbits or inner or not own:
            touched = [*own, *classical_resources(instruction)]
        end = 0
        for resource in touched:
            end = max(end, busy.get(resource, 0))
        start = end + length
        for resource in touched:
            busy[resource] = start
        events.append(Event(instruction, places, start, length, inner))
    total = max(busy.values(), default=0)
    for event in events:
        event.start = total - event.start
    events.reverse()
    return Schedule(events, total)
