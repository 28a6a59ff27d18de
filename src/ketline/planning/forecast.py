"""When will it start? The real core is run ahead over the present queue, many times, with drawn durations.

A forecast is an interval with a stated coverage. What the replicas can't know (people) is made good by
conformal correction: the intervals of past forecasts are compared with what came true, and the next ones
are made as much wider (or narrower) as the stated coverage asks for (`ketline.planning.correction`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ketline.core.model import Job, JobStatus
from ketline.core.scheduler import Scheduler
from ketline.planning.collecting import uncollected
from ketline.planning.condense import Condensed, condense
from ketline.planning.correction import Record
from ketline.planning.durations import DurationModel, Part
from ketline.planning.history import History
from ketline.planning.replica import Kind, Present, Replica
from ketline.planning.statistics import Interval, quantile_interval

COVERAGE = 0.9
MAX_REPLICAS = 40
JOBS_BUDGET = 5_000
"""Jobs that all replicas of a forecast may play together: it bounds the time that a forecast takes."""
QUEUE_AT_MOST, NEWCOMERS_AT_MOST = 2_000, 400
"""How many jobs a replica plays before the wanted ones have started: of longer queues, and of many newcomers,
several are played as one."""
ENOUGH_REPLICAS = 12
"""With fewer, intervals come from central durations and the spread of the work ahead."""
HOPELESS = 4
"""After so many replicas in which nothing wanted happened, as on a paused QPU, no more are played."""
BYSTANDERS = 4
"""How many other jobs each forecast is learned from: more would let one evening speak for all."""
SPREAD_SAMPLES = 400
HORIZON_SECONDS = 14 * 86_400.0

Floats = NDArray[np.float64]
_NO_SPREAD: Floats = np.zeros(1)


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a job will run (its preparation begins), have the QPU, and end: times in seconds since the epoch.

    None for what has happened already and for what didn't happen in any replica within ``HORIZON_SECONDS``
    (a paused QPU, a limit that holds the instance's work). ``replicas`` is how many futures were played.
    """

    job_id: str
    made_at: float
    running: Interval | None
    on_qpu: Interval | None
    finished: Interval | None
    replicas: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""

        def times(interval: Interval | None) -> dict[str, float] | None:
            if interval is None:
                return None
            return {
                "earliest": interval.low,
                "median": interval.middle,
                "latest": interval.high,
                "coverage": interval.coverage,
            }

        return {
            "made_at": self.made_at,
            "running": times(self.running),
            "on_qpu": times(self.on_qpu),
            "finished": times(self.finished),
            "replicas": self.replicas,
        }


