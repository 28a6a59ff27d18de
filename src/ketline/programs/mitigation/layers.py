"""Layers of two-qubit gates, their noise, and where in a circuit it applies.

    layers = unique_layers([template.sites for template in templates])     # most important first
    maps, missing = maps_for(template.sites, noises)                       # for Template.draw

A *layer* is a set of two-qubit gates on physical qubits that act at the same time, and the qubits that are
twirled with them. Noise is a Pauli-Lindblad map over the layer's qubits in ascending order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import PauliLindbladMap

from ketline.programs.failures import rejected
from ketline.programs.mitigation.twirling import NoiseSite

Gates = tuple[tuple[str, tuple[int, ...]], ...]

_SYMMETRIC = frozenset({"cz", "swap"})


@dataclass(frozen=True, slots=True)
class Layer:
    """``gates`` are (name, physical qubits), sorted; ``qubits`` are ascending."""

    gates: Gates
    qubits: tuple[int, ...]

    def circuit(self) -> QuantumCircuit:
        """The layer as a circuit whose qubit ``i`` is ``qubits[i]``."""
        from qiskit.circuit.library import get_standard_gate_name_mapping

        gates = get_standard_gate_name_mapping()
        place = {qubit: i for i, qubit in enumerate(self.qubits)}
        circuit = QuantumCircuit(len(self.qubits))
        for name, qubits in self.gates:
            circuit.append(gates[name], [place[qubit] for qubit in qubits])
        return circuit


@dataclass(frozen=True, slots=True)
class LayerNoise:
    """What is known of a layer's noise: qubit ``i`` of ``error`` is ``layer.qubits[i]``; None: nothing."""

    layer: Layer
    error: PauliLindbladMap | None

    def to_tree(self) -> dict[str, Any]:
        """A tree of JSON values, for `ketline.programs.state.pack`."""
        terms = None if self.error is None else [list(term) for term in self.error.to_sparse_list()]
        return {"gates": self.layer.gates, "qubits": self.layer.qubits, "terms": terms}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> LayerNoise:
        """What `to_tree` gave."""
        layer = Layer(tuple((name, tuple(qubits)) for name, qubits in tree["gates"]), tuple(tree["qubits"]))
        if tree["terms"] is None:
            return cls(layer, None)
        terms = [(paulis, qubits, rate) for paulis, qubits, rate in tree["terms"]]
        return cls(layer, PauliLindbladMap.from_sparse_list(terms, num_qubits=len(layer.qubits)))


def normalized(gates: Iterable[tuple[str, Sequence[int]]]) -> Gates:
    """Gates in the one order by which layers are compared."""
    return tuple(
        sorted(
            (name, tuple(sorted(qubits)) if name in _SYMMETRIC else tuple(qubits)) for name, qubits in gates
        )
    )


def layer_of(site: NoiseSite) -> Layer:
    """The layer of gates at a noise site."""
    return Layer(normalized(site.gates), site.qubits)


def layer_of_circuit(circuit: QuantumCircuit, qubits: Sequence[int]) -> tuple[Layer, list[int]]:
    """The layer that a circuit over ``qubits`` holds, and where its qubits went in ascending order.

    Entry ``i`` of the second value is the index in ``Layer.qubits`` of the circuit's qubit ``i``.
    """
    gates = [
        (
            instruction.operation.name,
            tuple(qubits[circuit.find_bit(qubit).index] for qubit in instruction.qubits),
        )
        for instruction in circuit.data
        if len(instruction.qubits) == 2 and instruction.operation.name != "barrier"
    ]
    ascending = sorted(qubits)
    return Layer(normalized(gates), tuple(ascending)), [ascending.index(qubit) for qubit in qubits]


def unique_layers(sites_of_circuits: Iterable[Sequence[NoiseSite]]) -> list[Layer]:
    """Every layer once: those that occur most often first, of these those with most gates.

    That is the order in which ``layer_noise_learning.max_layers_to_learn`` counts them.
    """
    counted = Counter(layer_of(site) for sites in sites_of_circuits for site in sites)
    return sorted(counted, key=lambda layer: (-counted[layer], -len(layer.gates)))


def maps_for(
    sites: Sequence[NoiseSite], noises: Sequence[LayerNoise], field: str = "resilience.layer_noise_model"
) -> tuple[dict[str, PauliLindbladMap], set[str]]:
    """The noise of every site of a template, on the site's qubits.

    Args:
        sites: `Template.sites`.
        noises: What is known; layers are told by their gates.
        field: Where the noise comes from, for messages.

    Returns:
        Maps by the site's ``ref``, and the refs of layers of which nothing is known (their map is empty).

    Raises:
        JobError: noise acts on qubits that aren't twirled with the layer.
    """
    maps: dict[str, PauliLindbladMap] = {}
    missing: set[str] = set()
    for site in sites:
        width = len(site.qubits)
        noise = _best(layer_of(site), noises)
        if noise is None or noise.error is None:
            maps[site.ref] = PauliLindbladMap.identity(width)
            missing.add(site.ref)
            continue
        place = {qubit: i for i, qubit in enumerate(site.qubits)}
        terms = []
        for paulis, indices, rate in noise.error.to_sparse_list():
            physical = [noise.layer.qubits[index] for index in indices]
            if not place.keys() >= set(physical):
                raise rejected(
                    field,
                    f"the noise of the layer {noise.layer.gates} acts on qubits {physical}, of which not all"
                    f" are twirled with it (those are {list(site.qubits)}).",
                    "Learn the noise with the twirling.strategy that the circuits are run with.",
                )
            terms.append((paulis, [place[qubit] for qubit in physical], rate))
        maps[site.ref] = PauliLindbladMap.from_sparse_list(terms, num_qubits=width)
    return maps, missing


def _best(layer: Layer, noises: Sequence[LayerNoise]) -> LayerNoise | None:
    """What is known of a layer: best with the same twirled qubits, else with as many of them as possible."""
    same = [noise for noise in noises if noise.layer.gates == layer.gates and noise.error is not None]

    def rank(noise: LayerNoise) -> tuple[int, int]:
        theirs, ours = set(noise.layer.qubits), set(layer.qubits)
        return len(theirs - ours), len(ours - theirs)

    return min(same, key=rank, default=None)


def total_rate(error: PauliLindbladMap) -> float:
    """Sum of the rates."""
    return float(np.sum(error.rates))
