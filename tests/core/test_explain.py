"""Position, the one reason, the story: what a job's owner is told, and what isn't told of others."""

from __future__ import annotations

import pytest
from virtual_centre import VirtualCentre, a_centre

from ketline.core import events
from ketline.core.explain import Explanation, Why
from ketline.core.model import QpuMode, QpuWindow


def explain(c: VirtualCentre, job_id: str) -> Explanation:
    explanation = c.scheduler.explain(job_id)
    assert explanation.reason.message
    return explanation


def why(c: VirtualCentre, job_id: str) -> Why:
    return explain(c, job_id).reason.why


@pytest.mark.parametrize("accounts", ["one", "one each"])
def test_positions_are_the_order_in_which_jobs_start(accounts: str) -> None:
    c = a_centre(lanes=1)
    for name, allocation in (("x", 1_000), ("y", 3_000), ("z", 2_000)):
        account = "shared" if accounts == "one" else f"account of {name}"
        c.instance(name, allocation_seconds=allocation, account_id=account)
    c.submit("blocker", prep=0, run=1)
    for index in range(12):
        for name in "xyz":
            c.submit(f"{name}{index}", instance=name, prep=0, run=5, estimate=5)
    promised = c.scheduler.queue("q")
    assert len(promised) == c.scheduler.queue_length("q") == 36
    assert [explain(c, name).position for name in promised] == list(range(1, 37))
    assert explain(c, "y3").position_own == 4
    assert 11 <= sum(name.startswith("y") for name in promised[:22]) <= 12
    c.checking = False
    c.drain()
    assert c.started == ["blocker", *promised]


def test_positions_count_whole_batches_and_the_holders_jobs_first() -> None:
    c = a_centre(lanes=1)
    c.batch("holder")
    c.submit("h1", to="holder", prep=0, run=10)
    c.submit("h2", to="holder")
    c.submit("single")
    c.batch("next")
    c.submit("n1", to="next")
    c.submit("late")
    c.submit("n2", to="next")
    assert c.scheduler.queue("q") == ["h2", "single", "n1", "n2", "late"]
    assert explain(c, "n2").position == 4
    assert explain(c, "h1").position is None


def test_work_that_a_limit_holds_comes_last_and_says_why() -> None:
    c = a_centre(lanes=1)
    c.instance("x", limit_seconds=5.0, window_seconds=1_000.0)
    c.submit("used", instance="x", prep=0, run=10)
    c.drain()
    c.submit("held", instance="x")
    c.submit("blocker")
    c.submit("other")
    assert c.scheduler.queue("q") == ["other", "held"]
    explanation = explain(c, "held")
    assert (explanation.reason.why, explanation.reason.until) == (Why.USAGE_LIMIT, 1_010)
    assert "5 s" in explanation.reason.message


def test_a_running_job_says_what_it_does() -> None:
    c = a_centre()
    c.submit("a", prep=5, run=10, fin=5)
    c.submit("b", prep=5, run=10)
    assert "prepared" in explain(c, "a").reason.message
    c.until(6)
    assert why(c, "a") is Why.WORKING
    waiting = explain(c, "b").reason
    assert (waiting.why, waiting.job_id) == (Why.QPU_BUSY, "a")
    c.until(16)
    assert "finalized" in explain(c, "a").reason.message


def test_lanes_that_are_taken() -> None:
    c = a_centre(lanes=1)
    c.submit("a")
    c.submit("b")
    assert why(c, "b") is Why.LANES_BUSY


def test_a_session_is_named_to_its_own_instance_only() -> None:
    c = a_centre()
    c.instance("other")
    c.open("secret-session", max_ttl=500)
    c.submit("a", to="secret-session", prep=0, run=10)
    c.submit("mine")
    c.submit("theirs", instance="other")
    mine, theirs = explain(c, "mine").reason, explain(c, "theirs").reason
    assert mine.why is theirs.why is Why.SESSION
    assert mine.workload_id == "secret-session"
    assert theirs.workload_id is None
    assert "secret" not in repr(explain(c, "theirs"))
    assert mine.until == theirs.until == 500


def test_lanes_that_drain_for_a_session() -> None:
    c = a_centre()
    c.submit("x", prep=0, run=50)
    c.open("s")
    c.submit("a", to="s", prep=0)
    c.submit("b", to="s")
    c.submit("outside")
    c.until(1)
    assert why(c, "a") is why(c, "b") is why(c, "outside") is Why.DRAINING


def test_a_batch_in_front_of_a_session() -> None:
    c = a_centre()
    c.batch("w")
    c.submit("a", to="w")
    c.open("s")
    c.submit("b", to="s")
    reason = explain(c, "b").reason
    assert (reason.why, reason.workload_id) == (Why.BATCH, "w")


def test_a_paused_qpu_maintenance_and_a_reservation() -> None:
    c = a_centre(lanes=1)
    c.mode(QpuMode.PAUSED)
    c.submit("a")
    assert why(c, "a") is Why.PAUSED
    assert "as the test wants" in explain(c, "a").reason.message
    c.mode(QpuMode.ONLINE)
    c.submit("b", estimate=50)
    c.send(events.WindowAnnounced(QpuWindow("m", "q", 40, 100, reason="new cables")))
    assert why(c, "b") is Why.WINDOW_AHEAD
    c.until(40)
    maintenance = explain(c, "b").reason
    assert (maintenance.why, maintenance.until) == (Why.MAINTENANCE, 100)
    assert "new cables" in maintenance.message
    c.instance("another")
    c.send(events.WindowAnnounced(QpuWindow("m", "q", 40, 100, "another", "their thesis")))
    reservation = explain(c, "b")
    assert reservation.reason.why is Why.RESERVATION
    assert "thesis" not in repr(reservation)


def test_a_ready_job_during_a_calibration() -> None:
    c = a_centre()
    c.send(events.CalibrationRequested("q"))
    c.submit("a", prep=1)
    c.until(2)
    assert why(c, "a") is Why.CALIBRATION


def test_the_story_so_far() -> None:
    c = a_centre()
    c.open("s")
    c.until(5)
    c.submit("a", to="s", prep=2, run=10)
    c.until(8)
    story = explain(c, "a").story
    assert story == (
        (5, "submitted"),
        (5, "preparation began"),
        (5, "session active"),
        (7, "prepared"),
        (7, "given to the QPU"),
    )


def test_only_unfinished_jobs_are_explained() -> None:
    c = a_centre()
    c.submit("a")
    c.drain()
    with pytest.raises(KeyError):
        c.scheduler.explain("a")


def test_looking_changes_nothing() -> None:
    c = a_centre(lanes=1)
    for name in "xy":
        c.instance(name)
        for index in range(3):
            c.submit(f"{name}{index}", instance=name)
    first = [explain(c, name) for name in c.scheduler.jobs]
    c.scheduler.check()
    assert [explain(c, name) for name in c.scheduler.jobs] == first
    assert c.scheduler.lanes("q") == ["x0"]
    assert c.scheduler.holder("q") is None
    assert not c.scheduler.calibrating("q")
