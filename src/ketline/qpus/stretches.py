"""Stretches: delays whose lengths the schedule decides.

A stretch takes what room the schedule leaves: the circuit gets no longer than it is with all stretches 0, and
within that the shortest stretch is made as long as it can be, then their sum. Both are linear programs over
the start times of the instructions and the stretches.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.circuit import ControlFlowOp, Delay, QuantumCircuit
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array

from ketline.errors import INVALID_REQUEST
from ketline.qpus.schedule import Durations, Schedule, classical_resources, schedule
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOLERANCE = 1e-6


def resolve(
    circuit: QuantumCircuit, durations: Durations
) -> tuple[QuantumCircuit, list[dict[str, Any]]]:  # fmt: skip
    """Give a circuit's stretches lengths, and its delays with them.

    Returns:
        The circuit with delays in dt, and for each stretch its ``name``, ``value`` and ``remainder`` in dt
        and ``expanded_values``, pairs of time and length of the delays that use it (`rest.md` E.4).

    Raises:
        JobError: a delay isn't linear in its stretches, or a stretch is used inside control flow only.
    """
    stretches = list(circuit.iter_stretches())
    if not stretches:
        return circuit, []
    lengths = _linear(circuit, durations, stretches)
    for number, stretch in enumerate(stretches):
        if not any(factors[number] for _, factors in lengths.values()):
            raise JobError(
                INVALID_REQUEST.code,
                f"the stretch {stretch.name} isn't used by any delay outside of control flow",
                "Use every stretch in a delay of the circuit itself.",
            )
    exact = _solve(circuit, durations, stretches, lengths)
    whole = {
        stretch: int(np.floor(value + _TOLERANCE)) for stretch, value in zip(stretches, exact, strict=True)
    }
    concrete = _concrete(circuit, durations, whole)
    plan = schedule(concrete, durations, {q: i for i, q in enumerate(concrete.qubits)})
    told = []
    for number, stretch in enumerate(stretches):
        users = [place for place, (_, factors) in lengths.items() if factors[number]]
        total = sum(lengths[place][1][number] for place in users)
        told.append(
            {
                "name": stretch.name,
                "value": whole[stretch],
                "remainder": int(np.floor((exact[number] - whole[stretch]) * total + _TOLERANCE)),
                "expanded_values": [_placed(plan, place) for place in users],
            }
        )
    return concrete, told


def _placed(plan: Schedule, place: int) -> list[int]:
    event = plan.events[place]
    return [event.start, event.duration]


def _linear(
    circuit: QuantumCircuit, durations: Durations, stretches: list[Any]
) -> dict[int, tuple[float, NDArray[np.float64]]]:
    """Each delay that uses stretches as a constant and a factor a stretch, in dt."""
    found: dict[int, tuple[float, NDArray[np.float64]]] = {}
    for place, instruction in enumerate(circuit.data):
        operation = instruction.operation
        if not isinstance(operation, Delay) or operation.unit != "expr":
            continue
        constant = durations.expression(operation.duration, {})
        factors = np.asarray(
            [durations.expression(operation.duration, {stretch: 1}) - constant for stretch in stretches]
        )
        twice = durations.expression(operation.duration, dict.fromkeys(stretches, 2))
        if abs(twice - constant - 2 * factors.sum()) > _TOLERANCE or np.min(factors) < 0:
            raise JobError(
                INVALID_REQUEST.code,
                "the length of a delay isn't a sum of positive multiples of stretches",
                "Use stretches only added up and multiplied by positive numbers.",
            )
        if factors.any():
            found[place] = (constant, factors)
    return found


def _solve(
    circuit: QuantumCircuit, durations: Durations, stretches: list[Any],
    lengths: dict[int, tuple[float, NDArray[np.float64]]],
) -> NDArray[np.float64]:  # fmt: skip
    """Lengths of the stretches in dt, not yet whole."""
    plan = schedule(circuit, durations, {q: i for i, q in enumerate(circuit.qubits)})
    count, free = len(circuit.data), len(stretches)
    shortest = count + free
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    bounds: list[float] = []

    def after(place: int, later: int | None) -> None:
        """The end of an instruction isn't later than another's start, or than the circuit's end."""
        constant, factors = lengths.get(place, (float(plan.events[place].duration), None))
        row = len(bounds)
        entries = [(place, 1.0)] if later is None else [(place, 1.0), (later, -1.0)]
        if factors is not None:
            entries += [(count + number, factor) for number, factor in enumerate(factors) if factor]
        rows.extend([row] * len(entries))
        columns.extend(column for column, _ in entries)
        values.extend(value for _, value in entries)
        bounds.append((plan.duration if later is None else 0.0) - constant)

    last: dict[Hashable, int] = {}
    for place, instruction in enumerate(circuit.data):
        touched: set[Any] = {*instruction.qubits, *classical_resources(instruction)}
        for before in {last[resource] for resource in touched if resource in last}:
            after(before, place)
        last.update(dict.fromkeys(touched, place))
    for place in set(last.values()):
        after(place, None)
    for number in range(free):
        row = len(bounds)
        rows += [row, row]
        columns += [shortest, count + number]
        values += [1.0, -1.0]
        bounds.append(0.0)
    limits: Any = csr_array(coo_array((values, (rows, columns)), shape=(len(bounds), shortest + 1)))
    fair = np.zeros(shortest + 1)
    fair[shortest] = -1.0
    first = linprog(fair, A_ub=limits, b_ub=np.asarray(bounds))
    if first.x is None:
        raise JobError(
            INVALID_REQUEST.code,
            "the stretches of the circuit have no lengths that fit",
            "Use every stretch in a delay that ends before the circuit does.",
        )
    most = np.zeros(shortest + 1)
    most[count:shortest] = -1.0
    ranges = [(0.0, None)] * shortest + [(max(0.0, first.x[shortest] - _TOLERANCE), None)]
    second = linprog(most, A_ub=limits, b_ub=np.asarray(bounds), bounds=ranges)
    chosen = first.x if second.x is None else second.x
    return np.asarray(chosen[count:shortest])


def _concrete(circuit: QuantumCircuit, durations: Durations, values: dict[Any, int]) -> QuantumCircuit:
    """The circuit with the delays that use stretches in dt."""
    made = circuit.copy()
    for place, instruction in enumerate(circuit.data):
        operation = instruction.operation
        if isinstance(operation, Delay) and operation.unit == "expr":
            length = int(max(0.0, np.floor(durations.expression(operation.duration, values) + _TOLERANCE)))
            made.data[place] = instruction.replace(operation=Delay(length, "dt"))
        elif isinstance(operation, ControlFlowOp) and any(
            inner.operation.name == "delay" or isinstance(inner.operation, ControlFlowOp)
            for block in operation.blocks
            for inner in block.data
        ):
            blocks = [_concrete(block, durations, values) for block in operation.blocks]
            made.data[place] = instruction.replace(operation=operation.replace_blocks(blocks))
    return made
