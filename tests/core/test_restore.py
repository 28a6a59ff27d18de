"""After a crash: what a store knows is taken up, and billed once."""

from __future__ import annotations

from virtual_centre import VirtualCentre, a_centre

from ketline.core import actions, codes, events
from ketline.core.model import InstanceSpec, Job, JobStatus, Mode, QpuSpec, Stage, Workload, WorkloadState
from ketline.core.scheduler import Scheduler


def restart(c: VirtualCentre, outage: float = 0.0) -> None:
    c.crash()
    c.succeed(outage)


def test_queued_stays_queued_and_running_is_prepared_again() -> None:
    c = a_centre(lanes=2)
    for name in "abc":
        c.submit(name, prep=1, run=10)
    c.until(5)
    restart(c)
    assert {name: job.stage for name, job in c.jobs.items()} == {
        "a": Stage.PREPARING,
        "b": Stage.PREPARING,
        "c": Stage.NONE,
    }
    c.drain()
    assert {job.status for job in c.jobs.values()} == {JobStatus.COMPLETED}
    assert {name: c.billed(name) for name in "abc"} == dict.fromkeys("abc", 10)


def test_a_job_that_was_being_cancelled_ends_cancelled_and_unbilled() -> None:
    c = a_centre()
    c.submit("a", prep=0, run=10)
    c.until(5)
    c.scheduler.handle(events.JobCancelRequested("a"), 5)
    restart(c)
    assert (c.status("a"), c.code("a"), c.bills) == (JobStatus.CANCELLED, codes.JOB_CANCELLED, [])


def test_an_active_session_keeps_its_qpu_and_isnt_billed_for_the_outage() -> None:
    c = a_centre()
    session_id = c.open("s").workload_id
    c.submit("a", to="s", prep=0, run=30)
    c.submit("x", prep=0, run=5)
    c.until(20)
    restart(c, outage=1_000)
    session = c.workloads[session_id]
    assert session.state is WorkloadState.ACTIVE
    assert session.windows == [(0, 20)]
    c.until(1_060)
    c.close("s")
    assert session.windows == [(0, 20), (1_020, 1_060)]
    assert session.usage_seconds == c.billed("s") == 60
    c.drain()
    assert c.status("x") is JobStatus.COMPLETED


def test_idle_time_stands_still_during_an_outage() -> None:
    c = a_centre()
    c.open("s")
    c.submit("a", to="s", prep=0, run=10)
    c.until(30)
    restart(c, outage=500)
    c.until(569)
    assert c.workloads["s"].state is WorkloadState.ACTIVE
    c.until(570)
    session = c.workloads["s"]
    assert (session.state, session.usage_seconds, session.idle_seconds) == (WorkloadState.INACTIVE, 70, 60)


def test_the_ttl_goes_on_during_an_outage() -> None:
    c = a_centre(lanes=1)
    c.open("s", max_ttl=100)
    c.submit("a", to="s", prep=0, run=30)
    c.submit("b", to="s", prep=0, run=30)
    c.until(20)
    restart(c, outage=500)
    assert c.workloads["s"].state is WorkloadState.PENDING_CLOSED
    assert c.status("b") is JobStatus.FAILED
    c.drain()
    assert c.status("a") is JobStatus.COMPLETED
    assert c.workloads["s"].state is WorkloadState.CLOSED


def test_a_session_that_let_the_lanes_drain_goes_on_doing_so() -> None:
    c = a_centre()
    c.submit("x", prep=0, run=50)
    c.open("s")
    c.submit("a", to="s", prep=0, run=10)
    c.submit("y")
    c.until(10)
    restart(c)
    assert c.status("y") is JobStatus.QUEUED
    c.until(61)
    assert c.workloads["s"].windows == []
    assert c.workloads["s"].state is WorkloadState.ACTIVE


