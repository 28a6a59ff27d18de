"""What a simulated (or recorded) stretch of time was like: utilisation, waiting, fairness, idle sessions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ketline.core.model import Job, JobStatus, Mode, UsageLine, Workload
from ketline.planning.centre import Centre
from ketline.planning.closures import closed_spans
from ketline.planning.statistics import jain
from ketline.planning.trace import NAMES_OF_MODES
from ketline.planning.virtual import Record

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long jobs waited after submission, in seconds: until they ran, and until they had the QPU.

    NaN without jobs that got so far.
    """

    jobs: int
    mean: float
    median: float
    p95: float
    qpu_mean: float
    qpu_median: float
    qpu_p95: float


@dataclass(frozen=True, slots=True)
class QpuFigures:
    """Shares of the observed time: on jobs, on calibrations, held by sessions with no job on it, and in
    maintenance or reserved (``closed``)."""

    utilisation: float
    calibrating: float
    idle_in_sessions: float
    closed: float
    jobs: int


@dataclass(frozen=True, slots=True)
class InstanceFigures:
    """An instance: its waiting, seconds on the QPU, billed usage, and usage over its allocation."""

    waiting: Waiting
    qpu_seconds: float
    usage_seconds: float
    used_share: float


@dataclass(frozen=True, slots=True)
class SessionFigures:
    """All sessions together: the billed windows split into QPU, classical and idle time, in seconds.

    ``as_batch_seconds`` is what the same jobs would have used as batches.
    """

    sessions: int
    usage_seconds: float
    on_qpu_seconds: float
    classical_seconds: float
    idle_seconds: float
    as_batch_seconds: float

    @property
    def idle_share(self) -> float:
        """Idle time over billed time; NaN without billed sessions."""
        return self.idle_seconds / self.usage_seconds if self.usage_seconds else float("nan")


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that is measured of one run.

    ``observed_seconds`` is the length of the observed span. ``jain_usage`` is Jain's index of billed usage
    over allocation of the instances, ``jain_waiting`` that of their mean waits plus one second.
    """

    observed_seconds: float
    qpus: dict[str, QpuFigures]
    modes: dict[str, Waiting]
    instances: dict[str, InstanceFigures]
    sessions: SessionFigures
    outcomes: dict[str, int]
    jain_usage: float
    jain_waiting: float

    @property
    def utilisation(self) -> float:
        """Mean utilisation of the QPUs."""
        return float(np.mean([qpu.utilisation for qpu in self.qpus.values()]))

    def headline(self) -> dict[str, float]:
        """The figures by which settings are compared."""
        figures = {"utilisation": self.utilisation, "jain_usage": self.jain_usage}
        for mode, waiting in self.modes.items():
            figures[f"wait_mean_seconds[{mode}]"] = waiting.mean
            figures[f"wait_median_seconds[{mode}]"] = waiting.median
            figures[f"wait_p95_seconds[{mode}]"] = waiting.p95
        if self.sessions.usage_seconds:
            figures["session_idle_share"] = self.sessions.idle_share
            figures["session_usage_seconds"] = self.sessions.usage_seconds
        return figures

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times in seconds. What there is no figure for is None."""
        found = asdict(self)
        found["utilisation"] = self.utilisation
        found["sessions"]["idle_share"] = self.sessions.idle_share
        known: dict[str, Any] = without_nan(found)
        return known


def without_nan(value: Any) -> Any:
    """The same with None for every NaN, which JSON doesn't have."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def waiting_of(jobs: Iterable[Job]) -> Waiting:
    """Summary of the jobs' waits."""
    ran = [job for job in jobs if job.running_at is not None]
    running = [job.running_at - job.created_at for job in ran if job.running_at is not None]
    locked = [job.locked_at - job.created_at for job in ran if job.locked_at is not None]
    return Waiting(len(ran), *_summary(running), *_summary(locked))


def _summary(values: list[float]) -> tuple[float, float, float]:
    if not values:
        return (float("nan"),) * 3
    median, p95 = np.quantile(values, [0.5, 0.95])
    return float(np.mean(values)), float(median), float(p95)


