"""Looks at jobs while they wait: what they will use, and whether they can run at all (``modes.md`` 1.1, 1.4).

A job that starts at once is prepared, which tells both. One that waits is prepared for a look, by what makes
estimates (`ketline.service.tasks.estimate`): its limits are checked before it waits for hours, and windows,
fair share and forecasts know its estimate. It is background work, done one at a time while workers have
nothing better to do, in turns of the instances.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
from collections import OrderedDict, deque
from pathlib import Path
from typing import TYPE_CHECKING

from ketline.compute.failures import TaskFailure
from ketline.compute.pool import Pool
from ketline.compute.waiting import Urgency
from ketline.core.events import Event, JobEstimated, JobFailed
from ketline.core.model import Job, JobStatus
from ketline.service.engine import Engine
from ketline.service.failing import failure_of
from ketline.service.records import JobRecord
from ketline.store.files import FileKind, Files
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from ketline.service.work import Work

_log = logging.getLogger(__name__)

WAITED_SECONDS = 0.5
"""Jobs that start within this aren't looked at: their preparation tells as much."""
BUSY_SECONDS = 1.0
"""For how long a look is put off while workers are busy."""
LOOK_SECONDS = 0.02
TASK_SECONDS = 60.0


class QueuedJobs:
    """Takes the payloads of queued jobs to the workers, and tells the core what it heard."""

    def __init__(self, work: Work, engine: Engine, pool: Pool, files: Files, prepare_seconds: float) -> None:
        self._work = work
        self._engine = engine
        self._pool = pool
        self._files = files
        self._seconds = min(TASK_SECONDS, prepare_seconds)
        self._waiting: OrderedDict[str, deque[str]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def add(self, job: Job) -> None:
        """Know of a job that was queued."""
        self._waiting.setdefault(job.instance_id, deque()).append(job.job_id)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._go_through())

    async def close(self) -> None:
        """Look at nothing any more."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _go_through(self) -> None:
        while (job_id := self._next()) is not None:
            if (job := self._unknown(job_id)) is not None:
                await self._patience(job)
            if (job := self._unknown(job_id)) is not None:
                try:
                    event = await self._look(job, self._engine.records[job_id])
                except Exception:  # noqa: BLE001 - the others that wait have to be looked at
                    _log.exception("job %s: the service failed to look at it while it waits", job_id)
                    continue
                if event is not None and self._unknown(job_id) is not None:
                    self._engine.feed(event)

    def _next(self) -> str | None:
        """The oldest job of the instance whose turn it is."""
        while self._waiting:
            instance_id, jobs = self._waiting.popitem(last=False)
            if jobs:
                job_id = jobs.popleft()
                self._waiting[instance_id] = jobs
                return job_id
        return None

    def _unknown(self, job_id: str) -> Job | None:
        """The job, if it still waits and nobody knows what it will use."""
        job = self._engine.scheduler.jobs.get(job_id)
        if job is None or job.status is not JobStatus.QUEUED or job.estimate_seconds is not None:
            return None
        return job

    async def _patience(self, job: Job) -> None:
        """Let the job start if it does so at once, and other work go before."""
        await asyncio.sleep(max(0.0, job.created_at + WAITED_SECONDS - self._engine.clock.now()))
        until = self._engine.clock.now() + BUSY_SECONDS
        while self._engine.clock.now() < until:
            facts = self._pool.facts
            if not facts["waiting"] and facts["ready"] - facts["busy"] >= min(2, facts["workers"]):
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, job: Job, record: JobRecord) -> Event | None:
        """What preparing the job tells; None when it tells nothing for sure."""
        args = self._work.args_of(job, record)
        folder = self._work.scratch / f"look.{secrets.token_hex(8)}"
        try:
            payload = self._files.local_path(FileKind.PAYLOAD, job.job_id)
            if payload is None:
                payload = folder / "payload"
                await asyncio.to_thread(folder.mkdir, mode=0o700)
                await self._files.fetch(FileKind.PAYLOAD, job.job_id, payload)
            return await self._ask(job, record, args, payload)
        finally:
            if await asyncio.to_thread(folder.exists):
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _ask(self, job: Job, record: JobRecord, args: dict[str, object], payload: Path) -> Event | None:
        try:
            answer = await self._pool.run(
                "estimate",
                args | {"payload": str(payload)},
                timeout_seconds=self._seconds,
                urgency=Urgency.BACKGROUND,
                near=None if record.private else job.instance_id,
            )
        except JobError as error:
            subject = f"job {job.job_id}"
            return JobFailed(job.job_id, failure_of(error, subject, "preparing", private=record.private))
        except (TaskFailure, OSError) as error:
            # Its own preparation, which has more time, will tell; it may have ended meanwhile.
            _log.debug("job %s can't be looked at while it waits: %s", job.job_id, type(error).__name__)
            return None
        return JobEstimated(job.job_id, sum(one["seconds"] for one in answer["rounds"]))
