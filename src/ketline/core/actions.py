"""What to do: the scheduler's answers, performed by the service, by the planner or by nobody.

The order of a list is the order of doing. ``Prepare``, ``Run``, ``Finalize`` are answered by events of
the same job; the rest need no answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from ketline.core.model import Job, Reason, UsageLine, Workload


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be done."""


@dataclass(frozen=True, slots=True)
class Prepare(Action):
    """Unpack, validate, expand and compile. Answer: ``JobPrepared`` or ``JobFailed``."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Run(Action):
    """Run on the QPU. Answer: ``JobLocked`` at once, then ``JobReleased`` or ``JobFailed``."""

    job_id: str
    qpu_id: str
    limit_seconds: float


@dataclass(frozen=True, slots=True)
class Finalize(Action):
    """Turn raw outcomes into the program's result. Answer: ``JobFinalized`` or ``JobFailed``."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Stop(Action):
    """Stop the job on the QPU. Answer: ``JobStopped`` (or ``JobReleased`` if it was already done)."""

    job_id: str
    qpu_id: str


@dataclass(frozen=True, slots=True)
class Abandon(Action):
    """Drop the classical work of a job that is already settled. No answer."""

    job_id: str


@dataclass(frozen=True, slots=True)
class JobChanged(Action):
    """The job's facts changed; it is still unfinished."""

    job: Job


@dataclass(frozen=True, slots=True)
class Settle(Action):
    """The job reached its final state. The scheduler forgets it; the caller owns the noun from here on."""

    job: Job


@dataclass(frozen=True, slots=True)
class WorkloadChanged(Action):
    """The session's or batch's facts changed. When it is closed, the scheduler forgets it."""

    workload: Workload


@dataclass(frozen=True, slots=True)
class Bill(Action):
    """A line of the ledger."""

    line: UsageLine


@dataclass(frozen=True, slots=True)
class QpuModeSet(Action):
    """A QPU changed its mode by a decision of the scheduler."""

    qpu_id: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Calibrate(Action):
    """Calibrate the QPU. Answer: ``CalibrationEnded``."""

    qpu_id: str


@dataclass(frozen=True, slots=True)
class SetTimer(Action):
    """Send ``TimerFired`` at this time. A later ``SetTimer`` replaces the earlier one."""

    at: float
