"""Circuits and values that are rare, through the emulated QPU: they come out right, or are refused by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from lab import context, decoded, emulated
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit_ibm_runtime import RuntimeEncoder

from ketline.programs import state as states
from ketline.units.errors import JobError


def run(program_id: str, params: dict[str, Any], name: str = "manila", **changes: Any) -> Any:
    raw = json.dumps(params, cls=RuntimeEncoder).encode()
    return decoded(emulated(program_id, raw, context(name, **changes)))


def flipped(**more: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1, **more)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize(
    "metadata",
    [
        {"__array__": ["<f8", [3], 0]},
        {"a": {"__array__": ["O", [10**9], 0]}},
        {"seed": 2**100},
        {"text": "\ud800"},
    ],
)
def test_metadata_come_back_as_they_were(metadata: dict[str, Any]) -> None:
    circuit = flipped(metadata=metadata)
    for program_id, pub in (("sampler", [circuit, None, 4]), ("estimator", [circuit, "Z", None, 0.5])):
        result = run(program_id, {"pubs": [pub]})
        assert result[0].metadata["circuit_metadata"] == metadata


def test_metadata_that_nobody_could_walk_through_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    with pytest.raises(JobError, match=r"pubs\[0\] circuit metadata: nested more than 200 deep"):
        run("sampler", {"pubs": [[flipped(metadata={"deep": deep}), None, 4]]})


def test_registers_may_have_any_name() -> None:
    circuit = QuantumCircuit(1)
    circuit.add_register(ClassicalRegister(1, "__array__"))
    circuit.x(0)
    circuit.measure(0, 0)
    options = {"twirling": {"enable_measure": True}}
    result = run("sampler", {"pubs": [[circuit, None, 64]], "options": options})
    assert np.mean(result[0].data["__array__"].array) > 0.8
    tree = {"__array__": {"__array___": [1, 2]}, "b": np.arange(3)}
    again = states.unpack(states.pack(tree))
    assert again["__array__"] == {"__array___": [1, 2]}
    assert again["b"].tolist() == [0, 1, 2]
