"""Position, reason and start agree when maintenance or a reservation is announced (`modes.md` 5.3, 5.4)."""

from __future__ import annotations

import random

import pytest
from virtual_centre import VirtualCentre, a_centre

from ketline.core import events
from ketline.core.explain import Why
from ketline.core.model import JobStatus, Mode, QpuWindow


def announce(
    c: VirtualCentre, since: float, until: float, instance: str | None = None, name: str = "w"
) -> None:
    c.send(events.WindowAnnounced(QpuWindow(name, "q", since, until, instance)))


def one_lane(**windows: float) -> VirtualCentre:
    """A QPU with one job on it until 10, and jobs of 10, 30, 10, 10 s behind it."""
    c = a_centre(lanes=1)
    c.submit("on", prep=0, run=10, estimate=10)
    for name, seconds in (("a", 10.0), ("long", 30.0), ("b", 10.0), ("d", 10.0)):
        c.submit(name, prep=0, run=seconds, estimate=seconds)
    return c


def starts(c: VirtualCentre) -> dict[str, float]:
    c.until(5_000.0)
    return {job_id: at for job_id, at, _ in c.ran}


def test_jobs_that_end_before_a_window_pass_those_of_other_instances_that_cannot() -> None:
    c = a_centre(lanes=1)
    c.instance("other")
    c.submit("on", prep=0, run=10, estimate=10)
    c.submit("long", prep=0, run=30, estimate=30)
    c.submit("short", instance="other", prep=0, run=10, estimate=10)
    before = c.scheduler.queue("q")
    announce(c, 35.0, 100.0)
    assert c.scheduler.queue("q") == ["short", "long"]
    assert "long" in before
    assert (c.scheduler.explain("short").position, c.scheduler.explain("long").position) == (1, 2)
    told = c.scheduler.explain("long").reason
    assert (told.why, told.until) == (Why.WINDOW_AHEAD, 100.0)
    assert c.scheduler.explain("short").reason.why is Why.LANES_BUSY
    found = starts(c)
    assert (found["short"], found["long"]) == (10.0, 100.0)


def test_within_an_instance_nobody_passes() -> None:
    c = one_lane()
    announce(c, 45.0, 100.0)
    assert c.scheduler.queue("q") == ["a", "long", "b", "d"]
    # long would end at 50: it and those behind it wait for the end of the window
    whys = [c.scheduler.reason(name).why for name in ("a", "long", "b", "d")]
    assert whys == [Why.LANES_BUSY, Why.WINDOW_AHEAD, Why.WINDOW_AHEAD, Why.WINDOW_AHEAD]
    found = starts(c)
    assert [found[name] for name in ("a", "long", "b", "d")] == [10.0, 100.0, 130.0, 140.0]


def test_a_job_that_is_short_but_far_behind_is_told_of_the_window_too() -> None:
    c = one_lane()
    announce(c, 62.0, 100.0)
    assert c.scheduler.reason("b").why is Why.LANES_BUSY  # 50 to 60
    told = c.scheduler.reason("d")  # 60 to 70
    assert (told.why, told.until) == (Why.WINDOW_AHEAD, 100.0)
    assert "before" in told.message
    c.send(events.WindowWithdrawn("q", "w"))
    assert c.scheduler.reason("d").why is Why.LANES_BUSY


def test_a_reservation_moves_its_instance_forward_and_others_back() -> None:
    c = a_centre(lanes=1)
    c.instance("owner")
    c.submit("on", prep=0, run=10, estimate=10)
    for k in range(3):
        c.submit(f"x{k}", prep=0, run=10, estimate=10)
        c.submit(f"own{k}", instance="owner", prep=0, run=10, estimate=10)
    announce(c, 15.0, 200.0, "owner")
    assert c.scheduler.queue("q") == ["own0", "own1", "own2", "x0", "x1", "x2"]
    assert c.scheduler.reason("x0").until == 200.0
    assert c.scheduler.reason("own2").why is Why.LANES_BUSY
    found = starts(c)
    assert [found[f"own{k}"] for k in range(3)] == [10.0, 20.0, 30.0]
    assert found["x0"] == 200.0


