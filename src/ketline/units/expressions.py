"""Values of parameter expressions for many parameter sets at once.

    evaluate(2 * x + y.sin(), {x: np.array([0.1, 0.2]), y: np.array([0.3, 0.4])})

Qiskit binds one set at a time, and its symbolic derivatives and comparisons take time that grows
exponentially with the number of factors. An expression's own record of the operations that made it, which
Qiskit keeps to write it to a file, is played with arrays instead; where that isn't possible, values are bound
one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_IMAGINARY = 1e-10


def _power(base: Any, exponent: Any) -> Any:
    if np.isrealobj(exponent) and np.all(exponent == np.rint(exponent)):
        return np.power(base, exponent)
    return np.emath.power(base, exponent)


_ONE: dict[str, Callable[[Any], Any]] = {
    "SIN": np.sin, "COS": np.cos, "TAN": np.tan, "ATAN": np.arctan, "ASIN": np.emath.arcsin,
    "ACOS": np.emath.arccos, "EXP": np.exp, "LOG": np.emath.log, "SIGN": np.sign, "ABS": np.abs,
    "CONJ": np.conj,
}  # fmt: skip
_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide, "POW": _power,
    "RSUB": lambda a, b: np.subtract(b, a), "RDIV": lambda a, b: np.divide(b, a),
    "RPOW": lambda a, b: _power(b, a),
}  # fmt: skip


def evaluate(expression: Any, columns: Mapping[Any, NDArray[np.float64]]) -> NDArray[np.float64]:
    """An expression at every set of values, shape of the columns; NaN where it isn't a finite real number.

    Args:
        expression: a `qiskit.circuit.ParameterExpression`.
        columns: the values of its parameters, and others if need be, arrays of one shape ``(n_sets,)``.
    """
    with np.errstate(all="ignore"):
        try:
            found = np.asarray(_played(expression, columns))
        except (AttributeError, IndexError, KeyError, TypeError):
            found = _bound(expression, list(expression.parameters), columns)
        if found.dtype.kind == "c":
            imaginary = np.abs(found.imag) > _IMAGINARY * np.maximum(1.0, np.abs(found.real))
            found = np.where(imaginary, np.nan, found.real)
    finite = np.isfinite(found)
    if not finite.all():
        found = np.where(finite, found, np.nan)
    if not found.ndim and expression.parameters:
        # A parameter that cancels out.
        found = np.broadcast_to(found, columns[next(iter(expression.parameters))].shape)
    return np.asarray(found, dtype=np.float64)


def identity(expression: Any) -> Hashable:
    """A key that two expressions share only if they were made alike."""
    try:
        return tuple((str(step.op), step.lhs, step.rhs) for step in expression._qpy_replay)  # noqa: SLF001
    except (AttributeError, TypeError):
        return id(expression)


def _played(expression: Any, columns: Mapping[Any, NDArray[np.float64]]) -> Any:
    stack: list[Any] = []
    for step in expression._qpy_replay:  # noqa: SLF001 - its only other reader is Qiskit's writer of files
        name = str(step.op).rpartition(".")[2]
        if name in _ONE:
            stack.append(_ONE[name](_operand(step.lhs, stack, columns)))
        else:
            operation = _TWO[name]
            right = _operand(step.rhs, stack, columns)
            left = _operand(step.lhs, stack, columns)
            stack.append(operation(left, right))
    (whole,) = stack if len(stack) == 1 else [None]
    if whole is None:
        raise IndexError("an expression that says nothing of how it was made")
    return whole


def _operand(value: Any, stack: list[Any], columns: Mapping[Any, NDArray[np.float64]]) -> Any:
    if value is None:
        return stack.pop()
    if isinstance(value, (int, float)):
        return float(value)
    return value if isinstance(value, complex) else columns[value]


def _bound(expression: Any, inside: list[Any], columns: Mapping[Any, NDArray[np.float64]]) -> NDArray[Any]:
    rows = np.stack([columns[parameter] for parameter in inside], axis=-1).tolist() if inside else [[]]
    found = np.full(len(rows), np.nan)
    for place, row in enumerate(rows):
        try:
            found[place] = float(expression.bind(dict(zip(inside, row, strict=True))))
        except (TypeError, ValueError, ArithmeticError, RuntimeError):
            continue
    return found
