"""Job mode: statements A of `modes.md` 12."""

from __future__ import annotations

import pytest
from virtual_centre import a_centre

from ketline.core import actions, codes, events
from ketline.core.lifecycle import IllegalTransition
from ketline.core.model import Failure, FailureKind, JobStatus, Reason, Stage

SYSTEM_ERROR = Failure(Reason(9999, "the fridge is warm", "try again"), FailureKind.SYSTEM)
USER_ERROR = Failure(Reason(1517, "not in the ISA", "transpile it"), FailureKind.USER)


def test_a01_an_idle_qpu_takes_a_job_from_queued_over_running_to_completed() -> None:
    c = a_centre()
    job = c.submit("j", prep=1, run=10, fin=2)
    assert job.workload_id is None
    assert (job.status, job.stage) == (JobStatus.RUNNING, Stage.PREPARING)
    c.until(1)
    assert job.stage is Stage.ON_QPU
    c.until(11)
    assert job.stage is Stage.FINALIZING
    c.until(13)
    assert (job.status, job.stage, job.finished_at) == (JobStatus.COMPLETED, Stage.NONE, 13)


def test_a02_running_lasts_for_classical_and_quantum_time_and_usage_counts_the_latter() -> None:
    c = a_centre()
    job = c.submit("j", prep=20, run=12, fin=10)
    c.drain()
    assert job.finished_at - job.running_at == 42
    assert job.billed_seconds == c.billed("j") == 12


def test_a03_two_running_jobs_are_never_on_the_qpu_at_the_same_time() -> None:
    c = a_centre()
    c.submit("one", prep=1, run=10)
    two = c.submit("two", prep=1, run=10)
    c.until(5)
    assert c.status("one") is c.status("two") is JobStatus.RUNNING
    assert two.stage is Stage.WAITING_QPU
    c.drain()
    assert c.ran == [("one", 1, 11), ("two", 11, 21)]


def test_a04_a_job_that_reaches_its_limit_is_cancelled_with_ran_too_long() -> None:
    c = a_centre(job_overhead_seconds=2.0)
    job = c.submit("j", prep=1, run=100, cost=10)
    c.drain()
    assert job.status is JobStatus.CANCELLED
    assert c.code("j") == codes.RAN_TOO_LONG == 1305
    assert job.reason.message.startswith("Ran too long")
    assert job.finished_at == 11
    assert job.billed_seconds == c.billed("j") == 10


def test_a05_a_larger_max_execution_time_is_capped_at_the_plans() -> None:
    c = a_centre()
    assert c.submit("j", cost=20_000).limit_seconds == 10_800
    assert c.submit("k").limit_seconds == 10_800


def test_a06_the_users_limit_counts_when_it_is_the_lower_one() -> None:
    c = a_centre()
    job = c.submit("j", cost=5_000, run=20_000, prep=0)
    c.drain()
    assert (job.status, job.qpu_seconds) == (JobStatus.CANCELLED, 5_000)


def test_a07_time_in_the_queue_and_in_classical_work_is_not_held_against_the_limit() -> None:
    c = a_centre(lanes=1)
    c.submit("before", prep=0, run=500)
    job = c.submit("j", prep=100, run=59, fin=100, cost=60)
    c.drain()
    assert job.running_at == 500
    assert job.status is JobStatus.COMPLETED


def test_a07_the_limit_counts_all_rounds_of_a_job() -> None:
    c = a_centre()
    job = c.submit("j", prep=0, run=(40, 40), fin=5, cost=60)
    c.drain()
    assert (job.status, job.qpu_seconds, c.code("j")) == (JobStatus.CANCELLED, 60, codes.RAN_TOO_LONG)
    limits = [doing.limit_seconds for _, doing in c.log if isinstance(doing, actions.Run)]
    assert limits == [60, 20]


def test_a08_cancelling_a_queued_job_costs_nothing_and_it_never_ran() -> None:
    c = a_centre(lanes=1)
    c.submit("before")
    job = c.submit("j")
    c.cancel("j")
    assert (job.status, job.running_at, job.billed_seconds) == (JobStatus.CANCELLED, None, 0)
    assert c.code("j") == codes.JOB_CANCELLED
    c.drain()
    assert c.billed("j") == 0
    assert "j" not in c.started


def test_a09_a_completed_job_cant_be_cancelled() -> None:
    c = a_centre()
    job = c.submit("j")
    c.drain()
    assert c.refused(lambda: c.cancel("j")) == codes.JOB_NOT_CANCELLABLE
    assert job.status is JobStatus.COMPLETED


