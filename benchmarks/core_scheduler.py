"""What a decision costs: time and memory of the scheduler under a long queue.

A performer of zero length answers every action; what is measured is `Scheduler.handle` alone, as time of
the processor, so that what else runs on the machine doesn't count.
"""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections import deque

from benchmarks.harness import Row, show
from ketline.core import actions, events
from ketline.core.model import InstanceSpec, Mode, QpuSpec
from ketline.core.scheduler import Scheduler

QUEUED_JOBS = 100_000
EVENTS = 60_000
MEDIAN_TARGET_SECONDS = 50e-6
P99_TARGET_SECONDS = 500e-6
MEMORY_TARGET_BYTES = 2_048
COPY_TARGET_SECONDS = 0.010
COPIES = 9
DAY_SECONDS = 86_400.0


class Load:
    """A loaded centre: ``instances`` on some accounts, some QPUs, and answers to every action."""

    def __init__(
        self, instances: int, accounts: int, ledger_lines: int, qpus: int = 2, seed: int = 1
    ) -> None:
        self.random = random.Random(seed)
        self.scheduler = Scheduler()
        self.now = 1_800_000_000.0
        self.answers: deque[events.Event] = deque()
        self.count = 0
        self.qpus = [f"q{number}" for number in range(1, qpus + 1)]
        for qpu in self.qpus:
            self.scheduler.handle(events.QpuRegistered(QpuSpec(qpu)), self.now)
        self.instances = [f"instance-{number}" for number in range(instances)]
        for number, name in enumerate(self.instances):
            spec = InstanceSpec(
                name,
                account_id=f"account-{number % accounts}",
                allocation_seconds=self.random.uniform(1e3, 1e5),
                limit_seconds=1e9 if number % 2 else None,
            )
            self.scheduler.handle(events.InstanceRegistered(spec), self.now)
        usage = [
            (self.random.choice(self.instances), self.now - self.random.uniform(0, 28 * DAY_SECONDS),
             self.random.expovariate(0.1))
            for _ in range(ledger_lines)
        ]  # fmt: skip
        self.scheduler.restore([], [], usage, self.now)

    def submit(self, workload_id: str | None = None, instance: str | None = None) -> events.Event:
        """The next submission."""
        self.count += 1
        qpu = "q1" if workload_id is not None else self.random.choice(self.qpus)
        return events.JobSubmitted(
            f"job-{self.count:020d}", instance or self.random.choice(self.instances), "user", qpu, "sampler",
            workload_id, estimate_seconds=self.random.expovariate(0.2),
        )  # fmt: skip

    def handle(self, event: events.Event) -> float:
        """Hand over one event; returns the seconds that deciding took."""
        before = time.thread_time()
        doings = self.scheduler.handle(event, self.now)
        taken = time.thread_time() - before
        for doing in doings:
            match doing:
                case actions.Prepare(job_id):
                    self.answers.append(events.JobPrepared(job_id, self.random.expovariate(0.2)))
                case actions.Run(job_id):
                    self.answers.append(events.JobLocked(job_id))
                    self.answers.append(events.JobReleased(job_id, self.random.expovariate(0.2)))
                case actions.Finalize(job_id):
                    self.answers.append(events.JobFinalized(job_id))
                case actions.Stop(job_id):
                    self.answers.append(events.JobStopped(job_id, 1.0))
        return taken

    def fill(self, jobs: int) -> None:
        """Queue jobs without anything running off."""
        for _ in range(jobs):
            self.handle(self.submit())

    def open_sessions(self, number: int) -> None:
        """Open sessions and batches with two queued jobs each, so that they wait among the jobs."""
        for index in range(number):
            name, instance = f"workload-{index}", self.random.choice(self.instances)
            mode = Mode.SESSION if index % 2 else Mode.BATCH
            self.handle(events.WorkloadOpened(name, mode, instance, "user", "q1"))
            self.handle(self.submit(name, instance))
            self.handle(self.submit(name, instance))

    def churn(self, number: int) -> list[float]:
        """Let the centre work, with as many submissions as completions; returns the time of each event."""
        taken = []
        for _ in range(number):
            self.now += self.random.expovariate(2.0)
            finished = self.answers and isinstance(self.answers[0], events.JobFinalized)
            event = self.answers.popleft() if self.answers else events.TimerFired()
            if isinstance(event, events.JobReleased):
                self.now += event.qpu_seconds
            taken.append(self.handle(event))
            if finished:
                taken.append(self.handle(self.submit()))
                if self.random.random() < 0.2:
                    queued = f"job-{self.random.randrange(1, self.count):020d}"
                    if queued in self.scheduler.jobs:
                        taken.append(self.handle(events.JobCancelRequested(queued)))
        return sorted(taken)


