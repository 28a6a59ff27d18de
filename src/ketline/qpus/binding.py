"""Parameter values in the form in which Aer binds a whole sweep in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterExpression

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit


def columns(circuit: QuantumCircuit) -> dict[Parameter, int]:
    """The column of each parameter in the values of a work item."""
    return {parameter: i for i, parameter in enumerate(circuit.parameters)}


def evaluate(
    expression: ParameterExpression, values: NDArray[np.float64], index: dict[Parameter, int]
) -> NDArray[np.float64]:
    """An expression for every set of values, shape ``(n_sets,)``; linear ones without a loop."""
    inside = list(expression.parameters)
    try:
        slopes = [float(expression.gradient(parameter)) for parameter in inside]
        offset = float(expression.bind(dict.fromkeys(inside, 0.0)))
    except (TypeError, ZeroDivisionError):
        picked = values[:, [index[parameter] for parameter in inside]]
        bound = [expression.bind(dict(zip(inside, row, strict=True))) for row in picked.tolist()]
        return np.asarray([float(value) for value in bound])
    return offset + values[:, [index[parameter] for parameter in inside]] @ np.asarray(slopes)


def flatten(
    circuit: QuantumCircuit, values: NDArray[np.float64], index: dict[Parameter, int]
) -> dict[Parameter, NDArray[np.float64]]:
    """Make every gate of a circuit of ours carry plain parameters, and give their values.

    Expressions become parameters of their own, in place; the same expression becomes the same parameter.
    The answer maps each parameter that is left to its column of values.
    """
    found: dict[Parameter, NDArray[np.float64]] = {}
    made: dict[str, tuple[ParameterExpression, Parameter]] = {}
    _flatten(circuit, values, index, found, made)
    return found


def _flatten(
    circuit: QuantumCircuit,
    values: NDArray[np.float64],
    index: dict[Parameter, int],
    found: dict[Parameter, NDArray[np.float64]],
    made: dict[str, tuple[ParameterExpression, Parameter]],
) -> None:
    for place, instruction in enumerate(circuit.data):
        if instruction.is_control_flow():
            operation = instruction.operation
            blocks = list(operation.blocks)
            for block in blocks:
                _flatten(block, values, index, found, made)
            circuit.data[place] = instruction.replace(operation=operation.replace_blocks(blocks))
            continue
        if not instruction.params:
            continue
        changed: list[Any] | None = None
        for i, value in enumerate(instruction.params):
            if not isinstance(value, ParameterExpression) or not value.parameters:
                continue
            if isinstance(value, Parameter):
                if value in index:
                    found.setdefault(value, values[:, index[value]])
                continue
            key = str(value)
            seen = made.get(key)
            if seen is not None and seen[0] == value:
                parameter = seen[1]
            else:
                parameter = Parameter(f"\0expression {len(found)}")
                made[key] = (value, parameter)
                found[parameter] = evaluate(value, values, index)
            changed = changed or list(instruction.params)
            changed[i] = parameter
        if changed is not None:
            fresh = instruction.operation.to_mutable()
            fresh.params = changed
            circuit.data[place] = instruction.replace(operation=fresh)
