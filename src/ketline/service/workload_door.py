"""Sessions and batches as the outside handles them, and the list of all workloads."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from ketline.core.events import Event, WorkloadCancelRequested, WorkloadCloseRequested, WorkloadOpened
from ketline.core.model import JobStatus, Mode
from ketline.core.scheduler import Rejection
from ketline.errors import INVALID_REQUEST, SESSION_NOT_FOUND, KetlineError
from ketline.service import ids, records
from ketline.service.clock import as_datetime, maybe_datetime
from ketline.service.house import House, Refused
from ketline.service.views import Principal, WorkloadView
from ketline.store import queries
from ketline.store.queries import Row

_JOB_PROGRESS = {
    JobStatus.QUEUED.value: "pending",
    JobStatus.RUNNING.value: "in_progress",
    JobStatus.COMPLETED.value: "completed",
    JobStatus.CANCELLED.value: "canceled",
    JobStatus.FAILED.value: "failed",
}
_MODES = {"job": ("job",), "session": (Mode.SESSION.value,), "batch": (Mode.BATCH.value,)}
_SHOWN_MODES = {Mode.SESSION.value: "session", Mode.BATCH.value: "batch"}


class WorkloadDoor:
    """The part of `ketline.service.facade.Runtime` that is about sessions and batches."""

    _house: House

    async def open_workload(
        self, principal: Principal, mode: Mode, backend: str, max_ttl_seconds: float | None
    ) -> WorkloadView:
        """Open a session or a batch."""
        house = self._house
        qpu = house.backend_of(principal, backend)
        workload_id = ids.workload_id()
        event = WorkloadOpened(
            workload_id, mode, principal.instance_id, principal.user_id, qpu.name, max_ttl_seconds
        )
        await self._feed(event)
        view = house.board.workload(workload_id)
        assert view is not None, "a durable workload is shown"
        return view

    async def _feed(self, event: Event) -> None:
        try:
            self._house.engine.feed(event)
        except Rejection as refusal:
            raise Refused(refusal.reason) from None
        await self._house.engine.durable()

    async def workload(self, principal: Principal, workload_id: str) -> WorkloadView:
        """One session or batch; SESSION_NOT_FOUND."""
        house = self._house
        view = house.board.workload(workload_id)
        if view is None:
            row = await house.store.read_row(queries.workload, workload_id)
            if row is not None:
                view = records.workload_view(records.workload_from_row(row))
                if view.closed_at is not None:
                    house.board.pin_workload(view)
        if view is None or view.instance_id != principal.instance_id:
            raise KetlineError(SESSION_NOT_FOUND, workload_id=workload_id)
        return view

    async def close_workload(self, principal: Principal, workload_id: str) -> None:
        """No new jobs; what was submitted still runs."""
        view = await self.workload(principal, workload_id)
        self._house.check_owner(principal, view.user_id, "close this session")
        if workload_id in self._house.engine.scheduler.workloads:
            await self._feed(WorkloadCloseRequested(workload_id))

    async def cancel_workload(self, principal: Principal, workload_id: str) -> None:
        """Queued jobs are cancelled, running ones finish."""
        view = await self.workload(principal, workload_id)
        self._house.check_owner(principal, view.user_id, "cancel this session")
        if workload_id in self._house.engine.scheduler.workloads:
            await self._feed(WorkloadCancelRequested(workload_id))

    async def workload_items(
        self, principal: Principal, wanted: dict[str, Any]
    ) -> tuple[Sequence[dict[str, Any]], int, str | None, str | None]:
        """Jobs outside sessions, sessions and batches in one list: page, total, previous and next cursor.

        ``wanted`` holds ``limit``, ``ascending``, ``previous``, ``next``, ``backend``, ``search``, ``status``
        (of pending, in_progress, completed, canceled, failed), ``mode`` (job, session, batch),
        ``created_after``, ``created_before``, ``tags``, ``user_id``, ``include_mocks``; all may be absent.
        """
        house = self._house
        limit = int(wanted.get("limit") or 10)
        cursor = wanted.get("next") or wanted.get("previous")
        backwards = not wanted.get("next") and bool(wanted.get("previous"))
        statuses = tuple(wanted.get("status") or ())
        after, before = wanted.get("created_after"), wanted.get("created_before")
        mode = wanted.get("mode")
        query = queries.ItemQuery(
            instance_id=principal.instance_id,
            modes=_MODES[mode] if mode else ("job", Mode.SESSION.value, Mode.BATCH.value),
            job_statuses=tuple(s for s, shown in _JOB_PROGRESS.items() if shown in statuses)
            if statuses
            else None,
            progresses=statuses or None,
            backend=wanted.get("backend"),
            without_backends=() if wanted.get("include_mocks") else house.mocks(),
            user_id=wanted.get("user_id"),
            search=wanted.get("search"),
            tags=tuple(wanted.get("tags") or ()),
            created_after=None if after is None else after.timestamp(),
            created_before=None if before is None else before.timestamp(),
            ascending=bool(wanted.get("ascending")),
            backwards=backwards,
            after=None if not cursor else _read_cursor(cursor, "previous" if backwards else "next"),
            limit=limit + 1,
        )
        found, total = await house.store.read(queries.items, query)
        more = len(found) > limit
        if more:
            found = found[1:] if backwards else found[:limit]
        crn = house.instance_of(principal).crn
        items = [_job_item(row, crn) if kind == "job" else _workload_item(row, crn) for kind, row in found]
        earlier = _cursor(found[0]) if found and (more if backwards else cursor) else None
        later = _cursor(found[-1]) if found and (True if backwards else more) else None
        return items, total, earlier, later


def _job_item(row: Row, crn: str) -> dict[str, Any]:
    job = records.job_from_row(row)
    return {
        "id": job.job_id,
        "created": as_datetime(job.created_at),
        "ended": maybe_datetime(job.finished_at),
        "backend": row["backend"],
        "instance": crn,
        "user_id": job.user_id,
        "accepting_jobs": None,
        "mode": "job",
        "status": _JOB_PROGRESS[job.status.value],
        "status_reason": job.reason.message if job.reason else None,
        "tags": list(job.tags),
        "usage_seconds": job.billed_seconds,
        "usage": {
            "qpu_charge_time_seconds": job.billed_seconds,
            "status": "complete" if job.status.final else "pending",
        },
        "estimated_running_time_seconds": job.estimate_seconds,
    }


def _workload_item(row: Row, crn: str) -> dict[str, Any]:
    workload = records.workload_from_row(row)
    return {
        "id": workload.workload_id,
        "created": as_datetime(workload.created_at),
        "ended": maybe_datetime(workload.closed_at),
        "backend": row["backend"],
        "instance": crn,
        "user_id": workload.user_id,
        "accepting_jobs": workload.accepting,
        "mode": _SHOWN_MODES[row["mode"]],
        "status": row["progress"],
        "status_reason": workload.reason.message if workload.reason else None,
        "tags": [],
        "usage_seconds": workload.usage_seconds,
        "usage": {
            "qpu_charge_time_seconds": workload.usage_seconds,
            "status": "complete" if workload.closed_at is not None else "pending",
        },
        "estimated_running_time_seconds": None,
    }


def _cursor(item: tuple[str, Row]) -> str:
    kind, row = item
    identity = row["job_id" if kind == "job" else "workload_id"]
    return base64.urlsafe_b64encode(f"{row['created_at']!r}|{identity}".encode()).decode()


def _read_cursor(text: str, name: str) -> tuple[float, str]:
    try:
        at, _, identity = base64.urlsafe_b64decode(text.encode()).decode().partition("|")
        return float(at), identity
    except (binascii.Error, ValueError) as error:
        raise KetlineError(
            INVALID_REQUEST, field=name, problem="it isn't a cursor that a page gave"
        ) from error