def test_usage_before_the_crash_counts_in_fair_share_and_limits() -> None:
    c = a_centre()
    c.instance("x", limit_seconds=5.0)
    c.submit("a", instance="x", prep=0, run=10)
    c.drain()
    c.submit("b", instance="x")
    restart(c)
    assert c.scheduler.usage("x").billed_seconds == 10
    assert c.status("b") is JobStatus.QUEUED


def test_work_of_a_qpu_that_is_gone_ends_with_the_reason() -> None:
    c = a_centre()
    c.open("s")
    c.submit("a", to="s")
    c.submit("b")
    jobs, workloads = list(c.scheduler.jobs.values()), list(c.scheduler.workloads.values())
    successor = Scheduler()
    doings = successor.restore(jobs, workloads, [], 10.0)
    successor.check()
    ended = {doing.job.job_id: doing.job for doing in doings if isinstance(doing, actions.Settle)}
    assert {name: (job.status, job.reason.code) for name, job in ended.items()} == {
        "a": (JobStatus.FAILED, codes.QPU_GONE),
        "b": (JobStatus.FAILED, codes.QPU_GONE),
    }
    assert [doing.workload.state for doing in doings if isinstance(doing, actions.WorkloadChanged)] == [
        WorkloadState.CLOSED
    ]


def test_sequence_numbers_go_on() -> None:
    c = a_centre()
    c.submit("a")
    c.open("s")
    restart(c)
    assert c.submit("b").seq > c.workloads["s"].seq > c.jobs["a"].seq


def test_a_copy_is_independent_and_behaves_the_same() -> None:
    c = a_centre(lanes=2)
    c.open("s")
    for name in "abc":
        c.submit(name)
    c.submit("d", to="s")
    twin = c.scheduler.copy()
    twin.check()
    before = {name: (job.status, job.stage) for name, job in c.scheduler.jobs.items()}
    for name in "ab":
        twin.handle(events.JobPrepared(name), 1.0)
    twin.handle(events.JobCancelRequested("c"), 2.0)
    assert {name: (job.status, job.stage) for name, job in c.scheduler.jobs.items()} == before
    c.drain()
    assert c.status("c") is JobStatus.COMPLETED
    assert "c" not in twin.jobs


def test_the_nouns_are_plain_facts_that_a_store_can_write_down() -> None:
    plain = (str, int, float, bool, type(None), tuple, list)
    c = a_centre()
    c.open("s")
    c.submit("a", to="s")
    for noun in (c.jobs["a"], c.workloads["s"]):
        assert isinstance(noun, Job | Workload)
        for name in noun.__slots__:
            value = getattr(noun, name)
            assert isinstance(value, plain) or name == "reason", name


def test_a_copy_tells_what_a_refused_event_left_untold() -> None:
    c = a_centre()
    c.open("s", max_ttl=50)
    c.submit("a", to="s", prep=0, run=10)
    c.until(20)
    c.wake_at = None
    c.t = 60.0
    assert c.refused(lambda: c.submit("b", to="s")) == codes.SESSION_CLOSED
    told = c.scheduler.copy().handle(events.TimerFired(), 60.0)
    assert [type(doing) for doing in told] == [actions.Bill, actions.WorkloadChanged]


def test_the_same_events_lead_to_the_same_actions() -> None:
    first, second = Scheduler(), Scheduler()
    log = [
        events.QpuRegistered(QpuSpec("q", lanes=2)),
        *(events.InstanceRegistered(InstanceSpec(name)) for name in "xyz"),
        events.WorkloadOpened("w", Mode.BATCH, "x", "u", "q"),
        *(events.JobSubmitted(f"{name}{n}", name, "u", "q", "sampler") for n in range(3) for name in "xyz"),
        events.JobSubmitted("w1", "x", "u", "q", "sampler", "w"),
        events.JobCancelRequested("x0"),
        events.JobCancelRequested("y0"),
    ]
    for at, event in enumerate(log):
        assert repr(first.handle(event, at)) == repr(second.handle(event, at))