def memory_per_job(jobs: int) -> float:
    """Bytes that the scheduler keeps for one queued job, its own strings included."""
    load = Load(1_000, 100, 0)
    gc.collect()
    tracemalloc.start()
    load.fill(jobs)
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / jobs


def _times(name: str, load: Load) -> list[Row]:
    taken = load.churn(EVENTS)
    median, p99 = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
    return [
        Row(
            f"{name}: an event, median",
            f"{median * 1e6:.1f} us",
            f"<= {MEDIAN_TARGET_SECONDS * 1e6:.0f} us",
            median <= MEDIAN_TARGET_SECONDS,
        ),
        Row(
            f"{name}: an event, 99th percentile",
            f"{p99 * 1e6:.1f} us",
            f"<= {P99_TARGET_SECONDS * 1e6:.0f} us",
            p99 <= P99_TARGET_SECONDS,
        ),
        Row(f"{name}: an event, longest of {len(taken)}", f"{taken[-1] * 1e6:.0f} us", ""),
    ]


def _copying(name: str, load: Load, target_seconds: float | None = None) -> Row:
    """Copies are what questions are answered from; a server makes them between two turns of its loop."""
    taken = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(COPIES):
            before = time.thread_time()
            load.scheduler.copy()
            taken.append(time.thread_time() - before)
    finally:
        if collecting:
            gc.enable()
    least, median = min(taken), sorted(taken)[COPIES // 2]
    measured = f"{least * 1e3:.1f} ms (median {median * 1e3:.1f} ms)"
    if target_seconds is None:
        return Row(f"{name}: a copy", measured, "")
    return Row(f"{name}: a copy", measured, f"< {target_seconds * 1e3:.0f} ms", least < target_seconds)


def main() -> list[Row]:
    """Measure; the rows of the table."""
    rows: list[Row] = []
    for jobs in (1_000, 10_000, QUEUED_JOBS):
        load = Load(1_000, 100, 0)
        load.fill(jobs)
        load.open_sessions(200)
        name = f"{jobs:,} jobs queued, 1,000 instances"
        rows.append(_copying(name, load, COPY_TARGET_SECONDS if jobs == 10_000 else None))
        rows += _times(name, load)
    load = Load(10_000, 1_000, 1_000_000)
    load.fill(QUEUED_JOBS)
    load.open_sessions(200)
    name = f"{QUEUED_JOBS:,} jobs queued, 10,000 instances, 1,000,000 ledger lines"
    rows += _times(name, load)
    rows.append(_copying(name, load))
    load = Load(1_000, 100, 0, qpus=20)
    load.fill(QUEUED_JOBS)
    load.open_sessions(200)
    rows += _times(f"{QUEUED_JOBS:,} jobs queued, 1,000 instances, 20 QPUs", load)
    del load
    memory = memory_per_job(QUEUED_JOBS)
    rows.append(
        Row(
            "memory of a queued job",
            f"{memory:.0f} bytes",
            f"< {MEMORY_TARGET_BYTES} bytes",
            memory < MEMORY_TARGET_BYTES,
        )
    )
    return rows


if __name__ == "__main__":
    show("The scheduler alone", main())
