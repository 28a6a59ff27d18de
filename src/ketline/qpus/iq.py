"""Kerneled measurement: points in the IQ plane whose classification has the qubit's readout error.

Each qubit has two clouds, Gaussian with the same spread, around the points ``c(-a)`` and ``c(+a)`` of its
states 0 and 1, where ``c`` is a rotation and scaling of its own. The spread is chosen such that the halfway
line misreads either state with the readout error of the qubit. A true state gives a point, and the side
on which the point lies is the classified bit, so ``both`` is consistent shot by shot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

_LEAST_ERROR = 1e-9


def spread(error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of clouds around -1 and +1 that are confused with probability ``error``."""
    return np.asarray(-1.0 / ndtri(np.clip(error, _LEAST_ERROR, 0.499)), dtype=np.float64)


def frame(qubits: NDArray[np.int64], seed: int) -> NDArray[np.complex128]:
    """Where a qubit's axis from 0 to 1 points, and how long it is: complex, shape of ``qubits``."""
    turned = [np.random.default_rng([seed, int(q)]) for q in qubits.ravel()]
    values = [rng.uniform(0.8, 1.2) * np.exp(2j * np.pi * rng.uniform()) for rng in turned]
    return np.asarray(values, dtype=np.complex128).reshape(qubits.shape)


def points(
    bits: NDArray[np.uint8], error: NDArray[np.float64], rng: np.random.Generator, classified: bool
) -> NDArray[np.complex128]:
    """Points for bits, in the qubits' own frames (0 at -1, 1 at +1).

    Args:
        bits: shape ``(…, size)``.
        error: readout error of each bit, shape ``(size,)``.
        rng: randomness.
        classified: the bits are already what was read, so every point has to lie on its bit's side;
            otherwise they are true states, and a point may lie on the wrong side.
    """
    sigma = spread(error)
    centre = bits.astype(np.float64) * 2 - 1
    along = rng.standard_normal(bits.shape) * sigma
    across = rng.standard_normal(bits.shape) * sigma
    if classified:
        inside = centre * (centre + along) > 0
        while not inside.all():
            wrong = np.nonzero(~inside)
            along[wrong] = rng.standard_normal(len(wrong[0])) * sigma[wrong[-1]]
            inside[wrong] = centre[wrong] * (centre[wrong] + along[wrong]) > 0
    return np.asarray(centre + along + 1j * across, dtype=np.complex128)


def sides(values: NDArray[np.complex128]) -> NDArray[np.uint8]:
    """The classified bits of points in the qubits' own frames."""
    return (values.real > 0).astype(np.uint8)


def placed(
    values: NDArray[np.complex128], qubits: NDArray[np.int64], seed: int
) -> NDArray[Any]:  # fmt: skip
    """Points as the readout electronics see them, each qubit in its frame."""
    return values * frame(qubits, seed)
