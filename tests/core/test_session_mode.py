"""Session mode: statements S of `modes.md` 12."""

from __future__ import annotations

import pytest
from virtual_centre import a_centre, with_session

from ketline.core import codes, events
from ketline.core.model import Failure, JobStatus, Mode, Reason, Stage, WorkloadState

OPEN, ACTIVE, INACTIVE = WorkloadState.OPEN, WorkloadState.ACTIVE, WorkloadState.INACTIVE
PENDING_CLOSED, CLOSED = WorkloadState.PENDING_CLOSED, WorkloadState.CLOSED


def test_s01_a_fresh_session_is_open_and_accepting_with_no_timestamps() -> None:
    session = a_centre().open("s")
    assert (session.state, session.accepting) == (OPEN, True)
    assert (session.started_at, session.activated_at, session.closed_at) == (None, None, None)
    assert (session.last_job_started_at, session.last_job_completed_at) == (None, None)
    assert (session.interactive_ttl_seconds, session.max_ttl_seconds) == (60, 28_800)


def test_s02_an_unused_session_is_closed_after_30_minutes() -> None:
    c = with_session()
    c.until(1_799)
    assert c.workloads["s"].state is OPEN
    c.until(1_800)
    session = c.workloads["s"]
    assert (session.state, session.closed_at) == (CLOSED, 1_800)
    assert session.reason.code == codes.WORKLOAD_UNUSED
    assert c.billed("s") == 0


def test_s03_waiting_in_the_queue_starts_no_ttl_and_costs_nothing() -> None:
    c = a_centre(lanes=1)
    c.submit("before", prep=0, run=7_200)
    session = c.open("s")
    c.submit("j", to="s")
    c.until(7_199)
    assert (session.state, session.expires_at, session.usage_seconds) == (OPEN, None, 0)
    assert c.status("j") is JobStatus.QUEUED


def test_s04_the_first_job_activates_and_starts_the_ttl() -> None:
    c = a_centre()
    session = c.open("s", max_ttl=500)
    c.until(100)
    c.submit("j", to="s")
    assert (session.state, session.started_at, session.activated_at) == (ACTIVE, 100, 100)
    assert session.expires_at == 600


def test_s05_no_other_job_starts_during_an_active_session() -> None:
    c = with_session()
    c.instance("other")
    c.submit("j", to="s", prep=0, run=10)
    c.submit("x", instance="other")
    c.until(69)
    assert c.status("x") is JobStatus.QUEUED
    c.until(70)
    assert c.status("x") is JobStatus.RUNNING


def test_s06_a_calibration_is_deferred_until_the_session_is_inactive() -> None:
    c = with_session()
    c.submit("j", to="s", prep=0, run=10)
    c.send(events.CalibrationRequested("q"))
    c.until(69)
    assert c.calibrated == []
    c.until(70)
    assert c.calibrated == [("q", 70, 75)]


def test_s07_a_job_before_the_interactive_ttl_starts_at_once() -> None:
    c = with_session()
    session = c.workloads["s"]
    c.instance("other")
    c.submit("a", to="s", prep=0, run=10)
    c.submit("x", instance="other")
    c.until(69)
    b = c.submit("b", to="s", prep=0, run=10)
    assert (b.running_at, b.stage) == (69, Stage.PREPARING)
    assert session.idle_at is None
    c.until(79)
    assert session.idle_at == 139


def test_s08_at_the_interactive_ttl_the_session_is_inactive_and_others_start() -> None:
    c = with_session()
    session = c.workloads["s"]
    c.instance("other")
    c.submit("a", to="s", prep=0, run=10)
    c.submit("x", instance="other")
    c.until(70)
    assert (session.state, session.windows) == (INACTIVE, [(0, 70)])
    assert c.jobs["x"].running_at == 70


def test_s09_s10_an_inactive_session_queues_and_comes_back_with_its_old_deadline() -> None:
    c = a_centre(lanes=1)
    session = c.open("s", max_ttl=1_000)
    c.submit("a", to="s", prep=0, run=10)
    c.until(100)
    c.submit("x", prep=0, run=100)
    c.submit("y", prep=0, run=100)
    c.submit("b", to="s", prep=0, run=10)
    c.until(250)
    assert (session.state, c.status("b")) == (INACTIVE, JobStatus.QUEUED)
    c.until(305)
    assert (session.state, session.activated_at) == (ACTIVE, 300)
    assert (session.started_at, session.expires_at) == (0, 1_000)


