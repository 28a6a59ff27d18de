"""The advice on modes of ``modes.md`` 10, from what each mode would mean for a workload."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ketline.core.model import InstanceSpec, Mode
from ketline.planning.statistics import Interval
from ketline.planning.timeline import Panel
from ketline.planning.trace import NAMES_OF_MODES
from ketline.planning.workload import Workload

MODES = (Mode.JOB, Mode.BATCH, Mode.SESSION)


@dataclass(frozen=True, slots=True)
class ModeForecast:
    """What a mode would mean. Times in seconds; None where the workload would be refused, see ``refused``.

    ``wall`` is from the first submission to the last result. ``waiting`` is the part of it in which
    something was submitted and nothing of it was at work: in the queue, or behind others at the QPU.
    ``usage`` is what is billed; ``idle`` the part of it in which nothing of the workload ran, ``classical``
    the part in which only classical work ran. ``windows`` is the mean number of times that a session or
    batch becomes active.
    """

    mode: Mode
    wall: Interval | None = None
    waiting: Interval | None = None
    usage: Interval | None = None
    idle: Interval | None = None
    classical: Interval | None = None
    cost: Interval | None = None
    windows: float = 0.0
    unfinished_share: float = 0.0
    refused: str = ""
    panel: Panel | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"mode": NAMES_OF_MODES[self.mode]}
        if self.refused:
            return found | {"refused": self.refused}
        for name in ("wall", "waiting", "usage", "idle", "classical", "cost"):
            interval: Interval | None = getattr(self, name)
            if interval is not None:
                key = name if name == "cost" else f"{name}_seconds"
                found[key] = {"low": interval.low, "median": interval.middle, "high": interval.high}
        found["windows"] = self.windows
        found["unfinished_share"] = self.unfinished_share
        return found


def clock(seconds: float) -> str:
    """A duration as a person reads it."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _wall(forecast: ModeForecast) -> float:
    return float("inf") if forecast.wall is None else forecast.wall.middle


def _used(forecast: ModeForecast) -> float:
    return float("inf") if forecast.usage is None else forecast.usage.middle


def _than(seconds: float, other: float) -> str:
    """A duration and what it would be otherwise."""
    mine, others = clock(seconds), clock(other)
    return f"{mine} either way" if mine == others else f"{mine} instead of {others}"


def recommend(workload: Workload, modes: dict[Mode, ModeForecast]) -> tuple[Mode | None, list[str]]:
    """The advised mode, and why; None when the workload would run in no mode."""
    job, batch, session = (modes[mode] for mode in MODES)
    if all(forecast.refused for forecast in modes.values()):
        return None, list(dict.fromkeys(forecast.refused for forecast in modes.values()))
    reasons: list[str] = []
    if session.refused:
        reasons.append(f"A session isn't possible: {session.refused}")
    if workload.jobs == 1:
        return Mode.JOB, ["A single job gains nothing from a batch or a session.", *reasons]
    best = batch if _wall(batch) <= _wall(job) * 1.02 else job
    if workload.iterative or workload.reuses_noise_model:
        if session.usage is not None and (workload.reuses_noise_model or _wall(session) < 0.9 * _wall(best)):
            return Mode.SESSION, [*_for_session(workload, session, best), *reasons]
        if session.usage is not None:
            reasons.append(
                "Each job waits for results, but a session would save little time now "
                f"({_than(_wall(session), _wall(best))}) and bill "
                f"{_than(_used(session), _used(best))}."
            )
    else:
        reasons.insert(0, "All jobs are ready at once and none waits for another's result.")
        if session.usage is not None and _used(session) > 1.05 * _used(best):
            reasons.append(
                f"A session would bill {_than(_used(session), _used(best))}: "
                "its classical and idle time is billed, a batch's isn't."
            )
    if best is batch and batch.usage is not None:
        if _wall(batch) < 0.98 * _wall(job):
            reasons.append(
                f"A batch ends after {clock(_wall(batch))}, separate jobs after {clock(_wall(job))}: once "
                "its first job starts the others don't queue again, and classical work overlaps the QPU's."
            )
        else:
            reasons.append(
                "A batch takes as long as separate jobs now and costs the same, and keeps its place once it "
                "has started."
            )
    elif best is job and batch.usage is not None:
        reasons.append(f"Separate jobs end after {clock(_wall(job))}, a batch after {clock(_wall(batch))}.")
    elif batch.refused:
        reasons.append(f"A batch isn't possible: {batch.refused}")
    return best.mode, reasons


