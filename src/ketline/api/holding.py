"""Holding the answer about an unfinished job until there is something to tell.

The client asks for a job's status, sleeps 0.5 s (0.1 s in a session), and asks again. If every question
were answered at once, a job of 10 ms would be noticed after 500 ms. So the answer about an unfinished job is
held for ``server.hold_seconds`` (``hold_session_seconds`` for a job of a session) and given the moment that
the job ends:

- A change that isn't the end (queued to running) is told after a grace of 0.15 s at most. A short job
  ends within it, and the client then needn't sleep through the end.
- A job that is about to end when the time is up is held on until it does (``rest.md`` H44): when it is being
  finalized, or when its estimate says that the QPU will be done before the client would ask again.
- Who looks at many jobs in turn (``[job.status() for job in jobs]``) isn't waiting for one: when a
  connection asks for another job right after it was told that one is unfinished, it is answered at once.
  A waiting client sleeps in between, so it is never taken for such a sweep.

The answer always shows the job as it is when the answer is given, never as it was when it was asked for.
A held request is one suspended task and one timer.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from time import monotonic

from ketline.config import ServerSettings
from ketline.core.model import Stage
from ketline.service.facade import Runtime
from ketline.service.views import JobView, Principal

_GRACE_SECONDS = 0.15
_POLL_SECONDS = 0.5
_SESSION_POLL_SECONDS = 0.1
_FINALIZING_SECONDS = 1.0
_LATE_SECONDS = 0.3
"""How much later than estimated an end is still waited for."""
_SWEEP_SECONDS = 0.05
_REMEMBERED = 10_000

Asker = tuple[str, int] | None


class Holding:
    """Holds questions about unfinished jobs."""

    def __init__(self, runtime: Runtime, settings: ServerSettings) -> None:
        self._runtime = runtime
        self._settings = settings
        self._told: dict[tuple[str, int], tuple[str, float]] = {}
        self._held: set[asyncio.Task[object]] = set()
        self._closing = False

    async def job(self, principal: Principal, job_id: str, asker: Asker) -> JobView:
        """The job, held while it is unfinished; ``asker`` is the connection's address."""
        job = await self._runtime.job(principal, job_id)
        if job.status.final:
            return job
        hold = self._settings.hold_seconds if job.workload_id is None else self._settings.hold_session_seconds
        if hold > 0 and not self._closing and not self._sweeping(asker, job_id):
            job = await self._held_answer(principal, job, hold)
        if asker is not None and not job.status.final:
            self._remember(asker, job_id)
        return job

    def close(self) -> None:
        """Answer everything that is held, and hold nothing more."""
        self._closing = True
        for task in self._held:
            task.cancel()

    async def _held_answer(self, principal: Principal, job: JobView, hold: float) -> JobView:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an answer can only be held inside a task")
        self._held.add(task)
        try:
            return await self._await_change(principal, job, hold)
        except asyncio.CancelledError:
            if not self._closing:
                raise
            task.uncancel()
            return await self._runtime.job(principal, job.job_id)
        finally:
            self._held.discard(task)

    async def _await_change(self, principal: Principal, job: JobView, hold: float) -> JobView:
        told = job.status
        until = monotonic() + hold
        extended: set[Stage] = set()
        while not job.status.final:
            left = until - monotonic()
            if left <= 0:
                left = 0.0 if job.stage in extended else seconds_to_end(job, self._runtime.now())
                if left <= 0:
                    break
                extended.add(job.stage)
                until = monotonic() + left
            job = await self._runtime.job_change(principal, job.job_id, job.revision, left)
            if job.status is not told and not extended:
                told = job.status
                until = min(until, monotonic() + _GRACE_SECONDS)
        return job

    def _sweeping(self, asker: Asker, job_id: str) -> bool:
        if asker is None:
            return False
        told = self._told.get(asker)
        return told is not None and told[0] != job_id and monotonic() - told[1] < _SWEEP_SECONDS

    def _remember(self, asker: tuple[str, int], job_id: str) -> None:
        self._told.pop(asker, None)
        if len(self._told) >= _REMEMBERED:
            del self._told[next(iter(self._told))]
        self._told[asker] = (job_id, monotonic())


def seconds_to_end(job: JobView, now: datetime) -> float:
    """How long to wait on for a job that ends before its client would ask again; 0 if it doesn't."""
    if job.stage is Stage.FINALIZING:
        return _FINALIZING_SECONDS
    if job.stage is not Stage.ON_QPU or job.locked_at is None or job.estimate_seconds is None:
        return 0.0
    left = job.estimate_seconds - (now - job.locked_at).total_seconds()
    poll = _POLL_SECONDS if job.workload_id is None else _SESSION_POLL_SECONDS
    return left + _LATE_SECONDS if left < poll and left + _LATE_SECONDS > 0 else 0.0
