"""Synthetic traces: arrival processes, mixes of modes and heavy tails, from a seed.

Every stream draws from a generator of its own, derived from the seed and the stream's place, so that a
change of one stream leaves the others as they were (common random numbers for comparisons).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ketline.core.model import Mode
from ketline.planning.trace import MODE_NAMES, Close, Trace, TraceJob, TraceWorkload

Floats = NDArray[np.float64]
DAY_SECONDS = 86_400.0


class Part(BaseModel):
    """A table of a description; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Poisson(Part):
    """Arrivals at a constant rate, independent of each other."""

    kind: Literal["poisson"] = "poisson"
    per_hour: float = Field(gt=0)
    """Mean arrivals an hour."""

    def times(self, rng: np.random.Generator, start: float, seconds: float) -> Floats:
        """Sorted arrival times in ``[start, start + seconds)``, shape ``(n,)``."""
        count = rng.poisson(self.per_hour / 3_600 * seconds)
        return np.sort(rng.uniform(start, start + seconds, count))


class Bursty(Part):
    """A two-state Markov-modulated Poisson process: calm hours and bursts."""

    kind: Literal["bursty"] = "bursty"
    calm_per_hour: float = Field(ge=0)
    """Mean arrivals an hour while calm."""
    burst_per_hour: float = Field(gt=0)
    """Mean arrivals an hour in a burst."""
    calm_seconds: float = Field(gt=0)
    """Mean length of a calm."""
    burst_seconds: float = Field(gt=0)
    """Mean length of a burst."""

    def times(self, rng: np.random.Generator, start: float, seconds: float) -> Floats:
        """Sorted arrival times in ``[start, start + seconds)``, shape ``(n,)``."""
        share = self.burst_seconds / (self.burst_seconds + self.calm_seconds)
        burst = bool(rng.random() < share)
        pieces: list[Floats] = []
        at, end = start, start + seconds
        while at < end:
            length = rng.exponential(self.burst_seconds if burst else self.calm_seconds)
            until = min(at + length, end)
            rate = (self.burst_per_hour if burst else self.calm_per_hour) / 3_600
            pieces.append(np.sort(rng.uniform(at, until, rng.poisson(rate * (until - at)))))
            at, burst = at + length, not burst
        return np.concatenate(pieces) if pieces else np.zeros(0)


class Daily(Part):
    """Poisson arrivals whose rate follows the day: ``mean * (1 + swing * cos(2 pi (hour - peak) / 24))``."""

    kind: Literal["daily"] = "daily"
    per_hour: float = Field(gt=0)
    """Mean arrivals an hour over the day."""
    swing: float = Field(0.8, ge=0, le=1)
    """0: no cycle; 1: nothing arrives twelve hours from the peak."""
    peak_hour: float = Field(15.0, ge=0, lt=24)
    """Hour (UTC) of the largest rate."""

    def times(self, rng: np.random.Generator, start: float, seconds: float) -> Floats:
        """Sorted arrival times in ``[start, start + seconds)``, shape ``(n,)``, by thinning."""
        count = rng.poisson(self.per_hour * (1 + self.swing) / 3_600 * seconds)
        times = np.sort(rng.uniform(start, start + seconds, count))
        angle = 2 * math.pi * (times / 3_600 - self.peak_hour) / 24
        keep = rng.random(count) * (1 + self.swing) < 1 + self.swing * np.cos(angle)
        return times[keep]


Arrivals = Annotated[Poisson | Bursty | Daily, Field(discriminator="kind")]


class Fixed(Part):
    """Always the same."""

    kind: Literal["fixed"] = "fixed"
    value: float = Field(ge=0)
    """The value."""

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """``count`` values, shape ``(count,)``."""
        return np.full(count, self.value)

    def mean(self) -> float:
        """The expectation."""
        return self.value


class Exponential(Part):
    """Exponential."""

    kind: Literal["exponential"] = "exponential"
    mean_value: float = Field(gt=0, alias="mean")
    """The mean."""

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """``count`` values, shape ``(count,)``."""
        return rng.exponential(self.mean_value, count)

    def mean(self) -> float:
        """The expectation."""
        return self.mean_value


class Lognormal(Part):
    """Lognormal: most are short, some are long."""

    kind: Literal["lognormal"] = "lognormal"
    median: float = Field(gt=0)
    """The median."""
    sigma: float = Field(gt=0, le=4)
    """Standard deviation of the logarithm."""

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """``count`` values, shape ``(count,)``."""
        return self.median * np.exp(self.sigma * rng.standard_normal(count))

    def mean(self) -> float:
        """The expectation."""
        return self.median * math.exp(self.sigma**2 / 2)


class Pareto(Part):
    """Pareto with an upper end: a heavy tail that no job limit would cut."""

    kind: Literal["pareto"] = "pareto"
    minimum: float = Field(gt=0)
    """The smallest value."""
    alpha: float = Field(gt=0)
    """Tail exponent; the smaller, the heavier."""
    maximum: float = Field(gt=0)
    """The largest value."""

    @model_validator(mode="after")
    def _ordered(self) -> Pareto:
        if self.maximum <= self.minimum:
            raise ValueError(f"maximum ({self.maximum:g}) must be larger than minimum ({self.minimum:g})")
        return self

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """``count`` values, shape ``(count,)``, by inversion of the truncated distribution."""
        ratio = (self.minimum / self.maximum) ** self.alpha
        values: Floats = self.minimum * (1 - rng.random(count) * (1 - ratio)) ** (-1 / self.alpha)
        return values

    def mean(self) -> float:
        """The expectation."""
        low, high, a = self.minimum, self.maximum, self.alpha
        norm: float = 1 - (low / high) ** a
        if math.isclose(a, 1.0):
            return low / norm * math.log(high / low)
        power = 1 - a
        return float(a * low**a / norm * (high**power - low**power) / power)


