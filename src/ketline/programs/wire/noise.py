"""Noise of layers: the client's ``NoiseLearnerResult`` and ``LayerError`` (``rest.md`` E.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ketline.programs.failures import unreadable
from ketline.programs.mitigation.layers import LayerNoise, layer_of_circuit
from ketline.programs.wire.arrays import real_array
from ketline.programs.wire.circuits import read_circuit
from ketline.programs.wire.fields import a_list
from ketline.programs.wire.guard import guarded
from ketline.programs.wire.unpack import Budget
from ketline.programs.wire.values import kind_of, read_array

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.quantum_info import PauliLindbladMap


def read_layer_noises(value: object, budget: Budget, field: str) -> tuple[LayerNoise, ...]:
    """A noise model as the client posts it: a learner's result, or a list of layers' errors.

    Raises:
        JobError: it is neither, or its parts don't fit together.
    """
    if kind_of(value) == "NoiseLearnerResult" and isinstance(value, dict):
        inner = value.get("__value__")
        value = inner.get("data") if isinstance(inner, dict) else None
    return tuple(
        _read_layer(layer, budget, f"{field}[{number}]") for number, layer in enumerate(a_list(value, field))
    )


def _read_layer(value: object, budget: Budget, field: str) -> LayerNoise:
    parts = _named(value, "LayerError", field)
    circuit = read_circuit(parts.get("circuit"), budget, f"{field}.circuit")
    qubits = parts.get("qubits")
    if (
        not isinstance(qubits, list)
        or not all(type(qubit) is int and 0 <= qubit < 10_000 for qubit in qubits)
        or len(set(qubits)) != len(qubits)
        or len(qubits) != circuit.num_qubits
    ):
        raise unreadable(f"{field}.qubits", f"aren't {circuit.num_qubits} different qubits.")
    _check_gates(circuit, f"{field}.circuit")
    layer, places = layer_of_circuit(circuit, qubits)
    if parts.get("error") is None:
        return LayerNoise(layer, None)
    return LayerNoise(layer, _read_error(parts["error"], places, budget, f"{field}.error"))


def _check_gates(circuit: QuantumCircuit, field: str) -> None:
    """A layer holds gates on two qubits by which it is known again; what stands beside them is no matter."""
    from qiskit.circuit.library import get_standard_gate_name_mapping

    known = get_standard_gate_name_mapping()
    for instruction in circuit.data:
        name, width = instruction.name, len(instruction.qubits)
        if width < 2 or name == "barrier":
            continue
        if width > 2 or name not in known or known[name].params:
            raise unreadable(
                field,
                f"a layer can't hold {name} on {width} qubits.",
                "Give layers of gates such as cx, cz and ecr.",
            )


def _read_error(value: object, places: Sequence[int], budget: Budget, field: str) -> PauliLindbladMap:
    from qiskit.quantum_info import PauliLindbladMap

    parts = _named(value, "PauliLindbladError", field)
    inner = parts.get("generators")
    words = (
        inner.get("__value__", {}).get("data")
        if kind_of(inner) == "settings" and isinstance(inner, dict)
        else None
    )
    rates = real_array(read_array(parts.get("rates"), budget, f"{field}.rates"), f"{field}.rates")
    if not isinstance(words, list) or rates.shape != (len(words),):
        raise unreadable(field, "generators and rates aren't lists of one and the same length.")
    terms = []
    for word, rate in zip(words, rates, strict=True):
        if not isinstance(word, str) or len(word) != len(places) or not set(word) <= set("IXYZ"):
            raise unreadable(
                f"{field}.generators", f"{word!r:.80} isn't a word of {len(places)} letters IXYZ."
            )
        support = [(letter, places[i]) for i, letter in enumerate(reversed(word)) if letter != "I"]
        if support:
            terms.append(("".join(letter for letter, _ in support), [q for _, q in support], float(rate)))
    made: PauliLindbladMap = guarded(
        lambda: PauliLindbladMap.from_sparse_list(terms, num_qubits=len(places)), field, "a noise model"
    )
    return made


def _named(value: object, name: str, field: str) -> dict[str, Any]:
    """The parts of a value that the client wrapped by its class's name."""
    if (
        kind_of(value) == "_json"
        and isinstance(value, dict)
        and value.get("__class__") == name
        and isinstance(value.get("__value__"), dict)
    ):
        inner: dict[str, Any] = value["__value__"]
        return inner
    raise unreadable(field, f"not an encoded {name}.")


def layer_error(noise: LayerNoise) -> Any:
    """A layer's noise as the client's ``LayerError``, for its encoder."""
    from qiskit.quantum_info import PauliList
    from qiskit_ibm_runtime.results.noise_learner import LayerError, PauliLindbladError

    width = len(noise.layer.qubits)
    error = None
    if noise.error is not None:
        words, rates = [], []
        for letters, places, rate in noise.error.to_sparse_list():
            word = ["I"] * width
            for letter, place in zip(letters, places, strict=True):
                word[width - 1 - place] = letter
            words.append("".join(word))
            rates.append(rate)
        error = PauliLindbladError(PauliList(words or ["I" * width]), np.array(rates or [0.0]))
    return LayerError(noise.layer.circuit(), list(noise.layer.qubits), error)
