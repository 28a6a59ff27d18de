"""A workload that somebody plans to run: how many jobs, how long, all ready or one after the other."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from ketline.core import estimate
from ketline.core.model import Mode
from ketline.planning.history import closed_loop
from ketline.planning.synthetic import Part
from ketline.planning.trace import Trace, TraceJob, TraceWorkload
from ketline.problems import problem

LONGEST_JOB_SECONDS = 10_800.0
"""Usage at which a service stops any job (``modes.md`` C10)."""


class WorkloadError(ValueError):
    """A description makes no sense; each line names what."""


class Workload(Part):
    """A description, by TOML keys or flags of the same names. Times are in seconds, of one job."""

    jobs: int = Field(ge=1, le=10_000)
    """How many jobs."""
    qpu_seconds: float | None = Field(None, gt=0, le=LONGEST_JOB_SECONDS)
    """QPU time of a job; or give circuits and shots."""
    circuits: int | None = Field(None, ge=1)
    """Circuits of a job after broadcasting."""
    shots: int = Field(4_096, ge=1)
    """Shots of a circuit."""
    rep_delay_seconds: float = Field(estimate.DEFAULT_REP_DELAY_SECONDS, ge=0, le=1)
    """Delay between shots."""
    circuit_seconds: float = Field(estimate.DEFAULT_CIRCUIT_SECONDS, ge=0, le=1)
    """Scheduled length of a circuit."""
    overhead_seconds: float = Field(estimate.JOB_OVERHEAD_SECONDS, ge=0)
    """Fixed QPU time of a job."""
    prepare_seconds: float = Field(2.0, ge=0)
    """Classical time before the QPU."""
    finalize_seconds: float = Field(0.5, ge=0)
    """Classical time after the QPU."""
    iterative: bool = False
    """Whether jobs wait for the results of those before; otherwise everything is ready at once."""
    jobs_per_iteration: int = Field(1, ge=1)
    """Jobs that an iteration submits together."""
    think_seconds: float = Field(0.0, ge=0)
    """Time on the user's side between an iteration's results and the next submission."""
    close_seconds: float = Field(0.0, ge=0)
    """Time between the last result and the closing of a session."""
    reuses_noise_model: bool = False
    """Whether later jobs use noise that earlier ones learned (PEA, PEC), which should still be fresh."""
    spread: float = Field(0.25, ge=0, le=2)
    """Standard deviation of the logarithm of all times: how far they may be off."""
    program: str = Field("sampler", max_length=64)
    """Program of the jobs."""

    @model_validator(mode="after")
    def _consistent(self) -> Workload:
        if (self.qpu_seconds is None) == (self.circuits is None):
            raise ValueError("give either qpu_seconds or circuits")
        given = self.model_fields_set
        if self.circuits is None:
            for name in ("shots", "rep_delay_seconds", "circuit_seconds", "overhead_seconds"):
                if name in given:
                    raise ValueError(f"{name} goes with circuits, not with qpu_seconds")
        if not self.iterative:
            for name in ("think_seconds", "jobs_per_iteration"):
                if name in given and getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} needs iterative = true")
        if self.jobs_per_iteration > self.jobs:
            raise ValueError(
                f"jobs_per_iteration = {self.jobs_per_iteration} is more than all {self.jobs} jobs"
            )
        if self.job_seconds > LONGEST_JOB_SECONDS:
            raise ValueError(
                f"{self.circuits} circuits of {self.shots} shots take {self.job_seconds:,.0f} s, which is"
                f" longer than the longest job ({LONGEST_JOB_SECONDS:,.0f} s); describe more and smaller jobs"
            )
        return self

    @property
    def job_seconds(self) -> float:
        """Expected QPU time of a job."""
        if self.qpu_seconds is not None:
            return self.qpu_seconds
        executions = (self.circuits or 1) * self.shots
        return estimate.usage(
            executions,
            rep_delay_seconds=self.rep_delay_seconds,
            circuit_seconds=self.circuit_seconds,
            overhead_seconds=self.overhead_seconds,
        ).seconds

    @property
    def iterations(self) -> int:
        """How many rounds of submissions there are."""
        return -(-self.jobs // self.jobs_per_iteration) if self.iterative else 1

    def trace(self, mode: Mode, at: float, instance: str, user: str, qpu: str, seed: int) -> Trace:
        """The workload in a mode, submitted from ``at`` on; a seed draws the same times in every mode.

        An iteration begins ``think_seconds`` after the last job of the one before has ended. A batch is
        closed when all is submitted, a session ``close_seconds`` after its last job.
        """
        rng = np.random.default_rng(seed)
        draws = np.exp(self.spread * rng.standard_normal((self.jobs, 4)))
        workload = None if mode is Mode.JOB else f"plan-{mode.value}"
        jobs = []
        for k in range(self.jobs):
            iteration = k // self.jobs_per_iteration if self.iterative else 0
            before = f"plan-{iteration * self.jobs_per_iteration - 1}" if iteration else None
            jobs.append(
                TraceJob(
                    job_id=f"plan-{k}",
                    submitted_at=None if before else at,
                    instance=instance,
                    qpu=qpu,
                    user=user,
                    mode=mode,
                    workload=workload,
                    program=self.program,
                    prepare_seconds=self.prepare_seconds * float(draws[k, 0]),
                    qpu_seconds=self.job_seconds * float(draws[k, 1]),
                    finalize_seconds=self.finalize_seconds * float(draws[k, 2]),
                    estimate_seconds=self.job_seconds,
                    after=before,
                    think_seconds=self.think_seconds * float(draws[k, 3]) if before else 0.0,
                )
            )
        if workload is None:
            return Trace(jobs)
        session = mode is Mode.SESSION
        row = TraceWorkload(
            workload, at, instance, mode, qpu, user, close="finished" if session else "submitted",
            think_seconds=self.close_seconds if session else 0.0,
        )  # fmt: skip
        return Trace(jobs, [row])


def described(values: dict[str, Any], source: str) -> Workload:
    """A description from flags or a file; `WorkloadError` names source and key."""
    try:
        return Workload.model_validate(values, strict=True)
    except ValidationError as error:
        lines = [
            f"{source}: {'.'.join(map(str, e['loc'])) or 'workload'}: {problem(e)}" for e in error.errors()
        ]
        raise WorkloadError("\n".join(lines)) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a TOML file; `WorkloadError` names the file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkloadError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WorkloadError(f"{path}: not TOML: {error}") from error


def of_past(trace: Trace, ids: list[str]) -> Workload:
    """A description of past jobs: those with these ids, or of the sessions and batches with these ids.

    Raises `WorkloadError` for an id that the trace doesn't hold, and when none of them used the QPU.
    """
    wanted = set(ids)
    jobs = [job for job in trace.jobs if job.job_id in wanted or job.workload in wanted]
    missing = wanted - {job.job_id for job in jobs} - {job.workload for job in jobs if job.workload}
    if missing:
        raise WorkloadError(f"the trace holds no job of {min(missing)!r}")
    jobs = [job for job in jobs if job.qpu_seconds > 0]
    if not jobs:
        raise WorkloadError("none of these jobs used the QPU")
    chained = [_as_one(job) for job in jobs]
    waiting = [job for job in closed_loop(Trace(chained)).jobs if job.after is not None]
    rounds = len({job.after for job in waiting}) + 1
    iterative = rounds > 1
    values: dict[str, Any] = {
        "jobs": len(jobs),
        "qpu_seconds": _median(job.qpu_seconds for job in jobs),
        "prepare_seconds": _median(job.prepare_seconds for job in jobs),
        "finalize_seconds": _median(job.finalize_seconds for job in jobs),
        "iterative": iterative,
        "program": jobs[0].program,
        "spread": min(2.0, float(np.std(np.log([job.qpu_seconds for job in jobs])))),
    }
    if iterative:
        values["jobs_per_iteration"] = max(1, round(len(jobs) / rounds))
        values["think_seconds"] = _median(job.think_seconds for job in waiting)
    return described(values, "past jobs")


def _as_one(job: TraceJob) -> TraceJob:
    return replace(job, workload="past", mode=Mode.BATCH)


def _median(values: Any) -> float:
    return float(np.median(list(values)))