Amount = Annotated[Fixed | Exponential | Lognormal | Pareto, Field(discriminator="kind")]


class Stream(Part):
    """``[[streams]]``: workloads of one kind that keep arriving."""

    instance: str = Field(min_length=1)
    """Instance that submits them."""
    arrivals: Arrivals
    """When a workload (a job, a batch or a session) arrives."""
    mode: Literal["job", "batch", "session"] = "job"
    """Execution mode."""
    qpu: str = ""
    """QPU; empty: the one with the fewest unfinished jobs at submission."""
    users: int = Field(1, ge=1)
    """Users who take turns at random."""
    program: str = "sampler"
    """Program of the jobs."""
    jobs: Amount = Fixed(value=1)
    """Jobs of a batch or session (rounded, one at least)."""
    iterative: bool | None = None
    """Whether a job is submitted only after the one before; unset: in sessions."""
    prepare_seconds: Amount = Fixed(value=0)
    """Classical seconds before the QPU."""
    qpu_seconds: Amount = Exponential(mean=10)
    """Seconds on the QPU."""
    finalize_seconds: Amount = Fixed(value=0)
    """Classical seconds after the QPU."""
    think_seconds: Amount = Fixed(value=0)
    """Seconds between a job's end and the next submission of an iterative workload."""
    estimate_sigma: float = Field(0.2, ge=0, le=3)
    """Spread of the logarithm of estimate over truth."""
    failed: float = Field(0.0, ge=0, le=1)
    """Share of jobs that fail through the user's fault."""
    close: Close | None = None
    """When the user closes; unset: batches when all is submitted, sessions when the last job has finished."""
    max_ttl_seconds: float | None = Field(None, ge=1)
    """Max TTL asked for; unset: the plan's."""

    @model_validator(mode="after")
    def _fits_mode(self) -> Stream:
        if self.mode == "job":
            for name in ("jobs", "iterative", "close", "max_ttl_seconds", "think_seconds"):
                if name in self.model_fields_set:
                    raise ValueError(f"{name} is for batches and sessions; mode is 'job'")
        return self


def generate(
    streams: list[Stream] | tuple[Stream, ...], seconds: float, seed: int, start: float = 0.0
) -> Trace:
    """A trace of ``seconds`` from ``start`` on; the same arguments give the same trace."""
    trace = Trace()
    seeds = np.random.SeedSequence(seed).spawn(len(streams))
    for number, (stream, child) in enumerate(zip(streams, seeds, strict=True)):
        rng = np.random.default_rng(child)
        times = stream.arrivals.times(rng, start, seconds)
        if stream.mode == "job":
            _single_jobs(trace, stream, number, times, rng)
        else:
            _workloads(trace, stream, number, times, rng)
    trace.jobs.sort(key=lambda job: math.inf if job.submitted_at is None else job.submitted_at)
    trace.workloads.sort(key=lambda workload: workload.submitted_at)
    return trace


def _jobs(stream: Stream, ids: list[str], rng: np.random.Generator) -> list[TraceJob]:
    count = len(ids)
    prepare = stream.prepare_seconds.sample(rng, count).tolist()
    qpu = stream.qpu_seconds.sample(rng, count)
    finalize = stream.finalize_seconds.sample(rng, count).tolist()
    estimate = (qpu * np.exp(stream.estimate_sigma * rng.standard_normal(count))).tolist()
    failed = (rng.random(count) < stream.failed).tolist()
    users = rng.integers(0, stream.users, count).tolist()
    mode = MODE_NAMES[stream.mode]
    return [
        TraceJob(
            job_id=ids[k],
            submitted_at=None,
            instance=stream.instance,
            qpu=stream.qpu,
            user=f"{stream.instance}-user-{users[k]}",
            mode=mode,
            program=stream.program,
            prepare_seconds=prepare[k],
            qpu_seconds=float(qpu[k]),
            finalize_seconds=finalize[k],
            estimate_seconds=estimate[k],
            outcome="failed" if failed[k] else "completed",
        )
        for k in range(count)
    ]


def _single_jobs(trace: Trace, stream: Stream, number: int, times: Floats, rng: np.random.Generator) -> None:
    jobs = _jobs(stream, [f"j{number}-{k}" for k in range(times.size)], rng)
    for job, at in zip(jobs, times.tolist(), strict=True):
        job.submitted_at = at
    trace.jobs += jobs


def _workloads(trace: Trace, stream: Stream, number: int, times: Floats, rng: np.random.Generator) -> None:
    mode = MODE_NAMES[stream.mode]
    iterative = stream.iterative if stream.iterative is not None else mode is Mode.SESSION
    close: Close = stream.close or ("finished" if mode is Mode.SESSION else "submitted")
    sizes = np.maximum(1, np.rint(stream.jobs.sample(rng, times.size))).astype(np.int64).tolist()
    for k, (at, size) in enumerate(zip(times.tolist(), sizes, strict=True)):
        workload_id = f"w{number}-{k}"
        jobs = _jobs(stream, [f"j{number}-{k}-{n}" for n in range(size)], rng)
        think = stream.think_seconds.sample(rng, size).tolist() if iterative else [0.0] * size
        for n, job in enumerate(jobs):
            job.workload = workload_id
            job.user = jobs[0].user
            if iterative and n > 0:
                job.after, job.think_seconds = jobs[n - 1].job_id, think[n]
            else:
                job.submitted_at = at
        trace.jobs += jobs
        trace.workloads.append(
            TraceWorkload(
                workload_id,
                at,
                stream.instance,
                mode,
                stream.qpu,
                jobs[0].user,
                stream.max_ttl_seconds,
                close,
            )
        )
