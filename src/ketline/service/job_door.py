"""Jobs as the outside handles them: submit, look, wait, read, cancel, tag, delete."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence

import orjson
import sqlalchemy as sa

from ketline.core.events import JobCancelRequested
from ketline.core.scheduler import Rejection
from ketline.errors import (
    CALIBRATION_NOT_FOUND,
    JOB_NOT_CANCELLABLE,
    JOB_NOT_FINAL,
    JOB_NOT_FOUND,
    STORAGE_FAILED,
    KetlineError,
)
from ketline.service import records
from ketline.service.backends import Backend
from ketline.service.house import House, Refused
from ketline.service.records import JobRecord
from ketline.service.views import JobFilter, JobRequest, JobView, Principal
from ketline.store import queries, tables
from ketline.store.files import FileKind
from ketline.store.queries import Row


class JobDoor:
    """The part of `ketline.service.facade.Runtime` that is about jobs."""

    _house: House

    async def submit_job(self, principal: Principal, request: JobRequest) -> JobView:
        """Accept a job; it is durable when this returns."""
        house = self._house
        backend = house.backend_of(principal, request.backend)
        self._check_request(request, backend)
        job_id = house.job_ids.make(house.clock.now())
        try:
            await house.files.put(FileKind.PAYLOAD, job_id, request.params)
        except OSError as error:
            raise KetlineError(STORAGE_FAILED, why=error.strerror or str(error)) from error
        event = records.submission(job_id, principal, request)
        record = JobRecord(
            backend=backend.name,
            private=request.private,
            calibration_id=request.calibration_id,
            log_level=request.log_level,
            caller=request.caller,
        )
        try:
            house.engine.submit(job_id, event, record)
        except Rejection as refusal:
            await house.files.drop(FileKind.PAYLOAD, job_id)
            raise Refused(refusal.reason) from None
        await house.engine.durable()
        return self._at_hand(job_id)

    def _check_request(self, request: JobRequest, backend: Backend) -> None:
        self._house.check_program(request.program)
        known = backend.device.calibration_id
        if request.calibration_id is not None and request.calibration_id != known:
            raise KetlineError(
                CALIBRATION_NOT_FOUND, name=backend.name, calibration_id=request.calibration_id
            )

    def _at_hand(self, job_id: str) -> JobView:
        view = self._house.board.job(job_id)
        assert view is not None, "a durable job is shown"
        return view

    async def job(self, principal: Principal, job_id: str) -> JobView:
        """One job; JOB_NOT_FOUND."""
        view = self._house.board.job(job_id)
        if view is None:
            row = await self._house.store.read_row(queries.job, job_id)
            if row is not None:
                view = self._view_of(row)
        if view is None or view.instance_id != principal.instance_id:
            raise KetlineError(JOB_NOT_FOUND, job_id=job_id)
        return view

    async def job_change(
        self, principal: Principal, job_id: str, revision: int, timeout_seconds: float
    ) -> JobView:
        """The job as soon as its revision isn't ``revision`` any more, or after the time-out as it is."""
        view = await self.job(principal, job_id)
        return await self._house.board.wait_for_job(
            view, timeout_seconds, lambda seen: seen.revision != revision
        )

    async def job_end(self, principal: Principal, job_id: str, timeout_seconds: float) -> JobView:
        """The job as soon as it is final, or after the time-out as it is."""
        view = await self.job(principal, job_id)
        return await self._house.board.wait_for_job(view, timeout_seconds, lambda seen: seen.status.final)

    async def jobs(self, principal: Principal, wanted: JobFilter) -> tuple[Sequence[JobView], int]:
        """A page of jobs and the count of all that match."""
        after, before = wanted.created_after, wanted.created_before
        query = queries.JobQuery(
            instance_id=principal.instance_id,
            pending=wanted.pending,
            backend=wanted.backend,
            program=wanted.program,
            tags=wanted.tags,
            workload_id=wanted.workload_id,
            user_id=wanted.user_id,
            created_after=None if after is None else after.timestamp(),
            created_before=None if before is None else before.timestamp(),
            ascending=wanted.ascending,
            limit=wanted.limit,
            offset=wanted.offset,
            without_backends=() if wanted.include_mocks else self._house.mocks(),
        )
        rows, total = await self._house.store.read(queries.jobs, query)
        return [self._view_of(row) for row in rows], total

    def _view_of(self, row: Row) -> JobView:
        """The view of a job that was found in the store; a final one is kept at hand."""
        board = self._house.board
        view = board.job(row["job_id"])
        if view is None:
            view = records.job_view_from_row(row)
            if view.status.final:
                board.pin_job(view)
        return view

    async def job_params(self, principal: Principal, job_id: str) -> AsyncIterator[bytes]:
        """The params exactly as posted, in pieces; empty for a private job."""
        view = await self.job(principal, job_id)
        if view.private:
            return _nothing()
        found = await self._house.files.read(FileKind.PAYLOAD, job_id)
        return _nothing() if found is None else found[1]

    async def job_result(self, principal: Principal, job_id: str) -> tuple[int, AsyncIterator[bytes]] | None:
        """The result's length and its pieces; None when there is none (yet). A private job's is read once."""
        view = await self.job(principal, job_id)
        if view.result_bytes is None or not view.status.final:
            return None
        if view.private:
            # From here on nobody else finds it, whatever becomes of this reader.
            self._change_final(view, result_bytes=None)
            found = await self._house.files.read(FileKind.RESULT, job_id)
            await self._house.engine.durable()
            await self._house.files.drop(FileKind.RESULT, job_id)
            return found
        return await self._house.files.read(FileKind.RESULT, job_id)

    async def job_logs(self, principal: Principal, job_id: str) -> str:
        """What the job logged."""
        await self.job(principal, job_id)
        found = await self._house.files.read(FileKind.LOG, job_id)
        if found is None:
            return ""
        return b"".join([piece async for piece in found[1]]).decode(errors="replace")

    async def cancel_job(self, principal: Principal, job_id: str) -> None:
        """Cancel; JOB_NOT_CANCELLABLE when final."""
        house = self._house
        view = await self.job(principal, job_id)
        house.check_owner(principal, view.user_id, "cancel this job")
        if job_id not in house.engine.scheduler.jobs:
            await house.engine.durable()
            view = await self.job(principal, job_id)
            raise KetlineError(JOB_NOT_CANCELLABLE, job_id=job_id, status=view.status.value)
        try:
            house.engine.feed(JobCancelRequested(job_id))
        except Rejection as refusal:
            raise Refused(refusal.reason) from None
        await house.engine.durable()

    async def delete_job(self, principal: Principal, job_id: str) -> None:
        """Delete a final job; JOB_NOT_FINAL otherwise."""
        house = self._house
        view = await self.job(principal, job_id)
        house.check_owner(principal, view.user_id, "delete this job")
        if not view.status.final:
            raise KetlineError(JOB_NOT_FINAL, job_id=job_id, status=view.status.value)
        house.board.drop_job(job_id)
        changes = house.engine.changes
        changes.drop_job(job_id)
        outside = view.workload_id is None
        key = (view.instance_id, view.user_id, view.backend, view.program, outside, view.status.value)
        changes.counts[key] -= 1
        house.engine.after_commit(("dropped", job_id), lambda: house.board.drop_job(job_id))
        await house.engine.durable()
        for kind in FileKind:
            await house.files.drop(kind, job_id)

    async def set_tags(self, principal: Principal, job_id: str, tags: Sequence[str]) -> None:
        """Replace the tags."""
        house = self._house
        view = await self.job(principal, job_id)
        house.check_owner(principal, view.user_id, "change this job's tags")
        kept = tuple(dict.fromkeys(tags))
        t = tables.job_tags
        changes = house.engine.changes
        changes.call(sa.delete(t).where(t.c.job_id == job_id))
        rows = [{"instance_id": view.instance_id, "tag": tag, "job_id": job_id} for tag in kept]
        if rows:
            changes.call(sa.insert(t).values(rows))
        if job_id in house.engine.scheduler.jobs:
            house.engine.retag(job_id, kept)
        else:
            # It may have ended since it was looked at: what is changed is what was written down last.
            await house.engine.durable()
            self._change_final(await self.job(principal, job_id), tags=kept)
        await house.engine.durable()

    def _change_final(self, view: JobView, **facts: object) -> None:
        """Change a final job's facts on the board and in the store."""
        changed = dataclasses.replace(view, revision=view.revision + 1, **facts)  # type: ignore[arg-type]
        columns = {
            name: orjson.dumps(value).decode() if name == "tags" else value for name, value in facts.items()
        }
        engine = self._house.engine
        engine.changes.call(
            sa.update(tables.jobs)
            .where(tables.jobs.c.job_id == view.job_id)
            .values(revision=changed.revision, **columns)
        )
        self._house.board.pin_job(changed)

    async def tags(self, principal: Principal, search: str) -> Sequence[str]:
        """Tags in use that contain ``search``."""
        return await self._house.store.read(queries.tags_in_use, principal.instance_id, search)


async def _nothing() -> AsyncIterator[bytes]:
    pieces: tuple[bytes, ...] = ()
    for piece in pieces:
        yield piece
