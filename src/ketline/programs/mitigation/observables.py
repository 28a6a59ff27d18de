"""Which bases to measure in, at which points, to estimate an array of observables.

    plan = plan_measurement(observables, points_shape)
    plan.qubits     # what to measure: bit i of the register is qubits[i]
    plan.settings   # (n_settings, 2): run point settings[:, 0] in basis plan.bases[settings[:, 1]]

Terms of one observable that commute qubit by qubit share a basis, and so do observables. A *letter* is a
number as in `qiskit.quantum_info.SparseObservable.BitTerm`: 1 Z, 2 X, 3 Y, and the same plus 8 or 4 for the
projector on the positive or negative eigenstate (9 is ``0``, 5 is ``1``, 10 is ``+``, …); 0 is the identity.
The lower two bits of a letter are thus the basis in which it is measured, in samplomatic's numbering.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qiskit.primitives.containers.observables_array import ObservablesArray

BASIS_BITS = 3


@dataclass(frozen=True, slots=True)
class MeasurementPlan:
    """What to measure for an array of observables, and how the results make up the array.

    ``qubits`` ``(m,)`` ascending. ``bases`` uint8 ``(n_bases, m)``. ``settings`` ``(n_settings, 2)``: point
    and basis. ``shape`` is that of the result; element ``e`` (in C order) is observable ``elements[e, 1]`` at
    point ``elements[e, 0]``. The terms of observable ``k`` are ``slice(bounds[k], bounds[k + 1])`` of
    ``letters`` uint8 ``(terms, m)``, ``coefficients`` and ``term_bases``; ``constants[k]`` is its identity
    part.
    """

    qubits: NDArray[np.int64]
    bases: NDArray[np.uint8]
    settings: NDArray[np.int64]
    shape: tuple[int, ...]
    elements: NDArray[np.int64]
    bounds: NDArray[np.int64]
    letters: NDArray[np.uint8]
    coefficients: NDArray[np.float64]
    term_bases: NDArray[np.int64]
    constants: NDArray[np.float64]

    def to_tree(self) -> dict[str, Any]:
        """A tree of lists and arrays, for `ketline.programs.state.pack`."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> MeasurementPlan:
        """What `to_tree` gave."""
        return cls(**{**tree, "shape": tuple(tree["shape"])})


def plan_measurement(observables: ObservablesArray, points_shape: tuple[int, ...]) -> MeasurementPlan:
    """Plan the measurement of observables broadcast against points.

    Args:
        observables: As wide as the circuit; coefficients are real.
        points_shape: Shape of the array of parameter sets.

    Raises:
        ValueError: the shapes don't broadcast.
    """
    shape = np.broadcast_shapes(observables.shape, points_shape)
    sparse = [entry.simplify() for entry in observables.ravel().sparse_observables_array()]
    used = sorted({int(index) for entry in sparse for index in entry.indices})
    column = {qubit: i for i, qubit in enumerate(used)}

    letters: list[NDArray[np.uint8]] = []
    coefficients: list[float] = []
    constants = np.zeros(len(sparse))
    bounds = [0]
    for k, entry in enumerate(sparse):
        for term in entry:
            if not len(term.indices):
                constants[k] += term.coeff.real
                continue
            row = np.zeros(len(used), np.uint8)
            row[[column[int(index)] for index in term.indices]] = [int(bit) for bit in term.bit_terms]
            letters.append(row)
            coefficients.append(term.coeff.real)
        bounds.append(len(letters))
    table = np.array(letters, np.uint8).reshape(len(letters), len(used))

    # First within each observable, so that one observable alone never takes more bases than it needs.
    own: list[NDArray[np.uint8]] = []
    first = np.zeros(len(letters), np.int64)
    for start, stop in pairwise(bounds):
        bases, of_term = _merge(table[start:stop] & np.uint8(BASIS_BITS))
        first[start:stop] = of_term + len(own)
        own.extend(bases)
    bases, of_own = _merge(np.array(own, np.uint8).reshape(len(own), len(used)))
    term_bases = of_own[first]

    points = np.broadcast_to(np.arange(int(np.prod(points_shape))).reshape(points_shape), shape).reshape(-1)
    which = np.broadcast_to(np.arange(len(sparse)).reshape(observables.shape), shape).reshape(-1)
    elements = np.stack([points, which], axis=1)
    needed = [np.unique(term_bases[start:stop]) for start, stop in pairwise(bounds)]
    pairs = [
        np.stack([np.repeat(points[which == k], len(bases_k)), np.tile(bases_k, np.sum(which == k))], axis=1)
        for k, bases_k in enumerate(needed)
    ]
    settings = np.unique(np.concatenate(pairs), axis=0) if pairs else np.zeros((0, 2))
    return MeasurementPlan(
        np.array(used, np.int64),
        np.array(bases, np.uint8).reshape(len(bases), len(used)),
        settings.astype(np.int64).reshape(-1, 2),
        tuple(shape),
        elements.astype(np.int64),
        np.array(bounds, np.int64),
        table,
        np.array(coefficients, np.float64),
        term_bases,
        constants,
    )


def _merge(rows: NDArray[np.uint8]) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Put rows of bases (0: any) that agree into one basis each: first fit, heaviest first.

    Linear in memory, where a graph of all pairs of terms wouldn't be.
    """
    found = np.zeros((min(len(rows), 64), rows.shape[1]), np.uint8)
    count = 0
    basis_of = np.zeros(len(rows), np.int64)
    for index in np.argsort(-np.count_nonzero(rows, axis=1), kind="stable"):
        row = rows[index]
        support = row > 0
        here = found[:count, support]
        fits = np.flatnonzero(((here == row[support]) | (here == 0)).all(axis=1))
        if len(fits):
            place = int(fits[0])
        else:
            if count == len(found):
                found = np.concatenate([found, np.zeros_like(found)])
            place, count = count, count + 1
        found[place, support] = row[support]
        basis_of[index] = place
    return list(found[:count]), basis_of
