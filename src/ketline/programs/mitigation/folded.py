"""Folding the gates of a twirled template, so that only the unfolded circuit has to be boxed and built.

    template = twirl(measured, gates=True, measures=True)
    folded = fold_template(template, Folding.choose(3.0, "gate_folding", rng), strategy="active-accum")
    drawn = folded.draw(template.draw(points, 64, rng), rng)      # parameter sets of `folded.circuit`

A layer ``G`` in the frame ``P`` becomes ``G G^-1 G``, each copy in a random frame of its own. The first
copy's is ``R P`` and the second's ``S P'`` (``P' = G P G^-1``, ``R`` and ``S`` drawn here, uniform and
independent), the last copy's is ``P``, so that what the template draws after the layer still fits. Between
copies stands a dressing that turns one frame into the next; ``R`` goes into the dressing that the layer has.

A Pauli is merged into a dressing's angles: with ``U = rz(c) sx rz(b) sx rz(a)``, up to a phase,

    Z U = rz(c + pi) sx rz(b) sx rz(a)          X U = rz(pi - c) sx rz(b + pi) sx rz(a)

since X turns rz around, commutes with sx, and ``sx^3 = Z sx Z``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Barrier, CircuitInstruction, Parameter, ParameterVector, QuantumCircuit
from qiskit.circuit.library import RZGate, SXGate, get_standard_gate_name_mapping
from qiskit.quantum_info import Clifford

from ketline.programs.mitigation.twirling import Drawn, Strategy, Template

if TYPE_CHECKING:
    from ketline.programs.mitigation.folding import Folding

_DRESSING = ("rz", "sx", "rz", "sx", "rz")


@dataclass(slots=True)
class _Layer:
    """A layer of gates of a template, and how it is folded.

    ``qubits`` are the dressed ones; ``dressing`` ``(qubits, 3)`` columns of their angles; ``gates`` the
    two-qubit gates with the places of their qubits among ``qubits``; ``folds`` how often each is folded.
    ``dressed`` ``(copies, qubits)`` tells which qubits are dressed in front of the copies 1, 2, …, and
    ``extra`` the first column of those dressings' angles; they follow each other copy by copy.
    """

    qubits: list[int]
    dressing: NDArray[np.intp]
    gates: list[tuple[CircuitInstruction, tuple[int, int]]]
    folds: list[int]
    dressed: NDArray[np.bool_]
    extra: int

    def gates_of(self, copy: int) -> list[tuple[CircuitInstruction, tuple[int, int]]]:
        """The gates of a copy; 0 is the layer itself."""
        return [gate for gate, folds in zip(self.gates, self.folds, strict=True) if copy <= 2 * folds]


@dataclass(frozen=True)
class FoldedTemplate:
    """A template with folded gates; ``circuit`` has the template's parameters and those of more dressings.

    ``given`` and ``added``: columns of ``circuit.parameters`` where the template's values and the further
    dressings' angles go.
    """

    circuit: QuantumCircuit
    given: NDArray[np.intp]
    added: NDArray[np.intp]
    layers: tuple[_Layer, ...]

    def draw(self, drawn: Drawn, rng: np.random.Generator) -> Drawn:
        """Parameter sets of the folded circuit from as many of the template's, with fresh frames."""
        sets = len(drawn.parameter_values)
        given = drawn.parameter_values.copy()
        added = np.empty((sets, len(self.added)))
        for layer in self.layers:
            _draw_layer(layer, given, added, rng)
        values = np.empty((sets, len(self.given) + len(self.added)))
        values[:, self.given] = given
        values[:, self.added] = added
        return Drawn(values, drawn.flips, drawn.signs)


def fold_template(template: Template, folding: Folding, strategy: Strategy) -> FoldedTemplate:
    """Fold the two-qubit gates of a template of twirled gates.

    Args:
        template: With twirled gates that can be folded (`Folding.check`), and without noise sites.
        folding: How often which gates are folded.
        strategy: The template's; with ``active`` a copy dresses the qubits of its gates alone, otherwise all
            that the layer dresses.
    """
    found = list(_found(template.circuit))
    folds = iter(folding.counts(sum(len(gates) for _, _, _, gates in found)))
    layers: dict[int, _Layer] = {}
    angles = 0
    for place, qubits, dressing, gates in found:
        own = [next(folds) for _ in gates]
        layer = _Layer(qubits, dressing, gates, own, np.ones((2 * max(own), len(qubits)), np.bool_), angles)
        if strategy == "active":
            for copy in range(len(layer.dressed)):
                active = [spot for _, spots in layer.gates_of(copy + 1) for spot in spots]
                layer.dressed[copy] = np.isin(np.arange(len(qubits)), active)
        angles += 3 * int(layer.dressed.sum())
        layers[place] = layer
    taken = {parameter.name.partition("[")[0] for parameter in template.circuit.parameters}
    prefix = "frame"
    while prefix in taken:
        prefix += "_"
    parameters = ParameterVector(prefix, angles)
    circuit = _circuit(template.circuit, layers, list(parameters))
    order = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    return FoldedTemplate(
        circuit,
        np.array([order[parameter] for parameter in template.circuit.parameters], np.intp),
        np.array([order[parameter] for parameter in parameters], np.intp),
        tuple(layer for layer in layers.values() if len(layer.dressed)),
    )


_Gates = list[tuple[CircuitInstruction, tuple[int, int]]]


