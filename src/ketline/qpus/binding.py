"""Parameter values in the form in which Aer binds a whole sweep in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterExpression

from ketline.errors import INVALID_REQUEST, NOT_EMULATED
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit


def columns(circuit: QuantumCircuit) -> dict[Parameter, int]:
    """The column of each parameter in the values of a work item."""
    return {parameter: i for i, parameter in enumerate(circuit.parameters)}


def evaluate(
    expression: ParameterExpression, values: NDArray[np.float64], index: dict[Parameter, int]
) -> NDArray[np.float64]:
    """An expression for every set of values, shape ``(n_sets,)``; linear ones without a loop.

    Raises:
        JobError: it isn't a finite real number at some values, or it mixes a loop's parameter with others.
    """
    inside = list(expression.parameters)
    for parameter in inside:
        if parameter not in index:
            raise JobError(
                NOT_EMULATED.code,
                f"the angle {str(expression)[:80]} mixes the parameter {parameter.name} of a for loop with "
                "others, which the emulator can't do",
                "Write the loop's turns one after the other.",
            )
    picked = values[:, [index[parameter] for parameter in inside]]
    try:
        slopes = [float(expression.gradient(parameter)) for parameter in inside]
        found = float(expression.bind(dict.fromkeys(inside, 0.0))) + picked @ np.asarray(slopes)
    except (TypeError, ZeroDivisionError, RuntimeError):
        # Not linear, not differentiable, or not defined at zero.
        found = np.asarray([_bound(expression, inside, row) for row in picked.tolist()])
    if not np.isfinite(found).all():
        raise _not_real(expression, inside, picked[np.flatnonzero(~np.isfinite(found))[0]].tolist())
    return found


def _bound(expression: ParameterExpression, inside: list[Parameter], row: list[float]) -> float:
    try:
        return float(expression.bind(dict(zip(inside, row, strict=True))))
    except (TypeError, ZeroDivisionError, OverflowError, RuntimeError):
        raise _not_real(expression, inside, row) from None


def _not_real(expression: ParameterExpression, inside: list[Parameter], row: list[float]) -> JobError:
    where = ", ".join(f"{parameter.name} = {value:g}" for parameter, value in zip(inside, row, strict=True))
    return JobError(
        INVALID_REQUEST.code,
        f"the angle {str(expression)[:80]} isn't a finite real number at {where[:200]}",
        "Choose values at which it is.",
    )


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
            if isinstance(value, Parameter):
                column = index.get(value)
                if column is not None:
                    found[value] = values[:, column]
                continue
            if not isinstance(value, ParameterExpression) or not value.parameters:
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
