"""Statistics of waiting and fairness: intervals, Jain's index, and whether two settings really differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval; ``coverage`` is the share of such intervals that hold the truth."""

    low: float
    middle: float
    high: float
    coverage: float

    @property
    def width(self) -> float:
        """Upper minus lower end, in the unit of the estimate."""
        return self.high - self.low

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def jain(values: ArrayLike) -> float:
    """Jain's fairness index ``(sum x)^2 / (n sum x^2)``: 1 when all are equal, 1/n when one has it all.

    Source: R. Jain, D. Chiu, W. Hawe, DEC-TR-301 (1984). NaN for no values, 1 when all are zero.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        return float("nan")
    squares = float(np.sum(x * x))
    return 1.0 if squares == 0.0 else float(np.sum(x)) ** 2 / (x.size * squares)


def mean_interval(values: ArrayLike, coverage: float = 0.95) -> Interval:
    """The mean of independent values with Student's t interval; needs two values at least."""
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2:
        raise ValueError(f"an interval needs two values at least, not {x.size}")
    mean = float(np.mean(x))
    half = float(stats.t.ppf(0.5 + coverage / 2, x.size - 1) * stats.sem(x))
    return Interval(mean - half, mean, mean + half, coverage)


def batch_mean_interval(values: ArrayLike, batches: int = 20, coverage: float = 0.95) -> Interval:
    """The mean of a correlated series (waits of successive jobs) by the method of batch means.

    Source: A. M. Law, *Simulation Modeling and Analysis*, 9.5.3. The rest of
    ``len / batches`` is left out.
    """
    x = np.asarray(values, dtype=np.float64)
    length = x.size // batches
    if length < 2:
        raise ValueError(f"{batches} batches need {2 * batches} values at least, not {x.size}")
    return mean_interval(x[: length * batches].reshape(batches, length).mean(axis=1), coverage)


def quantile_interval(samples: ArrayLike, coverage: float) -> Interval:
    """The central interval of samples, with their median."""
    x = np.asarray(samples, dtype=np.float64)
    tail = (1.0 - coverage) / 2
    low, middle, high = np.quantile(x, [tail, 0.5, 1.0 - tail])
    return Interval(float(low), float(middle), float(high), coverage)


@dataclass(frozen=True, slots=True)
class Difference:
    """How two settings differ on the same seeds (or the same trace).

    ``interval`` is that of the mean of ``second - first``; ``p_value`` is the probability of a difference
    at least as large by chance alone; ``significant`` says whether the interval leaves zero out.
    """

    first: float
    second: float
    interval: Interval
    p_value: float
    pairs: int
    method: str

    @property
    def significant(self) -> bool:
        """Whether the difference is larger than chance, at the coverage of the interval."""
        return not (self.interval.low <= 0.0 <= self.interval.high)


def paired_difference(first: ArrayLike, second: ArrayLike, coverage: float = 0.95) -> Difference:
    """Compare one figure per seed under two settings by the paired t-test.

    Both arrays have shape ``(n_seeds,)``, the same seed in the same place, ``n_seeds >= 2``.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired values need one shape (n,), not {a.shape} and {b.shape}")
    delta = b - a
    interval = mean_interval(delta, coverage)
    if interval.width == 0.0:
        p_value = 1.0 if interval.middle == 0.0 else 0.0
    else:
        p_value = float(stats.ttest_rel(b, a).pvalue)
    return Difference(
        float(a.mean()), float(b.mean()), interval, p_value, int(a.size), "paired t-test over seeds"
    )


def block_difference(
    first: ArrayLike, second: ArrayLike, seed: int = 0, coverage: float = 0.95, resamples: int = 2_000
) -> Difference:
    """Compare one trace under two settings, job by job, by a moving-block bootstrap.

    Waits of neighbouring jobs are correlated, so blocks of ``n**(1/2)`` successive jobs are drawn, not
    jobs. Source: H. R. Künsch, Ann. Statist. 17, 1217 (1989). Both arrays have shape ``(n_jobs,)`` in the
    order of submission.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or a.size < 4:
        raise ValueError(f"paired series need one shape (n,) with n >= 4, not {a.shape} and {b.shape}")
    delta = b - a
    means = _block_means(delta, resamples, np.random.default_rng(seed))
    tail = (1.0 - coverage) / 2
    low, high = np.quantile(means, [tail, 1.0 - tail])
    mean = float(delta.mean())
    beyond = min(float(np.mean(means <= 0.0)), float(np.mean(means >= 0.0)))
    p_value = 1.0 if not np.any(delta) else min(1.0, 2.0 * max(beyond, 1.0 / resamples))
    interval = Interval(float(low), mean, float(high), coverage)
    return Difference(
        float(a.mean()), float(b.mean()), interval, p_value, int(a.size), "block bootstrap over jobs"
    )


def _block_means(delta: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    length = max(2, round(delta.size**0.5))
    sums = np.concatenate([[0.0], np.cumsum(delta)])
    block = (sums[length:] - sums[:-length]) / length
    count = -(-delta.size // length)
    means: Floats = block[rng.integers(0, block.size, size=(resamples, count))].mean(axis=1)
    return means
