"""Counts of outcomes, and what products of single-qubit observables are worth on them.

    counts = Counts.of(bits, flips, width)        # uint8 (sets, shots, bytes), bool (sets, width) or None
    counts.means(sets, letters)                   # (*sets.shape, terms): mean of each term in each set
    counts.square(sets, letters, weights)         # mean of (sum of weighted terms) squared, pooled

Every distinct outcome is looked at once, however often it came: with few qubits that makes the number of
shots irrelevant, with many it costs what looking at each shot costs. Letters are those of `observables`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

_DENSE_WIDTH = 12
_CHUNK = 1 << 24

Matrix = NDArray[np.float64] | csr_array


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each outcome came in each set of a run.

    ``table``: ``(sets, outcomes)``. ``words``: the outcomes, uint64 ``(outcomes, n_words)``, bit ``i`` of the
    register in bit ``i % 64`` of word ``i // 64``. ``shots``: per set.
    """

    table: Matrix
    words: NDArray[np.uint64]
    shots: int

    @classmethod
    def of(cls, bits: NDArray[np.uint8], flips: NDArray[np.bool_] | None, width: int) -> Counts:
        """Count the bits of an item, with ``flips`` undone.

        Args:
            bits: As in `ketline.units.work.ItemOutcome`: uint8 ``(sets, shots, ceil(width / 8))``.
            flips: bool ``(sets, width)``, last axis by clbit index.
            width: Size of the register.
        """
        sets, shots, size = bits.shape
        padded = np.zeros((sets, shots, -(-width // 64) * 8), np.uint8)
        padded[..., :size] = bits[..., ::-1]
        if flips is not None:
            padded[..., :size] ^= np.packbits(flips, axis=-1, bitorder="little")[:, None, :]
        words = padded.view("<u8").astype(np.uint64)
        if width <= _DENSE_WIDTH:
            index = words[..., 0].astype(np.int64) + (np.arange(sets, dtype=np.int64) << width)[:, None]
            dense = np.bincount(index.reshape(-1), minlength=sets << width).reshape(sets, 1 << width)
            return cls(dense.astype(np.float64), np.arange(1 << width, dtype=np.uint64)[:, None], shots)
        if width <= 64:
            distinct, column = np.unique(words[..., 0], return_inverse=True)
            distinct = distinct[:, None]
        else:
            # So wide that outcomes hardly ever repeat.
            distinct, column = words.reshape(sets * shots, -1), np.arange(sets * shots)
        rows = np.arange(0, sets * shots + 1, shots)
        table: csr_array = csr_array(
            (np.ones(sets * shots), column.reshape(-1), rows), shape=(sets, len(distinct))
        )
        table.sum_duplicates()
        return cls(table, distinct, shots)

    def means(self, sets: NDArray[np.int64], letters: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Mean of each term in each of the given sets: ``(*sets.shape, terms)``."""
        rows = self.table[sets.reshape(-1)]
        step = max(1, _CHUNK // max(1, len(self.words)))
        parts = [
            rows @ values(self.words, letters[start : start + step]).T
            for start in range(0, len(letters), step)
        ]
        return np.concatenate(parts, axis=1).reshape(*sets.shape, len(letters)) / self.shots

    def square(
        self, sets: NDArray[np.int64], letters: NDArray[np.uint8], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Mean over the shots of some sets of the square of a weighted sum of terms.

        Args:
            sets: ``(randomisations, points)``; randomisations are pooled.
            letters: ``(terms, width)``.
            weights: ``(points, terms)``.

        Returns:
            ``(points,)``.
        """
        randomizations, points = sets.shape
        result = np.empty(points)
        step = max(1, _CHUNK // max(1, len(self.words)))
        for start in range(0, points, step):
            chosen = sets[:, start : start + step]
            size = chosen.shape[1]
            pooled = self.table[chosen[0]]
            for row in chosen[1:]:
                pooled = pooled + self.table[row]
            if isinstance(pooled, np.ndarray):
                sums = weights[start : start + size] @ values(self.words, letters)
                result[start : start + size] = np.einsum("pu,pu,pu->p", pooled, sums, sums)
            else:
                result[start : start + size] = _sparse_square(
                    pooled.tocoo(), self.words, letters, weights[start : start + size]
                )
        return result / (randomizations * self.shots)


def _sparse_square(
    pooled: coo_array, words: NDArray[np.uint64], letters: NDArray[np.uint8], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    row, column = pooled.row, pooled.col
    sums = np.zeros(len(pooled.data))
    for term in range(len(letters)):
        sums += weights[row, term] * values(words, letters[term : term + 1])[0][column]
    return np.bincount(row, pooled.data * sums**2, minlength=len(weights)).astype(np.float64)


def values(words: NDArray[np.uint64], letters: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What each term is worth on each outcome: float64 ``(terms, outcomes)``."""
    result = np.empty((len(letters), len(words)))
    paulis, ups, downs = (
        _masks((letters > 0) & (letters >> 2 == kind), words.shape[1]) for kind in (0, 2, 1)
    )
    for term in range(len(letters)):
        ones = np.bitwise_count(words & paulis[term]).sum(axis=1, dtype=np.int64)
        result[term] = 1.0 - 2.0 * (ones & 1)
        if ups[term].any() or downs[term].any():
            caught = ((words & ups[term]) == 0) & ((words & downs[term]) == downs[term])
            result[term] *= caught.all(axis=1)
    return result


def _masks(support: NDArray[np.bool_], n_words: int) -> NDArray[np.uint64]:
    padded = np.zeros((len(support), n_words * 64), np.bool_)
    padded[:, : support.shape[1]] = support
    return np.packbits(padded, axis=-1, bitorder="little").view("<u8").astype(np.uint64)
