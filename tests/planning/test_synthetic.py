"""Synthetic traces have the rates, means and shapes that were asked for."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from ketline.core.model import Mode
from ketline.planning import trace as trace_format
from ketline.planning.synthetic import (
    Amount,
    Bursty,
    Daily,
    Exponential,
    Fixed,
    Lognormal,
    Pareto,
    Poisson,
    Stream,
    generate,
)

HOUR = 3_600.0
AMOUNTS = [
    Fixed(value=3),
    Exponential(mean=4),
    Lognormal(median=2, sigma=0.7),
    Pareto(minimum=1, alpha=1.5, maximum=200),
    Pareto(minimum=1, alpha=1, maximum=50),
]


@pytest.mark.parametrize("amount", AMOUNTS, ids=lambda amount: amount.kind)
def test_the_sample_mean_agrees_with_the_mean(amount: Amount) -> None:
    values = amount.sample(np.random.default_rng(1), 100_000)
    standard_error = values.std() / np.sqrt(values.size)
    assert abs(values.mean() - amount.mean()) <= 4 * standard_error + 1e-12
    assert values.min() >= 0


ARRIVALS = [
    (Poisson(per_hour=50), 50.0),
    (Daily(per_hour=50, swing=1), 50.0),
    (Bursty(calm_per_hour=20, burst_per_hour=300, calm_seconds=1_800, burst_seconds=200), 20 + 280 * 0.1),
]


@pytest.mark.parametrize(("arrivals", "per_hour"), ARRIVALS, ids=lambda value: getattr(value, "kind", ""))
def test_arrivals_have_their_rate_and_are_sorted(arrivals: Poisson | Daily | Bursty, per_hour: float) -> None:
    hours = 24 * 60
    times = arrivals.times(np.random.default_rng(2), 1_000.0, hours * HOUR)
    assert np.all(np.diff(times) >= 0)
    assert times[0] >= 1_000.0
    assert times[-1] < 1_000.0 + hours * HOUR
    assert times.size / hours == pytest.approx(per_hour, rel=0.05)


def dispersion(times: np.ndarray, hours: int) -> float:
    counts, _ = np.histogram(times, bins=hours, range=(0, hours * HOUR))
    return float(counts.var() / counts.mean())


def test_bursts_are_overdispersed_and_poisson_is_not() -> None:
    hours = 24 * 60
    calm, bursty = (
        arrivals.times(np.random.default_rng(3), 0.0, hours * HOUR)
        for arrivals in (ARRIVALS[0][0], ARRIVALS[2][0])
    )
    assert dispersion(calm, hours) == pytest.approx(1.0, abs=0.15)
    assert dispersion(bursty, hours) > 3


def test_the_daily_cycle_peaks_when_asked() -> None:
    times = Daily(per_hour=50, swing=1, peak_hour=9).times(np.random.default_rng(4), 0.0, 60 * 24 * HOUR)
    by_hour, _ = np.histogram(times / HOUR % 24, bins=24, range=(0, 24))
    assert by_hour[8:10].mean() > 20 * by_hour[20:22].mean()


STREAMS = [
    Stream(instance="a", arrivals=Poisson(per_hour=20), users=3, failed=0.2),
    Stream(
        instance="b",
        arrivals=Poisson(per_hour=2),
        mode="session",
        jobs=Fixed(value=4),
        think_seconds=Fixed(value=7),
    ),
    Stream(instance="c", arrivals=Poisson(per_hour=3), mode="batch", jobs=Lognormal(median=8, sigma=0.5)),
]


def test_a_mix_is_a_sound_trace_with_its_shapes() -> None:
    trace = generate(STREAMS, 48 * HOUR, seed=5)
    trace_format.check(trace)
    sessions = [w for w in trace.workloads if w.mode is Mode.SESSION]
    assert {w.close for w in sessions} == {"finished"}
    chain = [job for job in trace.jobs if job.workload == sessions[0].workload_id]
    assert [job.after for job in sorted(chain, key=lambda job: job.job_id)] == [
        None, *sorted(job.job_id for job in chain)[:-1]
    ]  # fmt: skip
    assert {job.think_seconds for job in chain if job.after} == {7.0}
    batched = [job for job in trace.jobs if job.mode is Mode.BATCH]
    assert all(job.submitted_at is not None for job in batched)
    failed = [job.outcome == "failed" for job in trace.jobs if job.instance == "a"]
    assert np.mean(failed) == pytest.approx(0.2, abs=0.05)


def test_a_seed_repeats_and_a_changed_stream_leaves_the_others_alone() -> None:
    once = generate(STREAMS, 10 * HOUR, seed=6)
    assert once == generate(STREAMS, 10 * HOUR, seed=6)
    assert once != generate(STREAMS, 10 * HOUR, seed=7)
    changed = [STREAMS[0], STREAMS[1].model_copy(update={"think_seconds": Fixed(value=70)}), STREAMS[2]]
    other = generate(changed, 10 * HOUR, seed=6)
    for instance in "ac":
        assert [j for j in once.jobs if j.instance == instance] == [
            j for j in other.jobs if j.instance == instance
        ]


@pytest.mark.parametrize(
    ("description", "named"),
    [
        ({"arrivals": {"kind": "poisson", "per_hour": 0}}, "per_hour"),
        ({"arrivals": {"kind": "weekly", "per_hour": 1}}, "weekly"),
        ({"qpu_seconds": {"kind": "pareto", "minimum": 5, "alpha": 1, "maximum": 5}}, "maximum"),
        ({"mode": "job", "close": "never"}, "close is for batches and sessions"),
        ({"lanes": 5}, "lanes"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused_by_name(description: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        TypeAdapter(Stream).validate_python(
            {"instance": "a", "arrivals": {"kind": "poisson", "per_hour": 1}, **description}
        )
