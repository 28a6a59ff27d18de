"""Shots without initialisation: each starts with the qubits as the one before left them.

Several copies of a circuit stand one after the other in one longer circuit, each writing to classical bits of
its own, with the pause between shots in between, during which the qubits relax. One trajectory of it is as
many consecutive shots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import IGate

from ketline.qpus.reduce import DELAY, Reduced

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_GATES = 20_000


def links(reduced: Reduced, shots: int) -> int:
    """How many shots follow each other before the qubits start from their ground states again."""
    return max(1, min(shots, _MOST_GATES // max(1, reduced.gates)))


def chained(reduced: Reduced, copies: int, pause: int) -> Reduced:
    """A circuit that is so many consecutive shots of another.

    Args:
        reduced: one shot.
        copies: how many.
        pause: the pause between two shots, in dt.
    """
    one = reduced.circuit
    whole = QuantumCircuit(one.num_qubits, copies * one.num_clbits)
    for variable in one.iter_input_vars():
        whole.add_input(variable)
    for copy in range(copies):
        if copy and pause:
            for place in range(one.num_qubits):
                whole.append(IGate(label=f"{DELAY}{pause}"), [place], copy=False)
        bits = whole.clbits[copy * one.num_clbits : (copy + 1) * one.num_clbits]
        whole.compose(one, whole.qubits, bits, inplace=True, copy=False)
    uses = {use: count * copies for use, count in reduced.uses.items()}
    if pause and copies > 1:
        uses.update(dict.fromkeys(pauses(reduced, pause), copies - 1))
    pairs = {pair: count * copies for pair, count in reduced.entangling.items()}
    return Reduced(whole, reduced.qubits, uses, False, reduced.dynamic, pairs, reduced.slow)


def pauses(reduced: Reduced, pause: int) -> list[tuple[str, tuple[int, ...]]]:
    """The waits between shots, as `reduce.Reduced.uses` names them."""
    return [(f"{DELAY}{pause}", (qubit,)) for qubit in reduced.qubits]


def in_order(table: NDArray[np.uint8], copies: int) -> NDArray[np.uint8]:
    """Bits of trajectories ``(n, copies * bits)`` as bits of shots ``(n * copies, bits)``."""
    return table.reshape(len(table) * copies, -1)