def test_a16_a_system_error_costs_nothing() -> None:
    c = a_centre(job_overhead_seconds=2.0)
    job = c.submit("j", run=5, fails=SYSTEM_ERROR)
    c.drain()
    assert (job.status, job.qpu_seconds, job.billed_seconds) == (JobStatus.FAILED, 5, 0)
    assert c.bills == []
    assert job.reason == SYSTEM_ERROR.reason


def test_a17_a_users_error_costs_what_was_used_and_the_overhead() -> None:
    c = a_centre(job_overhead_seconds=2.0)
    job = c.submit("j", run=5, fails=USER_ERROR)
    c.drain()
    assert (job.status, job.billed_seconds, c.billed("j")) == (JobStatus.FAILED, 7, 7)


def test_a17_a_users_error_before_the_qpu_costs_nothing() -> None:
    c = a_centre(job_overhead_seconds=2.0)
    job = c.submit("j", fails=USER_ERROR, fails_in=Stage.PREPARING)
    c.drain()
    assert (job.status, job.billed_seconds, c.bills) == (JobStatus.FAILED, 0, [])


def test_a17_a_users_error_after_the_qpu_costs_what_was_used_and_the_overhead() -> None:
    c = a_centre(job_overhead_seconds=2.0)
    job = c.submit("j", run=5, fails=USER_ERROR, fails_in=Stage.FINALIZING)
    c.drain()
    assert (job.status, job.billed_seconds) == (JobStatus.FAILED, 7)


def test_a18_cancelling_on_the_qpu_costs_what_was_used_and_the_overhead() -> None:
    c = a_centre(job_overhead_seconds=2.0)
    job = c.submit("j", prep=1, run=100)
    c.until(6)
    c.cancel("j")
    c.drain()
    assert (job.status, job.billed_seconds, c.billed("j")) == (JobStatus.CANCELLED, 7, 7)


def test_a_cancel_that_was_accepted_wins_over_a_release_that_was_under_way() -> None:
    c = a_centre()
    job = c.submit("j", prep=0, run=5)
    c.until(3)
    c.scheduler.handle(events.JobCancelRequested("j"), 3)  # the QPU hears of it too late
    c.cancel("j")  # asking twice does no harm
    c.until(10)
    assert job.status is JobStatus.CANCELLED
    assert job.billed_seconds == 5


@pytest.mark.parametrize("stage", [Stage.PREPARING, Stage.WAITING_QPU, Stage.FINALIZING])
def test_a_cancel_off_the_qpu_takes_effect_at_once(stage: Stage) -> None:
    c = a_centre()
    c.submit("other", prep=0, run=10)
    job = c.submit("j", prep=5, run=10, fin=50)
    c.until({Stage.PREPARING: 2, Stage.WAITING_QPU: 7, Stage.FINALIZING: 30}[stage])
    assert job.stage is stage
    c.cancel("j")
    assert job.status is JobStatus.CANCELLED
    assert any(isinstance(doing, actions.Abandon) for _, doing in c.log)
    assert c.billed("j") == (10 if stage is Stage.FINALIZING else 0)


def test_another_round_on_the_qpu_adds_up() -> None:
    c = a_centre()
    job = c.submit("j", prep=1, run=(5, 7), fin=2)
    c.drain()
    assert c.ran == [("j", 1, 6), ("j", 8, 15)]
    assert (job.status, job.billed_seconds) == (JobStatus.COMPLETED, 12)
    assert [(line.started_at, line.ended_at, line.seconds) for line in c.bills] == [(1, 6, 5), (8, 15, 7)]


def test_an_interrupted_job_is_done_again_in_its_lane_and_billed_once() -> None:
    c = a_centre(lanes=1)
    job = c.submit("j", prep=1, run=10)
    c.submit("next")
    c.until(8)
    c.interrupt("j")
    assert (job.status, job.stage, job.qpu_seconds) == (JobStatus.RUNNING, Stage.PREPARING, 0)
    c.drain()
    assert c.ran[0] == ("j", 9, 19)
    assert c.billed("j") == 10


def test_a_late_answer_for_a_settled_job_changes_nothing() -> None:
    c = a_centre()
    c.submit("j", prep=5)
    c.cancel("j")
    for late in (events.JobPrepared("j"), events.JobReleased("j", 3), events.JobFinalized("j"),
                 events.JobInterrupted("j"), events.JobFailed("j", USER_ERROR)):  # fmt: skip
        assert c.scheduler.handle(late, 6) == []
    c.drain()
    assert c.bills == []


