"""What the outside sees of the live runtime: the one door of `ketline.api` and `ketline.cli`.

Reads show only what is durable. Methods that change something return when the change is durable. All raise
`ketline.errors.KetlineError`; an id that belongs to another instance is treated as unknown.

A server makes one with ``runtime = await ketline.service.runtime.start(settings, data_folder)`` inside its
event loop and ends it with ``await runtime.stop()``. The command line, which works beside a running server,
uses `ketline.service.administration.Administration` instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from ketline.config import InstanceSettings
from ketline.core.model import Mode, QpuMode
from ketline.service.views import (
    AuditLine,
    BackendView,
    InstanceView,
    JobFilter,
    JobRequest,
    JobView,
    KeyView,
    LedgerLine,
    Principal,
    QpuView,
    QueueTotal,
    SessionSplit,
    UsagePart,
    UsageQuery,
    UsageTotal,
    UserView,
    WindowView,
    WorkloadView,
)

if TYPE_CHECKING:
    from ketline.planning.advise import Plan
    from ketline.planning.estimate import Rates
    from ketline.planning.workload import Workload as Described
    from ketline.service.prospects import Asked, Estimated, JobStory, QpuQueue


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
        """What a job of so many executions would use, before it is submitted; BACKEND_NOT_FOUND."""
        ...

    async def estimate_job(self, principal: Principal, request: JobRequest) -> Estimated:
        """What a submission would use; refused as the submission or its job would be; TOO_MANY_ESTIMATES."""
        ...

    async def plan_workload(
        self, principal: Principal, workload: Described, backend: str, replicas: int, rates: Rates
    ) -> Plan:
        """A workload in the three modes under the present queue; BACKEND_NOT_FOUND."""
        ...

    async def queues(self, principal: Principal, limit: int) -> Sequence[QpuQueue]:
        """Every QPU that the principal may use, with its lanes and the first ``limit`` jobs of its queue."""
        ...

    # the ledger

    async def usage_totals(
        self, principal: Principal, wanted: UsageQuery, by: str | None = None
    ) -> Sequence[UsageTotal]:
        """Sums of the ledger by ``instance``, ``backend``, ``user_id`` or ``date`` (UTC), or of all."""
        ...

    async def usage_of(self, view: InstanceView) -> Sequence[UsagePart]:
        """What an instance used on each QPU in its present period; nothing where usage has no price."""
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

    # administration

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

    def now(self) -> datetime:
        """The time by which everything here is decided: it doesn't jump when the machine's clock is set."""
        ...

    async def health(self) -> dict[str, Any]:
        """Whether the runtime can do its work, and the state of its parts."""
        ...
