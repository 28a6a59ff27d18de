"""Explaining and estimating: why a job waits, when it will start, what it will use, which mode suits."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ketline.core.estimate import usage
from ketline.core.scheduler import Scheduler
from ketline.planning.estimate import Rates, limits_hit
from ketline.programs.base import Limits
from ketline.service.clock import as_datetime
from ketline.service.house import House
from ketline.service.prospects import Asked, Estimated, JobStory, QpuQueue
from ketline.service.queue_views import QueueViews
from ketline.service.views import JobView, Principal

if TYPE_CHECKING:
    from ketline.planning.advise import Plan
    from ketline.planning.workload import Workload as Described
    from ketline.service.foresight import Foresight


class ExplainingDoor:
    """The part of `ketline.service.facade.Runtime` that looks ahead."""

    _house: House
    _foresight_of_house: Foresight | None = None

    async def _foresight(self) -> Foresight:
        """Made when it is first asked: it needs numerical libraries, which a server else does without."""
        if self._foresight_of_house is None:
            made = await asyncio.to_thread(_foresight_type)
            if self._foresight_of_house is None:
                self._foresight_of_house = made(self._house)
                self._house.engine.watchers.append(self._foresight_of_house.watch)
        return self._foresight_of_house

    async def job(self, principal: Principal, job_id: str) -> JobView:
        """One job."""
        raise NotImplementedError

    async def explain_job(self, principal: Principal, job_id: str) -> JobStory:
        """Position, reason, story and expected times of a job; JOB_NOT_FOUND."""
        view = await self.job(principal, job_id)
        if not view.status.final:
            try:
                outlook = await (await self._foresight()).outlook(job_id)
            except KeyError:
                await self._house.engine.durable()
                view = await self.job(principal, job_id)
            else:
                view = await self.job(principal, job_id)
                told = tuple((as_datetime(at), text) for at, text in outlook.explanation.story)
                return JobStory(
                    view, as_datetime(outlook.taken_at), outlook.explanation, outlook.forecast, told
                )
        return JobStory(view, as_datetime(self._house.clock.now()), None, None, _told(view))

    async def estimate(self, principal: Principal, asked: Asked) -> Estimated:
        """What a job would use, before it is submitted; BACKEND_NOT_FOUND."""
        house = self._house
        backend, instance = house.backend_of(principal, asked.backend), house.instance_of(principal)
        spec = house.engine.scheduler.qpus[backend.name]
        delay = asked.rep_delay_seconds
        given: dict[str, Any] = {
            "rep_delay_seconds": backend.device.default_rep_delay_seconds if delay is None else delay
        }
        if asked.circuit_seconds is not None:
            given["circuit_seconds"] = asked.circuit_seconds
        formula = usage(asked.executions, **given)
        expected = await (await self._foresight()).expected(asked.program, backend.name, formula.seconds)
        unfinished = sum(
            job.instance_id == instance.instance_id for job in house.engine.scheduler.jobs.values()
        )
        hits = limits_hit(
            max(formula.seconds, expected.median),
            house.instances.spec(instance),
            spec,
            consumed_seconds=house.engine.scheduler.usage(instance.instance_id).used_seconds,
            pending_jobs=unfinished,
            max_execution_seconds=asked.max_execution_seconds,
            executions=asked.executions,
            max_executions=Limits().max_executions if asked.program == "sampler" else None,
        )
        return Estimated(backend.name, instance.plan, formula, expected, tuple(hits))

    async def plan_workload(
        self, principal: Principal, workload: Described, backend: str, replicas: int, rates: Rates
    ) -> Plan:
        """A workload in the three modes under the present queue; BACKEND_NOT_FOUND."""
        found = self._house.backend_of(principal, backend)
        return await (await self._foresight()).plan(
            workload, principal.instance_id, principal.user_id, found.name, replicas, rates
        )

    async def queues(self, principal: Principal, limit: int) -> list[QpuQueue]:
        """Every QPU that the principal may use, with the first ``limit`` jobs of its queue.

        An administrator sees whose jobs they are; others only their own instance's, and that others exist.
        """
        backends = [b for b in self._house.backends_of(principal, mocks=False) if b.serial]

        def look(scheduler: Scheduler) -> list[QpuQueue]:
            views = QueueViews(self._house, scheduler, principal)
            return [views.of(backend.name, limit) for backend in backends]

        return await (await self._foresight()).look(look)


def _told(view: JobView) -> tuple[tuple[datetime, str], ...]:
    """The story of a job that has ended, from its times."""
    told = [
        (view.created_at, "submitted"),
        (view.running_at, "start"),
        (view.ready_at, "prepared"),
        (view.locked_at, "given to the QPU"),
        (view.released_at, "released"),
        (view.finished_at, view.status.value),
    ]
    return tuple((at, text) for at, text in told if at is not None)


def _foresight_type() -> type[Foresight]:
    from ketline.service.foresight import Foresight

    return Foresight
