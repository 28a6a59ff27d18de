"""Does what the core says for jobs: prepares, runs, finalizes, stops; and tells the core what came of it."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ketline.compute.pool import Pool
from ketline.compute.waiting import Urgency
from ketline.config import ComputeSettings
from ketline.core.events import (
    CalibrationRequested,
    Event,
    JobFailed,
    JobFinalized,
    JobLocked,
    JobPrepared,
    JobReleased,
    JobStopped,
)
from ketline.core.model import Job, Mode, QpuMode, Stage, Workload
from ketline.service import tasks
from ketline.service.backends import Backend
from ketline.service.engine import Engine
from ketline.service.failing import failure_of
from ketline.service.kept import Kept
from ketline.service.machines import Machines
from ketline.service.queued import QueuedJobs
from ketline.service.records import JobRecord
from ketline.store.files import FileKind, Files

_log = logging.getLogger(__name__)


class Work:
    """The performer of a live centre."""

    def __init__(
        self,
        engine: Engine,
        pool: Pool,
        files: Files,
        backends: Mapping[str, Backend],
        settings: ComputeSettings,
        scratch: Path,
        kept: dict[str, Kept],
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._files = files
        self._backends = backends
        self._settings = settings
        self._scratch = scratch
        self._kept = kept
        self._doing: dict[str, asyncio.Task[None]] = {}
        self._tidying: set[asyncio.Task[None]] = set()
        self._sweeper = ThreadPoolExecutor(1, thread_name_prefix="ketline-sweeper")
        self.machines = Machines(self, engine, backends)
        self._queued = QueuedJobs(self, engine, pool, files, settings.prepare_seconds)

    @property
    def scratch(self) -> Path:
        """The folder of what lives no longer than this process."""
        return self._scratch

    # what the core says

    def queued(self, job: Job) -> None:
        """Look at a job that waits for a QPU, when there is time for it."""
        if self._backends[job.qpu_id].serial:
            self._queued.add(job)

    def prepare(self, job: Job, record: JobRecord) -> None:
        """Prepare a job in a worker."""
        self._begin(job, self._prepare(job, record))

    def run(self, job: Job, record: JobRecord, qpu_id: str) -> None:
        """Run a prepared job on its QPU, or in a worker when the backend has no queue."""
        folder = self._folder(job, record)
        if self._backends[qpu_id].serial:
            self.machines.run(qpu_id, job.job_id, folder, job.estimate_seconds or 0.0)
        else:
            self._begin(job, self._simulate(job, record))

    def finalize(self, job: Job, record: JobRecord) -> None:
        """Finalize a job in a worker."""
        self._begin(job, self._finalize(job, record))

    def stop(self, job_id: str, qpu_id: str) -> None:
        """Stop a job on its QPU."""
        if self._backends[qpu_id].serial:
            self.machines.stop(qpu_id, job_id)
        elif self._give_up(job_id):
            self._engine.feed(JobStopped(job_id, self._locked_seconds(job_id)))

    def abandon(self, job_id: str) -> None:
        """Drop a settled job's classical work."""
        self._give_up(job_id)

    def settled(self, job: Job, record: JobRecord) -> None:
        """Tidy up after a job whose end is durable."""
        self._give_up(job.job_id)
        kept = self._kept.pop(job.job_id, None)
        if kept is not None:
            self.machines.forget(job.qpu_id, kept.folder)
        self._spawn(self._tidy(job, record))

    def restored(self) -> None:
        """All unfinished jobs are known: what was kept for others is of no use any more."""
        for job_id in self._kept.keys() - self._engine.records.keys():
            self._spawn(self._sweep(self._kept.pop(job_id).folder))

    def closed(self, workload_id: str) -> None:
        """Forget what jobs of a session or batch kept for each other."""
        self._spawn(self._sweep(self._cache_folder(workload_id)))

    def calibrate(self, qpu_id: str) -> None:
        """Calibrate a QPU."""
        self.machines.calibrate(qpu_id)

    def paused(self, qpu_id: str, why: str) -> None:
        """Show that the core paused a QPU."""
        backend = self._backends[qpu_id]
        backend.mode, backend.message = QpuMode.PAUSED, why

    async def close(self) -> None:
        """Stop everything; nothing of it is told to the core."""
        await self._queued.close()
        doing = [*self._doing.values(), *self._tidying]
        for task in doing:
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)
        await self.machines.close()
        self._sweeper.shutdown()

    # classical work

    def _folder(self, job: Job, record: JobRecord) -> Path:
        return self._scratch / f"{job.job_id}.{record.attempt}"

    def _cache_folder(self, workload_id: str) -> Path:
        return self._scratch / f"cache.{workload_id}"

    def _begin(self, job: Job, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._doing[job.job_id] = task
        task.add_done_callback(lambda done: self._done(job.job_id, done))

    def _done(self, job_id: str, task: asyncio.Task[None]) -> None:
        if self._doing.get(job_id) is task:
            del self._doing[job_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("job %s: the service failed", job_id, exc_info=error)

    def _give_up(self, job_id: str) -> bool:
        task = self._doing.pop(job_id, None)
        if task is None or task.done() or task is asyncio.current_task():
            return False
        task.cancel()
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)

    def args_of(self, job: Job, record: JobRecord) -> dict[str, Any]:
        """What every task of a job needs to know."""
        # What private jobs hold is kept nowhere.
        return self.task_args(
            self._backends[job.qpu_id],
            job.program,
            self._engine.scheduler.workloads.get(job.workload_id or ""),
            None if record.private else job.instance_id,
        ) | {"folder": str(self._folder(job, record)), "log_level": record.log_level}

    def task_args(
        self, backend: Backend, program: str, workload: Workload | None, tenant: str | None
    ) -> dict[str, Any]:
        """What every task of a job's program needs to know (`ketline.service.tasks`).

        ``tenant`` is whose earlier jobs a worker may remember for this one, None for nobody's.
        """
        cache = None if workload is None else self._cache_folder(workload.workload_id)
        return {
            "program": program,
            "device": str(backend.device_path),
            "settings": backend.settings.model_dump(mode="json"),
            "simulator": backend.settings.simulator,
            "mock": backend.mock,
            "in_session": workload is not None and workload.mode is Mode.SESSION,
            "cache_folder": None if cache is None else str(cache),
            "max_decompressed_bytes": self._settings.max_decompressed_bytes,
            "tenant": tenant,
        }

    def _urgency(self, job: Job, on_qpu: Urgency) -> Urgency:
        """Jobs of simulators keep nobody's QPU waiting."""
        return on_qpu if self._backends[job.qpu_id].serial else Urgency.BACKGROUND

    async def _prepare(self, job: Job, record: JobRecord) -> None:
        args = self.args_of(job, record)

        async def work() -> Event:
            kept = self._kept.pop(job.job_id, None)
            if kept is not None:
                # The machine may have this very unit, whose state belongs to what it gives.
                kept.folder.rename(self._folder(job, record))
                return JobPrepared(job.job_id, kept.estimate_seconds)
            local = self._files.local_path(FileKind.PAYLOAD, job.job_id)
            if local is None:
                folder = self._folder(job, record)
                await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
                local = folder / "payload"
                await self._files.fetch(FileKind.PAYLOAD, job.job_id, local)
            args["payload"] = str(local)
            answer = await self._pool.run(
                "prepare",
                args,
                timeout_seconds=self._settings.prepare_seconds,
                urgency=self._urgency(job, Urgency.QPU),
                near=args["tenant"],
            )
            return JobPrepared(job.job_id, answer["estimate_seconds"])

        self._tell(job, Stage.PREPARING, await _outcome(job, record, "preparing", work()))

    async def _simulate(self, job: Job, record: JobRecord) -> None:
        self._engine.feed(JobLocked(job.job_id))

        async def work() -> Event:
            # The core stops it when its limit is reached; a worker that hangs is killed a little later.
            longest = job.limit_seconds + 60.0
            args = self.args_of(job, record)
            answer = await self._pool.run(
                "simulate", args, timeout_seconds=longest, urgency=Urgency.BACKGROUND
            )
            return JobReleased(job.job_id, answer["qpu_seconds"])

        event = await _outcome(job, record, "running", work())
        if isinstance(event, JobFailed):
            event = JobFailed(job.job_id, event.failure, self._locked_seconds(job.job_id))
        self._tell(job, Stage.ON_QPU, event)

    async def _finalize(self, job: Job, record: JobRecord) -> None:
        async def work() -> Event:
            args = self.args_of(job, record)
            answer = await self._pool.run(
                "finalize",
                args,
                timeout_seconds=self._settings.finalize_seconds,
                urgency=self._urgency(job, Urgency.UNDER_WAY),
                near=args["tenant"],
            )
            if "result_bytes" not in answer:
                # The core's estimate is of the whole job: what it has used by now, and what is to come.
                return JobPrepared(job.job_id, job.qpu_seconds + answer["estimate_seconds"])
            result = self._folder(job, record) / tasks.RESULT
            record.result_bytes = await self._files.adopt(FileKind.RESULT, job.job_id, result)
            if answer["calibrate"] and self._backends[job.qpu_id].serial:
                self._engine.feed(CalibrationRequested(job.qpu_id))
            return JobFinalized(job.job_id)

        self._tell(job, Stage.FINALIZING, await _outcome(job, record, "finalizing", work()))

    def _tell(self, job: Job, stage: Stage, event: Event) -> None:
        """Tell the core, unless the job has moved on without us."""
        if self._engine.scheduler.jobs.get(job.job_id) is not job or job.stage is not stage:
            return
        if self._doing.get(job.job_id) is asyncio.current_task():
            # What the core says next for this job begins a task of its own.
            del self._doing[job.job_id]
        self._engine.feed(event)

    def _locked_seconds(self, job_id: str) -> float:
        job = self._engine.scheduler.jobs.get(job_id)
        if job is None or job.locked_at is None:
            return 0.0
        return max(0.0, self._engine.clock.now() - job.locked_at)

    async def _tidy(self, job: Job, record: JobRecord) -> None:
        folder = self._folder(job, record)
        loop = asyncio.get_running_loop()
        if record.attempt and not await loop.run_in_executor(self._sweeper, _swept, str(folder), tasks.LOG):
            log = folder / tasks.LOG
            if await loop.run_in_executor(self._sweeper, log.exists):
                await self._files.adopt(FileKind.LOG, job.job_id, log)
            await self._sweep(folder)
        if record.private:
            await self._files.drop(FileKind.PAYLOAD, job.job_id)

    async def _sweep(self, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._sweeper, lambda: shutil.rmtree(folder, ignore_errors=True))


def _swept(folder: str, kept: str) -> bool:
    """Delete a folder of files, unless it holds one called ``kept`` or anything but files."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - done for every job, and paths are slow to make
        if kept in names:
            return False
        for name in names:
            os.unlink(f"{folder}/{name}")  # noqa: PTH108
        os.rmdir(folder)  # noqa: PTH106
    except OSError:
        return False
    return True


async def _outcome(job: Job, record: JobRecord, doing: str, work: Coroutine[Any, Any, Event]) -> Event:
    """What a piece of classical work came to, as an event."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - even a fault of ours must end the job, or it would run for ever
        return JobFailed(job.job_id, failure_of(error, f"job {job.job_id}", doing, private=record.private))
