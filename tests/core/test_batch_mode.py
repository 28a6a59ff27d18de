"""Batch mode: statements B of `modes.md` 12."""

from __future__ import annotations

from virtual_centre import VirtualCentre, a_centre

from ketline.core import codes, events
from ketline.core.model import Failure, JobStatus, Mode, Reason, Stage, WorkloadState

ACTIVE, INACTIVE, CLOSED = WorkloadState.ACTIVE, WorkloadState.INACTIVE, WorkloadState.CLOSED


def fill(c: VirtualCentre, to: str, number: int, prefix: str = "b", **work: object) -> list[str]:
    names = [f"{prefix}{index}" for index in range(1, number + 1)]
    for name in names:
        c.submit(name, to=to, **work)
    return names


def running(c: VirtualCentre) -> set[str]:
    return {name for name, job in c.jobs.items() if job.status is JobStatus.RUNNING}


def test_b01_a_batch_starts_as_many_jobs_as_there_are_free_lanes() -> None:
    c = a_centre()
    c.submit("x", prep=0, run=50)
    c.submit("y", prep=0, run=50)
    c.batch("w")
    fill(c, "w", 6)
    assert running(c) == {"x", "y", "b1", "b2", "b3"}


def test_b02_a_job_of_the_active_batch_goes_before_others_that_queued_earlier() -> None:
    c = a_centre(lanes=2)
    c.batch("w")
    c.submit("b1", to="w", run=10)
    c.submit("x", run=100)
    c.submit("other", instance="i")
    fill(c, "w", 2, "late")
    c.until(11)
    assert running(c) == {"x", "late1"}
    assert c.status("other") is JobStatus.QUEUED


def test_b03_a_free_lane_beside_a_batch_without_queued_jobs_goes_to_an_individual_job() -> None:
    c = a_centre()
    c.batch("w")
    fill(c, "w", 2, run=50)
    c.submit("single")
    assert c.workloads["w"].state is ACTIVE
    assert c.status("single") is JobStatus.RUNNING


def test_b04_neither_another_batch_nor_a_session_starts_beside_an_active_batch() -> None:
    c = a_centre()
    c.batch("w")
    fill(c, "w", 2, prep=0, run=50)
    c.batch("other")
    c.submit("o1", to="other")
    c.open("session")
    c.submit("s1", to="session")
    c.until(100)  # b1, b2 done at 100, and idle for the interactive TTL of 1 s
    assert running(c) == set()
    c.until(101)
    assert c.workloads["w"].state is INACTIVE
    assert running(c) == {"o1"}
    assert c.status("s1") is JobStatus.QUEUED
    c.until(200)
    assert c.status("s1") is JobStatus.COMPLETED


def test_b05_a_calibration_may_run_between_the_jobs_of_a_batch() -> None:
    c = a_centre()
    c.batch("w")
    fill(c, "w", 2, prep=0, run=10)
    c.until(3)
    c.send(events.CalibrationRequested("q"))
    assert c.calibrated == []
    c.until(12)
    assert c.calibrated == [("q", 10, 15)]
    c.drain()
    assert [span for name, *span in c.ran if name == "b2"] == [[15, 25]]
    assert c.billed("w") == 20


def test_b06_usage_of_a_batch_is_the_sum_of_what_its_jobs_held_the_qpu() -> None:
    c = a_centre()
    batch = c.batch("w")
    fill(c, "w", 3, prep=20, run=10)
    c.drain()
    c.until(51)
    assert batch.state is INACTIVE
    assert batch.history[-1] == (INACTIVE, 51)
    assert batch.usage_seconds == c.billed("w") == 30
    assert [line.job_id for line in c.bills] == ["b1", "b2", "b3"]


def test_b07_an_inactive_batch_queues_like_everyone() -> None:
    c = a_centre(lanes=1)
    batch = c.batch("w")
    c.submit("b1", to="w", run=10)
    c.until(20)
    assert batch.state is INACTIVE
    c.submit("x", run=100)
    c.submit("y", run=10)
    c.submit("b2", to="w", run=10)
    c.until(105)
    assert batch.state is INACTIVE
    c.until(400)
    assert c.ran[-1][0] == "b2"
    assert batch.started_at == 0
    assert batch.expires_at == 28_800


def test_b08_the_plan_gives_the_batch_its_time_to_live() -> None:
    c = a_centre()
    c.instance("open", plan="open", sessions=False, max_ttl_seconds=600)
    assert c.batch("paid").max_ttl_seconds == 28_800
    assert c.batch("free", instance="open").max_ttl_seconds == 600


def test_b09_the_interactive_timeout_of_a_batch_is_one_second() -> None:
    assert a_centre().batch("w").interactive_ttl_seconds == 1


def test_b10_an_instance_without_sessions_may_open_a_batch() -> None:
    c = a_centre()
    c.instance("open", plan="open", sessions=False)
    c.batch("w", instance="open")
    c.submit("b", to="w", instance="open")
    c.drain()
    assert c.status("b") is JobStatus.COMPLETED


