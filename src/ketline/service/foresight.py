"""Looks ahead for the live queue: a snapshot of the core, what is known of durations and users, forecasts.

Snapshots are taken on the event loop, where the core lives; everything that takes long happens in a thread,
on copies, one question at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from ketline.core.model import Job, Mode, Workload, WorkloadState
from ketline.core.scheduler import Scheduler
from ketline.planning.advise import Plan, plan
from ketline.planning.collecting import uncollected
from ketline.planning.durations import DurationModel, Part
from ketline.planning.estimate import Rates
from ketline.planning.forecast import BYSTANDERS, Forecast, Forecaster
from ketline.planning.history import History
from ketline.planning.replica import Present
from ketline.planning.situations import crowd_before, live
from ketline.planning.trace import Trace, TraceJob, TraceWorkload, of_job, of_workload
from ketline.planning.workload import Workload as Described
from ketline.service import traces
from ketline.service.house import House
from ketline.service.prospects import Expected, Outlook
from ketline.store import queries, tables

SNAPSHOT_SECONDS = 1.0
"""For how long a snapshot, and the forecasts from it, answer further questions."""
PAST_SECONDS = 86_400.0
PAST_JOBS = 5_000
REMEMBERED = 2_000
LEARNED = "forecasts.learned"
"""Under which name the store keeps what corrects forecasts."""
KEEP_SECONDS = 60.0
"""It is written down no more often; and when the server stops."""
UNREAD_NEWS = 20_000
"""What is kept while nobody asks: the latest, as a day's past would hold."""
SWITCH_SECONDS = 0.0005
PLAN_JOBS = 9_000
"""Jobs that all replicas of a plan may play together, in all modes: a second's work."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The core as it was at one time, never changed again."""

    scheduler: Scheduler
    present: Present
    taken_at: float


