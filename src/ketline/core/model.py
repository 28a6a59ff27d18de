"""The nouns of a centre: jobs, sessions and batches, instances on plans, QPUs.

Times are seconds since the epoch (UTC) as floats, given by the caller; durations end in ``_seconds``.
Specs (``…Spec``) are facts that come from outside and are replaced as a whole; the other nouns are the
scheduler's own live state, and what `ketline.store` writes down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Mode(StrEnum):
    """How a workload occupies a QPU (``modes.md`` 1-3)."""

    JOB = "job"
    BATCH = "batch"
    SESSION = "dedicated"


class JobStatus(StrEnum):
    """The five states of a job (``modes.md`` 1.1)."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the state is never left again."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


class Stage(StrEnum):
    """What a running job is doing; ``NONE`` while it is queued or final."""

    NONE = "none"
    PREPARING = "preparing"
    WAITING_QPU = "waiting_qpu"
    ON_QPU = "on_qpu"
    FINALIZING = "finalizing"


class WorkloadState(StrEnum):
    """The states of a session or a batch (``modes.md`` 3.3)."""

    OPEN = "open"
    ACTIVE = "active"
    INACTIVE = "inactive"
    PENDING_CLOSED = "pending_closed"
    CLOSED = "closed"


class QpuMode(StrEnum):
    """Whether a QPU starts work. Only a retired one refuses submissions (``modes.md`` 5.5)."""

    ONLINE = "online"
    PAUSED = "paused"
    OFFLINE = "offline"
    RETIRED = "retired"


class FailureKind(StrEnum):
    """Whose fault a failure is: it decides what is billed (``modes.md`` 6.1)."""

    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job or a workload is in its state.

    ``code`` is one of `ketline.errors`, ``message`` says what happened to whom, ``solution`` what to do next.
    """

    code: int
    message: str
    solution: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that the outside reports of a job."""

    reason: Reason
    kind: FailureKind = FailureKind.USER


@dataclass(frozen=True, slots=True)
class QpuSpec:
    """What the scheduler knows of a QPU.

    ``lanes`` is the degree of classical parallelism (``modes.md`` 2.1). A QPU that isn't ``serial`` is a
    simulator without a queue: every job starts at once. ``job_overhead_seconds`` is billed on top of the
    locked time where 6.1 says so. ``calibration_seconds`` is the expected length of a calibration and
    ``calibration_interval_seconds`` the cadence (None: never by itself), which goes on from
    ``calibrated_at`` where that is given.
    """

    qpu_id: str
    lanes: int = 5
    serial: bool = True
    mode: QpuMode = QpuMode.ONLINE
    mode_reason: str = ""
    job_overhead_seconds: float = 0.0
    calibration_interval_seconds: float | None = None
    calibration_seconds: float = 0.0
    calibrated_at: float | None = None


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """An instance with the figures of its plan, overrides applied (``modes.md`` 3.2, 5.2).

    ``allocation_seconds`` is the weight in fair share (None: the plan's ``virtual_allocation_seconds``).
    ``limit_seconds`` caps usage (None: no cap); ``limit_stops_running`` makes it a cost limit, which stops
    what runs (``modes.md`` C6) instead of only holding pending work; with ``limit_lets_finish`` running jobs
    finish, and only their session or batch closes. ``window_seconds`` is the rolling
    window of usage (None: everything since creation counts). ``account_id`` is the level above, with its
    own allocation when the account has one.
    """

    instance_id: str
    plan: str = "premium"
    account_id: str = "default"
    account_allocation_seconds: float | None = None
    allocation_seconds: float | None = None
    virtual_allocation_seconds: float = 28_800.0
    limit_seconds: float | None = None
    limit_stops_running: bool = False
    window_seconds: float | None = 28 * 86_400.0
    sessions: bool = True
    open_session_as_jobs: bool = False
    max_ttl_seconds: float = 28_800.0
    interactive_ttl_seconds: float = 60.0
    batch_interactive_ttl_seconds: float = 1.0
    max_execution_seconds: float = 10_800.0
    max_pending_jobs: int | None = None
    archived: bool = False
    qpus: frozenset[str] | None = None
    limit_lets_finish: bool = False


