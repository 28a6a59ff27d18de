"""Which mode? The same workload in job, batch and session mode, on the real core, and a reasoned advice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from ketline.core.model import Job, JobStatus, Mode, QpuSpec
from ketline.planning.collecting import uncollected
from ketline.planning.estimate import Rates
from ketline.planning.measure import session_figures, union
from ketline.planning.recommend import MODES, ModeForecast, clock, hints, recommend
from ketline.planning.statistics import Interval, quantile_interval
from ketline.planning.timeline import JobSpan, Panel, Window
from ketline.planning.trace import NAMES_OF_MODES
from ketline.planning.users import Users
from ketline.planning.virtual import Performer
from ketline.planning.workload import Workload

PATIENCE_SECONDS = 30 * 86_400.0
OTHERS_SHOWN = 600
ROUNDING_SECONDS = 1e-6
OWN, OTHERS = "yours", "others"

Situation = Callable[[int], Performer]
"""Makes, for a seed, a performer in the situation that the workload meets: the same seed, the same one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The three modes side by side, which of them is advised (None: none would work), why, and what else
    would help."""

    modes: dict[Mode, ModeForecast]
    advised: Mode | None
    reasons: tuple[str, ...]
    hints: tuple[str, ...]
    coverage: float
    replicas: int
    currency: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "advised": None if self.advised is None else NAMES_OF_MODES[self.advised],
            "reasons": list(self.reasons),
            "hints": list(self.hints),
            "coverage": self.coverage,
            "replicas": self.replicas,
            "currency": self.currency,
            "modes": [forecast.as_dict() for forecast in self.modes.values()],
        }

    def panels(self) -> list[Panel]:
        """One stretch of time for each mode that is possible, for a picture."""
        return [forecast.panel for forecast in self.modes.values() if forecast.panel is not None]


def plan(
    workload: Workload,
    situation: Situation,
    instance_id: str,
    qpu_id: str,
    *,
    user_id: str = "you",
    replicas: int = 15,
    seed: int = 0,
    coverage: float = 0.9,
    rates: Rates = Rates(),  # noqa: B008 - frozen
    jobs_budget: float = inf,
) -> Plan:
    """Play the workload in each mode against the same ``replicas`` situations and draw the conclusions.

    Fewer are played when all of them together have played ``jobs_budget`` jobs, which bounds the time.
    """
    outcomes: dict[Mode, list[_Outcome]] = {mode: [] for mode in MODES}
    with uncollected():
        for number in range(seed, seed + replicas):
            if sum(outcome.played for one in outcomes.values() for outcome in one) >= jobs_budget:
                break
            for mode in MODES:
                outcomes[mode].append(
                    _play(workload, mode, situation(number), instance_id, user_id, qpu_id, number)
                )
    performer = situation(seed)
    instance, qpu = performer.scheduler.instances[instance_id], performer.scheduler.qpus[qpu_id]
    rate = rates.rate(instance.plan, qpu_id)
    modes = {mode: _summarise(mode, outcomes[mode], qpu, coverage, rate) for mode in MODES}
    advised, reasons = recommend(workload, modes)
    tips = hints(workload, modes, advised, instance)
    played = len(outcomes[Mode.JOB])
    return Plan(modes, advised, tuple(reasons), tuple(tips), coverage, played, rates.currency)


# ---------------------------------------------------------------- one run


@dataclass(frozen=True, slots=True)
class _Outcome:
    wall: float
    waiting: float
    usage: float
    idle: float
    classical: float
    windows: int
    finished: bool
    refused: str
    panel: Panel | None
    played: int


def _play(
    workload: Workload,
    mode: Mode,
    performer: Performer,
    instance_id: str,
    user_id: str,
    qpu_id: str,
    seed: int,
) -> _Outcome:
    at = performer.now
    trace = workload.trace(mode, at, instance_id, user_id, qpu_id, seed)
    mine = {job.job_id for job in trace.jobs} | {row.workload_id for row in trace.workloads}
    users = Users(performer, trace)
    users.run(at + PATIENCE_SECONDS)
    played = len(performer.record.jobs)
    refused = next((reason.message for name, reason in performer.record.rejected if name in mine), "")
    jobs = [job for job in performer.record.jobs if job.job_id in mine]
    own = [row for row in performer.record.workloads if row.workload_id in mine]
    finished = [job for job in jobs if job.status is JobStatus.COMPLETED]
    if not refused and not finished:
        waits = [name for name in performer.scheduler.jobs if name in mine]
        why = f": {performer.scheduler.reason(waits[0]).message}" if waits else "."
        refused = f"No job would end within 30 days on {qpu_id}{why}"
    if refused:
        return _Outcome(0, 0, 0, 0, 0, 0, finished=False, refused=refused, panel=None, played=played)
    end = max(job.finished_at or at for job in finished)
    pending = union((job.created_at, end if job.finished_at is None else job.finished_at) for job in jobs)
    waiting = _length(pending) - _length(union(span for job in jobs for span in _at_work(job)))
    waiting = waiting if waiting > ROUNDING_SECONDS else 0.0
    usage = sum(line.seconds for line in performer.record.lines if (line.job_id or line.workload_id) in mine)
    split = session_figures([row for row in own if row.mode is Mode.SESSION], jobs)
    windows = sum(len(row.windows) for row in own)
    panel = _panel(mode, performer, jobs, mine, at, end, usage)
    return _Outcome(
        end - at, waiting, usage, split.idle_seconds, split.classical_seconds, windows,
        finished=len(finished) == len(trace.jobs), refused="", panel=panel, played=played,
    )  # fmt: skip


def _at_work(job: Job) -> Iterable[tuple[float, float]]:
    """When the job was being prepared, on the QPU or being finalized: not while it waited for the QPU."""
    if job.running_at is not None and job.finished_at is not None:
        yield job.running_at, job.finished_at if job.ready_at is None else job.ready_at
        if job.locked_at is not None:
            yield job.locked_at, job.finished_at


def _length(spans: Iterable[tuple[float, float]]) -> float:
    return sum(end - start for start, end in spans)


def _panel(
    mode: Mode, performer: Performer, jobs: list[Job], mine: set[str], at: float, end: float, usage: float
) -> Panel:
    qpu_id = jobs[0].qpu_id
    strangers = [
        job
        for job in (*performer.record.jobs, *performer.scheduler.jobs.values())
        if job.job_id not in mine
        and job.qpu_id == qpu_id
        and job.created_at < end
        and (job.finished_at is None or job.finished_at > at)
    ]
    strangers.sort(key=lambda job: inf if job.running_at is None else job.running_at)
    del strangers[OTHERS_SHOWN:]
    spans = [span for row in performer.record.workloads if row.workload_id in mine for span in row.windows]
    windows = tuple(
        Window(
            frozenset({OWN}),
            since,
            until,
            exclusive=mode is Mode.SESSION,
            label="" if number else NAMES_OF_MODES[mode],  # many short windows leave no room for more
        )
        for number, (since, until) in enumerate(spans)
    )
    return Panel(
        title=f"{NAMES_OF_MODES[mode]} mode",
        explanation="",
        jobs=tuple(_span(job, OWN, at, end) for job in jobs)
        + tuple(_span(job, OTHERS, at, end) for job in strangers),
        windows=windows,
        lanes=performer.scheduler.qpus[qpu_id].lanes,
        others=frozenset({OTHERS}),
        summary=f"wall {clock(end - at)}, billed {clock(usage)}",
    )


def _span(job: Job, name: str, since: float, until: float) -> JobSpan:
    def clipped(at: float | None) -> float | None:
        return None if at is None else max(at, since)

    started = job.running_at is not None and job.running_at < until
    locks = ()
    if job.locked_at is not None and job.released_at is not None and since < job.released_at and started:
        locks = ((max(job.locked_at, since), job.released_at),)  # type: ignore[assignment]  # () widens
    return JobSpan(
        job.job_id, name, max(job.created_at, since), clipped(job.running_at) if started else None,
        clipped(job.finished_at) if started else None, clipped(job.ready_at) if started else None, locks,
    )  # fmt: skip


def _summarise(
    mode: Mode, outcomes: list[_Outcome], qpu: QpuSpec, coverage: float, rate: float | None
) -> ModeForecast:
    played = [outcome for outcome in outcomes if outcome.panel is not None]
    if not played:
        return ModeForecast(mode, refused=outcomes[0].refused)

    def interval(figure: Callable[[_Outcome], float]) -> Interval:
        return quantile_interval([figure(outcome) for outcome in played], coverage)

    middle = sorted(played, key=lambda outcome: outcome.wall)[len(played) // 2]
    return ModeForecast(
        mode,
        wall=interval(lambda o: o.wall),
        waiting=interval(lambda o: o.waiting),
        usage=interval(lambda o: o.usage),
        idle=interval(lambda o: o.idle),
        classical=interval(lambda o: o.classical),
        cost=None if rate is None else interval(lambda o: o.usage * rate),
        windows=float(np.mean([outcome.windows for outcome in played])),
        unfinished_share=sum(not outcome.finished for outcome in outcomes) / len(outcomes),
        panel=middle.panel,
    )
