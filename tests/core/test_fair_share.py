"""Fair share and limits: statements F of `modes.md` 12."""

from __future__ import annotations

import pytest
from virtual_centre import VirtualCentre, a_centre

from ketline.core import codes, events
from ketline.core.model import Failure, FailureKind, JobStatus, Mode, QpuWindow, Reason, WorkloadState

DAY = 86_400.0


def used(c: VirtualCentre, instance: str, seconds: float, qpu: str = "q") -> None:
    """Let an instance use up some seconds of a QPU."""
    name = f"used-{instance}-{c.t}-{qpu}"
    c.submit(name, instance=instance, qpu=qpu, prep=0, run=seconds)
    c.drain()
    assert c.status(name) is JobStatus.COMPLETED


def two_instances(**figures: object) -> VirtualCentre:
    c = a_centre(lanes=1)
    c.instance("x", allocation_seconds=1_000, **figures)
    c.instance("y", allocation_seconds=1_000, **figures)
    return c


def order_of(c: VirtualCentre, *jobs: tuple[str, str]) -> list[str]:
    """Which of these (name, instance) start first, when all wait behind another job."""
    c.submit("blocker", instance="i", prep=0, run=1)
    for name, instance in jobs:
        c.submit(name, instance=instance, prep=0, run=1)
    before = len(c.started)
    c.drain()
    return c.started[before:]


def test_f02_the_instance_with_the_least_used_share_goes_first() -> None:
    c = two_instances()
    used(c, "x", 100)
    used(c, "y", 500)
    assert order_of(c, ("y1", "y"), ("x1", "x")) == ["x1", "y1"]


def test_f03_within_an_instance_the_oldest_goes_first() -> None:
    c = two_instances()
    assert order_of(c, ("a", "x"), ("b", "x"), ("c", "x")) == ["a", "b", "c"]


def test_ties_go_to_the_oldest() -> None:
    c = two_instances()
    assert order_of(c, ("y1", "y"), ("x1", "x")) == ["y1", "x1"]


def test_f04_usage_of_29_days_ago_is_ignored_in_a_window_and_counted_in_a_contract() -> None:
    c = two_instances()
    c.instance("flex", allocation_seconds=1_000, window_seconds=None)
    used(c, "x", 900)
    used(c, "flex", 800)
    c.until(29 * DAY)
    used(c, "y", 100)
    assert c.scheduler.usage("x").billed_seconds == 0
    assert c.scheduler.usage("flex").billed_seconds == 800
    assert order_of(c, ("f1", "flex"), ("y1", "y"), ("x1", "x")) == ["x1", "y1", "f1"]


def test_usage_leaves_the_window_while_jobs_wait() -> None:
    c = two_instances(window_seconds=100.0)
    used(c, "x", 50)  # until t=50: leaves the window at 150
    used(c, "y", 10)  # until t=60: leaves at 160
    c.submit("blocker", prep=0, run=94)  # until t=154: x has nothing left in its window, y has 10
    c.submit("y1", instance="y", prep=0, run=1)
    c.submit("x1", instance="x", prep=0, run=1)
    c.drain()
    assert c.started[-2:] == ["x1", "y1"]


def test_f05_usage_on_one_qpu_counts_on_the_other() -> None:
    c = two_instances()
    c.qpu("q2")
    used(c, "x", 500, qpu="q2")
    used(c, "y", 100)
    assert order_of(c, ("x1", "x"), ("y1", "y")) == ["y1", "x1"]


def test_f06_an_allocation_that_is_no_limit_only_lowers_priority() -> None:
    c = two_instances()
    used(c, "x", 5_000)
    assert order_of(c, ("x1", "x"), ("y1", "y")) == ["y1", "x1"]
    assert c.status("x1") is JobStatus.COMPLETED


def test_an_account_goes_before_all_of_a_worse_one() -> None:
    c = a_centre(lanes=1)
    for name, account in (("a1", "A"), ("a2", "A"), ("b1", "B")):
        c.instance(name, account_id=account, account_allocation_seconds=1_000, allocation_seconds=500)
    used(c, "a1", 300)
    used(c, "b1", 200)
    # a2 itself has used nothing, but its account has used more than b1's
    assert order_of(c, ("a2-job", "a2"), ("b1-job", "b1")) == ["b1-job", "a2-job"]


