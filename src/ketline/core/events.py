"""What happened: the only things that the scheduler ever hears of.

Every event is handed to ``Scheduler.handle(event, now)``. Events that a user causes may be refused with
`ketline.core.scheduler.Rejection`, which leaves the state untouched.
"""

from __future__ import annotations

from dataclasses import dataclass

from ketline.core.model import Failure, InstanceSpec, Mode, QpuMode, QpuSpec, QpuWindow


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True, slots=True)
class QpuRegistered(Event):
    """A QPU exists, or its facts changed."""

    spec: QpuSpec


@dataclass(frozen=True, slots=True)
class QpuModeChanged(Event):
    """An operator or a health check put a QPU in another mode."""

    qpu_id: str
    mode: QpuMode
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PastUsage:
    """All that an instance was billed before a time: (end, seconds), oldest first."""

    before: float
    lines: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class InstanceRegistered(Event):
    """An instance exists, or its figures changed (plan, limit, allocation, archived).

    ``past`` goes with a window that became longer: what the ledger holds from before the shorter one.
    """

    spec: InstanceSpec
    past: PastUsage | None = None


@dataclass(frozen=True, slots=True)
class WorkloadOpened(Event):
    """``POST /sessions`` (T1). ``max_ttl_seconds`` None takes the plan's."""

    workload_id: str
    mode: Mode
    instance_id: str
    user_id: str
    qpu_id: str
    max_ttl_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class WorkloadCloseRequested(Event):
    """``PATCH accepting_jobs=false`` (T11-T13): no new jobs, the rest runs."""

    workload_id: str


@dataclass(frozen=True, slots=True)
class WorkloadCancelRequested(Event):
    """``DELETE …/close`` (T14): queued jobs are cancelled, running ones finish."""

    workload_id: str


@dataclass(frozen=True, slots=True)
class JobSubmitted(Event):
    """A job was accepted for checking. ``max_execution_seconds`` is the user's ``cost``."""

    job_id: str
    instance_id: str
    user_id: str
    qpu_id: str
    program: str
    workload_id: str | None = None
    max_execution_seconds: float | None = None
    estimate_seconds: float | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobEstimated(Event):
    """Somebody looked at a job that waits: the QPU usage to expect of it. One that runs knows better."""

    job_id: str
    estimate_seconds: float


@dataclass(frozen=True, slots=True)
class JobCancelRequested(Event):
    """The user, or an administrator, cancels one job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class JobPrepared(Event):
    """Classical preparation is done: the job is ready for the QPU."""

    job_id: str
    estimate_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class JobLocked(Event):
    """The QPU is locked for the job from now on (after ``Run``)."""

    job_id: str


@dataclass(frozen=True, slots=True)
class JobReleased(Event):
    """The QPU finished the job and is free; ``qpu_seconds`` is how long it was locked."""

    job_id: str
    qpu_seconds: float


@dataclass(frozen=True, slots=True)
class JobStopped(Event):
    """The QPU gave up the job because ``Stop`` asked for it."""

    job_id: str
    qpu_seconds: float


@dataclass(frozen=True, slots=True)
class JobFinalized(Event):
    """The result is written down: the job is complete."""

    job_id: str


@dataclass(frozen=True, slots=True)
class JobFailed(Event):
    """Preparing, running or finalizing failed. ``qpu_seconds`` None: the QPU was never locked, or has
    already been released."""

    job_id: str
    failure: Failure
    qpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class JobInterrupted(Event):
    """What the job was doing was lost through no fault of its own (a crash of the service or of the QPU's
    process): its stage is done again from preparation on, and nothing of it is billed."""

    job_id: str


@dataclass(frozen=True, slots=True)
class CalibrationRequested(Event):
    """A calibration is due (besides the cadence that the core keeps by itself)."""

    qpu_id: str


@dataclass(frozen=True, slots=True)
class CalibrationEnded(Event):
    """The QPU finished calibrating."""

    qpu_id: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class WindowAnnounced(Event):
    """Maintenance, or a reservation, is announced or changed. After a restart all that aren't over yet are
    announced again."""

    window: QpuWindow


@dataclass(frozen=True, slots=True)
class WindowWithdrawn(Event):
    """Maintenance or a reservation won't take place, or ends now."""

    qpu_id: str
    window_id: str


@dataclass(frozen=True, slots=True)
class TimerFired(Event):
    """``now`` has reached a time asked for with ``SetTimer``; firing early or twice does no harm."""