def test_s11_worked_example() -> None:
    c = with_session()
    session = c.workloads["s"]
    c.submit("A", to="s", prep=5, run=25)
    c.until(400)
    assert session.windows == [(0, 90)]
    c.at(400, lambda: c.submit("x", prep=0, run=100))
    c.at(400, lambda: c.submit("B", to="s", prep=5, run=15))
    c.qpu(lanes=1)
    c.until(510)
    assert session.activated_at == 500
    c.at(525, lambda: c.close("s"))
    c.until(2_000)
    assert session.windows == [(0, 90), (500, 525)]
    assert session.usage_seconds == c.billed("s") == 115
    assert session.expires_at == 28_800
    assert (session.qpu_seconds, session.idle_seconds) == (40, 65)


def test_s11_closing_while_inactive_adds_nothing() -> None:
    c = with_session()
    c.submit("A", to="s", prep=0, run=30)
    c.until(1_000)
    c.close("s")
    assert c.workloads["s"].state is CLOSED
    assert c.workloads["s"].usage_seconds == 90


def test_s19_a_plan_without_sessions_refuses_them_with_1352() -> None:
    c = a_centre()
    c.instance("free", plan="open", sessions=False)
    assert c.refused(lambda: c.open("s", instance="free")) == codes.NO_SESSIONS_ON_PLAN == 1352


def test_s19_by_policy_a_plan_without_sessions_runs_their_jobs_in_job_mode() -> None:
    c = a_centre()
    c.instance("free", plan="open", sessions=False, open_session_as_jobs=True)
    session = c.open("s", instance="free")
    c.submit("a", to="s", instance="free", prep=0, run=10)
    c.submit("x", prep=0, run=10)
    assert c.status("x") is JobStatus.RUNNING
    c.drain()
    assert session.usage_seconds == c.billed("a") == 10
    c.close("s")
    assert session.state is CLOSED


def test_s20_a_longer_ttl_than_the_plans_is_refused_and_the_maximum_named() -> None:
    c = a_centre()
    assert c.refused(lambda: c.open("s", max_ttl=28_801)) == codes.INVALID_REQUEST
    assert c.open("s", max_ttl=28_800).max_ttl_seconds == 28_800
    assert c.open("short", max_ttl=1_500).max_ttl_seconds == 1_500


@pytest.mark.parametrize("ttl", [0.0, -5.0, float("nan"), float("inf")])
def test_s20_a_ttl_that_is_no_duration_is_refused(ttl: float) -> None:
    c = a_centre()
    assert c.refused(lambda: c.open("s", max_ttl=ttl)) == codes.INVALID_REQUEST


def test_a_workload_is_a_session_or_a_batch() -> None:
    c = a_centre()
    assert c.refused(lambda: c.open("s", Mode.JOB)) == codes.INVALID_REQUEST


def test_s22_the_classical_parts_of_a_sessions_jobs_overlap() -> None:
    c = with_session()
    for index in range(5):
        c.submit(f"j{index}", to="s", prep=30, run=1)
    assert {job.stage for job in c.jobs.values()} == {Stage.PREPARING}
    c.until(35)
    assert {job.status for job in c.jobs.values()} == {JobStatus.COMPLETED}


def test_s24_a_session_whose_jobs_all_fail_costs_its_active_time() -> None:
    c = with_session()
    c.submit("j", to="s", prep=5, fails=Failure(Reason(1, "no", "do")), fails_in=Stage.PREPARING)
    c.until(100)
    assert c.workloads["s"].usage_seconds == 65
    assert c.jobs["j"].billed_seconds == 0


def test_s25_a_job_that_runs_too_long_leaves_its_session_active() -> None:
    c = with_session()
    c.submit("j", to="s", prep=0, run=100, cost=10)
    c.until(11)
    assert c.code("j") == 1305
    assert c.workloads["s"].state is ACTIVE


def test_cancelling_one_job_leaves_its_session_active() -> None:
    c = with_session()
    c.submit("j", to="s", prep=0, run=100)
    c.until(10)
    c.cancel("j")
    c.until(11)
    session = c.workloads["s"]
    assert (c.status("j"), session.state, session.idle_at) == (JobStatus.CANCELLED, ACTIVE, 70)


def test_s28_the_history_lists_each_transition_in_order() -> None:
    c = with_session()
    c.submit("j", to="s", prep=0, run=10)
    c.until(100)
    c.close("s")
    assert c.workloads["s"].history == [(OPEN, 0), (ACTIVE, 0), (INACTIVE, 70), (CLOSED, 100)]


