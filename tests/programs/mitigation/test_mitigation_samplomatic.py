"""What is read of samplomatic beyond its documented interface is there, and means what it meant."""

from __future__ import annotations

import inspect

import pytest
import samplomatic
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from samplomatic import ChangeBasis, Twirl, build
from samplomatic.samplex.nodes import ChangeBasisNode
from samplomatic.samplex.nodes.u2_param_multiplication_node import (
    LeftU2ParametricMultiplicationNode,
    U2ParametricMultiplicationNode,
)

WAY_OUT = (
    f"samplomatic {samplomatic.__version__} has changed inside: look at programs/mitigation/samplexes.py, "
    "which draws whole sweeps in one pass over a samplex's nodes, before raising the pin in pyproject.toml"
)


def samplex() -> samplomatic.samplex.Samplex:
    circuit, b = QuantumCircuit(2, 2), Parameter("b")
    with circuit.box([Twirl()]):
        circuit.rx(Parameter("a"), 0)
        circuit.cx(0, 1)
    with circuit.box([Twirl(dressing="right")]):
        circuit.rz(b * 2, 0)
        circuit.rx(b, 0)
        circuit.noop(1)
    with circuit.box([Twirl(), ChangeBasis(ref="basis")]):
        circuit.measure([0, 1], [0, 1])
    return build(circuit)[1].finalize()


@pytest.mark.parametrize(
    "name",
    [
        "_finalized",
        "_param_table",
        "_passthrough_params",
        "_sampling_nodes",
        "_evaluation_streams",
        "_collection_nodes",
    ],
)
def test_a_samplex_has_what_is_read(name: str) -> None:
    assert hasattr(samplex(), name), f"Samplex.{name} is gone. {WAY_OUT}"


def test_its_table_of_expressions_has_what_is_read() -> None:
    table = samplex()._param_table
    for name in ("_expressions", "parameters", "evaluate"):
        assert hasattr(table, name), f"ParameterExpressionTable.{name} is gone. {WAY_OUT}"
    assert len(table.evaluate([0.1, 0.2])) == len(table._expressions), WAY_OUT


def test_its_nodes_have_what_is_read() -> None:
    found = samplex()
    changes = [node for node in found._sampling_nodes if isinstance(node, ChangeBasisNode)]
    assert changes, f"a change of basis is no ChangeBasisNode any more. {WAY_OUT}"
    for name in ("_basis_change", "_basis_ref", "_register_name"):
        assert hasattr(changes[0], name), f"ChangeBasisNode.{name} is gone. {WAY_OUT}"
    nodes = [node for stream in found._evaluation_streams for node in stream]
    rotations = [node for node in nodes if isinstance(node, U2ParametricMultiplicationNode)]
    assert rotations, f"a rotation by a parameter is no U2ParametricMultiplicationNode any more. {WAY_OUT}"
    for name in ("_operand", "_register_name", "parameter_idxs"):
        assert hasattr(rotations[0], name), f"U2ParametricMultiplicationNode.{name} is gone. {WAY_OUT}"
    assert issubclass(LeftU2ParametricMultiplicationNode, U2ParametricMultiplicationNode), WAY_OUT


def test_nodes_are_called_as_their_samplex_calls_them() -> None:
    found = samplex()
    nodes = [node for stream in found._evaluation_streams for node in stream]
    for node, method, names in (
        (found._sampling_nodes[0], "sample", ["registers", "rng", "inputs", "num_randomizations"]),
        (nodes[0], "evaluate", ["registers", "parameter_values"]),
        (found._collection_nodes[0], "collect", ["registers", "outputs", "rng"]),
    ):
        found_names = list(inspect.signature(getattr(node, method)).parameters)
        assert len(found_names) == len(names), f"{type(node).__name__}.{method}{found_names}. {WAY_OUT}"
