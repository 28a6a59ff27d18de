"""A machine's clock is set by an hour, forwards or backwards: nothing expires by it, nobody pays for it."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from ketline.core import actions, events
from ketline.core.model import InstanceSpec, JobStatus, Mode, QpuSpec, UsageLine, WorkloadState
from ketline.core.scheduler import Scheduler
from ketline.service.clock import Clock

HOUR = 3_600.0


class Machine:
    """A machine's two clocks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.since_boot = 1_800_000_000.0, 5_000.0
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(time, "monotonic", lambda: self.since_boot)

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.since_boot += seconds


class Server:
    """A scheduler that is told the time by the service's clock, and what it billed."""

    def __init__(self, clock: Clock, scheduler: Scheduler) -> None:
        self.clock, self.scheduler = clock, scheduler
        self.bills: list[UsageLine] = []

    def tell(self, event: events.Event) -> None:
        self.take(self.scheduler.handle(event, self.clock.now()))
        self.scheduler.check()

    def take(self, doings: list[actions.Action]) -> None:
        self.bills += [doing.line for doing in doings if isinstance(doing, actions.Bill)]


def facts() -> Scheduler:
    scheduler = Scheduler()
    scheduler.handle(events.QpuRegistered(QpuSpec("q", lanes=1)), 0.0)
    for name in ("i", "j"):
        scheduler.handle(events.InstanceRegistered(InstanceSpec(name, window_seconds=HOUR)), 0.0)
    return scheduler


def with_a_session() -> tuple[Clock, Server]:
    """A session with a job that has had the QPU for 10 s; another instance waits."""
    clock = Clock()
    server = Server(clock, facts())
    server.tell(events.WorkloadOpened("s", Mode.SESSION, "i", "u", "q", 900.0))
    server.tell(events.JobSubmitted("a", "i", "u", "q", "sampler", "s", 100.0))
    server.tell(events.JobSubmitted("x", "j", "u", "q", "sampler"))
    server.tell(events.JobPrepared("a"))
    server.tell(events.JobLocked("a"))
    return clock, server


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_clock_that_is_set_while_the_server_works(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    machine = Machine(monkeypatch)
    _, server = with_a_session()
    session, job = server.scheduler.workloads["s"], server.scheduler.jobs["a"]
    machine.wait(10.0)
    machine.wall += jump  # during the job: neither its limit nor the TTL is reached
    server.tell(events.TimerFired())
    assert job.status is JobStatus.RUNNING
    assert not job.cancelling
    machine.wait(20.0)
    server.tell(events.JobReleased("a", 30.0))
    server.tell(events.JobFinalized("a"))
    machine.wall -= 2 * jump  # and while the session idles
    machine.wait(59.0)
    server.tell(events.TimerFired())
    assert session.state is WorkloadState.ACTIVE
    machine.wait(1.0)
    server.tell(events.TimerFired())
    assert session.state is WorkloadState.INACTIVE
    assert [line.seconds for line in server.bills] == [pytest.approx(90.0)]
    assert server.scheduler.usage("i").used_seconds == pytest.approx(90.0)  # an hour's window lost nothing
    assert server.scheduler.jobs["x"].status is JobStatus.RUNNING


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_clock_that_is_set_between_two_lives(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    machine = Machine(monkeypatch)
    clock, server = with_a_session()
    machine.wait(30.0)
    last = clock.now()
    jobs, workloads = list(server.scheduler.jobs.values()), list(server.scheduler.workloads.values())
    machine.wall += jump
    successor = Server(Clock(not_before=last), facts())
    began = successor.clock.now()
    assert began == (last + jump if jump > 0 else last)
    successor.take(successor.scheduler.restore(jobs, workloads, [], began, last))
    successor.scheduler.check()
    session = successor.scheduler.workloads["s"]
    if (
        jump > 0
    ):  # an hour is more than its TTL of 900 s, which goes on while nobody is there; its job finishes
        assert session.state is WorkloadState.PENDING_CLOSED
    else:
        assert session.state is WorkloadState.ACTIVE
        assert session.expires_at == pytest.approx(last - 30.0 + 900.0)
    assert [line.seconds for line in successor.bills] == [pytest.approx(30.0)]
    successor.tell(events.JobPrepared("a"))
    successor.tell(events.JobLocked("a"))
    machine.wait(40.0)
    successor.tell(events.JobReleased("a", 40.0))
    successor.tell(events.JobFinalized("a"))
    if jump < 0:
        successor.tell(events.WorkloadCloseRequested("s"))
    assert session.state is WorkloadState.CLOSED
    lines = successor.bills
    assert all(line.ended_at > line.started_at and line.seconds > 0 for line in lines)
    spans = sorted((line.started_at, line.ended_at) for line in lines)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))  # no time twice
    assert sum(line.seconds for line in lines) == pytest.approx(30.0 + 40.0)
