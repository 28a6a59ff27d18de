"""Parameter values in the form in which Aer binds a whole sweep in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterExpression

from ketline.errors import INVALID_REQUEST, NOT_EMULATED
from ketline.units import expressions
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from qiskit.circuit import QuantumCircuit


EXPRESSION = "\0expression"
"""How the names of parameters begin that stand for expressions."""


def columns(circuit: QuantumCircuit) -> dict[Parameter, int]:
    """The column of each parameter in the values of a work item."""
    return {parameter: i for i, parameter in enumerate(circuit.parameters)}


def evaluate(
    expression: ParameterExpression, table: Mapping[Parameter, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """An expression for every set of values, shape ``(n_sets,)``; ``table`` are the values of parameters.

    Raises:
        JobError: it isn't a finite real number at some values, or it mixes a loop's parameter with others.
    """
    found = None
    if table.keys() >= expression.parameters:
        found = expressions.evaluate(expression, table)
        if np.isfinite(found).all():
            return found
    inside = list(expression.parameters)
    if found is None:
        turn = next(parameter for parameter in inside if parameter not in table)
        raise JobError(
            NOT_EMULATED.code,
            f"the angle {str(expression)[:80]} mixes the parameter {turn.name} of a for loop with others, "
            "which the emulator can't do",
            "Write the loop's turns one after the other.",
        )
    row = np.flatnonzero(np.isnan(found))[0]
    where = ", ".join(f"{parameter.name} = {table[parameter][row]:g}" for parameter in inside)
    raise JobError(
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
    table = {parameter: values[:, column] for parameter, column in index.items()}
    _flatten(circuit, table, found, {})
    return found


def _flatten(
    circuit: QuantumCircuit,
    table: dict[Parameter, NDArray[np.float64]],
    found: dict[Parameter, NDArray[np.float64]],
    made: dict[Hashable, Parameter],
) -> None:
    for place, instruction in enumerate(circuit.data):
        if instruction.is_control_flow():
            operation = instruction.operation
            blocks = list(operation.blocks)
            for block in blocks:
                _flatten(block, table, found, made)
            circuit.data[place] = instruction.replace(operation=operation.replace_blocks(blocks))
            continue
        if not instruction.params:
            continue
        changed: list[Any] | None = None
        for i, value in enumerate(instruction.params):
            if isinstance(value, Parameter):
                if value in table:
                    found[value] = table[value]
                continue
            if not isinstance(value, ParameterExpression) or table.keys().isdisjoint(value.parameters):
                # Aer puts in what a loop's parameter is in each turn.
                continue
            key = expressions.identity(value)
            if key not in made:
                made[key] = Parameter(f"{EXPRESSION} {len(found)}")
                found[made[key]] = evaluate(value, table)
            parameter = made[key]
            changed = changed or list(instruction.params)
            changed[i] = parameter
        if changed is not None:
            fresh = instruction.operation.to_mutable()
            fresh.params = changed
            circuit.data[place] = instruction.replace(operation=fresh)
