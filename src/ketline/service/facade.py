"""What the outside sees of the live runtime: the one door of `ketline.api`, `ketline.web` and `ketline.cli`.

Reads show only what is durable. Methods that change something return when the change is durable. All raise
`ketline.errors.KetlineError`; an id that belongs to another instance is treated as unknown.

A server makes one with ``runtime = await ketline.service.runtime.start(settings, data_folder)`` inside its
event loop and ends it with ``await runtime.stop()``. The command line, which works beside a running server,
uses `ketline.service.administration.Administration` instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ketline.config import InstanceSettings
from ketline.core.model import JobStatus, Mode, QpuMode, Reason, Stage, WorkloadState

if TYPE_CHECKING:
    from ketline.planning.advise import Plan
    from ketline.planning.estimate import Rates
    from ketline.planning.workload import Workload as Described
    from ketline.service.prospects import Asked, Estimated, JobStory, QpuQueue


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
    runtime: str = ""
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
    runtime: str
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
class UsageTotal:
    """What one group used in one way (``modes.md`` 6.2).

    ``group`` is an instance id, a QPU, a user id or the start of a day, None without grouping; ``kind`` is
    ``individual_jobs``, ``batch_sessions`` or ``dedicated_sessions``; ``count`` the number of workloads;
    ``longest_seconds`` the largest line.
    """

    group: str | datetime | None
    kind: str
    count: int
    seconds: float
    longest_seconds: float


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


class Runtime(Protocol):
    """The live runtime."""

    # credentials
    async def exchange_key(self, api_key: str) -> Principal:
        """The owner of an API key; BAD_CREDENTIALS otherwise. Cheap when repeated."""
        ...

    async def standing(self, principal: Principal) -> Principal:
        """The principal with the role that they have now; BAD_CREDENTIALS if their key was revoked."""
        ...

    async def instances_of(self, principal: Principal) -> Sequence[InstanceView]:
        """The instances that the principal may use."""
        ...

    async def enter(self, principal: Principal, crn: str) -> Principal:
        """The principal inside an instance; INSTANCE_NOT_FOUND unless the key may use it."""
        ...

    async def signing_secret(self) -> bytes:
        """The secret with which access tokens are signed; made at first start and kept."""
        ...

    # jobs
    async def submit_job(self, principal: Principal, request: JobRequest) -> JobView:
        """Accept a job; it is durable when this returns."""
        ...

    async def job(self, principal: Principal, job_id: str) -> JobView:
        """One job; JOB_NOT_FOUND."""
        ...

    async def job_change(
        self, principal: Principal, job_id: str, revision: int, timeout_seconds: float
    ) -> JobView:
        """The job as soon as its revision isn't ``revision`` any more, or after the time-out as it is."""
        ...

    async def job_end(self, principal: Principal, job_id: str, timeout_seconds: float) -> JobView:
        """The job as soon as it is final, or after the time-out as it is: what a held request waits for."""
        ...

    async def jobs(self, principal: Principal, wanted: JobFilter) -> tuple[Sequence[JobView], int]:
        """A page of jobs and the count of all that match."""
        ...

    async def job_params(self, principal: Principal, job_id: str) -> AsyncIterator[bytes]:
        """The params exactly as posted, in pieces; empty for a private job."""
        ...

    async def job_result(self, principal: Principal, job_id: str) -> tuple[int, AsyncIterator[bytes]] | None:
        """The result's length and its pieces; None when there is none (yet). A private job's is read once."""
        ...

    async def job_logs(self, principal: Principal, job_id: str) -> str:
        """What the job logged."""
        ...

    async def cancel_job(self, principal: Principal, job_id: str) -> None:
        """Cancel; JOB_NOT_CANCELLABLE when final."""
        ...

    async def delete_job(self, principal: Principal, job_id: str) -> None:
        """Delete a final job; JOB_NOT_FINAL otherwise."""
        ...

    async def set_tags(self, principal: Principal, job_id: str, tags: Sequence[str]) -> None:
        """Replace the tags."""
        ...

    async def tags(self, principal: Principal, search: str) -> Sequence[str]:
        """Tags in use that contain ``search``."""
        ...

    # sessions and batches
    async def open_workload(
        self, principal: Principal, mode: Mode, backend: str, max_ttl_seconds: float | None
    ) -> WorkloadView:
        """Open a session or a batch."""
        ...

    async def workload(self, principal: Principal, workload_id: str) -> WorkloadView:
        """One session or batch; SESSION_NOT_FOUND."""
        ...

    async def close_workload(self, principal: Principal, workload_id: str) -> None:
        """No new jobs; what was submitted still runs."""
        ...

    async def cancel_workload(self, principal: Principal, workload_id: str) -> None:
        """Queued jobs are cancelled, running ones finish."""
        ...

    async def workload_items(
        self, principal: Principal, wanted: dict[str, Any]
    ) -> tuple[Sequence[dict[str, Any]], int, str | None, str | None]:
        """Jobs outside sessions, sessions and batches in one list: page, total, previous and next cursor."""
        ...

    # backends
    async def backends(self, principal: Principal, include_mocks: bool) -> Sequence[BackendView]:
        """The backends that the instance may use."""
        ...

    async def backend(self, principal: Principal, name: str) -> BackendView:
        """One backend; BACKEND_NOT_FOUND."""
        ...

    async def configuration(self, principal: Principal, name: str, calibration_id: str | None) -> bytes:
        """The configuration in wire form."""
        ...

    async def properties(
        self, principal: Principal, name: str, updated_before: datetime | None, calibration_id: str | None
    ) -> bytes:
        """The properties in wire form; ``null`` when there are none."""
        ...

    # instances
    async def instance(self, principal: Principal) -> InstanceView:
        """The principal's instance with its usage."""
        ...

    async def set_instance_limit(self, principal: Principal, limit_seconds: float | None) -> None:
        """Change the usage limit."""
        ...

    # looking ahead

    async def explain_job(self, principal: Principal, job_id: str) -> JobStory:
        """Position, reason, story and expected times of a job; JOB_NOT_FOUND."""
        ...

    async def estimate(self, principal: Principal, asked: Asked) -> Estimated:
        """What a job would use, before it is submitted; BACKEND_NOT_FOUND."""
        ...

    async def plan_workload(
        self, principal: Principal, workload: Described, backend: str, replicas: int, rates: Rates
    ) -> Plan:
        """A workload in the three modes under the present queue; BACKEND_NOT_FOUND."""
        ...

    async def queues(self, principal: Principal, limit: int) -> Sequence[QpuQueue]:
        """Every QPU that the principal may use, with its lanes and the first ``limit`` jobs of its queue."""
        ...

    # administration
    # the ledger

    async def usage_totals(
        self, principal: Principal, wanted: UsageQuery, by: str | None = None
    ) -> Sequence[UsageTotal]:
        """Sums of the ledger by ``instance``, ``backend``, ``user_id`` or ``date`` (UTC), or of all."""
        ...

    async def queue_totals(
        self, principal: Principal, wanted: UsageQuery, by: str | None = None
    ) -> Sequence[QueueTotal]:
        """How long jobs waited, in the same groups."""
        ...

    async def ledger_members(self, principal: Principal, wanted: UsageQuery) -> dict[str, list[str]]:
        """The ``instances`` (CRNs), ``backends``, ``users`` and ``plans`` that the ledger knows."""
        ...

    async def ledger(self, principal: Principal, wanted: UsageQuery) -> AsyncIterator[Sequence[LedgerLine]]:
        """The ledger's lines in the order in which they were billed, in pages."""
        ...

    async def session_split(self, principal: Principal, workload_id: str) -> SessionSplit:
        """Where a session's or batch's time went; SESSION_NOT_FOUND."""
        ...

    async def users(self, principal: Principal) -> Sequence[UserView]:
        """All users."""
        ...

    async def keys(self, principal: Principal) -> Sequence[KeyView]:
        """The API keys that the principal may see."""
        ...

    async def create_key(
        self, principal: Principal, user: str, name: str, role: str, instances: Sequence[str]
    ) -> tuple[KeyView, str]:
        """A new key, and the key itself, which is shown only now. ``instances`` are names; none means all."""
        ...

    async def revoke_key(self, principal: Principal, key_id: str) -> None:
        """Revoke a key for good."""
        ...

    async def create_instance(self, principal: Principal, wanted: InstanceSettings) -> InstanceView:
        """A new instance."""
        ...

    async def change_instance(
        self, principal: Principal, name: str, given: Mapping[str, Any]
    ) -> InstanceView:
        """Change an instance's plan, tags, QPUs, figures, or whether it is archived."""
        ...

    async def qpus(self, principal: Principal) -> Sequence[QpuView]:
        """The QPUs with their mode, and what their processes say."""
        ...

    async def set_qpu_mode(self, principal: Principal, name: str, mode: QpuMode, reason: str) -> None:
        """Pause, resume, take offline or retire a QPU."""
        ...

    async def calibrate(self, principal: Principal, name: str) -> None:
        """Calibrate a QPU as soon as the rules allow it."""
        ...

    async def windows(self, principal: Principal, qpu: str) -> Sequence[WindowView]:
        """The maintenance and reservations of a QPU that aren't over, in the order of time."""
        ...

    async def announce_window(
        self,
        principal: Principal,
        qpu: str,
        start: datetime,
        end: datetime,
        instance: str | None,
        reason: str,
    ) -> WindowView:
        """Announce maintenance, or with ``instance`` (a name) a reservation for it."""
        ...

    async def withdraw_window(self, principal: Principal, qpu: str, window_id: str) -> None:
        """Withdraw a window, or end it now."""
        ...

    async def audit(
        self, principal: Principal, subject: str | None, before: int | None, limit: int
    ) -> Sequence[AuditLine]:
        """The audit trail, newest first."""
        ...

    async def health(self) -> dict[str, Any]:
        """Whether the runtime can do its work, and the state of its parts."""
        ...
