"""Usage before submission: the documented formula, its breakdown, limits and money."""

from __future__ import annotations

import pytest

from ketline.core.estimate import sub_job, together, usage
from ketline.core.model import InstanceSpec, QpuMode, QpuSpec
from ketline.planning.estimate import LimitHit, Rates, limits_hit


@pytest.mark.parametrize(
    ("executions", "seconds"), [(4096, 3.4336), (1_000_000, 352.0), (10_000_000, 3_502.0)]
)
def test_e01_the_quick_formula(executions: int, seconds: float) -> None:
    assert usage(executions).seconds == pytest.approx(seconds)


def test_the_breakdown_adds_up() -> None:
    estimate = usage(2_000, rep_delay_seconds=1e-3, circuit_seconds=5e-5, overhead_seconds=1.5, sub_jobs=2)
    parts = estimate.as_dict()["breakdown"]
    assert parts == {"overhead_seconds": 3.0, "rep_delay_seconds": 2.0, "circuit_seconds": pytest.approx(0.1)}
    assert estimate.as_dict()["seconds"] == pytest.approx(sum(parts.values()))


def test_circuits_that_differ_add_up_and_sub_jobs_too() -> None:
    learning = sub_job([(1_000, 1e-3, 5e-5), (500, 1e-3, 2e-4)])
    assert learning.executions == 1_500
    assert learning.seconds == pytest.approx(2.0 + 1.5 + 0.05 + 0.1)
    whole = together([learning, usage(4_096)])
    assert whole.overhead_seconds == 4.0
    assert whole.seconds == pytest.approx(learning.seconds + 3.4336)
    assert together([]).seconds == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"executions": -1},
        {"executions": 1, "rep_delay_seconds": float("nan")},
        {"executions": 1, "sub_jobs": 0},
    ],
)
def test_what_makes_no_sense_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=list(wrong)[-1]):
        usage(**wrong)  # type: ignore[arg-type]


def test_the_most_specific_rate_counts_and_without_rates_there_is_no_money() -> None:
    rates = Rates("EUR", {("*", "*"): 1.0, ("*", "q"): 2.0, ("flex", "*"): 3.0, ("flex", "q"): 4.0})
    assert [
        rates.rate(plan, qpu) for plan, qpu in [("x", "y"), ("x", "q"), ("flex", "y"), ("flex", "q")]
    ] == [1, 2, 3, 4]
    cost = rates.cost(2.5, "flex", "q")
    assert cost is not None
    assert cost.as_dict() == {"amount": 10.0, "currency": "EUR", "per_second": 4.0}
    assert Rates().cost(2.5, "flex", "q") is None


def hits(seconds: float = 10.0, consumed: float = 0.0, pending: int = 0, **figures: object) -> list[LimitHit]:
    mode = figures.pop("qpu_mode", QpuMode.ONLINE)
    instance = InstanceSpec("i", **figures)  # type: ignore[arg-type]
    return limits_hit(
        seconds,
        instance,
        QpuSpec("q", mode=mode),
        consumed_seconds=consumed,
        pending_jobs=pending,  # type: ignore[arg-type]
    )


def test_a_job_within_all_limits_hits_none() -> None:
    assert hits(limit_seconds=10.0, max_pending_jobs=3, pending=2, qpus=frozenset({"q"})) == []


@pytest.mark.parametrize(
    ("case", "limit", "blocks", "says"),
    [
        ({"archived": True}, "archived", True, "archived"),
        ({"qpus": frozenset({"r"})}, "qpus", True, "may not use q"),
        ({"qpu_mode": QpuMode.RETIRED}, "qpu", True, "retired"),
        ({"qpu_mode": QpuMode.PAUSED}, "qpu", False, "paused"),
        ({"max_pending_jobs": 3, "pending": 3}, "max_pending_jobs", True, "3 jobs are unfinished"),
        ({"max_execution_seconds": 9.0}, "max_execution_seconds", True, "stopped after 9 s"),
        ({"limit_seconds": 100.0, "consumed": 100.0}, "limit_seconds", False, "is reached"),
        ({"limit_seconds": 100.0, "consumed": 95.0}, "limit_seconds", False, "5 s are left"),
        (
            {"limit_seconds": 100.0, "consumed": 95.0, "limit_stops_running": True},
            "limit_seconds",
            True,
            "cost limit",
        ),
    ],
)
def test_every_limit_is_told(case: dict[str, object], limit: str, blocks: bool, says: str) -> None:
    found = hits(**case)  # type: ignore[arg-type]
    assert [(hit.limit, hit.blocks) for hit in found] == [(limit, blocks)]
    assert says in found[0].message
    assert found[0].solution


def test_too_many_executions_are_told() -> None:
    found = limits_hit(
        1.0,
        InstanceSpec("i"),
        QpuSpec("q"),
        consumed_seconds=0.0,
        executions=10_000_001,
        max_executions=10_000_000,
    )
    assert [(hit.limit, hit.blocks) for hit in found] == [("executions", True)]
    assert "10,000,001" in found[0].message


def test_the_users_own_limit_counts_when_it_is_lower() -> None:
    found = limits_hit(10.0, InstanceSpec("i"), QpuSpec("q"), consumed_seconds=0.0, max_execution_seconds=5.0)
    assert [hit.limit for hit in found] == ["max_execution_seconds"]
