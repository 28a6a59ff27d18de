"""The trace of a centre: what was asked of it, and (when recorded) what became of it.

A trace is one table, CSV or Parquet, with a row for every job and for every session or batch; the columns
are those of `COLUMNS`, each with its meaning. A synthetic trace leaves the recorded times empty. The same
rows drive a simulation (`ketline.planning.virtual`) and teach the duration model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ketline.core.model import Job, JobStatus, Mode, Workload

JobOutcome = Literal["completed", "failed", "system_failure", "cancelled"]
Close = Literal["submitted", "finished", "cancel", "never"]

MAX_ERRORS = 20

COLUMNS: dict[str, str] = {
    "record": "`job` or `workload` (a session or a batch)",
    "id": "id of the job or workload, unique in the trace",
    "submitted_at": "when it was submitted or opened, seconds since the epoch (UTC); empty: see `after`",
    "instance": "instance that it belongs to",
    "user": "user who submitted it",
    "qpu": "QPU; empty: the one with the fewest unfinished jobs at submission",
    "mode": "`job`, `batch` or `session`",
    "workload": "id of the job's session or batch; empty in job mode",
    "program": "`sampler`, `estimator`, `executor`, `noise-learner`, ...",
    "prepare_seconds": "classical seconds before the QPU",
    "qpu_seconds": "seconds that the QPU was (or would be) locked",
    "finalize_seconds": "classical seconds after the QPU",
    "estimate_seconds": "QPU seconds expected beforehand; empty: unknown",
    "limit_seconds": "max_execution_time that was asked for; empty: the plan's",
    "outcome": "`completed`, `failed` (the user's fault), `system_failure` or `cancelled`; a failure happens "
    "when qpu_seconds are over, or in preparation when they are 0",
    "after": "id of the job whose end this one waits for before it is submitted",
    "think_seconds": "job: seconds from the end of `after` to submission; workload: seconds before closing",
    "cancel_after_seconds": "for `cancelled`: seconds between submission and the request to cancel",
    "max_ttl_seconds": "workload: max TTL that was asked for; empty: the plan's",
    "close": "workload: closed when the last job was `submitted` or has `finished`, by `cancel`, or `never`",
    "running_at": "recorded: when preparation began (job) or first activation (workload)",
    "ready_at": "recorded: when the job was ready for the QPU",
    "locked_at": "recorded: when the QPU was locked for the job",
    "released_at": "recorded: when the QPU was released",
    "finished_at": "recorded: when the job ended or the workload was closed",
    "usage_seconds": "recorded: billed usage",
}

REQUIRED = ("record", "id", "instance", "mode")
MODE_NAMES = {"job": Mode.JOB, "batch": Mode.BATCH, "session": Mode.SESSION}
NAMES_OF_MODES = {mode: name for name, mode in MODE_NAMES.items()}


class TraceError(ValueError):
    """A trace can't be used; each line names file, row, column and value."""

    def __init__(self, problems: list[str]) -> None:
        shown = problems[:MAX_ERRORS]
        if len(problems) > MAX_ERRORS:
            shown.append(f"... and {len(problems) - MAX_ERRORS} more")
        super().__init__("\n".join(shown))
        self.problems = problems


@dataclass(slots=True)
class Recorded:
    """What became of a job or a workload; None where unknown or where it never got so far."""

    running_at: float | None = None
    ready_at: float | None = None
    locked_at: float | None = None
    released_at: float | None = None
    finished_at: float | None = None
    usage_seconds: float | None = None


@dataclass(slots=True)
class TraceJob:
    """A job of a trace; the fields are the columns of `COLUMNS`."""

    job_id: str
    submitted_at: float | None
    instance: str
    qpu: str = ""
    user: str = "user"
    mode: Mode = Mode.JOB
    workload: str | None = None
    program: str = "sampler"
    prepare_seconds: float = 0.0
    qpu_seconds: float = 0.0
    finalize_seconds: float = 0.0
    estimate_seconds: float | None = None
    limit_seconds: float | None = None
    outcome: JobOutcome = "completed"
    after: str | None = None
    think_seconds: float = 0.0
    cancel_after_seconds: float | None = None
    recorded: Recorded | None = None


@dataclass(slots=True)
class TraceWorkload:
    """A session or batch of a trace; the fields are the columns of `COLUMNS`."""

    workload_id: str
    submitted_at: float
    instance: str
    mode: Mode
    qpu: str = ""
    user: str = "user"
    max_ttl_seconds: float | None = None
    close: Close = "submitted"
    think_seconds: float = 0.0
    recorded: Recorded | None = None


