"""Runs a centre on a virtual clock, under one setting or under two that are compared on the same seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from ketline.core.model import JobStatus
from ketline.planning import synthetic
from ketline.planning import trace as trace_format
from ketline.planning.centre import Centre, CentreError, Variation, varied
from ketline.planning.closures import Closure, Window, announce
from ketline.planning.collecting import uncollected
from ketline.planning.measure import Figures, measure, without_nan
from ketline.planning.statistics import Difference, block_difference, paired_difference
from ketline.planning.synthetic import Part, Stream
from ketline.planning.trace import Trace
from ketline.planning.users import Users
from ketline.planning.virtual import Performer, Record
from ketline.problems import problem

GRACE_SECONDS = 90 * 86_400.0
"""How long after the last submission a simulation may take to work off its queue."""


class Load(Part):
    """A synthetic load: ``seconds`` of arrivals, the streams that make them, and when QPUs are taken away."""

    seconds: float = Field(gt=0)
    """How long workloads keep arriving."""
    streams: tuple[Stream, ...] = Field(min_length=1)
    """What arrives."""
    windows: tuple[Window, ...] = ()
    """Maintenance and reservations."""

    def closures(self) -> tuple[Closure, ...]:
        """The windows on the clock of the traces."""
        return tuple(window.closure(number) for number, window in enumerate(self.windows, 1))

    def trace(self, seed: int) -> Trace:
        """The trace of a seed."""
        return synthetic.generate(self.streams, self.seconds, seed)


def load_toml(path: Path) -> Load:
    """Read a synthetic load; `ketline.planning.trace.TraceError` names file and key."""
    import tomllib

    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        return Load.model_validate(given)
    except OSError as error:
        raise trace_format.TraceError([f"{path}: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise trace_format.TraceError([f"{path}: not TOML: {error}"]) from error
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, e['loc'])) or 'load'}: {problem(e)}" for e in error.errors()]
        raise trace_format.TraceError(problems) from error


@dataclass(frozen=True, slots=True)
class Run:
    """One simulated run: what happened, what it was like, and what it took to simulate."""

    record: Record
    figures: Figures
    since: float
    until: float
    unfinished: int
    events: int
    wall_seconds: float


def simulate(
    centre: Centre, trace: Trace, *, warm_up_seconds: float = 0.0, until: float | None = None
) -> Run:
    """Play a trace through the real core, to the end or ``until``.

    Figures are of the jobs created after ``warm_up_seconds``, over the time until the last of them ended.
    Raises `CentreError` when the trace names what the centre doesn't have.
    """
    centre.require(trace)
    start = trace.start()
    end = trace.end() + GRACE_SECONDS if until is None else until
    performer = Performer(centre.scheduler(start), {}, start)
    announce(performer, centre.closures)
    users = Users(performer, trace)
    began = time.perf_counter()
    with uncollected():
        users.run(end)
    wall_seconds = time.perf_counter() - began
    since = start + warm_up_seconds
    last = max(
        (job.finished_at for job in performer.record.jobs if job.finished_at is not None), default=start
    )
    stop = max(since, last if until is None else until)
    figures = measure(performer.record, centre, since, stop)
    unfinished = len(performer.scheduler.jobs)
    return Run(performer.record, figures, since, stop, unfinished, performer.events_handled, wall_seconds)


@dataclass(frozen=True, slots=True)
class Setting:
    """A variation and its runs, one a seed (or one, of a trace)."""

    variation: Variation
    runs: tuple[Run, ...]

    def headline(self) -> dict[str, float]:
        """The mean over the runs of every figure that all of them have."""
        each = [run.figures.headline() for run in self.runs]
        names = [name for name in each[0] if all(name in figures for figures in each)]
        return {name: float(np.mean([figures[name] for figures in each])) for name in names}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "setting": self.variation.describe(),
            "headline": without_nan(self.headline()),
            "runs": [
                run.figures.as_dict()
                | {"unfinished_jobs": run.unfinished, "events": run.events, "wall_seconds": run.wall_seconds}
                for run in self.runs
            ],
        }


def study(
    centre: Centre,
    traces: Sequence[Trace],
    variation: Variation = Variation(),  # noqa: B008 - frozen
    *,
    warm_up_seconds: float = 0.0,
    progress: Callable[[], None] | None = None,
) -> Setting:
    """Run every trace (one a seed) under a variation."""
    if not traces:
        raise CentreError("a study needs a trace")
    runs = []
    for trace in traces:
        runs.append(simulate(*varied(centre, trace, variation), warm_up_seconds=warm_up_seconds))
        if progress is not None:
            progress()
    return Setting(variation, tuple(runs))


def compare(first: Setting, second: Setting, coverage: float = 0.95) -> dict[str, Difference]:
    """Every headline figure under both settings, and whether they differ by more than chance.

    With two seeds or more the runs are paired seed by seed. With one run each only the jobs' waits can be
    compared: those of jobs that ran under both, by a block bootstrap.
    """
    if len(first.runs) != len(second.runs):
        raise CentreError(f"{len(first.runs)} runs can't be paired with {len(second.runs)}")
    if len(first.runs) == 1:
        return {"wait_mean_seconds": _job_by_job(first.runs[0], second.runs[0], coverage)}
    found = {}
    one, two = ([run.figures.headline() for run in setting.runs] for setting in (first, second))
    for name in one[0]:
        a = [figures.get(name, math.nan) for figures in one]
        b = [figures.get(name, math.nan) for figures in two]
        if all(math.isfinite(value) for value in (*a, *b)):
            found[name] = paired_difference(a, b, coverage)
    return found


def _job_by_job(first: Run, second: Run, coverage: float) -> Difference:
    waits = [
        {
            job.job_id: job.running_at - job.created_at
            for job in sorted(run.record.jobs, key=lambda job: job.seq)
            if job.running_at is not None and job.status is not JobStatus.CANCELLED
        }
        for run in (first, second)
    ]
    both = [job_id for job_id in waits[0] if job_id in waits[1]]
    if len(both) < 4:
        raise CentreError(f"only {len(both)} jobs ran under both settings; a comparison needs 4 at least")
    return block_difference([waits[0][k] for k in both], [waits[1][k] for k in both], coverage=coverage)