def measure(record: Record, centre: Centre, since: float, until: float) -> Figures:
    """Measure ``[since, until]``: jobs and sessions that were created in it, and spans clipped to it."""
    modes = {workload.workload_id: workload.mode for workload in record.workloads}
    jobs = [job for job in record.jobs if since <= job.created_at <= until]
    by_mode: dict[str, list[Job]] = {}
    by_instance: dict[str, list[Job]] = {item.instance_id: [] for item in centre.instances}
    for job in jobs:
        mode = Mode.JOB if job.workload_id is None else modes.get(job.workload_id, Mode.BATCH)
        by_mode.setdefault(NAMES_OF_MODES[mode], []).append(job)
        by_instance[job.instance_id].append(job)
    sessions = [w for w in record.workloads if w.mode is Mode.SESSION and since <= w.created_at <= until]
    instances = _instances(record, centre, by_instance, since, until)
    outcomes = Counter(job.status.value for job in jobs)
    outcomes["refused"] = len(record.rejected)
    waited = [item.waiting.mean + 1.0 for item in instances.values() if item.waiting.jobs]
    return Figures(
        observed_seconds=until - since,
        qpus=_qpus(record, centre, since, until),
        modes={mode: waiting_of(members) for mode, members in sorted(by_mode.items())},
        instances=instances,
        sessions=session_figures(sessions, record.jobs),
        outcomes={status.value: outcomes[status.value] for status in JobStatus if status.final}
        | {"refused": outcomes["refused"]},
        jain_usage=jain([item.used_share for item in instances.values()]),
        jain_waiting=jain(waited),
    )


def _clipped(spans: Iterable[tuple[float, float]], since: float, until: float) -> float:
    return sum(max(0.0, min(end, until) - max(start, since)) for start, end in spans)


def _locked(jobs: Iterable[Job]) -> Iterable[tuple[float, float]]:
    return (
        (job.locked_at, job.released_at)
        for job in jobs
        if job.locked_at is not None and job.released_at is not None
    )


def _qpus(record: Record, centre: Centre, since: float, until: float) -> dict[str, QpuFigures]:
    seconds = max(until - since, 1e-12)
    by_qpu: dict[str, list[Job]] = {qpu.qpu_id: [] for qpu in centre.qpus}
    for job in record.jobs:
        by_qpu[job.qpu_id].append(job)
    windows: dict[str, list[tuple[float, float]]] = {qpu: [] for qpu in by_qpu}
    for workload in record.workloads:
        if workload.mode is Mode.SESSION:
            windows[workload.qpu_id] += workload.windows
    sessions = {w.workload_id for w in record.workloads if w.mode is Mode.SESSION}
    found = {}
    for qpu_id, jobs in by_qpu.items():
        held = _clipped(windows[qpu_id], since, until)
        in_sessions = _clipped(_locked(job for job in jobs if job.workload_id in sessions), since, until)
        calibrations = ((start, end) for qpu, start, end in record.calibrations if qpu == qpu_id)
        found[qpu_id] = QpuFigures(
            utilisation=_clipped(_locked(jobs), since, until) / seconds,
            calibrating=_clipped(calibrations, since, until) / seconds,
            idle_in_sessions=max(0.0, held - in_sessions) / seconds,
            closed=_clipped(union(closed_spans(centre.closures, qpu_id)), since, until) / seconds,
            jobs=sum(job.locked_at is not None for job in jobs),
        )
    return found


def _instances(
    record: Record, centre: Centre, members: dict[str, list[Job]], since: float, until: float
) -> dict[str, InstanceFigures]:
    qpu_seconds: Counter[str] = Counter()
    for job in record.jobs:
        qpu_seconds[job.instance_id] += job.qpu_seconds  # type: ignore[assignment]  # a sum of floats
    billed = _billed(record.lines, since, until)
    found = {}
    for item in centre.instances:
        allocation = item.allocation_seconds or item.virtual_allocation_seconds
        used = billed.get(item.instance_id, 0.0)
        found[item.instance_id] = InstanceFigures(
            waiting_of(members[item.instance_id]),
            float(qpu_seconds[item.instance_id]),
            used,
            used / allocation,
        )
    return found


def _billed(lines: Iterable[UsageLine], since: float, until: float) -> dict[str, float]:
    billed: dict[str, float] = {}
    for line in lines:
        if since <= line.ended_at <= until:
            billed[line.instance_id] = billed.get(line.instance_id, 0.0) + line.seconds
    return billed


def session_figures(sessions: list[Workload], jobs: Iterable[Job]) -> SessionFigures:
    """Split the billed windows of sessions: a moment is idle when no job of the session runs."""
    members: dict[str, list[Job]] = {workload.workload_id: [] for workload in sessions}
    for job in jobs:
        if job.workload_id in members:
            members[job.workload_id].append(job)
    usage = on_qpu = busy = as_batch = 0.0
    for workload in sessions:
        own = members[workload.workload_id]
        running = union(
            (job.running_at, job.finished_at)
            for job in own
            if job.running_at is not None and job.finished_at is not None
        )
        locked = union(_locked(own))
        for since, until in workload.windows:
            usage += until - since
            on_qpu += _clipped(locked, since, until)
            busy += _clipped(running, since, until)
        as_batch += sum(job.qpu_seconds for job in own)
    return SessionFigures(
        len(sessions), usage, on_qpu, max(0.0, busy - on_qpu), max(0.0, usage - busy), as_batch
    )


def union(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The spans merged where they overlap, in order."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
