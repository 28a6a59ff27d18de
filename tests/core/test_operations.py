"""QPUs that pause, retire, calibrate and are maintained; statements E of `modes.md` 12."""

from __future__ import annotations

from dataclasses import replace

import pytest
from virtual_centre import a_centre

from ketline.core import actions, codes, events
from ketline.core.model import JobStatus, Mode, QpuMode, QpuWindow, Stage, WorkloadState


@pytest.mark.parametrize("mode", [QpuMode.PAUSED, QpuMode.OFFLINE])
def test_e03_a_paused_qpu_starts_no_users_job(mode: QpuMode) -> None:
    c = a_centre(lanes=2)
    running = c.submit("running", prep=0, run=10)
    ready = c.submit("ready", prep=1, run=10)
    c.until(5)
    c.mode(mode)
    queued = c.submit("queued")
    c.until(100)
    assert running.status is JobStatus.COMPLETED
    assert ready.stage is Stage.WAITING_QPU
    assert queued.status is JobStatus.QUEUED
    c.mode(QpuMode.ONLINE)
    c.drain()
    assert {ready.status, queued.status} == {JobStatus.COMPLETED}


def test_e03_a_calibration_that_fails_pauses_the_qpu_and_says_so() -> None:
    c = a_centre()
    c.calibration_ok = False
    c.send(events.CalibrationRequested("q"))
    c.until(10)
    told = [doing for _, doing in c.log if isinstance(doing, actions.QpuModeSet)]
    assert [doing.qpu_id for doing in told] == ["q"]
    assert told[0].reason.code == codes.QPU_PAUSED
    assert c.scheduler.qpus["q"].mode is QpuMode.PAUSED
    assert c.submit("j").status is JobStatus.QUEUED


def test_a_retired_qpu_refuses_new_work_and_works_off_its_queue() -> None:
    c = a_centre(lanes=1)
    c.submit("running")
    queued = c.submit("queued")
    c.mode(QpuMode.RETIRED)
    assert c.refused(lambda: c.submit("late")) == codes.QPU_RETIRED
    assert c.refused(lambda: c.open("late")) == codes.QPU_RETIRED
    c.drain()
    assert queued.status is JobStatus.COMPLETED


def test_paused_time_isnt_billed_to_a_session() -> None:
    c = a_centre()
    session = c.open("s")
    c.submit("a", to="s", prep=0, run=10)
    c.submit("b", to="s", prep=0, run=10)
    c.until(5)
    c.mode(QpuMode.PAUSED)
    c.until(500)
    assert session.state is WorkloadState.INACTIVE
    assert session.windows == [(0, 10)]
    c.mode(QpuMode.ONLINE)
    assert session.state is WorkloadState.ACTIVE
    c.until(510)
    c.close("s")
    assert session.windows == [(0, 10), (500, 510)]
    assert session.expires_at == 28_800


def test_an_idle_session_lets_go_of_a_paused_qpu() -> None:
    c = a_centre()
    session = c.open("s")
    c.submit("a", to="s", prep=0, run=10)
    c.until(20)
    c.mode(QpuMode.PAUSED)
    assert (session.state, session.usage_seconds, session.idle_seconds) == (WorkloadState.INACTIVE, 20, 10)


def test_calibrations_keep_their_cadence_and_are_billed_to_nobody() -> None:
    c = a_centre(calibration_interval_seconds=100.0)
    c.until(350)
    assert c.calibrated == [("q", 100, 105), ("q", 205, 210), ("q", 310, 315)]
    assert c.bills == []


def test_a_cadence_goes_on_from_the_last_calibration() -> None:
    c = a_centre(calibration_interval_seconds=100.0)
    c.send(events.QpuRegistered(replace(c.scheduler.qpus["q"], calibrated_at=-70.0)))
    c.until(31)
    c.send(events.QpuRegistered(replace(c.scheduler.qpus["q"], calibrated_at=-70.0)))
    c.until(150)
    assert c.calibrated == [("q", 30, 35), ("q", 135, 140)]


def test_a_calibration_waits_for_the_job_on_the_qpu_and_goes_before_the_next() -> None:
    c = a_centre()
    c.submit("a", prep=0, run=10)
    c.submit("b", prep=0, run=10)
    c.until(5)
    c.send(events.CalibrationRequested("q"))
    c.drain()
    assert c.calibrated == [("q", 10, 15)]
    assert c.ran == [("a", 0, 10), ("b", 15, 25)]


def test_a_session_is_active_only_after_the_calibration() -> None:
    c = a_centre()
    c.send(events.CalibrationRequested("q"))
    session = c.open("s")
    c.submit("a", to="s", prep=0, run=10)
    assert (session.state, c.jobs["a"].stage) == (WorkloadState.OPEN, Stage.PREPARING)
    c.until(16)
    c.close("s")
    assert session.windows == [(5, 16)]