@dataclass(slots=True)
class Trace:
    """Jobs and workloads, in any order."""

    jobs: list[TraceJob] = field(default_factory=list)
    workloads: list[TraceWorkload] = field(default_factory=list)

    def qpus(self) -> list[str]:
        """Names of the QPUs that the trace asks for, sorted."""
        return sorted({row.qpu for row in self._rows() if row.qpu})

    def instances(self) -> list[str]:
        """Ids of the instances, sorted."""
        return sorted({row.instance for row in self._rows()})

    def start(self) -> float:
        """The earliest submission; 0 for an empty trace."""
        return min(self._times(), default=0.0)

    def end(self) -> float:
        """The latest submission at a known time; 0 for an empty trace."""
        return max(self._times(), default=0.0)

    def _rows(self) -> Iterator[TraceJob | TraceWorkload]:
        yield from self.jobs
        yield from self.workloads

    def _times(self) -> Iterator[float]:
        return (row.submitted_at for row in self._rows() if row.submitted_at is not None)


def check(trace: Trace) -> None:
    """Raise `TraceError` unless ids, workloads and `after` fit together."""
    problems = [
        f"{row_id}: {column}: {value!r}: {what}" for row_id, column, value, what in inconsistencies(trace)
    ]
    if problems:
        raise TraceError(problems)


def of_job(job: Job, mode: Mode) -> TraceJob:
    """The row of a job that has ended, with its recorded times; ``mode`` is its workload's."""
    locked, released = job.locked_at, job.released_at
    prepare = finalize = 0.0
    if job.running_at is not None and job.ready_at is not None:
        prepare = max(0.0, job.ready_at - job.running_at)
    if released is not None and job.finished_at is not None:
        finalize = max(0.0, job.finished_at - released)
    outcome: JobOutcome = "completed"
    cancel_after = None
    if job.status is JobStatus.FAILED:
        outcome = "system_failure" if job.qpu_seconds > 0.0 and job.billed_seconds == 0.0 else "failed"
    elif job.status is JobStatus.CANCELLED:
        outcome = "cancelled"
        cancel_after = max(0.0, (job.finished_at or job.created_at) - job.created_at)
    return TraceJob(
        job_id=job.job_id,
        submitted_at=job.created_at,
        instance=job.instance_id,
        qpu=job.qpu_id,
        user=job.user_id,
        mode=mode,
        workload=job.workload_id,
        program=job.program,
        prepare_seconds=prepare,
        qpu_seconds=job.qpu_seconds,
        finalize_seconds=finalize,
        estimate_seconds=job.estimate_seconds,
        limit_seconds=job.limit_seconds,
        outcome=outcome,
        cancel_after_seconds=cancel_after,
        recorded=Recorded(
            job.running_at, job.ready_at, locked, released, job.finished_at, job.billed_seconds
        ),
    )


def of_workload(workload: Workload) -> TraceWorkload:
    """The row of a closed session or batch, with its recorded times."""
    return TraceWorkload(
        workload_id=workload.workload_id,
        submitted_at=workload.created_at,
        instance=workload.instance_id,
        mode=workload.mode,
        qpu=workload.qpu_id,
        user=workload.user_id,
        max_ttl_seconds=workload.max_ttl_seconds,
        close="never",
        recorded=Recorded(
            running_at=workload.started_at,
            finished_at=workload.closed_at,
            usage_seconds=workload.usage_seconds,
        ),
    )


def inconsistencies(trace: Trace) -> Iterator[tuple[str, str, object, str]]:
    """(id, column, value, problem) for everything that doesn't fit together."""
    workloads = {item.workload_id: item for item in trace.workloads}
    jobs = {item.job_id: item for item in trace.jobs}
    for job in trace.jobs:
        if (job.mode is Mode.JOB) != (job.workload is None):
            yield (
                job.job_id,
                "workload",
                job.workload,
                "a job of a batch or session names it, any other doesn't",
            )
        elif job.workload is not None:
            parent = workloads.get(job.workload)
            if parent is None:
                yield job.job_id, "workload", job.workload, "no workload row has this id"
            else:
                for column in ("mode", "instance", "qpu"):
                    if getattr(parent, column) != getattr(job, column):
                        yield (
                            job.job_id,
                            column,
                            getattr(job, column),
                            f"differs from workload {job.workload!r}",
                        )
                if job.submitted_at is not None and job.submitted_at < parent.submitted_at:
                    yield job.job_id, "submitted_at", job.submitted_at, "is before its workload was opened"
        if job.after is not None and job.after not in jobs:
            yield job.job_id, "after", job.after, "no job row has this id"
    yield from _cycles(jobs)


def _cycles(jobs: dict[str, TraceJob]) -> Iterator[tuple[str, str, object, str]]:
    sound: set[str] = set()
    for first in jobs:
        path: dict[str, None] = {}
        at: str | None = first
        while at is not None and at in jobs and at not in sound:
            if at in path:
                yield at, "after", jobs[at].after, "the jobs wait for each other in a circle"
                break
            path[at] = None
            at = jobs[at].after
        sound.update(path)
