"""A centre under random users, machines, crashes and clocks: the invariants and the ledger hold.

``KETLINE_EXAMPLES=5000 pytest tests/core/test_random_centre.py`` runs as many examples.
"""

from __future__ import annotations

import copy
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from virtual_centre import VirtualCentre

from ketline.core import codes, events
from ketline.core.model import (
    Failure,
    FailureKind,
    Job,
    JobStatus,
    Mode,
    QpuMode,
    QpuWindow,
    Reason,
    Stage,
    WorkloadState,
)
from ketline.core.scheduler import Rejection

QPUS = ("q1", "q2", "sim")
INSTANCES = ("a", "b", "open", "payg")
OVERHEAD_SECONDS = 2.0

picks = st.integers(0, 50)
seconds = st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0, 40.0])
qpu_ids = st.sampled_from(QPUS)
instance_ids = st.sampled_from(INSTANCES)
faults = st.sampled_from(
    [None, None, None, *((kind, stage) for kind in FailureKind for stage in (Stage.PREPARING, Stage.ON_QPU))]
)


@contextmanager
def refusing(*allowed: int) -> Iterator[list[int]]:
    """Let a user's event be refused, with one of these codes only; yields the codes that came."""
    refused: list[int] = []
    try:
        yield refused
    except Rejection as rejection:
        refused.append(rejection.reason.code)
    assert set(refused) <= set(allowed)


