"""The parts that decisions stand on: rankings, timers, meters, codes, transition tables."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketline import errors
from ketline.core import codes
from ketline.core.lifecycle import (
    JOB_TABLE,
    WORKLOAD_TABLE,
    IllegalTransition,
    JobStep,
    WorkloadStep,
    job_step,
    workload_step,
)
from ketline.core.model import Job, JobStatus, Mode, Stage, Workload, WorkloadState
from ketline.core.ranking import Ranking
from ketline.core.timers import TimerKind, Timers
from ketline.core.usage import Meter


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.one_of(st.none(), st.integers(0, 9)))))
def test_a_ranking_finds_growth_by_itself_and_shrinkage_when_told(
    changes: list[tuple[str, int | None]],
) -> None:
    keys: dict[str, int | None] = {}
    ranking = Ranking(lambda member: None if keys[member] is None else (keys[member], member))
    for member, key in changes:
        before = keys.get(member)
        keys[member] = key
        if before is None or (key is not None and key < before):
            ranking.touch(member)
        expected = min(((key, name) for name, key in keys.items() if key is not None), default=None)
        best = ranking.best()
        assert (None if best is None else best[0]) == expected
    in_order = [member for _, member in sorted((key, name) for name, key in keys.items() if key is not None)]
    assert list(ranking.in_order()) == in_order
    assert list(ranking.in_order()) == in_order


def test_a_ranking_stays_small_however_often_it_is_touched() -> None:
    keys = dict.fromkeys("abc", 10_000)
    ranking = Ranking(lambda member: (keys[member],))
    for step in range(9_000):
        keys["abc"[step % 3]] -= 1
        ranking.touch("abc"[step % 3])
    assert len(ranking._heap) < 200
    assert len(ranking) == 3


def test_timers_are_announced_only_when_the_earliest_moves_forward() -> None:
    timers = Timers()
    timers.set(TimerKind.TTL, "a", 100.0)
    assert timers.announce(0.0) == 100
    timers.set(TimerKind.TTL, "b", 200.0)
    assert timers.announce(0.0) is None
    timers.set(TimerKind.TTL, "a", 150.0)  # later: the wake-up at 100 serves to ask again
    assert timers.announce(0.0) is None
    assert timers.take_due(100.0) is None
    assert timers.announce(100.0) == 150
    timers.set(TimerKind.IDLE, "a", 120.0)
    assert timers.announce(100.0) == 120
    assert timers.take_due(120.0) == (120, TimerKind.IDLE, "a")
    timers.clear(TimerKind.TTL, "a")
    assert timers.announce(120.0) == 200


def test_timers_forget_what_was_moved() -> None:
    timers = Timers()
    for step in range(10_000):
        timers.set(TimerKind.IDLE, "a", float(step))
    assert len(timers._heap) < 100
    assert timers.take_due(1e9) == (9_999, TimerKind.IDLE, "a")
    assert timers.take_due(1e9) is None


def test_a_meter_agrees_with_its_ledger_however_lines_come_and_go() -> None:
    dice = random.Random(1)
    account = Meter(None)
    meter = Meter(100.0, account)
    lines: list[tuple[float, float]] = []
    now = 0.0
    for _ in range(5_000):
        now += dice.expovariate(1.0)
        if dice.random() < 0.7:
            line = (now - dice.choice([0.0, 0.0, 5.0]), dice.expovariate(0.1))
            lines.append(line)
            meter.bill(*line)
        while (expiry := meter.next_expiry()) is not None and expiry <= now:
            meter.expire_one()
        expected = sum(seconds for at, seconds in lines if at + 100.0 > now)
        assert meter.counted == pytest.approx(expected, abs=1e-6)
        assert account.counted == pytest.approx(expected, abs=1e-6)
    assert len(meter._times) < 1_000


def test_every_code_of_a_decision_is_in_the_registry() -> None:
    own = {name: code for name, code in vars(codes).items() if name.isupper()}
    assert len(own) > 10
    for name, code in own.items():
        assert code in errors.REGISTRY, name


def a_job(status: JobStatus, stage: Stage) -> Job:
    return Job("j", "i", "u", "q", None, "sampler", 0.0, 1, 10.0, status=status, stage=stage)


@pytest.mark.parametrize("status", [status for status in JobStatus if status.final])
@pytest.mark.parametrize("step", JobStep)
def test_a_final_job_has_no_way_out(status: JobStatus, step: JobStep) -> None:
    job = a_job(status, Stage.NONE)
    with pytest.raises(IllegalTransition, match="job j"):
        job_step(job, step, 1.0, {})
    assert job.status is status


def test_the_job_table_leads_only_to_states_that_exist() -> None:
    reached = {(JobStatus.QUEUED, Stage.NONE)}
    for _ in JOB_TABLE:
        reached |= {to for (status, stage, _), to in JOB_TABLE.items() if (status, stage) in reached}
    assert {(status, stage) for status, stage, _ in JOB_TABLE} <= reached
    assert {status for status, _ in reached} == set(JobStatus)
    for status, stage in reached:
        assert (stage is not Stage.NONE) == (status is JobStatus.RUNNING)


def test_a_closed_workload_has_no_way_out_t18() -> None:
    assert not [state for state, _ in WORKLOAD_TABLE if state is WorkloadState.CLOSED]
    closed = Workload("w", Mode.SESSION, "i", "u", "q", 0.0, 1, 10.0, 1.0, state=WorkloadState.CLOSED)
    for step in WorkloadStep:
        with pytest.raises(IllegalTransition, match=r"(?s)workload w.*'closed'.*its past"):
            workload_step(closed, step, 1.0, {"w": [(0.0, "its past")]})
    assert {state for state, _ in WORKLOAD_TABLE} | set(WORKLOAD_TABLE.values()) == set(WorkloadState)


def test_a_long_story_keeps_its_beginning_and_its_end() -> None:
    job, stories = a_job(JobStatus.QUEUED, Stage.NONE), {}
    job_step(job, JobStep.START, 0.0, stories)
    for at in range(1, 101):
        job_step(job, JobStep.INTERRUPTED, float(at), stories)
    story = stories["j"]
    assert len(story) < 30
    assert story[0] == (0.0, "preparation began")
    assert story[-1] == (100.0, "interrupted")