@dataclass(frozen=True, slots=True)
class QpuWindow:
    """A span in which a QPU isn't there for everyone: maintenance, or a reservation for one instance.

    Nothing starts during maintenance. During a reservation only ``instance_id`` has the QPU, even if it
    submits nothing (``modes.md`` 5.3). Before either begins, no job starts that can't end in time by its
    estimate.
    """

    window_id: str
    qpu_id: str
    starts_at: float
    ends_at: float
    instance_id: str | None = None
    reason: str = ""


@dataclass(slots=True)
class Job:
    """One job, from submission until it is settled.

    ``limit_seconds`` is the effective limit on QPU usage (``modes.md`` C10). ``estimate_seconds`` is the
    expected QPU usage, None while unknown. ``locked_at`` is when the QPU was locked for it and
    ``qpu_seconds`` how long in the end; ``billed_seconds`` follows the rules of 6.1. ``seq`` orders jobs
    as they were submitted.

    The record of a queued job never changes but for its tags, which decide nothing: another takes its place
    when its estimate is known, and when the job starts or ends.
    """

    job_id: str
    instance_id: str
    user_id: str
    qpu_id: str
    workload_id: str | None
    program: str
    created_at: float
    seq: int
    limit_seconds: float
    estimate_seconds: float | None = None
    tags: tuple[str, ...] = ()
    status: JobStatus = JobStatus.QUEUED
    stage: Stage = Stage.NONE
    running_at: float | None = None
    ready_at: float | None = None
    locked_at: float | None = None
    released_at: float | None = None
    finished_at: float | None = None
    qpu_seconds: float = 0.0
    billed_seconds: float = 0.0
    reason: Reason | None = None
    cancelling: bool = False


@dataclass(slots=True)
class Workload:
    """A session or a batch.

    ``windows`` are the closed usage windows as (from, to); the open one starts at ``window_started_at``.
    ``expires_at`` is the TTL's deadline once the first job has started; ``idle_at`` the interactive TTL's
    deadline while active and idle; ``unused_at`` the deadline of one that has no job and never ran one.
    ``history`` lists every transition as (state, time).

    ``window_started_at`` is the start of the open usage window (None when none is open; ``activated_at``
    keeps the last start). ``as_jobs`` marks a session whose plan has none and whose jobs run in job mode.
    ``interrupted_at`` tells the start of the next maintenance or foreign reservation of its QPU, when one
    is announced: an active session is suspended then, and takes its place in the queue again.
    The split of what was used: ``qpu_seconds`` on the QPU, ``idle_seconds`` with nothing to do inside the
    windows; a session's rest is classical work. ``batch_seconds`` is what its jobs would have been billed
    outside a session.
    """

    workload_id: str
    mode: Mode
    instance_id: str
    user_id: str
    qpu_id: str
    created_at: float
    seq: int
    max_ttl_seconds: float
    interactive_ttl_seconds: float
    state: WorkloadState = WorkloadState.OPEN
    accepting: bool = True
    started_at: float | None = None
    activated_at: float | None = None
    closed_at: float | None = None
    last_job_started_at: float | None = None
    last_job_completed_at: float | None = None
    unused_at: float | None = None
    expires_at: float | None = None
    idle_at: float | None = None
    windows: list[tuple[float, float]] = field(default_factory=list)
    usage_seconds: float = 0.0
    jobs_submitted: int = 0
    jobs_completed: int = 0
    reason: Reason | None = None
    history: list[tuple[WorkloadState, float]] = field(default_factory=list)
    window_started_at: float | None = None
    as_jobs: bool = False
    qpu_seconds: float = 0.0
    idle_seconds: float = 0.0
    batch_seconds: float = 0.0
    interrupted_at: float | None = None


@dataclass(frozen=True, slots=True)
class UsageLine:
    """One billed span of the ledger: the only source of what usage is.

    A job or batch is billed for the span the QPU was locked, a session for its active window. ``seconds``
    may exceed the span by the overhead that ``rule`` names.
    """

    instance_id: str
    user_id: str
    qpu_id: str
    workload_id: str | None
    job_id: str | None
    started_at: float
    ended_at: float
    seconds: float
    rule: str
