"""What hostile payloads are made of: circuits with everything that QPY can hold, and places in JSON.

``circuits`` and ``circuit_files`` are bytes to spoil, ``samplex_params`` the params of an executor job.
``places(tree)`` are all values in a tree of JSON, those in JSON that stands in it as text too;
``put(tree, place, value)`` is the tree with another value there.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

Place = tuple[str | int, ...]
_INSIDE = "@"


def packed(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw, 1)).decode()


@cache
def circuits(version: int) -> tuple[bytes, ...]:
    from qiskit import QuantumCircuit, qpy
    from qiskit.circuit import ParameterVector

    a = ParameterVector("a", 2)
    swept = QuantumCircuit(5, 1)
    swept.rz(a[0] - 2 * a[1] + 0.5, 0)
    swept.sx(0)
    swept.measure(0, 0)
    dynamic = QuantumCircuit(5, 2, metadata={"k": [1, "x"]})
    dynamic.measure(0, 0)
    with dynamic.if_test((dynamic.clbits[0], 1)):
        dynamic.x(1)
    with dynamic.for_loop(range(3)):
        dynamic.sx(1)
    dynamic.delay(100, 1, "ns")
    found = []
    for circuit in (swept, dynamic):
        stream = io.BytesIO()
        qpy.dump(circuit, stream, version=version)
        found.append(stream.getvalue())
    return tuple(found)


@cache
def samplex_params() -> dict[str, Any]:
    from ibm_quantum_schemas.common import CompressedQpyDataModel, SamplexModel
    from qiskit import QuantumCircuit
    from samplomatic import Twirl, build

    circuit = QuantumCircuit(5, 2)
    with circuit.box([Twirl()]):
        circuit.sx(0)
        circuit.cx(0, 1)
    with circuit.box([Twirl()]):
        circuit.measure([0, 1], [0, 1])
    template, samplex = build(circuit)
    item = {
        "item_type": "samplex",
        "samplex": SamplexModel.from_samplex(samplex).model_dump(),
        "samplex_arguments": {},
        "shape": [3],
        "chunk_size": "auto",
    }
    program = {
        "shots": 10,
        "circuits": CompressedQpyDataModel.from_python([template]).model_dump(),
        "items": [item],
        "passthrough_data": {"x": 1},
    }
    return {"schema_version": "v2.0", "quantum_program": program, "options": {}}


def pub(circuit: Any, values: Any = None, **more: Any) -> bytes:
    return json.dumps({"pubs": [[circuit, values]], **more}).encode()


@cache
def circuit_files(version: int) -> tuple[bytes, ...]:
    """QPY of circuits with vectors, variables, every kind of control flow, boxes, stretches and own gates."""
    from ibm_quantum_schemas.common.qpy import ANNOTATION_FACTORIES
    from qiskit import QuantumCircuit, qpy
    from qiskit.circuit import Parameter, ParameterVector
    from qiskit.circuit.classical import expr, types
    from samplomatic import Twirl

    a = ParameterVector("a", 3)
    swept = QuantumCircuit(5, 1)
    swept.rz(a[0] * a[1] + a[1].sin(), 0)
    swept.rz(a[2], 0)
    swept.measure(0, 0)
    branching = QuantumCircuit(5, 3)
    variable = branching.add_var("v", expr.lift(3, types.Uint(8)))
    with branching.switch(branching.cregs[0]) as case:
        with case(0, 1):
            branching.x(0)
        with case(case.DEFAULT):
            branching.x(1)
    with branching.while_loop(expr.less(variable, 5)):
        branching.store(variable, expr.bit_and(variable, variable))
    with branching.for_loop(range(4), Parameter("i")):
        branching.sx(0)
    inside = QuantumCircuit(2)
    inside.cx(0, 1)
    gate = inside.to_gate(label="own")
    own = QuantumCircuit(5, 1)
    own.append(gate, [0, 1])
    own.append(gate.control(2), [0, 1, 2, 3])
    own.initialize([1, 0], 0)
    made = [swept, branching, own]
    if version >= 17:
        boxed = QuantumCircuit(5, 2)
        with boxed.box([Twirl()]):
            boxed.cx(0, 1)
        stretched = QuantumCircuit(5, 1)
        stretched.delay(stretched.add_stretch("s"), 0)
        made += [boxed, stretched]
    found = []
    for circuit in made:
        stream = io.BytesIO()
        factories = ANNOTATION_FACTORIES if version >= 17 else None
        qpy.dump(circuit, stream, version=version, annotation_factories=factories)
        found.append(stream.getvalue())
    return tuple(found)


def places(node: Any, path: Place = ()) -> Iterator[Place]:
    """Where values stand in a tree; `_INSIDE` leads into a text that is JSON itself."""
    inner = _json(node)
    if inner is not None:
        yield from places(inner, (*path, _INSIDE))
    if isinstance(node, dict):
        for key, value in node.items():
            yield from places(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from places(value, (*path, number))
    else:
        yield path


def put(node: Any, place: Place, value: Any) -> Any:
    """The tree with another value at a place."""
    if not place:
        return value
    first, rest = place[0], place[1:]
    if first == _INSIDE:
        return json.dumps(put(json.loads(node), rest, value))
    changed = copy.copy(node)
    changed[first] = put(node[first], rest, value)
    return changed


def _json(node: Any) -> Any:
    if not isinstance(node, str):
        return None
    try:
        inner = json.loads(node)
    except ValueError:
        return None
    return inner if isinstance(inner, (dict, list)) else None
