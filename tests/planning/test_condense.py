"""Long queues with less to play: the same work and order, and the same answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ketline.core import events
from ketline.core.model import InstanceSpec, Mode, QpuSpec, QpuWindow
from ketline.core.scheduler import Scheduler
from ketline.core.windows import expected
from ketline.planning.advise import plan
from ketline.planning.centre import Centre
from ketline.planning.condense import condense
from ketline.planning.durations import DurationModel
from ketline.planning.forecast import Forecaster
from ketline.planning.history import History
from ketline.planning.replica import Present
from ketline.planning.situations import crowd_before, live
from ketline.planning.trace import Trace, TraceJob
from ketline.planning.workload import Workload

INSTANCES = tuple(
    InstanceSpec(f"i{k}", account_id=f"a{k % 2}", allocation_seconds=(k + 1) * 1e4) for k in range(6)
)


def crowd(count: int = 1_500, qpu: QpuSpec = QpuSpec("q0"), *, batch: bool = True) -> Scheduler:  # noqa: B008 - frozen
    scheduler = Centre((qpu, QpuSpec("q1")), INSTANCES).scheduler(0.0)
    rng = np.random.default_rng(1)
    if batch:
        scheduler.handle(events.WorkloadOpened("b", Mode.BATCH, "i0", "u", "q0"), 0.0)
    for k in range(count):
        in_batch = batch and k % 5 == 0
        instance, qpu_id = ("i0", "q0") if in_batch else (f"i{k % 6}", f"q{k % 2}")
        program, estimate = ("sampler", "estimator")[k % 3 == 0], float(rng.lognormal(2.3, 0.5))
        workload = "b" if in_batch else None
        event = events.JobSubmitted(
            f"j{k}", instance, "u", qpu_id, program, workload, estimate_seconds=estimate
        )
        scheduler.handle(event, k * 1e-3)
    return scheduler


def last_of(scheduler: Scheduler, qpu_id: str = "q0") -> str:
    return [job.job_id for job in scheduler.jobs.values() if job.qpu_id == qpu_id and not job.workload_id][-1]


def test_a_condensed_queue_holds_the_same_work_in_the_same_order() -> None:
    scheduler = crowd()
    wanted = last_of(scheduler)
    before = scheduler.queue("q0")
    found = condense(scheduler, {wanted: scheduler.jobs[wanted]}, 200)
    found.scheduler.check()
    assert scheduler.queue("q0") == before  # the original isn't touched
    assert wanted in found.scheduler.jobs
    assert wanted not in found.bundles
    assert len(found.scheduler.jobs) < len(scheduler.jobs) / 2
    left = dict(found.scheduler.jobs)
    for bundle in found.bundles.values():
        assert len({(job.instance_id, job.qpu_id, job.workload_id) for job in bundle.jobs}) == 1
        ages = [job.seq for job in bundle.jobs]
        assert ages == sorted(ages)
        stands = left.pop(bundle.jobs[0].job_id)
        assert stands.estimate_seconds == pytest.approx(sum(expected(job) for job in bundle.jobs))
        assert stands.limit_seconds == pytest.approx(sum(job.limit_seconds for job in bundle.jobs))
    told = [job.job_id for bundle in found.bundles.values() for job in bundle.jobs] + list(left)
    assert sorted(told) == sorted(scheduler.jobs)  # each job once


def test_jobs_near_the_wanted_one_are_played_one_by_one() -> None:
    scheduler = crowd()
    order = scheduler.queue("q0")
    wanted = order[len(order) // 2]
    found = condense(scheduler, {wanted: scheduler.jobs[wanted]}, 200)
    bundled = {job.job_id: len(b.jobs) for b in found.bundles.values() for job in b.jobs}
    place = order.index(wanted)
    assert not any(job_id in bundled for job_id in order[place - 3 : place + 4])
    assert max(bundled.values()) > 3


def test_a_queue_that_is_short_enough_stays_as_it_is() -> None:
    scheduler = crowd(300)
    first = scheduler.queue("q0")[5]
    assert not condense(scheduler, {first: scheduler.jobs[first]}, 200).bundles


@pytest.mark.parametrize(
    ("qpu", "change", "longest"),
    [
        (QpuSpec("q0", calibration_interval_seconds=600.0, calibration_seconds=60.0), None, 120.0),
        (QpuSpec("q0"), events.WindowAnnounced(QpuWindow("w", "q0", 9e4, 9.1e4)), 60.0),
        (QpuSpec("q0"), events.InstanceRegistered(InstanceSpec(
            "i2", account_id="a0", allocation_seconds=3e4, limit_seconds=5_000.0)), 100.0),
    ],
)  # fmt: skip
def test_bundles_stay_short_where_something_may_cut_through_them(
    qpu: QpuSpec, change: events.Event | None, longest: float
) -> None:
    scheduler = crowd(3_000, qpu, batch=False)
    if change is not None:
        scheduler.handle(change, 100.0)
    wanted = last_of(scheduler)
    bundles = condense(scheduler, {wanted: scheduler.jobs[wanted]}, 100).bundles.values()
    limited = {"i2"} if isinstance(change, events.InstanceRegistered) else {i.instance_id for i in INSTANCES}
    lengths = [
        sum(expected(job) for job in bundle.jobs)
        for bundle in bundles
        if bundle.jobs[0].qpu_id == "q0" and bundle.jobs[0].instance_id in limited
    ]
    assert lengths
    assert max(lengths) <= longest


@pytest.mark.parametrize("pick", [last_of, lambda scheduler: scheduler.queue("q0")[400]])
def test_condensed_and_whole_queues_give_the_same_forecast(
    monkeypatch: pytest.MonkeyPatch, pick: Callable[[Scheduler], str]
) -> None:
    model = DurationModel()
    for program in ("sampler", "estimator"):
        for qpu_id in ("q0", "q1"):
            for _ in range(400):
                model.observe(
                    program, qpu_id, estimate_seconds=10.0, prepare_seconds=8.0, qpu_seconds=10.0,
                    finalize_seconds=0.5,
                )  # fmt: skip
    scheduler = crowd()
    wanted = pick(scheduler)
    forecaster = Forecaster(model, History())
    monkeypatch.setattr("ketline.planning.forecast.MAX_REPLICAS", 4)
    whole = forecaster.forecast(scheduler, [wanted], 2.0)[wanted]
    monkeypatch.setattr("ketline.planning.forecast.QUEUE_AT_MOST", 400)
    condensed = forecaster.forecast(scheduler, [wanted], 2.0)[wanted]
    for name in ("running", "on_qpu", "finished"):
        one, other = getattr(whole, name), getattr(condensed, name)
        assert other.middle == pytest.approx(one.middle, rel=0.02), name


def test_many_newcomers_come_in_fewer_jobs_with_the_same_work() -> None:
    history = History()
    history.add(
        Trace([TraceJob(f"p{k}", 10.0 * k, f"i{k % 3}", "q", qpu_seconds=1.0 + k % 7) for k in range(2_000)])
    )
    every = history.future(np.random.default_rng(3), 20_000.0, 15_000.0, "f")
    fewer = history.future(np.random.default_rng(3), 20_000.0, 15_000.0, "f", 150)
    assert len(every.jobs) == pytest.approx(1_500, abs=3)
    assert 150 <= len(fewer.jobs) <= 153
    assert sum(job.qpu_seconds for job in fewer.jobs) == sum(job.qpu_seconds for job in every.jobs)
    mean = [np.average([j.submitted_at or 0 for j in trace.jobs], weights=[j.qpu_seconds for j in trace.jobs])
            for trace in (every, fewer)]  # fmt: skip
    assert mean[1] == pytest.approx(mean[0], rel=0.01)


def test_a_plan_over_a_long_queue_plays_few_jobs_and_says_the_same() -> None:
    scheduler, now = crowd(3_000, batch=False), 3.0
    model = DurationModel()
    for program in ("sampler", "estimator"):
        for _ in range(300):
            model.observe(
                program, "q0", estimate_seconds=10, prepare_seconds=1, qpu_seconds=10, finalize_seconds=1
            )
    workload = Workload(jobs=4, qpu_seconds=20, iterative=True, spread=0.0)
    whole = live(scheduler, Present({}), model, History(), now)
    exact = plan(workload, whole, "i0", "q0", replicas=1)
    found = crowd_before(scheduler, now, workload, "i0", "q0", at_most=150)
    found.scheduler.check()
    assert found.played <= 200
    assert found.bundles
    assert not any(job_id in found.scheduler.jobs for job_id in ("first", "last")), "the probes are gone"
    assert len(scheduler.jobs) == 3_000
    situation = live(found.scheduler, Present({}), model, History(), now, found.bundles)
    quick = plan(workload, situation, "i0", "q0", replicas=40, jobs_budget=2_000)
    assert 1 < quick.replicas < 40, "the budget ends it"
    for mode, forecast in quick.modes.items():
        wall = exact.modes[mode].wall
        assert forecast.wall is not None
        assert wall is not None
        assert forecast.wall.middle == pytest.approx(wall.middle, rel=0.1)


def test_an_instance_that_may_not_submit_has_a_plan_that_says_so() -> None:
    scheduler = crowd(60)
    scheduler.handle(events.InstanceRegistered(replace(INSTANCES[1], archived=True)), 1.0)
    workload = Workload(jobs=2, qpu_seconds=5)
    found = crowd_before(scheduler, 1.0, workload, "i1", "q0")
    situation = live(found.scheduler, Present({}), DurationModel(), History(), 1.0, found.bundles)
    made = plan(workload, situation, "i1", "q0", replicas=1)
    assert made.advised is None
    assert "archived" in made.reasons[0]
