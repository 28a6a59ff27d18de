"""The duration model starts at the formula and learns what jobs really take."""

from __future__ import annotations

import numpy as np
import pytest

from ketline.planning.durations import DurationModel, Part


def test_before_any_job_the_estimate_is_the_median_and_the_spread_is_wide() -> None:
    predicted = DurationModel().predict(Part.QPU, "sampler", "q", 10.0)
    assert predicted.quantile(0.5) == pytest.approx(10.0)
    assert predicted.quantile(0.05) < 7.5
    assert predicted.quantile(0.95) > 13.0


def test_it_learns_a_factor_per_program_and_qpu() -> None:
    model, rng = DurationModel(), np.random.default_rng(1)
    for _ in range(150):
        estimate = rng.uniform(2, 50)
        model.observe(
            "sampler",
            "slow",
            estimate_seconds=estimate,
            qpu_seconds=estimate * 2 * np.exp(rng.normal(0, 0.05)),
        )
        model.observe("sampler", "fast", estimate_seconds=estimate, qpu_seconds=estimate / 2)
    slow, fast = (model.predict(Part.QPU, "sampler", qpu, 10.0) for qpu in ("slow", "fast"))
    assert slow.quantile(0.5) == pytest.approx(20.0, rel=0.06)
    assert fast.quantile(0.5) == pytest.approx(5.0, rel=0.06)
    other = model.predict(Part.QPU, "estimator", "slow", 10.0)
    assert other.quantile(0.5) == pytest.approx(10.0)


def test_the_predictive_interval_covers_the_next_job_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(2), []
    for _ in range(40):
        model, factor = DurationModel(), float(np.exp(rng.normal(0, 0.3)))
        for n in range(60):
            truth = 10.0 * factor * float(np.exp(rng.normal(0, 0.3)))
            if n >= 5:
                predicted = model.predict(Part.QPU, "sampler", "q", 10.0)
                inside.append(predicted.quantile(0.05) <= truth <= predicted.quantile(0.95))
            model.observe("sampler", "q", estimate_seconds=10.0, qpu_seconds=truth)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


def test_old_observations_fade() -> None:
    model = DurationModel(memory=0.9)
    for seconds in [1.0] * 200 + [8.0] * 40:
        model.observe("sampler", "q", prepare_seconds=seconds)
    assert model.predict(Part.PREPARE, "sampler", "q").quantile(0.5) == pytest.approx(8.0, rel=0.5)


def test_without_an_estimate_the_programs_jobs_are_the_guide() -> None:
    model = DurationModel()
    for _ in range(100):
        model.observe("executor", "q", qpu_seconds=30.0)
    assert model.predict(Part.QPU, "executor", "q").quantile(0.5) == pytest.approx(30.0, rel=0.1)


def test_what_has_lasted_longer_is_drawn_beyond_what_it_has_lasted() -> None:
    predicted, rng = DurationModel().predict(Part.QPU, "sampler", "q", 10.0), np.random.default_rng(3)
    drawn = np.array([predicted.sample_beyond(rng, 14.0) for _ in range(300)])
    assert drawn.min() >= 14.0
    plain = predicted.sample(rng, 200_000)
    assert np.median(drawn) == pytest.approx(np.median(plain[plain > 14.0]), rel=0.1)
    assert predicted.sample_beyond(rng, 1e9) >= 1e9


def test_it_tells_what_it_knows() -> None:
    model = DurationModel()
    model.observe("sampler", "q", estimate_seconds=4.0, qpu_seconds=4.0, prepare_seconds=1.0)
    rows = model.as_dict()["durations"]
    assert {(row["part"], row["program"], row["qpu"]) for row in rows} == {
        ("prepare", "sampler", "q"), ("qpu", "sampler", "q")
    }  # fmt: skip


def test_a_qpu_unlike_the_others_doesnt_widen_what_is_known_of_a_steady_one() -> None:
    rng, steady, mixed = np.random.default_rng(4), DurationModel(), DurationModel()
    for _ in range(30):
        for model in (steady, mixed):
            model.observe("sampler", "machine", estimate_seconds=3.0, qpu_seconds=3.0)
        emulated = 0.002 * float(np.exp(rng.normal(0, 0.8)))
        mixed.observe("sampler", "emulator", estimate_seconds=3.0, qpu_seconds=emulated)

    def width(model: DurationModel, qpu: str) -> float:
        predicted = model.predict(Part.QPU, "sampler", qpu, 3.0)
        return predicted.quantile(0.95) / predicted.quantile(0.05)

    assert width(steady, "machine") < width(mixed, "machine") < 1.4
    assert mixed.predict(Part.QPU, "sampler", "machine", 3.0).quantile(0.5) == pytest.approx(3.0, rel=0.05)
    # one that nobody knows yet may be like either
    assert width(mixed, "new") > 100


def test_what_a_program_does_everywhere_is_believed_of_a_qpu_that_says_so() -> None:
    model = DurationModel()
    for _ in range(50):
        model.observe("sampler", "a", estimate_seconds=3.0, qpu_seconds=9.0)
    for _ in range(2):
        model.observe("sampler", "b", estimate_seconds=3.0, qpu_seconds=9.0)
    assert model.predict(Part.QPU, "sampler", "b", 3.0).quantile(0.5) == pytest.approx(9.0, rel=0.1)