class Forecaster:
    """Forecasts for jobs of a live queue, from what is known of durations and users.

    Not thread-safe; a forecast takes a fraction of a second of computing and should be kept off an event
    loop, on copies of the core.
    """

    def __init__(self, model: DurationModel, history: History, coverage: float = COVERAGE) -> None:
        self.model, self.history, self.coverage = model, history, coverage
        self.past = {"running": Record(), "finished": Record()}

    def learn(self, forecast: Forecast, job: Job) -> None:
        """Compare an uncorrected forecast with a job that has ended."""
        for name, truth in (("running", job.running_at), ("finished", job.finished_at)):
            interval: Interval | None = getattr(forecast, name)
            if interval is not None and truth is not None and job.status is not JobStatus.CANCELLED:
                self.past[name].add(forecast.made_at, interval, truth)

    def learned(self) -> dict[str, Any]:
        """What later corrections come from, for JSON."""
        return {name: record.as_dict() for name, record in self.past.items()}

    def take_up(self, learned: Any) -> None:
        """Go on with what an earlier forecaster `learned`; `ValueError` for anything else."""
        if not isinstance(learned, dict) or set(learned) != set(self.past):
            raise ValueError(f"there must be records of {', '.join(self.past)}")
        self.past = {name: Record.from_dict(learned[name]) for name in self.past}

    def corrected(self, forecast: Forecast) -> Forecast:
        """The forecast with what was learned from earlier ones."""
        told: list[Interval | None] = []
        for name, interval in (
            ("running", forecast.running), ("running", forecast.on_qpu), ("finished", forecast.finished)
        ):  # fmt: skip
            corrected = None if interval is None else self.past[name].correct(forecast.made_at, interval)
            told.append(_not_before(corrected, told))
        return replace(forecast, running=told[0], on_qpu=told[1], finished=told[2])

    def forecast(
        self,
        scheduler: Scheduler,
        job_ids: Sequence[str],
        now: float,
        *,
        present: Present = Present({}),  # noqa: B008 - frozen
        seed: int = 0,
        bystanders: int = 0,
    ) -> dict[str, Forecast]:
        """Uncorrected forecasts of unfinished jobs, all from the same replicas.

        So many ``bystanders`` at most, queued jobs that the replicas play anyway, are forecast besides, for
        what can be learned from them: those that end in every replica. ``scheduler`` isn't changed.
        `KeyError` names a job that it doesn't know.
        """
        wanted = {job_id: scheduler.jobs[job_id] for job_id in job_ids}
        crowd = condense(scheduler, wanted, QUEUE_AT_MOST)
        watched = wanted | _bystanders(scheduler, crowd, wanted, bystanders)
        horizon = min(HORIZON_SECONDS, 3_600.0 + 2.0 * crowd.wait_seconds)
        newcomers = min(NEWCOMERS_AT_MOST, self.history.per_second(now) * horizon)
        replicas = max(1, min(MAX_REPLICAS, int(JOBS_BUDGET / max(crowd.played + newcomers, 1.0))))
        few = replicas < ENOUGH_REPLICAS
        watches = []
        with uncollected():
            for child in np.random.SeedSequence(seed).spawn(replicas):
                rng = np.random.default_rng(child)
                replica = Replica(
                    crowd.scheduler.copy(), present, self.model, self.history, now, rng, horizon,
                    bundles=crowd.bundles, newcomers=NEWCOMERS_AT_MOST, central=few,
                )  # fmt: skip
                watch = Watch(replica, wanted, watched)
                replica.run(now + HORIZON_SECONDS)
                watches.append(watch.done())
                if len(watches) == HOPELESS and not any(seen.running or seen.finished for seen in watches):
                    break
        rng = np.random.default_rng(seed)
        spread = {
            job_id: self._spread(watches, job, rng) if few else _NO_SPREAD for job_id, job in watched.items()
        }
        found = {
            job_id: Forecast(
                job_id,
                now,
                self._interval([w.running.get(job_id) for w in watches], now, spread[job_id]),
                self._interval([w.on_qpu.get(job_id) for w in watches], now, spread[job_id]),
                self._interval([w.finished.get(job_id) for w in watches], now, spread[job_id]),
                len(watches),
            )
            for job_id in watched
        }
        everywhere = set(wanted) | set.intersection(*(set(watch.finished) for watch in watches))
        return {job_id: forecast for job_id, forecast in found.items() if job_id in everywhere}

    def _interval(self, times: list[float | None], now: float, spread: Floats) -> Interval | None:
        """The interval of times that came about in most replicas; None when they didn't."""
        known = np.array([at for at in times if at is not None])
        if 2 * known.size <= len(times):
            return None
        samples = known if spread.size == 1 else np.maximum(now, np.add.outer(known, spread).ravel())
        return quantile_interval(samples, self.coverage)

    def _spread(self, watches: list[Watched], job: Job, rng: np.random.Generator) -> Floats:
        """How much earlier or later the work ahead may end, shape ``(SPREAD_SAMPLES,)``.

        For the few replicas that a long queue leaves time for: their durations are central ones, and the
        sum of those ahead is spread by what isn't known of the programs and by chance.
        """
        shift = np.zeros(SPREAD_SAMPLES)
        variance = np.zeros(SPREAD_SAMPLES)
        for (program, known), (total, squares) in watches[0].ahead.get(job.job_id, {}).items():
            belief = self.model.belief(Part.QPU if known else None, program, job.qpu_id)
            mean, sigma = belief.centre()
            drawn = np.array([belief.draw(rng) for _ in range(SPREAD_SAMPLES)])
            growth = drawn[:, 0] - mean + (drawn[:, 1] ** 2 - sigma**2) / 2
            factor = np.exp(np.minimum(growth, 5.0))
            shift += total * (factor - 1.0)
            variance += squares * factor**2 * -np.expm1(-(sigma**2))
        return shift + np.sqrt(variance) * rng.standard_normal(SPREAD_SAMPLES)


