"""How good are forecasts? A trace is replayed, jobs are forecast as they come, and the truth is compared."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ketline.core.model import Job, JobStatus, Mode
from ketline.planning.centre import Centre
from ketline.planning.closures import announce
from ketline.planning.durations import DurationModel
from ketline.planning.forecast import BYSTANDERS, Forecast, Forecaster
from ketline.planning.history import History
from ketline.planning.replica import Present
from ketline.planning.trace import Trace, of_job, of_workload
from ketline.planning.users import Users
from ketline.planning.virtual import Performer


@dataclass(frozen=True, slots=True)
class Score:
    """Forecasts of one kind: how often the truth fell inside, and widths in seconds.

    ``mean_ratio`` is the interval's mean width over the mean time that was waited.
    """

    forecasts: int
    inside: float
    stated: float
    median_width: float
    p90_width: float
    mean_wait: float
    mean_ratio: float


@dataclass(slots=True)
class Backtest:
    """Forecasts with what came true, and the seconds that each forecast took to compute."""

    pairs: list[tuple[Forecast, Job]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def score(self, name: str) -> Score:
        """The score of ``running`` or ``finished``."""
        rows = []
        for forecast, job in self.pairs:
            interval = getattr(forecast, name)
            truth = job.running_at if name == "running" else job.finished_at
            if interval is not None and truth is not None and job.status is JobStatus.COMPLETED:
                rows.append((truth in interval, interval.width, truth - forecast.made_at, interval.coverage))
        if not rows:
            raise ValueError("no job was forecast that had to wait and was completed")
        inside, width, wait, stated = (
            np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)
        )
        return Score(
            len(rows),
            float(inside.mean()),
            float(stated[0]),
            float(np.median(width)),
            float(np.quantile(width, 0.9)),
            float(wait.mean()),
            float(width.mean() / max(wait.mean(), 1e-9)),
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "running": asdict(self.score("running")),
            "finished": asdict(self.score("finished")),
            "median_seconds_to_compute": float(np.median(self.seconds)),
        }


def backtest(
    centre: Centre, trace: Trace, *, every: int = 10, skip: int = 50, seed: int = 0, coverage: float = 0.9
) -> Backtest:
    """Replay a trace; forecast every ``every``-th job right after its submission, from what was known then.

    The first ``skip`` jobs are only learned from.
    """
    centre.require(trace)
    start = trace.start()
    performer = Performer(centre.scheduler(start), {}, start)
    announce(performer, centre.closures)
    forecaster = Forecaster(DurationModel(), History(), coverage)
    result = Backtest()
    made: dict[str, Forecast] = {}
    shown: dict[str, Forecast] = {}
    calibrating: dict[str, float] = {}
    modes = {workload.workload_id: workload.mode for workload in trace.workloads}

    def settled(job: Job) -> None:
        row = of_job(job, Mode.JOB if job.workload_id is None else modes[job.workload_id])
        forecaster.history.add(Trace([row]))
        forecaster.model.observe(
            job.program,
            job.qpu_id,
            estimate_seconds=job.estimate_seconds,
            prepare_seconds=row.prepare_seconds if job.ready_at is not None else None,
            qpu_seconds=job.qpu_seconds if job.status is JobStatus.COMPLETED else None,
            finalize_seconds=row.finalize_seconds if job.status is JobStatus.COMPLETED else None,
        )
        plain = made.pop(job.job_id, None)
        if plain is not None:
            forecaster.learn(plain, job)
        told = shown.pop(job.job_id, None)
        if told is not None:
            result.pairs.append((told, job))

    def submitted(job_id: str, number: int) -> None:
        if number < skip or number % every:
            return
        for qpu_id, since, until in performer.record.calibrations[-20:]:
            calibrating.pop(qpu_id, None)
            if since <= performer.now < until:
                calibrating[qpu_id] = since
        began = time.perf_counter()
        found = forecaster.forecast(
            performer.scheduler,
            [job_id],
            performer.now,
            present=Present(dict(calibrating)),
            seed=seed + number,
            bystanders=BYSTANDERS,
        )
        shown[job_id] = forecaster.corrected(found[job_id])
        result.seconds.append(time.perf_counter() - began)
        made.update((name, plain) for name, plain in found.items() if name not in made)

    performer.on_settled.append(settled)
    performer.on_closed.append(lambda workload: forecaster.history.add(Trace([], [of_workload(workload)])))
    users = Users(performer, trace)
    users.on_submitted = submitted
    users.run(trace.end() + 90 * 86_400.0)
    return result
