"""A copy of the scheduler and its original live on apart, though they share what neither may change."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from virtual_centre import VirtualCentre

from ketline.core import events
from ketline.core.model import Mode
from ketline.core.scheduler import Scheduler


def picture(scheduler: Scheduler) -> dict[str, Any]:
    """All that can be seen of a scheduler."""
    return {
        "jobs": {job_id: asdict(job) for job_id, job in scheduler.jobs.items()},
        "workloads": {name: asdict(workload) for name, workload in scheduler.workloads.items()},
        "usage": {name: scheduler.usage(name) for name in scheduler.instances},
        "qpus": dict(scheduler.qpus),
        "queues": {qpu_id: scheduler.queue(qpu_id) for qpu_id in scheduler.qpus},
        "lanes": {qpu_id: scheduler.lanes(qpu_id) for qpu_id in scheduler.qpus},
        "explained": {job_id: scheduler.explain(job_id) for job_id in scheduler.jobs},
        "windows": {qpu_id: scheduler.windows(qpu_id) for qpu_id in scheduler.qpus},
    }


def busy() -> VirtualCentre:
    """Two instances; jobs alone, a batch and a session; something billed, running and queued of each."""
    c = VirtualCentre()
    c.qpu(lanes=2)
    c.instance("x", window_seconds=40.0)
    c.instance("y", limit_seconds=500.0)
    c.open("b", Mode.BATCH, instance="y")
    c.open("s", Mode.SESSION, instance="x")
    for k in range(6):
        c.submit(f"alone-{k}", instance="xy"[k % 2], estimate=10.0)
        c.submit(f"in-b-{k}", to="b", instance="y", estimate=5.0)
        c.submit(f"in-s-{k}", to="s", instance="x", estimate=5.0)
    c.until(25.0)
    return c


def test_a_copy_stays_as_it_was_while_its_original_goes_on() -> None:
    c = busy()
    copied = c.scheduler.copy()
    before = picture(copied)
    assert before == picture(c.scheduler)
    c.send(events.JobCancelRequested("alone-5"))
    c.send(events.WorkloadCancelRequested("b"))
    c.until(400.0)
    assert picture(copied) == before != picture(c.scheduler)
    copied.check()


def test_an_original_stays_as_it_was_while_its_copy_goes_on() -> None:
    c = busy()
    before = picture(c.scheduler)
    original, c.scheduler = c.scheduler, c.scheduler.copy()
    c.send(events.JobCancelRequested("alone-5"))
    c.until(400.0)
    assert picture(original) == before != picture(c.scheduler)
    original.check()


def test_a_copy_shares_queued_jobs_and_no_others() -> None:
    c = VirtualCentre(checking=False, keep_log=False)
    c.qpu(lanes=1)
    c.instance("x")
    for k in range(200):
        c.submit(f"j{k}", instance="x")
    copied = c.scheduler.copy()
    queued = copied.queue("q")
    assert all(copied.jobs[job_id] is c.scheduler.jobs[job_id] for job_id in queued)
    assert copied.jobs["j0"] is not c.scheduler.jobs["j0"]


def test_lines_of_the_ledger_leave_a_copys_window_as_they_were_when_it_was_made() -> None:
    c = VirtualCentre(checking=False, keep_log=False)
    c.qpu(lanes=1)
    c.instance("x", window_seconds=100.0)
    for k in range(8):
        c.submit(f"j{k}", instance="x", prep=0, run=10, estimate=10)
    c.until(30.5)
    copied = c.scheduler.copy()
    c.until(500.0)  # bills of the original that the copy never hears of
    expected = {110.0: 20.0, 120.0: 10.0, 130.0: 0.0, 140.0: 0.0, 150.0: 0.0}
    for at, seconds in expected.items():
        copied.handle(events.TimerFired(), at)
        copied.check()
        assert copied.usage("x").billed_seconds == seconds