def test_s29_a_selected_session_lets_the_lanes_drain_and_its_usage_starts_then() -> None:
    c = a_centre()
    c.submit("x", prep=0, run=50)
    c.submit("y", prep=0, run=50)
    session = c.open("s")
    first = c.submit("A", to="s", prep=5, run=10)
    c.submit("B", to="s", prep=5, run=10)
    c.submit("z")
    c.until(99)
    assert (first.stage, session.state) == (Stage.WAITING_QPU, OPEN)
    assert c.status("B") is c.status("z") is JobStatus.QUEUED
    c.until(100)
    assert (session.state, session.started_at) == (ACTIVE, 100)
    assert first.stage is Stage.ON_QPU
    assert c.status("B") is JobStatus.RUNNING
    c.until(120)
    c.close("s")
    assert session.usage_seconds == 20


def test_s29_a_selected_session_without_jobs_left_lets_others_start_again() -> None:
    c = a_centre()
    c.submit("x", prep=0, run=50)
    session = c.open("s")
    c.submit("A", to="s", prep=5)
    c.submit("z")
    c.until(10)
    c.cancel("A")
    assert c.status("z") is JobStatus.RUNNING
    assert (session.state, session.usage_seconds) == (OPEN, 0)


def test_s29_cancelling_a_session_while_others_drain_lets_its_running_job_finish() -> None:
    c = a_centre()
    c.submit("x", prep=0, run=50)
    session = c.open("s")
    c.submit("A", to="s", prep=5, run=10)
    c.submit("B", to="s")
    c.until(10)
    c.cancel_workload("s")
    assert (session.state, c.status("B")) == (PENDING_CLOSED, JobStatus.CANCELLED)
    c.drain()
    assert c.status("A") is JobStatus.COMPLETED
    assert (session.state, session.usage_seconds) == (CLOSED, 10)


def test_t17_cancelling_the_first_job_of_an_open_session_leaves_it_open() -> None:
    c = a_centre(lanes=1)
    c.submit("x", prep=0, run=50)
    session = c.open("s")
    c.submit("A", to="s")
    c.submit("B", to="s", prep=0)
    c.cancel("A")
    assert session.state is OPEN
    c.until(51)
    assert (session.state, c.status("B")) == (ACTIVE, JobStatus.RUNNING)


def test_t17_an_open_session_whose_only_job_was_cancelled_is_unused_again() -> None:
    c = a_centre(lanes=1)
    c.submit("x", prep=0, run=5_000)
    session = c.open("s")
    c.until(1_000)
    c.submit("A", to="s")
    assert session.unused_at is None
    c.until(2_000)
    c.cancel("A")
    assert session.unused_at == 3_800
    c.until(3_800)
    assert (session.state, session.reason.code) == (WorkloadState.CLOSED, codes.WORKLOAD_UNUSED)


def test_s30_a_session_closed_before_its_jobs_start_runs_them_in_one_window() -> None:
    c = a_centre(lanes=1)
    c.submit("x", prep=0, run=50)
    session = c.open("s")
    c.submit("A", to="s", prep=0)
    c.submit("B", to="s", prep=0)
    c.submit("y", prep=0)
    c.close("s")
    assert c.refused(lambda: c.submit("C", to="s")) == 1217
    assert session.state is OPEN
    c.drain()
    assert session.windows == [(50, 70)]
    assert (session.state, session.closed_at) == (CLOSED, 70)
    assert c.started == ["x", "A", "B", "y"]


def test_s31_a_session_that_never_ran_a_job_costs_nothing() -> None:
    c = with_session()
    c.until(1_000)
    c.close("s")
    assert (c.workloads["s"].state, c.workloads["s"].usage_seconds, c.bills) == (CLOSED, 0, [])


def test_s32_another_session_may_be_active_while_one_is_inactive() -> None:
    c = with_session()
    c.submit("a", to="s", prep=0)
    c.until(80)
    other = c.open("other")
    c.submit("b", to="other")
    assert (c.workloads["s"].state, other.state) == (INACTIVE, ACTIVE)


def test_s27_a_session_on_a_simulator_holds_nobody_up() -> None:
    c = a_centre(serial=False)
    c.open("s")
    c.submit("a", to="s")
    c.submit("x")
    assert {job.status for job in c.jobs.values()} == {JobStatus.RUNNING}


def test_what_the_jobs_of_a_session_would_have_cost_as_a_batch_is_kept() -> None:
    c = with_session(job_overhead_seconds=2.0)
    c.submit("a", to="s", prep=5, run=10)
    c.submit("b", to="s", prep=5, run=10, fails=Failure(Reason(1, "no", "do")))
    c.until(200)
    session = c.workloads["s"]
    assert (session.usage_seconds, session.qpu_seconds, session.idle_seconds) == (85, 20, 60)
    assert session.batch_seconds == 22