def _not_before(interval: Interval | None, earlier: Sequence[Interval | None]) -> Interval | None:
    """The interval of what can't come before others do."""
    if interval is None:
        return None
    known = [other for other in earlier if other is not None]
    low, middle, high = (
        max([getattr(interval, end), *(getattr(other, end) for other in known)])
        for end in ("low", "middle", "high")
    )
    return replace(interval, low=low, middle=middle, high=high)


def _bystanders(
    scheduler: Scheduler, crowd: Condensed, wanted: Mapping[str, Job], count: int
) -> dict[str, Job]:
    """Queued jobs that are before a wanted one, and played by themselves; spread evenly over the queue."""
    ahead: list[str] = []
    for qpu_id in {job.qpu_id for job in wanted.values()}:
        queue = scheduler.queue(qpu_id)
        until = max((place for place, job_id in enumerate(queue) if job_id in wanted), default=0)
        ahead += [
            job_id
            for job_id in queue[:until]
            if job_id not in wanted and job_id not in crowd.bundles and job_id in crowd.scheduler.jobs
        ]
    step = max(1, -(-len(ahead) // count)) if count else len(ahead) + 1
    return {job_id: scheduler.jobs[job_id] for job_id in ahead[step - 1 :: step]}


@dataclass(slots=True)
class Watched:
    """What became of the jobs of interest in one replica: times by job id, and what was on the QPU before.

    ``ahead`` maps (program, had an estimate) to the sum and the sum of squares of the seconds.
    """

    running: dict[str, float] = field(default_factory=dict)
    on_qpu: dict[str, float] = field(default_factory=dict)
    finished: dict[str, float] = field(default_factory=dict)
    ahead: dict[str, dict[Kind, tuple[float, float]]] = field(default_factory=dict)


class Watch:
    """Looks on while a replica plays, and ends it when all wanted jobs have ended."""

    def __init__(self, replica: Replica, wanted: Mapping[str, Job], watched: Mapping[str, Job]) -> None:
        self._performer, self._work = replica.performer, replica.work
        self._jobs = replica.performer.scheduler.jobs
        self._left = set(wanted)
        self._watched = frozenset(watched)
        self._sums: dict[str, dict[Kind, tuple[float, float]]] = {job.qpu_id: {} for job in watched.values()}
        self._found = Watched()
        replica.performer.on_prepare = self._prepare
        replica.performer.on_locked = self._locked
        replica.performer.on_settled.append(self._settled)

    def done(self) -> Watched:
        """What was seen."""
        return self._found

    def _prepare(self, job_id: str) -> None:
        if job_id in self._watched:
            self._found.running.setdefault(job_id, self._performer.now)
            self._found.ahead[job_id] = dict(self._sums[self._jobs[job_id].qpu_id])

    def _locked(self, job_id: str, seconds: float) -> None:
        job = self._jobs[job_id]
        if job_id in self._watched:
            self._found.on_qpu.setdefault(job_id, self._performer.now)
        sums = self._sums.get(job.qpu_id)
        if sums is not None:
            for kind, (total, squares) in self._work.sums(job, seconds).items():
                before = sums.get(kind, (0.0, 0.0))
                sums[kind] = before[0] + total, before[1] + squares

    def _settled(self, job: Job) -> None:
        if job.job_id in self._watched:
            if job.status is JobStatus.COMPLETED:
                self._found.finished[job.job_id] = self._performer.now
            self._left.discard(job.job_id)
            if not self._left:
                self._performer.stop()