def _found(circuit: QuantumCircuit) -> Iterator[tuple[int, list[int], NDArray[np.intp], _Gates]]:
    """The layers with two-qubit gates: the place of the barrier that ends it, qubits, dressing, gates.

    A layer stands between barriers that the builder labels by its number: ``L`` dressing ``M`` gates ``R``.
    """
    columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    angles: dict[int, list[int]] = {}
    names: dict[int, list[str]] = {}
    gates: list[CircuitInstruction] = []
    part = ""
    for place, instruction in enumerate(circuit.data):
        operation = instruction.operation
        qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        if operation.name == "barrier":
            label = (operation.label or "")[:1]
            if label == "R" and gates:
                if any(tuple(found) != _DRESSING for found in names.values()):
                    raise ValueError(f"layer {operation.label} of the template isn't dressed from the left")
                dressed = sorted(angles)
                where = {qubit: k for k, qubit in enumerate(dressed)}
                yield (
                    place,
                    dressed,
                    np.array([angles[qubit] for qubit in dressed], np.intp),
                    [(gate, _places(circuit, gate, where)) for gate in gates],
                )
            if label in {"L", "R"}:
                angles, names, gates = {}, {}, []
            part = label or part
        elif part == "L" and len(qubits) == 1:
            names.setdefault(qubits[0], []).append(operation.name)
            angles.setdefault(qubits[0], []).extend(columns[angle] for angle in operation.params)
        elif part == "M" and len(qubits) == 2:
            gates.append(instruction)


def _places(circuit: QuantumCircuit, gate: CircuitInstruction, where: dict[int, int]) -> tuple[int, int]:
    first, second = (where[circuit.find_bit(qubit).index] for qubit in gate.qubits)
    return first, second


def _circuit(circuit: QuantumCircuit, layers: dict[int, _Layer], angles: list[Parameter]) -> QuantumCircuit:
    """The circuit with further copies behind each layer."""
    instructions: list[CircuitInstruction] = []
    turns = iter(angles)
    sx = SXGate()
    for place, instruction in enumerate(circuit.data):
        instructions.append(instruction)
        if place not in layers:
            continue
        layer = layers[place]
        width = instruction.qubits
        barrier = CircuitInstruction(Barrier(len(width)), width)
        for copy, dressed in enumerate(layer.dressed, start=1):
            for spot in np.flatnonzero(dressed):
                qubit = (circuit.qubits[layer.qubits[spot]],)
                pulse = CircuitInstruction(sx, qubit)
                first, second, third = (CircuitInstruction(RZGate(next(turns)), qubit) for _ in range(3))
                instructions += (first, pulse, second, pulse, third)
            instructions.append(barrier)
            instructions += (gate for gate, _ in layer.gates_of(copy))
            instructions.append(barrier)
    # With its stretches, which a circuit made of instructions alone wouldn't have.
    made = circuit.copy_empty_like()
    for instruction in instructions:
        made.append(instruction, copy=False)
    return made


_PAULI_ANGLES = np.pi * np.array([[0, 1, 1], [0, 2, 0], [0, 1, 2], [0, 2, -1]])
"""Angles of a dressing that is a Pauli alone, with bits ``x + 2 z``."""


def _draw_layer(
    layer: _Layer, given: NDArray[np.float64], added: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Draw the frames of a layer's copies; change its own dressing and set those of its copies.

    A frame is bits ``[x, z]``: array ``(2, copies + 1, sets, qubits)``, zero where no dressing follows that
    could take it back.
    """
    sets, (copies, width) = len(given), layer.dressed.shape
    frames = rng.integers(0, 2, (2, copies + 1, sets, width), dtype=np.uint8)
    frames[:, :copies] *= layer.dressed[:, None, :]
    frames[:, copies] = 0
    after = frames.copy()
    for (gate, both), folds in zip(layer.gates, layer.folds, strict=True):
        runs = slice(0, 2 * folds + 1)
        pair = list(both)
        before = frames[:, runs][..., pair]
        bits = np.moveaxis(before, 0, -2).reshape(*before.shape[1:-1], 4)
        moved = (bits @ _propagation(gate.operation.name) & 1).reshape(*before.shape[1:-1], 2, 2)
        after[:, runs, :, pair] = np.moveaxis(moved, -2, 0)
    own = layer.dressing
    given[:, own] = _multiplied(given[:, own], frames[0, 0], frames[1, 0])
    between = frames[:, 1:] ^ after[:, :-1]
    copy, spot = np.nonzero(layer.dressed)
    chosen = (between[0] + 2 * between[1])[copy, :, spot]
    added[:, layer.extra : layer.extra + 3 * len(copy)] = (
        _PAULI_ANGLES[chosen].swapaxes(0, 1).reshape(sets, -1)
    )


def _multiplied(
    angles: NDArray[np.float64], x: NDArray[np.uint8], z: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Angles ``(…, 3)`` of ``rz sx rz sx rz`` with a further Pauli after it, bits ``x``, ``z`` ``(…)``."""
    first, second, third = np.moveaxis(angles, -1, 0)
    third = third + np.pi * z
    return np.stack([first, second + np.pi * x, np.where(x, np.pi - third, third)], axis=-1)


@cache
def _propagation(name: str) -> NDArray[np.uint8]:
    """Of a two-qubit gate: the matrix that bits ``[x0, x1, z0, z1]`` of a Pauli are multiplied with."""
    matrix: NDArray[np.uint8] = Clifford(get_standard_gate_name_mapping()[name]).symplectic_matrix
    return matrix.astype(np.uint8)