def _for_session(workload: Workload, session: ModeForecast, best: ModeForecast) -> list[str]:
    reasons = []
    if workload.iterative:
        reasons.append(
            f"Each of {workload.iterations} iterations waits for the one before: in a session the next job "
            "starts at once instead of queueing again."
        )
    if workload.reuses_noise_model:
        reasons.append("Learned noise stays fresh: nobody else's job and no calibration comes in between.")
    idle = 0.0 if session.idle is None else session.idle.middle
    reasons.append(
        f"It ends after {_than(_wall(session), _wall(best))}, and is billed "
        f"{_than(_used(session), _used(best))} ({clock(idle)} of it idle)."
    )
    return reasons


def hints(
    workload: Workload, modes: dict[Mode, ModeForecast], advised: Mode | None, instance: InstanceSpec
) -> list[str]:
    """What else would save time or usage."""
    if advised is None:
        return []
    found = []
    job_seconds = workload.job_seconds
    if not workload.iterative and workload.jobs > 1 and job_seconds < 60:
        saved = (workload.jobs - 1) * workload.overhead_seconds
        if workload.circuits is None:
            found.append(
                f"Jobs under a minute are better combined: one job instead of {workload.jobs} saves the "
                f"fixed QPU time of the others, up to {clock(min(saved, workload.jobs * job_seconds))}."
            )
        elif saved > 0:
            found.append(
                f"Jobs under a minute are better combined: one job instead of {workload.jobs} saves "
                f"{clock(saved)} of fixed QPU time."
            )
    delay = (workload.circuits or 0) * workload.shots * workload.rep_delay_seconds
    if delay > 0.5 * job_seconds:
        found.append(
            f"Of a job's {clock(job_seconds)}, {clock(delay)} are delay between shots: a shorter rep_delay "
            "saves time, and prepares qubits less well."
        )
    if workload.jobs == 1 and job_seconds > 300:
        found.append(
            "Splitting the job into about five parts in a batch overlaps classical and quantum work."
        )
    classical = workload.prepare_seconds + workload.finalize_seconds
    large = job_seconds >= 60 and classical > 0.05 * job_seconds
    if advised is Mode.SESSION and workload.jobs_per_iteration == 1 and large:
        found.append(
            "Breaking each job of the session into a few parts overlaps their classical work with the QPU's."
        )
    if advised is Mode.SESSION:
        if workload.think_seconds > instance.interactive_ttl_seconds:
            found.append(
                f"Thinking takes longer than the interactive TTL of {instance.interactive_ttl_seconds:g} s: "
                "the session becomes inactive in each iteration and queues again."
            )
        if workload.close_seconds > 0:
            found.append("Close the session right after the last result: idle time until then is billed.")
        else:
            found.append(
                f"Close the session after the last result; left open it bills up to "
                f"{instance.interactive_ttl_seconds:g} s more."
            )
    wall = modes[advised].wall
    if advised is not Mode.JOB and wall is not None and wall.high > instance.max_ttl_seconds:
        found.append(
            f"It may take longer than the maximum TTL of {clock(instance.max_ttl_seconds)}, after which "
            "queued jobs fail: split it."
        )
    limit = job_seconds * math.exp(2 * workload.spread)
    if limit < instance.max_execution_seconds:
        found.append(f"max_execution_time={math.ceil(limit)} stops a job that runs away.")
    usage = modes[advised].usage
    if instance.limit_seconds is not None and usage is not None and usage.high > instance.limit_seconds:
        found.append(f"The instance's usage limit of {instance.limit_seconds:g} s may not suffice.")
    return found
