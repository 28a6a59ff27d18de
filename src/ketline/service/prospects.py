"""What the outside sees of explanations, estimates and queues."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ketline.core.estimate import UsageEstimate
from ketline.core.explain import Explanation
from ketline.core.model import Mode, Stage, WorkloadState
from ketline.planning.estimate import LimitHit
from ketline.service.views import JobView

if TYPE_CHECKING:
    from ketline.planning.forecast import Forecast


@dataclass(frozen=True, slots=True)
class Outlook:
    """An unfinished job: where it stands and what is expected, from one snapshot."""

    explanation: Explanation
    forecast: Forecast
    taken_at: float


@dataclass(frozen=True, slots=True)
class Expected:
    """QPU seconds that jobs like one really took: the median and the 90 % interval."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class JobStory:
    """A job as explained to its owner. ``explanation`` and ``forecast`` are of one snapshot, taken at
    ``as_of``; both are None for a job that has ended, whose ``story`` is told all the same."""

    view: JobView
    as_of: datetime
    explanation: Explanation | None
    forecast: Forecast | None
    story: tuple[tuple[datetime, str], ...]


@dataclass(frozen=True, slots=True)
class Round:
    """One stay on the QPU: how long it will be locked, and what the formula says of the real device."""

    seconds: float
    usage: UsageEstimate


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be estimated. ``rep_delay_seconds`` None takes the device's, ``circuit_seconds`` None the
    documented typical length."""

    backend: str
    executions: int
    program: str = "sampler"
    rep_delay_seconds: float | None = None
    circuit_seconds: float | None = None
    max_execution_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Estimated:
    """What a job would use, and the limits that it would hit.

    ``seconds`` is the estimate that the job would carry (None: only its circuits would tell), ``usage`` what
    the real device would take by the formula, ``rounds`` the stays on the QPU that both add up, and
    ``expected`` what jobs of the program really take on this QPU for such an estimate.
    """

    backend: str
    plan: str
    program: str
    seconds: float | None
    usage: UsageEstimate
    rounds: tuple[Round, ...]
    expected: Expected
    limits: tuple[LimitHit, ...]


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job in the view of a QPU. What belongs to somebody else has no ids, no program and no reason."""

    mine: bool
    job_id: str | None
    workload_id: str | None
    program: str | None
    instance: str | None
    stage: Stage
    since: datetime
    estimate_seconds: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class OpenWorkload:
    """A session or batch that isn't closed, with its timers."""

    workload_id: str
    mode: Mode
    instance: str
    state: WorkloadState
    holds_qpu: bool
    accepting: bool
    jobs_submitted: int
    expires_at: datetime | None
    idle_at: datetime | None
    unused_at: datetime | None


@dataclass(frozen=True, slots=True)
class QpuQueue:
    """A QPU as it is now: its lanes, its queue in the order in which jobs would start, and who holds it."""

    backend: str
    mode: str
    mode_reason: str
    calibrating: bool
    lanes: int
    queue_length: int
    running: tuple[QueuedJob, ...]
    queued: tuple[QueuedJob, ...]
    workloads: tuple[OpenWorkload, ...]