class Foresight:
    """Answers questions about the future of one live server."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._forecaster = Forecaster(DurationModel(), History(memory_seconds=PAST_SECONDS))
        self._news: deque[TraceJob | TraceWorkload | Job] = deque(maxlen=UNREAD_NEWS)
        workloads = house.engine.scheduler.workloads
        self._modes = {workload_id: workload.mode for workload_id, workload in workloads.items()}
        self._lock = asyncio.Lock()
        self._snapshot: Snapshot | None = None
        self._outlooks: dict[str, Outlook] = {}
        self._made: OrderedDict[str, Forecast] = OrderedDict()
        self._taught = False
        self._learned_more = False
        self._kept_at = house.clock.now()

    def watch(self, noun: Job | Workload) -> None:
        """Hear of a job that has ended or a workload that changed."""
        if isinstance(noun, Workload):
            self._modes[noun.workload_id] = noun.mode
            if noun.state is WorkloadState.CLOSED:
                self._modes.pop(noun.workload_id, None)
                self._news.append(of_workload(noun))
            return
        alone = noun.workload_id is None
        mode = Mode.JOB if alone else self._modes.get(noun.workload_id or "", Mode.BATCH)
        self._news.append(of_job(noun, mode))
        self._news.append(noun)

    async def outlook(self, job_id: str) -> Outlook:
        """Where an unfinished job stands and what is expected; KeyError when it has ended meanwhile."""
        async with self._lock:
            await self._learn_past()
            snapshot = self._fresh(job_id)
            known = self._outlooks.get(job_id)
            if known is None:
                known = await _aside(self._look, snapshot, job_id)
                self._outlooks[job_id] = known
                if self._house.clock.now() - self._kept_at >= KEEP_SECONDS:
                    self._keep()
            return known

    def put_away(self) -> None:
        """The server stops: write down what was learned, unless a question is being answered just now."""
        if not self._lock.locked():
            self._take_in_news()
            self._keep()

    def _keep(self) -> None:
        if self._learned_more:
            self._learned_more, self._kept_at = False, self._house.clock.now()
            value = json.dumps(self._forecaster.learned()).encode()
            changes, kept = self._house.engine.changes, tables.settings
            changes.call(sa.delete(kept).where(kept.c.name == LEARNED))
            changes.call(sa.insert(kept).values(name=LEARNED, value=value))

    async def expected(self, program: str, qpu_id: str, estimate_seconds: float | None) -> Expected:
        """QPU seconds of a job, corrected by what this QPU's jobs of the program really took."""
        async with self._lock:
            await self._learn_past()
            return await _aside(self._expect, program, qpu_id, estimate_seconds)

    async def look(self, question: Callable[[Scheduler], T]) -> T:
        """The answer to a question about the present, from a snapshot."""
        async with self._lock:
            return await _aside(question, self._fresh().scheduler)

    async def plan(
        self, workload: Described, instance_id: str, user_id: str, qpu_id: str, replicas: int, rates: Rates
    ) -> Plan:
        """The three modes for a workload under the present queue."""
        async with self._lock:
            await self._learn_past()
            snapshot = self._fresh()

            def work() -> Plan:
                self._take_in_news()
                forecaster = self._forecaster
                now = snapshot.taken_at
                crowd = crowd_before(snapshot.scheduler, now, workload, instance_id, qpu_id)
                situation = live(
                    crowd.scheduler,
                    snapshot.present,
                    forecaster.model,
                    forecaster.history,
                    now,
                    crowd.bundles,
                )
                return plan(
                    workload,
                    situation,
                    instance_id,
                    qpu_id,
                    user_id=user_id,
                    replicas=replicas,
                    rates=rates,
                    jobs_budget=PLAN_JOBS,
                )

            return await _aside(work)

    def _fresh(self, job_id: str | None = None) -> Snapshot:
        """A snapshot that isn't too old, and knows the job."""
        engine, now = self._house.engine, self._house.clock.now()
        known = self._snapshot
        stale = known is None or now - known.taken_at > SNAPSHOT_SECONDS
        if known is None or stale or (job_id is not None and job_id not in known.scheduler.jobs):
            scheduler = engine.scheduler
            calibrating = dict(self._house.work.machines.calibrations.began)
            with uncollected():
                copied = scheduler.copy()
            known = self._snapshot = Snapshot(copied, Present(calibrating), now)
            self._outlooks.clear()
        return known

    # ------------------------------------------------------------------ in a thread, one at a time

    def _look(self, snapshot: Snapshot, job_id: str) -> Outlook:
        self._take_in_news()
        explanation = snapshot.scheduler.explain(job_id)
        found = self._forecaster.forecast(
            snapshot.scheduler, [job_id], snapshot.taken_at, present=snapshot.present, bystanders=BYSTANDERS
        )
        plain = found[job_id]
        for name, forecast in found.items():
            self._made.setdefault(name, forecast)
        while len(self._made) > REMEMBERED:
            self._made.popitem(last=False)
        return Outlook(explanation, self._forecaster.corrected(plain), snapshot.taken_at)

    def _expect(self, program: str, qpu_id: str, estimate_seconds: float | None) -> Expected:
        self._take_in_news()
        known = self._forecaster.model.predict(Part.QPU, program, qpu_id, estimate_seconds)
        return Expected(known.quantile(0.05), known.quantile(0.5), known.quantile(0.95))

    def _take_in_news(self) -> None:
        while self._news:
            item = self._news.popleft()
            if isinstance(item, TraceJob):
                self._teach(item)
            elif isinstance(item, TraceWorkload):
                self._forecaster.history.add(Trace([], [item]))
            else:
                made = self._made.pop(item.job_id, None)
                if made is not None:
                    self._forecaster.learn(made, item)
                    self._learned_more = True

    def _teach(self, row: TraceJob) -> None:
        self._forecaster.history.add(Trace([row]))
        recorded = row.recorded
        if recorded is None or recorded.ready_at is None:
            return
        completed = row.outcome == "completed"
        self._forecaster.model.observe(
            row.program,
            row.qpu,
            estimate_seconds=row.estimate_seconds,
            prepare_seconds=row.prepare_seconds,
            qpu_seconds=row.qpu_seconds if completed else None,
            finalize_seconds=row.finalize_seconds if completed else None,
        )

    async def _learn_past(self) -> None:
        """Once: take in what the last day's jobs took, before those that this process heard of itself."""
        if self._taught:
            return
        self._taught = True
        heard = {item.job_id for item in self._news if isinstance(item, TraceJob)}
        since = self._house.clock.now() - PAST_SECONDS

        def read(connection: sa.Connection) -> tuple[Trace, bytes | None]:
            past = traces.read(connection, since, newest=PAST_JOBS)
            return past, queries.setting(connection, LEARNED)

        past, learned = await self._house.store.read(read)
        unclosed = self._house.engine.scheduler.workloads

        def teach() -> None:
            # a record that doesn't make sense is of no use; forecasts learn anew, as on a first day
            with contextlib.suppress(ValueError):
                self._forecaster.take_up(json.loads(learned or b"null"))
            for row in past.jobs:
                if row.job_id not in heard:
                    self._teach(row)
            closed = [row for row in past.workloads if row.workload_id not in unclosed and _closed(row)]
            self._forecaster.history.add(Trace([], closed))

        await _aside(teach)


async def _aside(work: Callable[..., T], *given: Any) -> T:
    """Compute in a thread that gives way to the event loop within half a millisecond instead of five."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        return await asyncio.to_thread(work, *given)
    finally:
        sys.setswitchinterval(usual)


def _closed(row: TraceWorkload) -> bool:
    return row.recorded is not None and row.recorded.finished_at is not None
