"""What the outside is shown and what it asks with: plain values between the runtime and its callers.

Times are aware datetimes in UTC, durations seconds. `ketline.service.facade.Runtime` says which call takes
and gives which.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ketline.core.model import JobStatus, Mode, QpuMode, Reason, Stage, WorkloadState


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a user by one of their keys, inside one instance."""

    user_id: str
    key_id: str
    role: Literal["administrator", "manager", "user"]
    instance_id: str = ""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A submission. ``params`` are the bytes of the JSON object as posted; they are never opened here."""

    program: str
    backend: str
    params: bytes
    workload_id: str | None = None
    tags: tuple[str, ...] = ()
    cost_seconds: float | None = None
    private: bool = False
    calibration_id: str | None = None
    log_level: str = "warning"
    caller: str = ""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it is written down. ``revision`` changes whenever anything below does."""

    job_id: str
    instance_id: str
    user_id: str
    backend: str
    program: str
    status: JobStatus
    stage: Stage
    reason: Reason | None
    created_at: datetime
    running_at: datetime | None
    finished_at: datetime | None
    workload_id: str | None
    tags: tuple[str, ...]
    cost_seconds: float
    estimate_seconds: float | None
    usage_seconds: float
    qpu_seconds: float
    private: bool
    calibration_id: str | None
    caller: str
    revision: int
    ready_at: datetime | None = None
    locked_at: datetime | None = None
    released_at: datetime | None = None
    result_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """A session or a batch as it is written down (``rest.md`` D.2)."""

    workload_id: str
    mode: Mode
    instance_id: str
    user_id: str
    backend: str
    state: WorkloadState
    reason: Reason | None
    accepting: bool
    max_ttl_seconds: float
    active_ttl_seconds: float
    interactive_ttl_seconds: float
    created_at: datetime
    started_at: datetime | None
    activated_at: datetime | None
    closed_at: datetime | None
    last_job_started_at: datetime | None
    last_job_completed_at: datetime | None
    usage_seconds: float
    history: tuple[tuple[WorkloadState, datetime], ...]
    interrupted_at: datetime | None = None
    """When maintenance, or a reservation for somebody else, next takes the QPU away."""


@dataclass(frozen=True, slots=True)
class BackendView:
    """A QPU, a simulator or the mock twin of a QPU."""

    name: str
    num_qubits: int
    simulator: bool
    mock: bool
    online: bool
    status: str
    message: str
    version: str
    queue_length: int
    processor_type: dict[str, Any] | None
    clops: int | None


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance with its plan and usage."""

    instance_id: str
    crn: str
    name: str
    plan: str
    plan_id: str
    account: str
    region: str
    tags: tuple[str, ...]
    pricing_type: str
    plan_display_name: str
    allocation_seconds: float | None
    limit_seconds: float | None
    consumed_seconds: float
    period_start: datetime
    period_end: datetime
    archived: bool


@dataclass(frozen=True, slots=True)
class KeyView:
    """An API key, without its secret."""

    key_id: str
    user_id: str
    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What ``GET /jobs`` asks for; tags are ANDed."""

    pending: bool | None = None
    backend: str | None = None
    program: str | None = None
    tags: tuple[str, ...] = ()
    workload_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    ascending: bool = False
    limit: int = 200
    offset: int = 0
    user_id: str | None = None
    include_mocks: bool = True


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which lines of the ledger; None means all that the principal may see.

    ``instances`` are CRNs or names. A line belongs to the time at which it ended: ``[start, end)``.
    """

    instances: tuple[str, ...] | None = None
    backends: tuple[str, ...] | None = None
    users: tuple[str, ...] | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class UsagePart:
    """Usage at one price: of one plan, on one QPU."""

    plan: str
    backend: str
    seconds: float


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """What one group used in one way (``modes.md`` 6.2).

    ``group`` is an instance id, a QPU, a user id or the start of a day, None without grouping; ``kind`` is
    ``individual_jobs``, ``batch_sessions`` or ``dedicated_sessions``; ``count`` the number of workloads;
    ``longest_seconds`` the largest line. ``parts`` divide it by price, where usage has prices.
    """

    group: str | datetime | None
    kind: str
    count: int
    seconds: float
    longest_seconds: float
    parts: tuple[UsagePart, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueTotal:
    """How long the started jobs of one group waited in all, and the longest of them."""

    group: str | datetime | None
    jobs: int
    seconds: float
    longest_seconds: float


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One billed span. ``instance`` and ``plan`` are names."""

    number: int
    instance_id: str
    instance: str
    plan: str
    user_id: str
    backend: str
    workload_id: str | None
    job_id: str | None
    started_at: datetime
    ended_at: datetime
    seconds: float
    rule: str


@dataclass(frozen=True, slots=True)
class SessionSplit:
    """Where a session's or batch's time went, in seconds (``modes.md`` 3.4).

    ``active_seconds`` is the sum of its windows, of which it was on the QPU, doing classical work, and idle.
    ``billed_seconds`` is what the ledger holds; ``as_batch_seconds`` what the same jobs cost as a batch.
    """

    active_seconds: float
    on_qpu_seconds: float
    classical_seconds: float
    idle_seconds: float
    billed_seconds: float
    as_batch_seconds: float


@dataclass(frozen=True, slots=True)
class UserView:
    """A user."""

    user_id: str
    name: str
    role: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class QpuView:
    """A QPU as an operator sees it. ``process`` is what its process says of itself."""

    name: str
    mode: QpuMode
    reason: str
    lanes: int
    queue_length: int
    driver: str
    device: str
    process: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who administered what. ``actor`` is a user id, or the command line; ``facts`` JSON text."""

    number: int
    at: datetime
    actor: str
    key_id: str
    action: str
    subject: str
    facts: str


@dataclass(frozen=True, slots=True)
class WindowView:
    """Maintenance of a QPU, or its reservation for an instance (its name, where the asker may know it)."""

    window_id: str
    backend: str
    kind: Literal["maintenance", "reservation"]
    start: datetime
    end: datetime
    instance: str | None
    reason: str
