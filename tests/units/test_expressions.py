"""Parameter expressions for many sets at once: the same as Qiskit gives for one after the other."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter

from ketline.units.expressions import evaluate, identity

X, Y = Parameter("x"), Parameter("y")
VALUES = {X: np.array([0.3, -0.7, 2.0]), Y: np.array([1.2, 0.4, -1.0])}
EVERY = [
    2 * X - 3 * Y / 4 + 1, -X, 3 - X, 3 / X, 2**X, X**2, X**-1, (X * X) ** 0.5, X / Y,
    (X + Y) * 2 / 3 - (X - Y),
    (X * Y) / (X + 5), X.sin() * Y.cos(), X.tan(), (X / 4).arcsin(), (X / 4).arccos(), X.arctan(), X.exp(),
    (X * X).log(), X.sign() * Y, abs(X) - abs(Y), X.conjugate(), X * 1j * 1j, X**0 + Y, (X + 1) - (Y + 2),
    2 / (X * Y), 2 - X * Y, (X + Y + 3).log() ** (X - Y),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(EVERY)))
def test_every_operation_gives_what_binding_gives(number: int) -> None:
    circuit = QuantumCircuit(1)
    circuit.rz(EVERY[number], 0)
    stream = io.BytesIO()
    qpy.dump(circuit, stream)
    (read,) = qpy.load(io.BytesIO(stream.getvalue()))
    for expression in (EVERY[number], read.data[0].params[0]):
        columns = {p: VALUES[X if p.name == "x" else Y] for p in expression.parameters}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        expected = [float(expression.bind(row)) for row in rows]
        np.testing.assert_allclose(evaluate(expression, columns), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (1 / X, 0.0),
        (X.log(), 0.0),
        (X.log(), -1.0),
        (X.arcsin(), 2.0),
        (X**0.5, -1.0),
        (X.exp(), 1e3),
        (X * 1j, 1.0),
    ],
)
def test_what_is_no_real_number_is_none(expression: Any, value: float) -> None:
    found = evaluate(expression, {X: np.array([value])})
    assert np.isnan(found).all()


def test_many_factors_take_no_longer_than_they_are() -> None:
    expression = X + 1
    for _ in range(12):
        expression = expression * expression
    start = time.perf_counter()
    found = evaluate(expression, {X: np.array([0.0, 1e-4])})
    assert identity(expression) == identity(expression)
    assert time.perf_counter() - start < 2
    np.testing.assert_allclose(found, [1.0, 1.0001**4096])


def test_expressions_are_told_apart() -> None:
    assert identity(X + 1) == identity(X + 1)
    assert identity(X + 1) != identity(X + 2)
    assert identity(X + 1) != identity(Parameter("x") + 1)