def test_a_batch_is_cut_by_a_window() -> None:
    c = a_centre(lanes=1)
    c.instance("other")
    c.submit("on", prep=0, run=10, estimate=10)
    c.open("b", Mode.BATCH)
    for k in range(3):
        c.submit(f"b{k}", to="b", prep=0, run=10, estimate=10)
    c.submit("x", instance="other", prep=0, run=5, estimate=5)
    announce(c, 38.0, 60.0)
    order = c.scheduler.queue("q")
    whys = {name: c.scheduler.reason(name).why for name in order}
    found = starts(c)
    assert sorted(order, key=lambda name: found[name]) == order
    assert {name for name, why in whys.items() if why is Why.WINDOW_AHEAD} == {
        name for name in order if found[name] >= 60.0
    }
    assert found["b2"] >= 60.0


@pytest.mark.parametrize("seed", range(12))
def test_positions_and_reasons_are_what_comes_true(seed: int) -> None:
    """Random queues and windows: with estimates that are right, the order is the order of starting, and told
    of the window are just those that start after it."""
    draw = random.Random(seed)
    c = a_centre(lanes=1)
    names = ["i", "x", "y", "z"]
    for number, name in enumerate(names[1:]):
        c.instance(name, account_id=f"a{number % 2}", allocation_seconds=draw.choice([1e4, 2e4]))
    for k in range(30):
        seconds = float(draw.choice([5, 10, 20, 40]))
        c.submit(f"j{k}", instance=draw.choice(names), prep=0, run=seconds, estimate=seconds)
    since = draw.uniform(50, 300)
    announce(c, since, since + draw.uniform(20, 200), draw.choice([None, "x"]), "first")
    if seed % 2:
        later = since + draw.uniform(250, 400)
        announce(c, later, later + 50, draw.choice([None, "y"]), "second")
    order = c.scheduler.queue("q")
    explained = {name: c.scheduler.explain(name) for name in order}
    assert [explained[name].position for name in order] == list(range(1, len(order) + 1))
    assert all(explained[name].reason == c.scheduler.reason(name) for name in order)
    instances = {name: c.scheduler.jobs[name].instance_id for name in order}
    foreign = {
        name: [w for w in c.scheduler.windows("q") if w.instance_id != instances[name]] for name in order
    }
    found = starts(c)
    assert sorted(order, key=lambda name: found[name]) == order
    for name in order:
        told = explained[name].reason.why is Why.WINDOW_AHEAD
        assert told == bool(foreign[name] and found[name] >= foreign[name][0].ends_at), name


def test_a_ready_job_that_cannot_end_before_a_window_leaves_the_time_until_then_to_others() -> None:
    c = a_centre(lanes=3)
    c.instance("other")
    c.submit("on", prep=0, run=10, estimate=10)
    c.submit("big", prep=0, run=30, estimate=30)
    c.until(1.0)
    announce(c, 15.0, 100.0)
    c.submit("late", instance="other", prep=0, run=20, estimate=20)
    c.submit("small", instance="other", prep=0, run=4, estimate=4)
    told = c.scheduler.explain("late")
    assert (told.position, told.reason.why) == (1, Why.WINDOW_AHEAD)
    c.send(events.JobCancelRequested("late"))  # within an instance nobody passes
    c.until(14.0)
    assert c.status("small") is JobStatus.COMPLETED
    assert c.scheduler.reason("big").why is Why.WINDOW_AHEAD
    found = starts(c)
    assert (found["small"], found["big"]) == (10.0, 100.0)


def test_after_the_window_those_that_were_ready_go_first() -> None:
    c = a_centre(lanes=2)
    c.submit("on", prep=0, run=10, estimate=10)
    c.submit("big", prep=0, run=30, estimate=30)
    c.submit("next", prep=0, run=5, estimate=5)
    c.until(1.0)
    announce(c, 12.0, 100.0)
    announce(c, 133.0, 200.0, name="second")
    # big has the QPU from 100 to 130, and 5 s more don't fit before the second window
    found = starts(c)
    assert (found["big"], found["next"]) == (100.0, 200.0)
