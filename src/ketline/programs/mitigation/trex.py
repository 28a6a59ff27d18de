"""Readout mitigation with twirled readout errors (TREX).

    item, plan = prepare_readout(qubits, width, Sizes(32, 128), rng)
    readout = read(plan, outcome)                     # of that item
    factors = readout.factors(qubits, letters)        # (randomisations, terms): means of what should be 1

With random flips before each measurement that are undone afterwards, a readout error multiplies the
expectation value of a product of Z by a number that doesn't depend on the state. Measuring ``|0…0>`` in the
same way shows that number for every product at once, whatever correlations the errors have; dividing by it
removes the bias (van den Berg, Minev, Temme, Phys. Rev. A 105, 032620). Its own statistical error is handed
on randomisation by randomisation, so that an estimate made of several products knows how their errors hang
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from ketline.programs.mitigation.counts import Counts
from ketline.programs.mitigation.measuring import dress
from ketline.programs.mitigation.twirling import Sizes
from ketline.programs.recurring import Memory
from ketline.units.packing import circuit_bytes
from ketline.units.work import ItemOutcome, WorkItem


@dataclass(frozen=True, slots=True)
class ReadoutPlan:
    """What `read` needs to know of a calibration: its qubits, register and flips."""

    qubits: NDArray[np.int64]
    register: str
    flips: NDArray[np.bool_]

    def to_tree(self) -> dict[str, Any]:
        """A tree of lists and arrays, for `ketline.programs.state.pack`."""
        return {"qubits": self.qubits, "register": self.register, "flips": self.flips}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> ReadoutPlan:
        """What `to_tree` gave."""
        return cls(**tree)


@dataclass(frozen=True, slots=True)
class Readout:
    """A calibrated readout: bit ``i`` of ``counts`` is qubit ``qubits[i]``, each set a randomisation."""

    qubits: NDArray[np.int64]
    counts: Counts

    def factors(self, qubits: NDArray[np.int64], letters: NDArray[np.uint8]) -> NDArray[np.float64]:
        """By how much readout shrinks each term, as each randomisation shows it: ``(randomisations, terms)``.

        Args:
            qubits: What the columns of ``letters`` stand for; all of them calibrated.
            letters: Pauli letters as in `observables`, ``(terms, len(qubits))``.
        """
        place = {int(qubit): column for column, qubit in enumerate(self.qubits)}
        own = np.zeros((len(letters), len(self.qubits)), np.uint8)
        own[:, [place[int(qubit)] for qubit in qubits]] = letters > 0
        return self.counts.means(np.arange(self.counts.table.shape[0]), own)

    def error_rates(self) -> NDArray[np.float64]:
        """Probability that a twirled readout of each of ``qubits`` is wrong."""
        return (1.0 - self.factors(self.qubits, np.eye(len(self.qubits), dtype=np.uint8)).mean(axis=0)) / 2


def prepare_readout(
    qubits: Sequence[int] | NDArray[np.int64],
    width: int,
    sizes: Sizes,
    rng: np.random.Generator,
    memory: Memory | None = None,
) -> tuple[WorkItem, ReadoutPlan]:
    """The calibration of the readout of some qubits, all at once.

    Args:
        qubits: Physical qubits, those that the circuits to be corrected measure.
        width: Qubits of the circuits.
        sizes: Randomisations and shots of each.
        rng: The source of the flips.
        memory: What is kept of earlier jobs.
    """
    chosen = np.array(sorted({int(qubit) for qubit in qubits}), np.int64)
    template = (memory or Memory()).get(
        ("readout", width, tuple(chosen.tolist())),
        lambda: dress(QuantumCircuit(width), chosen.tolist()),
        lambda made: circuit_bytes(made.circuit),
    )
    bases = np.ones((1, len(chosen)), np.uint8)
    drawn = template.draw(np.zeros((1, 0)), sizes.randomizations, rng, bases=bases, flips=True)
    item = WorkItem(template.circuit, drawn.parameter_values, sizes.shots)
    return item, ReadoutPlan(chosen, template.register, drawn.flips[template.register])


def read(plan: ReadoutPlan, outcome: ItemOutcome) -> Readout:
    """Read a calibration."""
    return Readout(plan.qubits, Counts.of(outcome.bits[plan.register], plan.flips, len(plan.qubits)))