def test_b11_one_failing_job_leaves_the_others_alone() -> None:
    c = a_centre()
    c.batch("w")
    c.submit("bad", to="w", fails=Failure(Reason(1000, "wrong", "correct it")))
    fill(c, "w", 3)
    c.drain()
    assert c.status("bad") is JobStatus.FAILED
    assert {c.status(f"b{n}") for n in (1, 2, 3)} == {JobStatus.COMPLETED}


def test_b12_the_first_job_of_a_batch_has_no_priority() -> None:
    c = a_centre(lanes=1)
    c.submit("x", run=100)
    c.submit("y", run=100)
    c.batch("w")
    fill(c, "w", 3)
    c.drain()
    assert c.started[:3] == ["x", "y", "b1"]


def test_b13_classical_time_is_no_usage() -> None:
    c = a_centre()
    batch = c.batch("w")
    c.submit("b", to="w", prep=100, run=3, fin=50)
    c.drain()
    assert batch.usage_seconds == 3


def test_b14_a_batch_takes_any_number_of_jobs() -> None:
    c = a_centre()
    c.checking = False
    batch = c.batch("w")
    fill(c, "w", 1_000, prep=0, run=1)
    assert batch.jobs_submitted == 1_000
    c.checking = True
    c.close("w")
    c.checking = False
    c.drain()
    assert batch.jobs_completed == 1_000
    assert batch.state is CLOSED


def test_b15_at_the_ttl_queued_jobs_fail_and_running_ones_finish() -> None:
    c = a_centre(lanes=2)
    batch = c.batch("w", max_ttl=25)
    fill(c, "w", 4, prep=0, run=20)
    c.until(25)
    assert batch.state is WorkloadState.PENDING_CLOSED
    assert c.refused(lambda: c.submit("late", to="w")) == codes.SESSION_CLOSED
    assert c.status("b4") is JobStatus.FAILED
    assert c.code("b4") == codes.SESSION_CLOSED == 1217
    assert "time to live" in c.jobs["b4"].reason.message
    c.drain()
    assert {c.status(name) for name in ("b1", "b2", "b3")} == {JobStatus.COMPLETED}
    assert (batch.state, batch.closed_at) == (CLOSED, 60)
    assert batch.reason.code == codes.WORKLOAD_EXPIRED


def test_b16_a_batch_closed_before_its_jobs_start_runs_them_all_and_closes_after_the_last() -> None:
    c = a_centre()
    c.submit("x", prep=0, run=100)
    for index in range(4):
        c.submit(f"y{index}", prep=0, run=1)
    batch = c.batch("w")
    fill(c, "w", 7, prep=0, run=10)
    c.close("w")
    assert batch.state is WorkloadState.OPEN
    assert not batch.accepting
    c.drain()
    assert {c.status(f"b{n}") for n in range(1, 8)} == {JobStatus.COMPLETED}
    assert batch.state is CLOSED
    assert batch.closed_at == max(until for name, _, until in c.ran if name.startswith("b"))
    assert batch.usage_seconds == 70


def test_a_cancelled_batch_drops_what_is_queued_and_finishes_what_runs() -> None:
    c = a_centre(lanes=2)
    batch = c.batch("w")
    fill(c, "w", 4, prep=0, run=10)
    c.until(3)
    c.cancel_workload("w")
    assert [c.status(f"b{n}") for n in (3, 4)] == [JobStatus.CANCELLED] * 2
    c.drain()
    assert [c.status(f"b{n}") for n in (1, 2)] == [JobStatus.COMPLETED] * 2
    assert (batch.state, batch.closed_at, batch.jobs_completed) == (CLOSED, 20, 2)


def test_ready_jobs_of_the_batch_get_the_qpu_before_others() -> None:
    c = a_centre()
    c.submit("first", prep=0, run=20)
    c.submit("single", prep=1, run=5)
    c.batch("w")
    c.submit("b1", to="w", prep=2, run=5)
    c.drain()
    assert [name for name, *_ in c.ran] == ["first", "b1", "single"]


def test_the_lanes_may_become_fewer_while_they_are_full() -> None:
    c = a_centre(lanes=4)
    for index in range(6):
        c.submit(f"j{index}", prep=0, run=10)
    c.qpu(lanes=2)
    c.until(25)
    assert len(running(c)) == 2
    c.drain()
    assert len(c.ran) == 6


def test_a_batch_on_a_simulator_holds_nothing() -> None:
    c = a_centre(serial=False)
    one, two = c.batch("one"), c.open("two", Mode.BATCH)
    c.submit("a", to="one")
    c.submit("b", to="two")
    c.until(5)
    assert {job.stage for job in c.jobs.values()} == {Stage.ON_QPU}
    assert one.state is two.state is ACTIVE