class RandomCentre(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.centre = VirtualCentre(calibration_seconds=7.0, keep_log=False)
        self.count = 0
        self.cancelled: set[str] = set()
        self.clean_from: dict[str, int] = defaultdict(int)  # what a job ran before was lost
        self.final: dict[str, tuple[JobStatus, object]] = {}

    @initialize(lanes=st.integers(1, 5), ttl=st.sampled_from([30.0, 300.0]))
    def set_up(self, lanes: int, ttl: float) -> None:
        c = self.centre
        c.qpu("q1", lanes=lanes, job_overhead_seconds=OVERHEAD_SECONDS, calibration_interval_seconds=100.0)
        c.qpu("q2", lanes=2, job_overhead_seconds=OVERHEAD_SECONDS)
        c.qpu("sim", serial=False)
        c.instance("a", max_ttl_seconds=ttl, interactive_ttl_seconds=20.0, window_seconds=500.0)
        c.instance("b", max_ttl_seconds=ttl, interactive_ttl_seconds=0.0, account_id="other")
        c.instance("open", sessions=False, open_session_as_jobs=True, max_pending_jobs=3, limit_seconds=60.0,
                   window_seconds=200.0)  # fmt: skip
        c.instance("payg", limit_seconds=100.0, limit_stops_running=True, window_seconds=None)

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    @rule(mode=st.sampled_from([Mode.SESSION, Mode.BATCH]), instance=instance_ids,
          qpu=qpu_ids)  # fmt: skip
    def open_workload(self, mode: Mode, instance: str, qpu: str) -> None:
        name = self.name("w")
        with refusing(codes.INSTANCE_ARCHIVED, codes.QPU_RETIRED):
            self.centre.open(name, mode, instance=instance, qpu=qpu)

    def submit(self, to: str | None, instance: str, qpu: str, work: tuple, cost: float | None) -> None:
        name = self.name("j")
        prep, run, fin, fault = work
        fails = fails_in = None
        if fault is not None:
            fails, fails_in = Failure(Reason(1000, "it failed", "try another"), fault[0]), fault[1]
        with refusing(
            codes.SESSION_CLOSED, codes.PENDING_JOB_LIMIT, codes.INSTANCE_ARCHIVED, codes.QPU_RETIRED
        ):
            self.centre.submit(
                name,
                to=to,
                instance=instance,
                qpu=qpu,
                cost=cost,
                prep=prep,
                run=run,
                fin=fin,
                fails=fails,
                fails_in=fails_in or Stage.ON_QPU,
            )

    work = st.tuples(seconds, st.one_of(seconds, st.tuples(seconds, seconds)), seconds, faults)

    @rule(instance=instance_ids, qpu=qpu_ids, work=work, cost=st.sampled_from([None, 2.0, 30.0]))
    def submit_alone(self, instance: str, qpu: str, work: tuple, cost: float | None) -> None:
        self.submit(None, instance, qpu, work, cost)

    def workload(self, pick: int) -> str | None:
        """One of the open sessions and batches; now and then one that is closed."""
        if pick == 0 and self.centre.workloads:
            return next(iter(self.centre.workloads))
        names = list(self.centre.scheduler.workloads)
        return names[pick % len(names)] if names else None

    def job(self, pick: int) -> str | None:
        """One of the unfinished jobs; now and then one that is final."""
        if pick == 0 and self.centre.jobs:
            return next(iter(self.centre.jobs))
        names = list(self.centre.scheduler.jobs)
        return names[pick % len(names)] if names else None

    @rule(pick=picks, work=work, cost=st.sampled_from([None, None, 5.0]), times=st.integers(1, 4))
    def submit_into(self, pick: int, work: tuple, cost: float | None, times: int) -> None:
        name = self.workload(pick)
        for _ in range(times if name is not None else 0):
            workload = self.centre.workloads[name]
            self.submit(name, workload.instance_id, workload.qpu_id, work, cost)

    @rule(pick=picks)
    def close(self, pick: int) -> None:
        name = self.workload(pick)
        if name is not None:
            self.end(self.centre.close, name)

    @rule(pick=picks)
    def cancel_workload(self, pick: int) -> None:
        name = self.workload(pick)
        if name is not None:
            self.end(self.centre.cancel_workload, name)

    def end(self, how: Callable[[str], None], name: str) -> None:
        with refusing(codes.SESSION_NOT_FOUND) as refused:
            how(name)
        assert not refused or name not in self.centre.scheduler.workloads

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        job = self.job(pick)
        if job is None:
            return
        with refusing(codes.JOB_NOT_CANCELLABLE) as refused:
            self.centre.cancel(job)
        if refused:
            assert job not in self.centre.scheduler.jobs
        else:
            left = self.centre.scheduler.jobs.get(job)
            assert left is None or left.cancelling
            self.cancelled.add(job)

    @rule(pick=picks)
    def lose(self, pick: int) -> None:
        job = self.job(pick)
        if job is None:
            return
        live = self.centre.scheduler.jobs.get(job)
        if live is not None and live.status is JobStatus.RUNNING:
            self.clean_from[job] = len(self.centre.ran)
            self.centre.interrupt(job)

    @rule(after=st.sampled_from([0.0, 0.5, 1.0, 5.0, 19.0, 60.0, 400.0, 2_000.0]))
    def wait(self, after: float) -> None:
        self.centre.until(self.centre.t + after)

    @rule(back=st.sampled_from([0.5, 3_600.0]))
    def clock_jumps_back(self, back: float) -> None:
        present = self.centre.t
        self.centre.t = present - back
        self.centre.send(events.TimerFired())
        self.centre.t = present

    @rule(qpu=qpu_ids, mode=st.sampled_from([*QpuMode, QpuMode.ONLINE, QpuMode.ONLINE]))
    def change_mode(self, qpu: str, mode: QpuMode) -> None:
        self.centre.mode(mode, qpu)

    @rule(qpu=st.sampled_from(["q1", "q2"]), ok=st.sampled_from([True, True, True, False]))
    def calibrate(self, qpu: str, ok: bool) -> None:
        self.centre.calibration_ok = ok
        self.centre.send(events.CalibrationRequested(qpu))

    @rule(qpu=st.sampled_from(["q1", "q2"]), lanes=st.integers(1, 5))
    def change_lanes(self, qpu: str, lanes: int) -> None:
        self.centre.send(events.QpuRegistered(replace(self.centre.scheduler.qpus[qpu], lanes=lanes)))

    @rule(
        instance=instance_ids,
        limit=st.sampled_from([None, 5.0, 50.0, 500.0]),
        archived=st.sampled_from([False, False, True]),
        window=st.sampled_from([None, 28 * 86_400.0, 1_000.0, 60.0]),
    )
    def change_plan(self, instance: str, limit: float | None, archived: bool, window: float | None) -> None:
        old = self.centre.scheduler.instances[instance]
        spec = replace(old, limit_seconds=limit, archived=archived, window_seconds=window)
        past = None
        if old.window_seconds is not None and (window is None or window > old.window_seconds):
            before = self.centre.t - old.window_seconds + 1.0
            past = events.PastUsage(
                before, tuple((at, seconds) for at, seconds in self.lines(instance) if at < before)
            )
        self.centre.send(events.InstanceRegistered(spec, past))

    @rule(data=st.data(), seconds=st.sampled_from([0.0, 1.0, 40.0]))
    def estimate(self, data: st.DataObject, seconds: float) -> None:
        """Somebody looked at a job, which may have started meanwhile; copies don't hear of it."""
        jobs = self.centre.scheduler.jobs
        if not jobs:
            return
        job_id = data.draw(st.sampled_from(sorted(jobs)))
        before, waits = jobs[job_id].estimate_seconds, jobs[job_id].status is JobStatus.QUEUED
        twin = self.centre.scheduler.copy()
        self.centre.send(events.JobEstimated(job_id, seconds))
        assert twin.jobs[job_id].estimate_seconds == before
        if job_id in jobs and jobs[job_id].status is JobStatus.QUEUED:
            assert jobs[job_id].estimate_seconds == (seconds if waits else before)

    def lines(self, instance: str) -> list[tuple[float, float]]:
        """What the ledger holds of an instance."""
        return sorted((b.ended_at, b.seconds) for b in self.centre.bills if b.instance_id == instance)

    @rule(instance=instance_ids)
    def look_at_usage(self, instance: str) -> None:
        """What counts is what the ledger holds inside the window as it is now."""
        scheduler = self.centre.scheduler
        window = scheduler.instances[instance].window_seconds
        inside = sum(
            seconds for at, seconds in self.lines(instance) if window is None or at + window > self.centre.t
        )
        found = scheduler.usage(instance, self.centre.t)
        assert abs(found.billed_seconds - inside) < 1e-6
        assert found.used_seconds > found.billed_seconds - 1e-6

    @rule(
        qpu=qpu_ids,
        after=st.sampled_from([-5.0, 0.0, 3.0, 30.0]),
        length=st.sampled_from([5.0, 60.0]),
        owner=st.sampled_from([None, *INSTANCES]),
        number=st.integers(1, 2),
    )
    def announce(self, qpu: str, after: float, length: float, owner: str | None, number: int) -> None:
        begin = self.centre.t + after
        window = QpuWindow(f"window{number}", qpu, begin, begin + length, owner)
        self.centre.send(events.WindowAnnounced(window))

    @rule(qpu=qpu_ids, number=st.integers(1, 2))
    def withdraw(self, qpu: str, number: int) -> None:
        self.centre.send(events.WindowWithdrawn(qpu, f"window{number}"))

    @rule(outage=st.sampled_from([0.0, 0.0, 3.0, 900.0, 3_600.0]))
    def crash(self, outage: float) -> None:
        """A successor takes up what the store knows."""
        for job_id in self.centre.scheduler.jobs:
            self.clean_from[job_id] = len(self.centre.ran)
        self.centre.crash()
        self.centre.succeed(outage)

    @rule()
    def look_ahead(self) -> None:
        """A twin runs ahead; the original doesn't notice."""
        twin = self.centre.scheduler.copy()
        twin.check()
        before = copy.deepcopy((dict(self.centre.scheduler.jobs), dict(self.centre.scheduler.workloads)))
        assert before == (dict(twin.jobs), dict(twin.workloads))
        twin.handle(events.TimerFired(), self.centre.t + 1_000.0)
        for name in list(twin.workloads):
            if name in twin.workloads:
                twin.handle(events.WorkloadCancelRequested(name), self.centre.t + 1_000.0)
        for job_id in list(twin.jobs):
            if job_id in twin.jobs:
                twin.handle(events.JobCancelRequested(job_id), self.centre.t + 1_000.0)
        twin.check()
        assert before == (dict(self.centre.scheduler.jobs), dict(self.centre.scheduler.workloads))

    @rule()
    def shadow(self) -> None:
        """From now on a copy hears of everything, and must decide alike."""
        self.centre.shadow = self.centre.scheduler.copy()

    @rule()
    def ask(self) -> None:
        """Every unfinished job can be explained, and what is told agrees."""
        scheduler = self.centre.scheduler
        for qpu in QPUS:
            queue = scheduler.queue(qpu)
            assert len(queue) == scheduler.queue_length(qpu)
            places = [scheduler.explain(job_id).position for job_id in queue]
            assert places == list(range(1, len(queue) + 1))
        for job_id, job in scheduler.jobs.items():
            explanation = scheduler.explain(job_id)
            assert explanation.reason.message
            assert explanation.reason == scheduler.reason(job_id)
            assert (explanation.position is None) == (job.status is JobStatus.RUNNING)
            times = [at for at, _ in explanation.story]
            assert times == sorted(times)
        scheduler.check()

    @invariant()
    def final_is_final(self) -> None:
        for job_id in self.centre.settled:
            job = self.centre.jobs[job_id]
            facts = (job.status, job.finished_at, job.billed_seconds)
            assert self.final.setdefault(job_id, facts) == facts
            assert job_id not in self.cancelled or job.status is not JobStatus.COMPLETED

    def teardown(self) -> None:
        c = self.centre
        if not c.scheduler.qpus:
            return
        c.calibration_ok = True
        for qpu in QPUS:
            c.mode(QpuMode.ONLINE, qpu)
        for instance in INSTANCES:
            spec = c.scheduler.instances[instance]
            c.send(events.InstanceRegistered(replace(spec, limit_seconds=None, archived=False)))
        for name in list(c.scheduler.workloads):
            if name in c.scheduler.workloads:
                c.close(name)
        c.until(c.t + 20_000.0)
        assert not c.scheduler.jobs, "every job ends"
        assert not c.scheduler.workloads, "every closed workload ends"
        self.outcomes()
        self.ledger()
        self.exclusiveness()

    def outcomes(self) -> None:
        for name, workload in self.centre.workloads.items():
            assert workload.state is WorkloadState.CLOSED, name
            assert workload.reason is not None
            assert workload.reason.solution
            times = [t for _, t in workload.history]
            assert times == sorted(times)

    def spans(self, job_id: str) -> list[tuple[float, float]]:
        kept = self.centre.ran[self.clean_from[job_id] :]
        return [(since, until) for name, since, until in kept if name == job_id]

    def forgiven(self, job: Job) -> bool:
        fault = self.centre.work[job.job_id].fails
        return job.status is JobStatus.FAILED and fault is not None and fault.kind is FailureKind.SYSTEM

    def ledger(self) -> None:
        """Billed equals held, less what the rules forgive; nothing twice."""
        by_job: dict[str, float] = defaultdict(float)
        windows: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for line in self.centre.bills:
            if line.job_id is not None:
                by_job[line.job_id] += line.seconds
            else:
                assert line.workload_id is not None
                windows[line.workload_id].append((line.started_at, line.ended_at))
                assert abs(line.seconds - (line.ended_at - line.started_at)) < 1e-9
        for job_id in self.centre.settled:
            job = self.centre.jobs[job_id]
            workload = None if job.workload_id is None else self.centre.workloads[job.workload_id]
            held = sum(until - since for since, until in self.spans(job_id))
            expected = 0.0
            in_session = workload is not None and workload.mode is Mode.SESSION and not workload.as_jobs
            if not in_session and not self.forgiven(job) and self.spans(job_id):
                overhead = 0.0 if job.qpu_id == "sim" else OVERHEAD_SECONDS
                fair = job.status is JobStatus.COMPLETED or job.reason.code == codes.RAN_TOO_LONG
                expected = held if fair else held + overhead
            assert abs(by_job.get(job_id, 0.0) - expected) < 1e-6, (job, self.spans(job_id))
            assert abs(job.billed_seconds - expected) < 1e-6
        for name, workload in self.centre.workloads.items():
            billed = sum(until - since for since, until in windows[name])
            if workload.mode is Mode.SESSION and not workload.as_jobs:
                assert abs(billed - workload.usage_seconds) < 1e-6
                assert workload.idle_seconds <= billed + 1e-6
            else:
                assert billed == 0.0

    def exclusiveness(self) -> None:
        """On a QPU one job at a time; in a session's window only its own jobs, and no calibration."""
        for qpu in ("q1", "q2"):
            ran = sorted(
                (since, until, name)
                for name, since, until in self.centre.ran
                if self.centre.jobs[name].qpu_id == qpu
            )
            for (_, until, one), (since, _, other) in pairwise(ran):
                assert until <= since, f"{one} and {other} on {qpu} at a time"
            calibrated = [(since, until) for name, since, until in self.centre.calibrated if name == qpu]
            for name, workload in self.centre.workloads.items():
                if workload.qpu_id != qpu or workload.mode is not Mode.SESSION or workload.as_jobs:
                    continue
                for start, end in workload.windows:
                    inside = {job for since, until, job in ran if max(since, start) < min(until, end) - 1e-9}
                    strangers = {job for job in inside if self.centre.jobs[job].workload_id != name}
                    assert not strangers, f"{strangers} ran during session {name}"
                    assert not any(max(since, start) < min(until, end) - 1e-9 for since, until in calibrated)


RandomCentre.TestCase.settings = settings(
    max_examples=int(os.environ.get("KETLINE_EXAMPLES", "120")),
    stateful_step_count=50,
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.shrink or "KETLINE_EXAMPLES" not in os.environ],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestRandomCentre = RandomCentre.TestCase