def test_the_allocation_of_an_account_may_be_told_by_any_of_its_instances() -> None:
    c = a_centre(lanes=1)
    c.instance("a1", account_id="A", account_allocation_seconds=10_000, allocation_seconds=500)
    c.instance("a2", account_id="A", allocation_seconds=500)
    c.instance("b1", account_id="B", allocation_seconds=1_000)
    used(c, "a1", 300)
    used(c, "b1", 100)
    assert order_of(c, ("b1-job", "b1"), ("a2-job", "a2")) == ["a2-job", "b1-job"]


def test_an_account_without_an_allocation_has_the_sum_of_its_instances() -> None:
    c = a_centre(lanes=1)
    for name, account in (("a1", "A"), ("a2", "A"), ("b1", "B")):
        c.instance(name, account_id=account, allocation_seconds=500)
    used(c, "a1", 300)  # 300 of 1000
    used(c, "b1", 200)  # 200 of 500
    assert order_of(c, ("b1-job", "b1"), ("a2-job", "a2")) == ["a2-job", "b1-job"]


def test_an_instance_without_an_allocation_has_a_virtual_one() -> None:
    c = a_centre(lanes=1)
    c.instance("payg", virtual_allocation_seconds=10_000)
    c.instance("x", allocation_seconds=1_000)
    used(c, "payg", 900)
    used(c, "x", 100)
    assert order_of(c, ("x1", "x"), ("p1", "payg")) == ["p1", "x1"]


def test_the_entry_charge_keeps_a_burst_from_winning_before_it_is_counted() -> None:
    c = a_centre(lanes=4)
    for name in ("x", "y"):
        c.instance(name, allocation_seconds=1_000)
    c.submit("blocker", prep=0, run=1)
    c.qpu(lanes=1)
    for index in range(3):
        c.submit(f"x{index}", instance="x", estimate=10)
    for index in range(3):
        c.submit(f"y{index}", instance="y", estimate=10)
    before = len(c.started)
    c.until(1)
    c.qpu(lanes=4)
    assert c.started[before:] == ["x0", "y0", "x1", "y1"]


def test_the_entry_charge_is_corrected_when_the_real_usage_is_known() -> None:
    c = two_instances()
    c.submit("x0", instance="x", prep=0, run=5, estimate=900, fin=100)
    c.until(1)
    assert c.scheduler.usage("x").ratio == pytest.approx(0.9)
    c.until(6)
    assert c.scheduler.usage("x").ratio == pytest.approx(0.005)
    c.drain()
    assert c.scheduler.usage("x").ratio == pytest.approx(0.005)


def test_a_failure_of_the_system_takes_the_entry_charge_back() -> None:
    c = two_instances()
    failure = Failure(Reason(9999, "broken", "again"), FailureKind.SYSTEM)
    c.submit("x0", instance="x", estimate=900, fails=failure)
    c.drain()
    assert c.scheduler.usage("x").ratio == 0


def test_an_active_session_counts_on_other_qpus_while_it_goes_on() -> None:
    c = two_instances()
    c.qpu("q2")
    c.open("s", instance="x", qpu="q2")
    c.submit("s1", to="s", instance="x", qpu="q2", prep=0, run=500)
    c.submit("blocker", prep=0, run=100)
    c.submit("x1", instance="x")
    c.until(50)
    c.submit("y0", instance="y", prep=0, run=1, qpu="q")
    c.until(120)
    assert c.started.index("y0") < c.started.index("x1")


def test_a_session_counts_its_estimate_or_its_length_whichever_is_more_and_once() -> None:
    c = two_instances()
    c.open("s", instance="x")
    c.submit("s1", to="s", instance="x", prep=0, run=500, estimate=100)
    assert c.scheduler.usage("x").ratio == pytest.approx(0.1)
    assert c.scheduler.usage("x", 60.0).ratio == pytest.approx(0.1)
    assert c.scheduler.usage("x", 300.0).ratio == pytest.approx(0.3)
    c.until(520)
    c.close("s")
    assert c.scheduler.usage("x").ratio == pytest.approx(0.52)


def test_a_workload_that_rules_keep_out_keeps_its_place() -> None:
    c = a_centre(lanes=1)
    c.batch("active")
    c.submit("a", to="active", prep=0, run=10)
    c.batch("kept-out")
    c.submit("k", to="kept-out", prep=0, run=10)
    c.submit("s1", prep=0, run=10)
    c.submit("s2", prep=0, run=10)
    c.submit("s3", prep=0, run=10)
    c.until(100)
    assert c.started == ["a", "s1", "k", "s2", "s3"]  # s1 beside the batch; k at once when that is inactive


