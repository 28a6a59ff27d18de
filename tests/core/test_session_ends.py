"""How sessions end: closed, cancelled, at their TTL (statements S12 to S18 of `modes.md` 12)."""

from __future__ import annotations

from virtual_centre import a_centre, with_session

from ketline.core import codes
from ketline.core.model import JobStatus, WorkloadState

CLOSED = WorkloadState.CLOSED
ACTIVE, PENDING_CLOSED = WorkloadState.ACTIVE, WorkloadState.PENDING_CLOSED


def test_s12_closing_while_idle_stops_the_meter() -> None:
    c = with_session()
    c.submit("A", to="s", prep=0, run=30)
    c.until(35)
    c.close("s")
    session = c.workloads["s"]
    assert (session.state, session.closed_at, session.usage_seconds) == (CLOSED, 35, 35)


def test_s13_closing_while_a_job_runs_stops_the_meter_at_its_end() -> None:
    c = with_session()
    c.submit("A", to="s", prep=0, run=30)
    c.until(10)
    c.close("s")
    session = c.workloads["s"]
    assert (session.state, session.accepting) == (ACTIVE, False)
    c.until(30)
    assert (session.state, session.usage_seconds) == (CLOSED, 30)


def test_s14_queued_jobs_of_a_closed_session_run_with_priority_and_then_it_closes_at_once() -> None:
    c = with_session(lanes=1)
    c.submit("A", to="s", prep=0, run=10)
    c.submit("x", prep=0, run=10)
    c.submit("B", to="s", prep=0, run=10)
    c.submit("C", to="s", prep=0, run=10)
    c.close("s")
    c.until(30)
    session = c.workloads["s"]
    assert (session.state, session.closed_at, session.usage_seconds) == (CLOSED, 30, 30)
    assert c.started == ["A", "B", "C", "x"]


def test_s15_a_session_that_takes_no_more_refuses_with_1217() -> None:
    c = with_session()
    c.submit("A", to="s")
    c.close("s")
    assert c.refused(lambda: c.submit("B", to="s")) == codes.SESSION_CLOSED == 1217
    c.drain()
    assert c.refused(lambda: c.submit("B", to="s")) == codes.SESSION_CLOSED
    assert c.refused(lambda: c.submit("B", to="never-was")) == codes.SESSION_CLOSED
    assert c.refused(lambda: c.close("s")) == codes.SESSION_NOT_FOUND


def test_s15_a_session_of_another_instance_looks_as_if_it_werent_there() -> None:
    c = with_session()
    c.instance("other")
    assert c.refused(lambda: c.submit("B", to="s", instance="other")) == codes.SESSION_CLOSED


def test_a_session_runs_on_one_qpu() -> None:
    c = with_session()
    c.qpu("q2")
    assert c.refused(lambda: c.submit("B", to="s", qpu="q2")) == codes.INVALID_REQUEST


def test_s16_cancelling_finishes_what_runs_and_cancels_what_is_queued() -> None:
    c = with_session(lanes=1)
    session = c.workloads["s"]
    for name in "ABC":
        c.submit(name, to="s", prep=0, run=30)
    c.until(10)
    c.cancel_workload("s")
    assert session.state is PENDING_CLOSED
    assert [c.status(name) for name in "BC"] == [JobStatus.CANCELLED] * 2
    assert c.code("B") == codes.WORKLOAD_CANCELLED
    c.until(30)
    assert c.status("A") is JobStatus.COMPLETED
    assert (session.state, session.usage_seconds) == (CLOSED, 30)


def test_s17_at_the_ttl_running_jobs_finish_and_queued_ones_fail() -> None:
    c = a_centre(lanes=1)
    session = c.open("s", max_ttl=20)
    c.submit("A", to="s", prep=0, run=30)
    c.submit("B", to="s")
    c.until(20)
    assert session.state is PENDING_CLOSED
    assert (c.status("B"), c.code("B")) == (JobStatus.FAILED, 1217)
    c.until(30)
    assert c.status("A") is JobStatus.COMPLETED
    assert (session.state, session.closed_at, session.usage_seconds) == (CLOSED, 30, 30)


def test_s18_an_inactive_session_at_its_ttl_fails_its_queued_job_without_running_it() -> None:
    c = a_centre(lanes=1)
    session = c.open("s", max_ttl=600)
    c.submit("A", to="s", prep=0, run=10)
    c.until(100)
    c.submit("x", prep=0, run=1_000)
    c.submit("B", to="s")
    c.until(600)
    assert (c.status("B"), c.jobs["B"].running_at) == (JobStatus.FAILED, None)
    assert (session.state, session.closed_at, session.usage_seconds) == (CLOSED, 600, 70)
