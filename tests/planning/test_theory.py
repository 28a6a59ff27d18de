"""Where queueing theory has an answer, the simulated centre gives it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ketline.core.model import InstanceSpec, QpuSpec
from ketline.planning.centre import Centre
from ketline.planning.measure import Figures
from ketline.planning.simulate import Run, simulate
from ketline.planning.statistics import Interval, mean_interval
from ketline.planning.synthetic import Amount, Exponential, Fixed, Poisson, Stream, generate

SERVICE = 10.0
LOAD = 0.5
SEEDS = range(10)
SECONDS = 36_000.0
WARM_UP = 3_000.0


def one_server(*instances: InstanceSpec) -> Centre:
    """One lane and no classical time: a single server in the sense of queueing theory."""
    return Centre((QpuSpec("q", lanes=1),), instances or (InstanceSpec("i"),))


def runs(streams: list[Stream], centre: Centre) -> list[Run]:
    return [simulate(centre, generate(streams, SECONDS, seed), warm_up_seconds=WARM_UP) for seed in SEEDS]


def interval(results: list[Run], figure: Callable[[Figures], float]) -> Interval:
    return mean_interval([figure(run.figures) for run in results], coverage=0.99)


def stream(instance: str, service: Amount, load: float = LOAD) -> Stream:
    return Stream(instance=instance, arrivals=Poisson(per_hour=load / SERVICE * 3_600), qpu_seconds=service)


@pytest.mark.parametrize(
    ("service", "mean_wait"),
    [
        pytest.param(Exponential(mean=SERVICE), LOAD * SERVICE / (1 - LOAD), id="M/M/1"),
        pytest.param(Fixed(value=SERVICE), LOAD * SERVICE / (2 * (1 - LOAD)), id="M/D/1"),
    ],
)
def test_poisson_arrivals_wait_as_long_as_theory_says(service: Amount, mean_wait: float) -> None:
    results = runs([stream("i", service)], one_server())
    waited = interval(results, lambda figures: figures.modes["job"].mean)
    assert mean_wait in waited
    assert waited.width < 0.3 * mean_wait
    busy = interval(results, lambda figures: figures.utilisation)
    assert LOAD in busy


def test_fair_share_moves_waiting_between_classes_and_keeps_its_sum() -> None:
    """Kleinrock's conservation law: an order that doesn't look at job lengths keeps sum(rho_i W_i)."""
    streams = [
        stream("rich", Exponential(mean=SERVICE), LOAD / 2),
        stream("poor", Exponential(mean=SERVICE), LOAD / 2),
    ]
    centre = one_server(
        InstanceSpec("rich", allocation_seconds=90_000), InstanceSpec("poor", allocation_seconds=10_000)
    )
    results = runs(streams, centre)
    overall = interval(results, lambda figures: figures.modes["job"].mean)
    assert LOAD * SERVICE / (1 - LOAD) in overall
    gap = interval(
        results,
        lambda figures: figures.instances["poor"].waiting.mean - figures.instances["rich"].waiting.mean,
    )
    assert gap.low > 2.0


def test_strict_priority_by_fair_share_waits_as_cobhams_formula_says() -> None:
    """An allocation so large that its ratio is always the smaller: non-preemptive priority.

    A. Cobham, Oper. Res. 2, 70 (1954): W_1 = R / (1 - rho_1), W_2 = R / ((1 - rho_1)(1 - rho)), with the
    mean residual service R = rho * SERVICE for exponential times.
    """
    streams = [
        stream("first", Exponential(mean=SERVICE), 0.3),
        stream("second", Exponential(mean=SERVICE), 0.4),
    ]
    centre = one_server(
        InstanceSpec("first", allocation_seconds=1e12), InstanceSpec("second", allocation_seconds=1.0)
    )
    results = runs(streams, centre)
    residual = 0.7 * SERVICE
    first = interval(results, lambda figures: figures.instances["first"].waiting.mean)
    second = interval(results, lambda figures: figures.instances["second"].waiting.mean)
    assert residual / 0.7 in first
    assert residual / (0.7 * 0.3) in second
    assert first.high < second.low


def test_backlogged_instances_share_the_qpu_by_their_allocations() -> None:
    shares = {"one": 1.0, "two": 2.0, "five": 5.0}
    centre = one_server(
        *(InstanceSpec(name, allocation_seconds=1_000 * share) for name, share in shares.items())
    )
    lengths = {"one": Exponential(mean=2), "two": Exponential(mean=20), "five": Fixed(value=7)}
    streams = [
        Stream(
            instance=name, arrivals=Poisson(per_hour=3_600 / lengths[name].mean()), qpu_seconds=lengths[name]
        )
        for name in shares
    ]
    run = simulate(centre, generate(streams, 40_000.0, 1), until=40_000.0)
    used = {name: run.figures.instances[name].usage_seconds for name in shares}
    total = sum(used.values())
    for name, share in shares.items():
        assert used[name] / total == pytest.approx(share / 8, rel=0.02)
    assert run.figures.jain_usage > 0.999