def test_e_no_job_starts_that_cant_end_before_maintenance() -> None:
    c = a_centre()
    c.send(events.WindowAnnounced(QpuWindow("m", "q", 100, 200, reason="new cables")))
    c.until(50)
    long, short = c.submit("long", estimate=60, run=60), c.submit("short", estimate=20, run=20)
    assert (long.status, short.status) == (JobStatus.QUEUED, JobStatus.QUEUED)  # oldest first within one
    c.instance("other")
    assert c.submit("fits", instance="other", estimate=20, run=20).status is JobStatus.RUNNING
    c.until(199)
    assert long.status is JobStatus.QUEUED
    c.until(200)
    assert long.status is JobStatus.RUNNING


def test_what_is_in_the_lanes_already_counts_before_maintenance() -> None:
    c = a_centre()
    c.send(events.WindowAnnounced(QpuWindow("m", "q", 100, 200)))
    for index in range(4):
        c.submit(f"j{index}", estimate=30, run=30, prep=0)
    assert [c.status(f"j{index}") for index in range(4)] == [JobStatus.RUNNING] * 3 + [JobStatus.QUEUED]
    c.until(99)
    assert c.ran == [("j0", 0, 30), ("j1", 30, 60), ("j2", 60, 90)]


def test_sessions_are_told_of_maintenance_and_suspended_by_it() -> None:
    c = a_centre()
    session = c.open("s")
    c.submit("a", to="s", prep=0, run=90)
    c.send(events.WindowAnnounced(QpuWindow("m", "q", 100, 200)))
    assert session.interrupted_at == 100
    c.until(100)
    assert (session.state, session.windows) == (WorkloadState.INACTIVE, [(0, 100)])
    assert session.interrupted_at is None
    c.submit("b", to="s", prep=0, run=5)
    c.until(200)
    assert (session.state, session.activated_at) == (WorkloadState.ACTIVE, 200)


def test_a_calibration_waits_for_the_end_of_maintenance() -> None:
    c = a_centre()
    c.send(events.WindowAnnounced(QpuWindow("m", "q", 0, 50)))
    c.send(events.CalibrationRequested("q"))
    c.until(100)
    assert c.calibrated == [("q", 50, 55)]


def test_maintenance_that_is_withdrawn_lets_work_start() -> None:
    c = a_centre()
    c.send(events.WindowAnnounced(QpuWindow("m", "q", 0, 200)))
    job = c.submit("j")
    assert job.status is JobStatus.QUEUED
    assert [window.window_id for window in c.scheduler.windows("q")] == ["m"]
    c.send(events.WindowWithdrawn("q", "m"))
    assert job.status is JobStatus.RUNNING


def test_a_batch_gives_way_to_maintenance_and_queues_again() -> None:
    c = a_centre(lanes=1)
    batch = c.open("w", Mode.BATCH)
    c.submit("a", to="w", prep=0, run=90, estimate=90)
    c.submit("b", to="w", prep=0, run=90, estimate=90)
    c.send(events.WindowAnnounced(QpuWindow("m", "q", 100, 200)))
    c.until(150)
    assert (batch.state, c.status("b")) == (WorkloadState.INACTIVE, JobStatus.QUEUED)
    c.until(201)
    assert (batch.state, c.status("b")) == (WorkloadState.ACTIVE, JobStatus.RUNNING)


def test_facts_that_make_no_sense_are_refused() -> None:
    c = a_centre()
    with pytest.raises(ValueError, match="lanes must be at least 1"):
        c.qpu(lanes=0)
    with pytest.raises(ValueError, match="can't turn into a simulator"):
        c.qpu(serial=False)
    with pytest.raises(ValueError, match="must end after it starts"):
        c.send(events.WindowAnnounced(QpuWindow("m", "q", 100, 100)))
    with pytest.raises(ValueError, match="isn't registered"):
        c.send(events.CalibrationRequested("nowhere"))
    with pytest.raises(ValueError, match="already submitted"):
        c.submit("a") and c.submit("a")
    with pytest.raises(ValueError, match="another account"):
        c.instance("i", account_id="elsewhere")


def test_a_lost_wake_up_is_asked_for_again() -> None:
    c = a_centre()
    c.open("s")
    assert c.wake_at == 1_800
    c.t = 10.0
    doings = c.scheduler.handle(events.TimerFired(), 10.0)
    assert doings == [actions.SetTimer(1_800)]


def test_a_refused_event_changes_nothing_and_loses_nothing() -> None:
    c = a_centre()
    session = c.open("s", max_ttl=50)
    c.submit("a", to="s", prep=0, run=10)
    c.until(20)
    c.wake_at = None  # the wake-up for the TTL at 50 comes late: a submission is first
    c.t = 60.0
    assert c.refused(lambda: c.submit("b", to="s")) == codes.SESSION_CLOSED
    c.send(events.TimerFired())  # what the deadline did is told now
    assert session.state is WorkloadState.CLOSED
    assert c.billed("s") == session.usage_seconds == 50
