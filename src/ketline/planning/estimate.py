"""What usage costs, and the limits that a job would hit (``modes.md`` 6.4, 5.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ketline.core import codes
from ketline.core.model import InstanceSpec, QpuMode, QpuSpec


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of a second of usage, in a currency of the site's choice.

    ``per_second`` maps (plan, QPU) to a price; ``"*"`` stands for any. The most specific entry counts:
    both named, then the plan, then the QPU, then neither.
    """

    currency: str = ""
    per_second: dict[tuple[str, str], float] = field(default_factory=dict)

    def rate(self, plan: str, qpu_id: str) -> float | None:
        """Price of a second, None where the site names none."""
        for key in ((plan, qpu_id), (plan, "*"), ("*", qpu_id), ("*", "*")):
            if key in self.per_second:
                return self.per_second[key]
        return None

    def cost(self, seconds: float, plan: str, qpu_id: str) -> Cost | None:
        """What ``seconds`` of usage cost; None without a rate."""
        rate = self.rate(plan, qpu_id)
        return None if rate is None else Cost(seconds * rate, rate, self.currency)


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money and the rate behind it."""

    amount: float
    per_second: float
    currency: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"amount": self.amount, "currency": self.currency, "per_second": self.per_second}


@dataclass(frozen=True, slots=True)
class LimitHit:
    """A limit that the job would run into. ``blocks``: it is refused or stopped, not only held.

    ``code`` is that of the refusal, or of the reason that the job would carry (`ketline.errors`).
    """

    limit: str
    code: int
    message: str
    solution: str
    blocks: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "limit": self.limit,
            "code": self.code,
            "message": self.message,
            "solution": self.solution,
            "blocks": self.blocks,
        }


def limits_hit(
    seconds: float,
    instance: InstanceSpec,
    qpu: QpuSpec,
    *,
    consumed_seconds: float,
    pending_jobs: int = 0,
    max_execution_seconds: float | None = None,
    executions: int | None = None,
    max_executions: int | None = None,
) -> list[LimitHit]:
    """The limits that a job of ``seconds`` QPU usage would hit, the most severe first.

    ``consumed_seconds`` is the usage inside the instance's window and ``pending_jobs`` its unfinished jobs.
    ``max_executions`` is what the job's program takes, None where it sets no limit.
    Sources: ``modes.md`` 1.4, 5.2, 5.5, 6.4 and the rulings C7, C10, C18.
    """
    hits: list[LimitHit] = []
    if instance.archived:
        hits.append(
            LimitHit(
                "archived",
                codes.INSTANCE_ARCHIVED,
                "The instance is archived and takes no jobs.",
                "Use another instance.",
                blocks=True,
            )
        )
    if instance.qpus is not None and qpu.qpu_id not in instance.qpus:
        hits.append(
            LimitHit(
                "qpus",
                codes.BACKEND_NOT_FOUND,
                f"The instance may not use {qpu.qpu_id}.",
                "Choose another QPU.",
                blocks=True,
            )
        )
    if qpu.mode is QpuMode.RETIRED:
        hits.append(
            LimitHit(
                "qpu",
                codes.QPU_RETIRED,
                f"{qpu.qpu_id} is retired and takes no jobs.",
                "Choose another QPU.",
                blocks=True,
            )
        )
    if instance.max_pending_jobs is not None and pending_jobs >= instance.max_pending_jobs:
        hits.append(
            LimitHit(
                "max_pending_jobs",
                codes.PENDING_JOB_LIMIT,
                f"{pending_jobs} jobs are unfinished; the plan allows {instance.max_pending_jobs}.",
                "Wait until a job has ended, or cancel one.",
                blocks=True,
            )
        )
    if executions is not None and max_executions is not None and executions > max_executions:
        hits.append(
            LimitHit(
                "executions",
                codes.LIMIT_EXCEEDED,
                f"The job has {executions:,} executions; a job may have {max_executions:,}.",
                "Split the job, or take fewer shots.",
                blocks=True,
            )
        )
    allowed = min(instance.max_execution_seconds, max_execution_seconds or instance.max_execution_seconds)
    if seconds > allowed:
        hits.append(
            LimitHit(
                "max_execution_seconds",
                codes.RAN_TOO_LONG,
                f"The job is expected to use {seconds:.4g} s and would be stopped after {allowed:g} s.",
                "Raise max_execution_time, or split the job.",
                blocks=True,
            )
        )
    hits += _usage_limit(seconds, instance, consumed_seconds)
    if qpu.mode in (QpuMode.PAUSED, QpuMode.OFFLINE):
        hits.append(
            LimitHit(
                "qpu",
                codes.QPU_PAUSED,
                f"{qpu.qpu_id} is {qpu.mode.value} and starts nothing now.",
                "Choose another QPU, or wait.",
                blocks=False,
            )
        )
    return hits


def _usage_limit(seconds: float, instance: InstanceSpec, consumed_seconds: float) -> list[LimitHit]:
    if instance.limit_seconds is None:
        return []
    left = max(0.0, instance.limit_seconds - consumed_seconds)
    if left <= 0.0:
        message = f"The usage limit of {instance.limit_seconds:g} s is reached: the job would be held."
        solution = (
            "Have the limit raised."
            if instance.window_seconds is None
            else "Wait until usage leaves the window, or have the limit raised."
        )
        return [LimitHit("limit_seconds", codes.USAGE_LIMIT, message, solution, blocks=False)]
    if seconds <= left:
        return []
    if instance.limit_stops_running:
        message = f"{left:.4g} s are left of the cost limit; the job would be stopped there."
        return [
            LimitHit(
                "limit_seconds",
                codes.RAN_TOO_LONG,
                message,
                "Raise the cost limit, or make the job smaller.",
                blocks=True,
            )
        ]
    message = (
        f"{left:.4g} s are left of the usage limit; the job would go beyond it and later jobs would be held."
    )
    return [
        LimitHit(
            "limit_seconds",
            codes.USAGE_LIMIT,
            message,
            "Make the job smaller, or have the limit raised.",
            blocks=False,
        )
    ]
