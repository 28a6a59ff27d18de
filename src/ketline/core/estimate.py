"""The formula for the QPU time of a job (``modes.md`` 8.2): the only place where it stands.

Drivers add up a job's circuits with it before they admit it, the planner applies it to jobs of which only the
number of executions is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

DEFAULT_REP_DELAY_SECONDS = 250e-6
DEFAULT_CIRCUIT_SECONDS = 100e-6
JOB_OVERHEAD_SECONDS = 2.0
"""What a device needs for a sub-job besides its shots."""


@dataclass(frozen=True, slots=True)
class UsageEstimate:
    """QPU seconds of a job, taken apart.

    ``overhead_seconds`` is the fixed charge of its sub-jobs, ``rep_delay_seconds`` and ``circuit_seconds``
    are totals over all executions.
    """

    executions: int
    overhead_seconds: float
    rep_delay_seconds: float
    circuit_seconds: float

    @property
    def seconds(self) -> float:
        """The whole estimate."""
        return self.overhead_seconds + self.rep_delay_seconds + self.circuit_seconds

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times in seconds."""
        return {
            "seconds": self.seconds,
            "executions": self.executions,
            "breakdown": {
                "overhead_seconds": self.overhead_seconds,
                "rep_delay_seconds": self.rep_delay_seconds,
                "circuit_seconds": self.circuit_seconds,
            },
        }


def usage(
    executions: int,
    *,
    rep_delay_seconds: float = DEFAULT_REP_DELAY_SECONDS,
    circuit_seconds: float = DEFAULT_CIRCUIT_SECONDS,
    overhead_seconds: float = JOB_OVERHEAD_SECONDS,
    sub_jobs: int = 1,
) -> UsageEstimate:
    """``overhead * sub_jobs + (rep_delay + circuit) * executions`` (``modes.md`` 8.2, E01).

    ``executions`` are circuits after broadcasting, times shots. ``ValueError`` names an argument that is
    negative or not finite.
    """
    for name, value in (
        ("executions", executions),
        ("rep_delay_seconds", rep_delay_seconds),
        ("circuit_seconds", circuit_seconds),
        ("overhead_seconds", overhead_seconds),
    ):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be a number from 0 on, not {value}")
    if sub_jobs < 1:
        raise ValueError(f"sub_jobs must be 1 at least, not {sub_jobs}")
    return UsageEstimate(
        executions,
        overhead_seconds * sub_jobs,
        rep_delay_seconds * executions,
        circuit_seconds * executions,
    )


def sub_job(circuits: Iterable[tuple[int, float, float]]) -> UsageEstimate:
    """A sub-job of circuits that differ: executions of each, pause before one and its length in seconds."""
    parts = [
        usage(executions, rep_delay_seconds=pause, circuit_seconds=length, overhead_seconds=0.0)
        for executions, pause, length in circuits
    ]
    return together([usage(0), *parts])


def together(parts: Iterable[UsageEstimate]) -> UsageEstimate:
    """The sum of several estimates; of none, nothing."""
    every = list(parts)
    return UsageEstimate(
        sum(part.executions for part in every),
        sum(part.overhead_seconds for part in every),
        sum(part.rep_delay_seconds for part in every),
        sum(part.circuit_seconds for part in every),
    )
