"""Drawing randomisations from a samplex for a whole sweep at once.

`draw` gives what calling ``Samplex.sample`` at every point of a sweep would give, from the same distribution,
in one pass over the samplex's nodes with all points and randomisations side by side::

    arrays = draw(samplex, arguments, shape=(32, 1000), rng=rng)
    arrays["parameter_values"]        # float64, (32, 1000, template.num_parameters)
    arrays["measurement_flips.c"]     # bool, (32, 1000, 1, 5)
    arrays["pauli_signs"]             # bool, (32, 1000, n_sites), with injected noise only

``arguments`` are as in `samplomatic.quantum_program.SamplexItem`: arrays whose leading axes broadcast to
``shape`` from the right; an axis that no argument has enumerates randomisations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter
from samplomatic.samplex import Samplex
from samplomatic.samplex.nodes import ChangeBasisNode
from samplomatic.samplex.nodes.u2_param_multiplication_node import (
    LeftU2ParametricMultiplicationNode,
    U2ParametricMultiplicationNode,
)
from samplomatic.samplex.nodes.utils import get_fractional_gate_register
from samplomatic.tensor_interface import TensorInterface, TensorSpecification

from ketline.programs.failures import rejected
from ketline.units.expressions import evaluate

Arrays = dict[str, NDArray[Any]]

_SWEPT_AT_ONCE = ("parameter_values", "basis_changes.", "local_cliffords.")


def draw(
    samplex: Samplex, arguments: Mapping[str, Any], shape: tuple[int, ...], rng: np.random.Generator
) -> Arrays:
    """Draw one sample for every element of ``shape``.

    Args:
        samplex: What to draw from; it is finalised if it isn't yet.
        arguments: Values of its inputs, by name, or a fully bound broadcastable interface.
        shape: What the leading axes of the arguments broadcast to.
        rng: The source of randomness.

    Returns:
        The samplex's outputs by name, each of shape ``(*shape, *its own shape)``; ``parameter_values``
        float64, all others bool.

    Raises:
        ValueError: an argument is missing, unknown, or doesn't broadcast to ``shape``.
    """
    if not samplex._finalized:  # noqa: SLF001 - finalising again would walk its whole graph
        samplex.finalize()
    inputs = (
        arguments
        if isinstance(arguments, TensorInterface)
        else samplex.inputs().make_broadcastable().bind(**arguments)
    )
    if not inputs.fully_bound:
        raise ValueError(f"Missing: {inputs.describe(include_bound=False)}")
    if np.broadcast_shapes(inputs.shape, shape) != tuple(shape):
        raise ValueError(f"Arguments of shape {inputs.shape} don't broadcast to {tuple(shape)}.")

    intrinsic = {spec.name: spec for spec in samplex.inputs().specs}
    looped = (1,) * len(shape)
    for name in inputs:
        spec = intrinsic[name]
        if isinstance(spec, TensorSpecification) and not name.startswith(_SWEPT_AT_ONCE):
            own = _padded(np.shape(inputs[name]), len(spec.shape), len(shape))
            looped = tuple(max(pair) for pair in zip(looped, own, strict=True))

    outputs: Arrays = {}
    for index in itertools.product(*map(range, looped)):
        # Axes along which something varies that a node takes as one number are walked one by one.
        rest = tuple(1 if many > 1 else size for many, size in zip(looped, shape, strict=True))
        place = tuple(
            slice(i, i + 1) if many > 1 else slice(None) for i, many in zip(index, looped, strict=True)
        )
        values = {
            name: _slice(inputs[name], intrinsic[name], place, rest, name.startswith(_SWEPT_AT_ONCE))
            for name in inputs
        }
        for name, drawn in _draw_block(samplex, values, rest, rng).items():
            if name not in outputs:
                outputs[name] = np.empty((*shape, *drawn.shape[len(rest) :]), drawn.dtype)
            outputs[name][place] = drawn
    return outputs


def _padded(shape: tuple[int, ...], intrinsic: int, ndim: int) -> tuple[int, ...]:
    own = shape[: len(shape) - intrinsic] if intrinsic else shape
    return (1,) * (ndim - len(own)) + tuple(own)


def _slice(value: Any, spec: Any, place: tuple[slice, ...], rest: tuple[int, ...], swept: bool) -> Any:
    """The part of an argument that belongs to a block: all of it, flat, or the block's one value."""
    if not isinstance(spec, TensorSpecification):
        return value
    array = np.asarray(value)
    own = _padded(array.shape, len(spec.shape), len(place))
    trailing = array.shape[array.ndim - len(spec.shape) :]
    array = array.reshape(own + trailing)
    array = array[tuple(s if size > 1 else slice(None) for s, size in zip(place, own, strict=True))]
    if swept:
        return np.broadcast_to(array, rest + trailing).reshape(-1, *trailing)
    return array.reshape(trailing)