def test_f07_a_limit_holds_pending_work_and_lets_the_active_session_go_on() -> None:
    c = a_centre(lanes=1)
    c.instance("x", limit_seconds=50.0)
    session = c.open("s", instance="x")
    for name in ("a", "b"):
        c.submit(name, to="s", instance="x", prep=0, run=40)
    pending = c.submit("pending", instance="x")
    c.until(75)
    assert c.scheduler.usage("x").held
    assert session.state is WorkloadState.ACTIVE
    assert c.status("b") is JobStatus.RUNNING
    c.until(90)
    assert c.submit("c", to="s", instance="x", prep=0, run=1).status is JobStatus.RUNNING
    c.until(1_000)
    assert session.state is WorkloadState.INACTIVE
    assert pending.status is JobStatus.QUEUED
    assert c.submit("more", instance="x").status is JobStatus.QUEUED


def test_f07_others_run_while_a_limit_holds_one() -> None:
    c = a_centre(lanes=1)
    c.instance("x", limit_seconds=5.0)
    used(c, "x", 10)
    c.submit("held", instance="x")
    assert c.submit("other").status is JobStatus.RUNNING


def test_f08_raising_the_limit_releases_what_was_held() -> None:
    c = a_centre()
    c.instance("x", limit_seconds=5.0)
    used(c, "x", 10)
    held = c.submit("held", instance="x")
    assert held.status is JobStatus.QUEUED
    c.instance("x", limit_seconds=15.0)
    assert held.status is JobStatus.RUNNING


def test_f08_the_window_releases_what_was_held() -> None:
    c = a_centre()
    c.instance("x", limit_seconds=5.0, window_seconds=100.0)
    used(c, "x", 10)
    held = c.submit("held", instance="x")
    c.until(109.9)
    assert held.status is JobStatus.QUEUED
    assert c.scheduler.usage("x").released_at == 110
    c.until(110)
    assert held.status is JobStatus.RUNNING


def test_a_limit_bites_while_jobs_are_on_the_qpu_not_only_when_they_are_billed() -> None:
    c = a_centre(lanes=2)
    c.instance("x", limit_seconds=30.0)
    c.submit("a", instance="x", prep=0, run=100)
    c.submit("b", instance="x", prep=0, run=1)
    queued = c.submit("c", instance="x")
    c.until(20)
    c.cancel("b")
    c.until(60)
    assert queued.status is JobStatus.RUNNING  # it started before the limit
    assert c.submit("d", instance="x").status is JobStatus.QUEUED
    c.qpu(lanes=5)
    assert c.status("d") is JobStatus.QUEUED


def test_f09_a_cost_limit_stops_what_runs_and_bills_it() -> None:
    c = a_centre(lanes=2)
    c.instance("x", limit_seconds=30.0, limit_stops_running=True, window_seconds=None)
    running = c.submit("a", instance="x", prep=0, run=100)
    ready = c.submit("b", instance="x", prep=1, run=100)
    queued = c.submit("c", instance="x")
    c.until(31)
    assert (running.status, c.code("a")) == (JobStatus.CANCELLED, codes.RAN_TOO_LONG)
    assert running.reason.message.startswith("Ran too long")
    assert running.billed_seconds == pytest.approx(30)
    assert (ready.status, ready.billed_seconds) == (JobStatus.CANCELLED, 0)
    assert queued.status is JobStatus.QUEUED
    c.until(10_000)
    assert queued.status is JobStatus.QUEUED
    c.instance("x", limit_seconds=500.0, limit_stops_running=True, window_seconds=None)
    assert queued.status is JobStatus.RUNNING


@pytest.mark.parametrize("mode", [Mode.SESSION, Mode.BATCH])
def test_f09_t16_a_cost_limit_closes_the_active_session_or_batch(mode: Mode) -> None:
    c = a_centre(lanes=1)
    c.instance("x", limit_seconds=30.0, limit_stops_running=True, window_seconds=None)
    workload = c.open("w", mode, instance="x")
    c.submit("a", to="w", instance="x", prep=0, run=100)
    c.submit("b", to="w", instance="x")
    c.until(31)
    assert workload.state is WorkloadState.CLOSED
    assert workload.reason.code == codes.USAGE_LIMIT
    assert c.code("a") == codes.RAN_TOO_LONG
    assert c.status("b") is JobStatus.CANCELLED
    assert workload.usage_seconds == pytest.approx(30)
    assert c.refused(lambda: c.submit("c", to="w", instance="x")) == codes.SESSION_CLOSED


