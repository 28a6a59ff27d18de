"""Explaining and estimating: why a job waits, when it will start, what it will use, which mode suits."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ketline.core.estimate import UsageEstimate, together, usage
from ketline.core.scheduler import Rejection, Scheduler
from ketline.errors import INSTANCE_ARCHIVED, PENDING_JOB_LIMIT, QPU_RETIRED
from ketline.planning.estimate import Rates, limits_hit
from ketline.programs.base import Limits
from ketline.qpus.driver import driver_type
from ketline.service.backends import Backend
from ketline.service.clock import as_datetime
from ketline.service.estimating import Estimating
from ketline.service.house import House, Refused
from ketline.service.prospects import Asked, Estimated, JobStory, QpuQueue, Round
from ketline.service.queue_views import QueueViews
from ketline.service.records import submission
from ketline.service.views import JobRequest, JobView, Principal

if TYPE_CHECKING:
    from ketline.planning.advise import Plan
    from ketline.planning.workload import Workload as Described
    from ketline.service.foresight import Foresight


_TOLD_AMONG_LIMITS = frozenset(kind.code for kind in (PENDING_JOB_LIMIT, INSTANCE_ARCHIVED, QPU_RETIRED))


class ExplainingDoor:
    """The part of `ketline.service.facade.Runtime` that looks ahead."""

    _house: House
    _foresight_of_house: Foresight | None = None
    _estimating: Estimating | None = None

    async def _foresight(self) -> Foresight:
        """Made when it is first asked: it needs numerical libraries, which a server else does without."""
        if self._foresight_of_house is None:
            made = await asyncio.to_thread(_foresight_type)
            if self._foresight_of_house is None:
                self._foresight_of_house = made(self._house)
                self._house.engine.watchers.append(self._foresight_of_house.watch)
        return self._foresight_of_house

    def _put_away_foresight(self) -> None:
        """The server stops: what forecasts have learned is written down."""
        if self._foresight_of_house is not None:
            self._foresight_of_house.put_away()

    async def job(self, principal: Principal, job_id: str) -> JobView:
        """One job."""
        raise NotImplementedError

    def _check_request(self, request: JobRequest, backend: Backend) -> None:
        """Refuse a program or a calibration that there isn't."""
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
        """What a job of so many executions would use, before it is submitted; BACKEND_NOT_FOUND."""
        backend = self._house.backend_of(principal, asked.backend)
        self._house.check_program(asked.program)
        delay = asked.rep_delay_seconds
        given: dict[str, Any] = {
            "rep_delay_seconds": backend.device.default_rep_delay_seconds if delay is None else delay
        }
        if asked.circuit_seconds is not None:
            given["circuit_seconds"] = asked.circuit_seconds
        formula = usage(asked.executions, **given)
        seconds = driver_type(backend.settings.driver).estimate(formula, backend.settings)
        most = Limits().max_executions if asked.program == "sampler" else None
        return await self._estimated(
            principal,
            backend,
            asked.program,
            seconds,
            () if seconds is None else (Round(seconds, formula),),
            formula,
            asked.max_execution_seconds,
            most,
        )

    async def estimate_job(self, principal: Principal, request: JobRequest) -> Estimated:
        """What a submission would use: prepared and admitted as its job would be, then forgotten.

        Nothing is queued, stored or billed. What keeps the instance from submitting now (it is archived, has
        too many unfinished jobs, the QPU is retired) is told among the limits.

        Raises:
            KetlineError: the payload is refused, with the code that the submission or its job would get;
                TOO_MANY_ESTIMATES.
        """
        house = self._house
        backend = house.backend_of(principal, request.backend)
        self._check_request(request, backend)
        scheduler = house.engine.scheduler
        try:
            scheduler.admit(submission("estimate", principal, request))
        except Rejection as refusal:
            if refusal.reason.code not in _TOLD_AMONG_LIMITS:
                raise Refused(refusal.reason) from None
        if self._estimating is None:
            self._estimating = Estimating(house.pool, house.work, house.settings.compute.prepare_seconds)
        workload = scheduler.workloads.get(request.workload_id or "")
        rounds = await self._estimating.rounds(principal, request, backend, workload)
        return await self._estimated(
            principal,
            backend,
            request.program,
            sum(one.seconds for one in rounds),
            rounds,
            together(one.usage for one in rounds),
            request.cost_seconds,
        )

    async def _estimated(
        self,
        principal: Principal,
        backend: Backend,
        program: str,
        seconds: float | None,
        rounds: tuple[Round, ...],
        formula: UsageEstimate,
        max_execution_seconds: float | None,
        max_executions: int | None = None,
    ) -> Estimated:
        house = self._house
        instance, scheduler = house.instance_of(principal), house.engine.scheduler
        expected = await (await self._foresight()).expected(program, backend.name, seconds)
        hits = limits_hit(
            expected.median if seconds is None else max(seconds, expected.median),
            house.instances.spec(instance),
            scheduler.qpus[backend.name],
            consumed_seconds=scheduler.usage(instance.instance_id).used_seconds,
            pending_jobs=scheduler.unfinished(instance.instance_id),
            max_execution_seconds=max_execution_seconds,
            executions=formula.executions,
            max_executions=max_executions,
        )
        return Estimated(
            backend.name, instance.plan, program, seconds, formula, rounds, expected, tuple(hits)
        )

    async def plan_workload(
        self, principal: Principal, workload: Described, backend: str, replicas: int, rates: Rates
    ) -> Plan:
        """A workload in the three modes under the present queue; BACKEND_NOT_FOUND."""
        found = self._house.backend_of(principal, backend)
        self._house.check_program(workload.program)
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
        (view.running_at, "preparation began"),
        (view.ready_at, "prepared"),
        (view.locked_at, "given to the QPU"),
        (view.released_at, "released"),
        (view.finished_at, view.status.value),
    ]
    return tuple((at, text) for at, text in told if at is not None)


def _foresight_type() -> type[Foresight]:
    from ketline.service.foresight import Foresight

    return Foresight