def _draw_block(
    samplex: Samplex, values: dict[str, Any], shape: tuple[int, ...], rng: np.random.Generator
) -> Arrays:
    """One pass over the nodes, each with all ``prod(shape)`` samples side by side.

    The node lists and the table of expressions are the samplex's own, which has no other door to them.
    """
    samples = math.prod(shape)
    outputs: Arrays = {}
    for spec in samplex.outputs().specs:
        own = tuple(samples if dim == "num_randomizations" else dim for dim in spec.shape)
        # The flips start at zero; everything else is written in full.
        kind = np.float64 if spec.name == "parameter_values" else spec.dtype
        outputs[spec.name] = np.zeros(own, kind)

    expressions = _evaluate(samplex, values.get("parameter_values"), samples)
    passthrough = samplex._passthrough_params  # noqa: SLF001
    if passthrough:
        outputs["parameter_values"][:, passthrough[0]] = expressions[passthrough[1]].T

    registers: dict[str, Any] = {}
    for node in samplex._sampling_nodes:  # noqa: SLF001
        if isinstance(node, ChangeBasisNode):
            change = node._basis_change  # noqa: SLF001
            wanted = np.asarray(values[node._basis_ref])  # noqa: SLF001
            symbols = np.asarray(change.alphabet)
            order = np.argsort(symbols)
            rows = order[np.searchsorted(symbols, wanted, sorter=order)]
            gates = change.action.virtual_gates[:, 0][rows]
            registers[node._register_name] = type(change.action)(  # noqa: SLF001
                np.ascontiguousarray(np.swapaxes(gates, 0, 1))
            )
        else:
            node.sample(registers, rng, values, samples)
    for stream in samplex._evaluation_streams:  # noqa: SLF001
        for node in stream:
            if isinstance(node, U2ParametricMultiplicationNode):
                _multiply(node, registers, expressions[node.parameter_idxs])
            else:
                node.evaluate(registers, expressions[node.parameter_idxs][:, 0])
    for node in samplex._collection_nodes:  # noqa: SLF001
        node.collect(registers, outputs, rng)
    return {name: array.reshape(*shape, *array.shape[1:]) for name, array in outputs.items()}


def _multiply(
    node: U2ParametricMultiplicationNode, registers: dict[str, Any], angles: NDArray[np.float64]
) -> None:
    """Multiply a register by rotations, each sample with its own ``angles`` (subsystems, samples)."""
    flat = get_fractional_gate_register(node._operand, angles.reshape(-1))  # noqa: SLF001
    operand = type(flat)(flat.virtual_gates.reshape(*angles.shape, 2, 2))
    register = registers[node._register_name]  # noqa: SLF001
    if isinstance(node, LeftU2ParametricMultiplicationNode):
        register.left_inplace_multiply(operand)
    else:
        register.inplace_multiply(operand)


def _evaluate(samplex: Samplex, points: NDArray[np.float64] | None, samples: int) -> NDArray[np.float64]:
    """Values of all expressions, ``(expressions, samples)``."""
    table = samplex._param_table  # noqa: SLF001
    expressions = table._expressions  # noqa: SLF001
    if points is None or not expressions:
        return np.zeros((len(expressions), samples)) + _constants(expressions)
    columns = {parameter: column for column, parameter in enumerate(table.parameters)}
    values = np.empty((len(expressions), samples))
    composed = []
    for row, expression in enumerate(expressions):
        if isinstance(expression, Parameter):
            values[row] = points[:, columns[expression]]
        else:
            composed.append(row)
    if composed:
        distinct, back = np.unique(points, axis=0, return_inverse=True)
        found = {parameter: distinct[:, column] for parameter, column in columns.items()}
        for row in composed:
            values[row] = _real(expressions[row], found)[back.reshape(-1)]
    return values


def _real(expression: Any, columns: dict[Any, NDArray[np.float64]]) -> NDArray[np.float64]:
    found = evaluate(expression, columns)
    if not np.isfinite(found).all():
        row = np.flatnonzero(np.isnan(found))[0]
        place = ", ".join(f"{p.name} = {columns[p][row]:g}" for p in expression.parameters)
        raise rejected(
            "parameter values",
            f"the angle {str(expression)[:80]} isn't a finite real number at {place[:200]}.",
            "Choose values at which it is.",
        )
    return found


def _constants(expressions: list[Any]) -> NDArray[np.float64]:
    return np.array([float(expression) for expression in expressions]).reshape(-1, 1)