def test_f09_by_policy_running_jobs_finish() -> None:
    c = a_centre(lanes=2)
    c.instance("x", limit_seconds=30.0, limit_stops_running=True, limit_lets_finish=True, window_seconds=None)
    session = c.open("s", instance="x")
    for name in "abc":
        c.submit(name, to="s", instance="x", prep=0, run=50)
    c.until(31)
    assert session.state is WorkloadState.PENDING_CLOSED
    assert c.status("c") is JobStatus.CANCELLED
    c.drain()
    assert c.status("a") is c.status("b") is JobStatus.COMPLETED
    assert (session.state, session.usage_seconds) == (WorkloadState.CLOSED, 100)
    assert c.submit("d", instance="x").status is JobStatus.QUEUED


def test_a_limit_lowered_below_what_is_used_holds_at_once() -> None:
    c = a_centre()
    used(c, "i", 100)
    c.instance("i", limit_seconds=50.0)
    assert c.submit("a").status is JobStatus.QUEUED
    c.instance("i", limit_seconds=None)
    assert c.status("a") is JobStatus.RUNNING


def test_f12_archiving_cancels_what_is_pending_and_finishes_what_runs() -> None:
    c = a_centre(lanes=1)
    session = c.open("s")
    c.submit("a", to="s", prep=0, run=10)
    c.submit("b", to="s")
    queued = c.submit("queued")
    c.until(5)
    c.instance("i", archived=True)
    assert (c.status("b"), queued.status) == (JobStatus.CANCELLED, JobStatus.CANCELLED)
    assert c.code("queued") == codes.INSTANCE_ARCHIVED
    assert session.state is WorkloadState.PENDING_CLOSED
    c.drain()
    assert c.status("a") is JobStatus.COMPLETED
    assert (session.state, session.reason.code) == (WorkloadState.CLOSED, codes.INSTANCE_ARCHIVED)
    assert c.refused(lambda: c.submit("z")) == codes.INSTANCE_ARCHIVED
    assert c.refused(lambda: c.open("t")) == codes.INSTANCE_ARCHIVED
    c.instance("i")
    c.submit("z")
    c.drain()
    assert c.status("z") is JobStatus.COMPLETED


def test_f13_during_a_reservation_nothing_of_others_runs_even_if_its_owner_is_idle() -> None:
    c = a_centre()
    c.instance("owner")
    c.send(events.WindowAnnounced(QpuWindow("r", "q", 100, 200, "owner")))
    c.until(100)
    other = c.submit("other", run=5)
    c.until(150)
    assert other.status is JobStatus.QUEUED
    assert c.submit("own", instance="owner", prep=0, run=5).status is JobStatus.RUNNING
    c.until(200)
    assert other.status is JobStatus.RUNNING


def test_f13_a_reservation_suspends_the_session_of_another_and_admits_the_owners() -> None:
    c = a_centre()
    c.instance("owner")
    c.send(events.WindowAnnounced(QpuWindow("r", "q", 100, 200, "owner")))
    session = c.open("s")
    assert session.interrupted_at == 100
    c.submit("a", to="s", prep=0, run=90)
    c.until(95)
    c.submit("b", to="s", estimate=10)
    c.until(100)
    assert (session.state, c.status("b")) == (WorkloadState.INACTIVE, JobStatus.QUEUED)
    c.open("mine", instance="owner")
    c.submit("m", to="mine", instance="owner", prep=0, run=20)
    assert c.workloads["mine"].state is WorkloadState.ACTIVE
    c.until(201)
    assert session.state is WorkloadState.ACTIVE
    assert c.status("b") is JobStatus.RUNNING
    assert session.usage_seconds == 95  # it let go when its next job didn't fit any more


def test_f13_the_owner_of_a_reservation_is_found_behind_any_number_of_others() -> None:
    c = a_centre()
    c.instance("owner", allocation_seconds=1)
    c.submit("used", instance="owner", prep=0, run=10)
    c.drain()
    c.send(events.WindowAnnounced(QpuWindow("r", "q", c.t, c.t + 100, "owner")))
    for index in range(100):
        c.instance(f"other{index}")
        c.submit(f"job{index}", instance=f"other{index}")
    assert c.submit("own", instance="owner").status is JobStatus.RUNNING
    assert c.scheduler.lanes("q") == ["own"]


def test_f13_usage_in_a_reservation_counts() -> None:
    c = a_centre()
    c.send(events.WindowAnnounced(QpuWindow("r", "q", 0, 200, "i")))
    used(c, "i", 30)
    assert c.scheduler.usage("i").billed_seconds == 30