def test_a_job_that_reports_more_than_its_limit_ran_too_long() -> None:
    c = a_centre()
    job = c.submit("j", prep=0, run=100, cost=10)
    c.until(5)
    c.send(events.JobReleased("j", 10.5))
    assert (job.status, c.code("j"), job.billed_seconds) == (JobStatus.CANCELLED, codes.RAN_TOO_LONG, 10.5)


def test_a_release_at_the_very_limit_settles_once_and_orders_nothing() -> None:
    c = a_centre()
    c.submit("j", prep=0, run=100, cost=10)
    c.until(5)
    c.t = 10.0
    doings = c.scheduler.handle(events.JobReleased("j", 10.0), 10.0)
    of_job = [doing for doing in doings if not isinstance(doing, actions.SetTimer | actions.Bill)]
    assert [type(doing) for doing in of_job] == [actions.Settle]


def test_a_job_that_fails_while_it_is_being_cancelled_ends_cancelled() -> None:
    c = a_centre(job_overhead_seconds=2.0)
    job = c.submit("j", prep=0, run=5, fails=SYSTEM_ERROR)
    c.until(3)
    c.scheduler.handle(events.JobCancelRequested("j"), 3)
    c.until(10)
    assert (job.status, c.code("j"), job.billed_seconds) == (JobStatus.CANCELLED, codes.JOB_CANCELLED, 7)


def test_a_lock_that_is_told_twice_counts_once() -> None:
    c = a_centre()
    job = c.submit("j", prep=0, run=10)
    c.until(5)
    c.send(events.JobLocked("j"))
    c.until(8)
    assert job.locked_at == 0
    assert c.scheduler.usage("i", 8.0).used_seconds == 8
    c.drain()
    assert c.scheduler.usage("i").used_seconds == job.billed_seconds == 10


def test_an_event_that_cant_happen_tells_the_jobs_story() -> None:
    c = a_centre()
    c.submit("j", prep=5)
    with pytest.raises(IllegalTransition, match=r"(?s)'finalized' can't.*0\.000000 preparation began"):
        c.send(events.JobFinalized("j"))
    with pytest.raises(IllegalTransition, match=r"'released' can't happen in state 'running/preparing'"):
        c.send(events.JobReleased("j", 3))
    c.drain()
    assert c.status("j") is JobStatus.COMPLETED


def test_the_clock_may_jump_back_without_harm_to_the_bill() -> None:
    c = a_centre()
    job = c.submit("j", prep=1, run=10)
    c.until(5)
    c.t = -3_600.0
    c.submit("k", prep=1, run=10)
    c.t = 5.0
    c.drain()
    assert job.billed_seconds == 10
    assert all(line.ended_at >= line.started_at for line in c.bills)
    assert c.jobs["k"].created_at == 1  # the latest time that an event had told


@pytest.mark.parametrize("cost", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_no_duration_is_refused(cost: float) -> None:
    assert a_centre_refuses(cost) == codes.INVALID_REQUEST


def a_centre_refuses(cost: float) -> int:
    c = a_centre()
    code = c.refused(lambda: c.submit("j", cost=cost))
    assert "j" not in c.scheduler.jobs
    return code


def test_submissions_that_name_what_isnt_there_are_refused() -> None:
    c = a_centre()
    assert c.refused(lambda: c.submit("j", qpu="nowhere")) == codes.BACKEND_NOT_FOUND
    assert c.refused(lambda: c.submit("j", instance="nobody")) == codes.INSTANCE_NOT_FOUND
    c.instance("picky", qpus=frozenset({"other"}))
    assert c.refused(lambda: c.submit("j", instance="picky")) == codes.BACKEND_NOT_FOUND


def test_c18_the_pending_job_limit_counts_unfinished_jobs() -> None:
    c = a_centre()
    c.instance("open", max_pending_jobs=3)
    for name in "abc":
        c.submit(name, instance="open")
    assert c.refused(lambda: c.submit("d", instance="open")) == codes.PENDING_JOB_LIMIT == 3458
    c.cancel("a")
    c.submit("d", instance="open")


def test_a_simulator_has_no_queue() -> None:
    c = a_centre(serial=False)
    for number in range(20):
        c.submit(f"j{number}", prep=1, run=10)
    c.until(5)
    assert {job.stage for job in c.jobs.values()} == {Stage.ON_QPU}
    c.drain()
    assert c.t == 11
    assert {job.status for job in c.jobs.values()} == {JobStatus.COMPLETED}
