"""Intervals cover as often as they say, and differences are found where they are and only there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ketline.planning.statistics import (
    batch_mean_interval,
    block_difference,
    jain,
    mean_interval,
    paired_difference,
    quantile_interval,
)


def test_jain_is_one_for_equals_and_one_over_n_for_a_monopoly() -> None:
    assert jain([3, 3, 3]) == pytest.approx(1.0)
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
    assert jain([0, 0]) == 1.0
    assert math.isnan(jain([]))


def test_the_interval_of_a_mean_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    inside = [5.0 in mean_interval(rng.normal(5, 2, 10), 0.9) for _ in range(1_000)]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


def correlated(rng: np.random.Generator, count: int) -> np.ndarray:
    noise = rng.normal(0, 1, count)
    values = np.empty(count)
    at = 0.0
    for k in range(count):
        at = 0.8 * at + noise[k]
        values[k] = at
    return values


def test_batch_means_cover_a_correlated_series_where_the_plain_interval_does_not() -> None:
    rng = np.random.default_rng(2)
    series = [correlated(rng, 2_000) for _ in range(200)]
    assert np.mean([0.0 in batch_mean_interval(x) for x in series]) >= 0.9
    assert np.mean([0.0 in mean_interval(x) for x in series]) < 0.7


def test_quantiles_and_too_few_values() -> None:
    interval = quantile_interval(np.arange(101), 0.9)
    assert (interval.low, interval.middle, interval.high) == pytest.approx((5, 50, 95))
    with pytest.raises(ValueError, match="two values"):
        mean_interval([1.0])
    with pytest.raises(ValueError, match="at least"):
        batch_mean_interval([1.0] * 10)


def test_a_paired_difference_is_found_under_noise_that_hides_it_from_unpaired_eyes() -> None:
    rng = np.random.default_rng(3)
    seeds = rng.normal(100, 30, 8)
    found = paired_difference(seeds, seeds + 2 + rng.normal(0, 0.5, 8))
    assert found.significant
    assert 2.0 in found.interval
    assert found.p_value < 0.01


def test_chance_alone_is_called_a_difference_about_as_often_as_allowed() -> None:
    rng = np.random.default_rng(4)
    called = [
        paired_difference(rng.normal(0, 1, 6), rng.normal(0, 1, 6), coverage=0.9).significant
        for _ in range(1_000)
    ]
    assert np.mean(called) == pytest.approx(0.1, abs=0.03)
    same = np.ones(5)
    assert not paired_difference(same, same).significant
    assert paired_difference(same, same + 1).significant


def test_the_block_bootstrap_respects_correlation() -> None:
    rng = np.random.default_rng(5)
    called = [
        block_difference(np.zeros(1_500), correlated(rng, 1_500), seed=k, resamples=400).significant
        for k in range(100)
    ]
    assert np.mean(called) < 0.25
    shifted = block_difference(np.zeros(1_500), correlated(rng, 1_500) + 2, seed=0)
    assert shifted.significant
    assert shifted.p_value < 0.01
