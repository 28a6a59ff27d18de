"""Why does my job wait? Position, the one reason that keeps it waiting now, and its story so far.

Everything comes from one state at one time. An explanation is for the job's owner: it names what is the
owner's instance's (sessions, limits) and the centre's (windows, calibrations), and of others only that they
are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from ketline.core import order, reasons, windows
from ketline.core.centre import Centre, Group, Qpu
from ketline.core.dispatch import drained, enters, next_of, owns
from ketline.core.model import Job, JobStatus, Stage
from ketline.core.order import Place


class Why(StrEnum):
    """What a job waits for."""

    WORKING = "working"
    PAUSED = "paused"
    MAINTENANCE = "maintenance"
    RESERVATION = "reservation"
    USAGE_LIMIT = "usage_limit"
    SESSION = "session"
    DRAINING = "draining"
    BATCH = "batch"
    WINDOW_AHEAD = "window_ahead"
    CALIBRATION = "calibration"
    QPU_BUSY = "qpu_busy"
    LANES_BUSY = "lanes_busy"
    FAIR_SHARE = "fair_share"


@dataclass(frozen=True, slots=True)
class Waiting:
    """The one reason. ``until`` is the latest time at which it ends by itself, None when nobody knows;
    ``workload_id`` and ``job_id`` name what blocks when it is the owner's own instance's."""

    why: Why
    message: str
    until: float | None = None
    workload_id: str | None = None
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where an unfinished job stands.

    ``position`` counts all queued jobs of the QPU in the order in which they would start if nothing more
    came, announced windows included, ``position_own`` those of the job's instance; both start at 1 and are
    None for a job that has started. ``queue_length`` is the number of queued jobs of the QPU. ``ratio`` is
    the instance's usage relative to its allocation.
    """

    job_id: str
    status: JobStatus
    stage: Stage
    position: int | None
    position_own: int | None
    queue_length: int
    ratio: float
    reason: Waiting
    story: tuple[tuple[float, str], ...]


def explain(c: Centre, job: Job) -> Explanation:
    """Explain one unfinished job."""
    qpu = c.qpus[job.qpu_id]
    place = order.place(c, job)
    return Explanation(
        job_id=job.job_id,
        status=job.status,
        stage=job.stage,
        position=None if place is None else place.position,
        position_own=None if place is None else place.position_own,
        queue_length=qpu.queued,
        ratio=c.fair.shares[job.instance_id].ratio(c.now),
        reason=_reason(c, job, place),
        story=_story(c, job),
    )


def reason(c: Centre, job: Job) -> Waiting:
    """The one reason alone: what an explanation holds, without counting who is before the job, unless a
    window is announced, which makes that matter."""
    return _reason(c, job, order.place(c, job) if c.qpus[job.qpu_id].windows else None)


def _reason(c: Centre, job: Job, place: Place | None) -> Waiting:
    qpu = c.qpus[job.qpu_id]
    if job.status is not JobStatus.QUEUED:
        return _why_running(c, qpu, job)
    return _why_queued(c, qpu, job, c.now if place is None else place.starts_at)


def _story(c: Centre, job: Job) -> tuple[tuple[float, str], ...]:
    """What happened to it and to its session or batch, in order of time."""
    told = [(job.created_at, "submitted"), *c.stories.get(job.job_id, ())]
    group = c.group_of(job)
    if group is not None:
        name = reasons.noun(group.noun.mode)
        told += [(at, f"{name} {state}") for state, at in group.noun.history if at >= job.created_at]
    return tuple(sorted(told, key=lambda entry: entry[0]))


def _closed_to(c: Centre, qpu: Qpu, job: Job) -> Waiting | None:
    """What keeps all work of the instance from the QPU."""
    if not qpu.starts_work:
        why = f": {qpu.spec.mode_reason}" if qpu.spec.mode_reason else ""
        return Waiting(Why.PAUSED, f"{qpu.spec.qpu_id} is {qpu.spec.mode}{why}.")
    window = windows.present(qpu, c.now)
    if window is None or window.instance_id == job.instance_id:
        return None
    if window.instance_id is None:
        why = f": {window.reason}" if window.reason else ""
        return Waiting(Why.MAINTENANCE, f"{qpu.spec.qpu_id} is under maintenance{why}.", window.ends_at)
    return Waiting(Why.RESERVATION, f"{qpu.spec.qpu_id} is reserved for another instance.", window.ends_at)


def _window_ahead(c: Centre, qpu: Qpu, job: Job, free_at: float) -> Waiting | None:
    """A window that begins before the job can have ended when it has the QPU from ``free_at`` on."""
    boundary = windows.next_boundary(qpu, job.instance_id, c.now)
    if boundary is None or free_at + windows.expected(job) <= boundary:
        return None
    ends = max(window.ends_at for window in qpu.windows.values() if window.starts_at == boundary)
    return Waiting(
        Why.WINDOW_AHEAD,
        f"{qpu.spec.qpu_id} isn't available from {datetime.fromtimestamp(boundary, UTC):%Y-%m-%d %H:%M} UTC"
        " on, and by the estimates of the job and of what is before it, it can't end before.",
        ends,
    )


def _held(c: Centre, job: Job) -> Waiting | None:
    share = c.fair.shares[job.instance_id]
    limit = share.spec.limit_seconds
    if not share.held or limit is None:
        return None
    contract = share.spec.window_seconds is None
    return Waiting(
        Why.USAGE_LIMIT,
        f"The instance has used {share.meter.used(c.now):g} s of its limit of {limit:g} s. The job starts"
        f" when the limit is raised{'' if contract else ', or when usage leaves the window'}.",
        share.meter.next_expiry(),
    )


def _why_queued(c: Centre, qpu: Qpu, job: Job, free_at: float) -> Waiting:
    group = c.group_of(job)
    holder = None if qpu.holder is None else c.groups[qpu.holder]
    mine = holder is not None and group is holder
    waiting = _closed_to(c, qpu, job)
    if waiting is None and not mine:
        waiting = _held(c, job)
    if waiting is None and holder is not None and enters(holder) and not (mine and owns(holder)):
        waiting = _behind_own(qpu, holder) if mine else _behind_holder(qpu, holder, group, job)
    if waiting is None:
        waiting = _window_ahead(c, qpu, job, free_at)
    if waiting is None and holder is not None:
        waiting = _behind_own(qpu, holder) if mine else _behind_holder(qpu, holder, group, job)
    if waiting is not None:
        return waiting
    if len(qpu.running) >= qpu.spec.lanes:
        return _lanes_busy(qpu)
    if group is not None and next_of(group) is not job:
        return Waiting(
            Why.FAIR_SHARE,
            f"Older jobs of its {reasons.noun(group.noun.mode)} start first.",
            workload_id=group.noun.workload_id,
        )
    return Waiting(Why.FAIR_SHARE, "Others are before it in the queue.")


def _lanes_busy(qpu: Qpu) -> Waiting:
    return Waiting(Why.LANES_BUSY, f"All {qpu.spec.lanes} lanes of {qpu.spec.qpu_id} are taken.")


def _behind_own(qpu: Qpu, holder: Group) -> Waiting | None:
    if enters(holder) and not owns(holder):
        return Waiting(
            Why.DRAINING,
            "Its session was selected and becomes active as soon as other jobs have left the lanes.",
            workload_id=holder.noun.workload_id,
        )
    return _lanes_busy(qpu) if len(qpu.running) >= qpu.spec.lanes else None


def _behind_holder(qpu: Qpu, holder: Group, group: Group | None, job: Job) -> Waiting | None:
    own = holder.noun.instance_id == job.instance_id
    name = holder.noun.workload_id if own else None
    whose = f"session {name} of your instance" if own else "another session"
    if enters(holder):
        if not owns(holder):
            return Waiting(
                Why.DRAINING,
                f"Lanes are emptied for {whose}, which was before it in the queue.",
                workload_id=name,
            )
        return Waiting(
            Why.SESSION,
            f"{qpu.spec.qpu_id} belongs to {whose} until that is idle or closed.",
            holder.noun.expires_at,
            name,
        )
    if group is not None and group.holds:
        batch = f"batch {name} of your instance" if own else "another batch"
        mine = reasons.noun(group.noun.mode)
        return Waiting(
            Why.BATCH,
            f"A {mine} can't start beside {batch}, which is active.",
            holder.noun.expires_at,
            name,
        )
    return None


def _why_running(c: Centre, qpu: Qpu, job: Job) -> Waiting:
    if job.stage is Stage.PREPARING:
        return Waiting(Why.WORKING, "It is being prepared.")
    if job.stage is Stage.ON_QPU:
        return Waiting(Why.WORKING, f"It is on {qpu.spec.qpu_id}.")
    if job.stage is Stage.FINALIZING:
        return Waiting(Why.WORKING, "Its result is being finalized.")
    closed = _closed_to(c, qpu, job)
    if closed is not None:
        return closed
    if qpu.calibrating:
        return Waiting(Why.CALIBRATION, f"{qpu.spec.qpu_id} is being calibrated.")
    group = c.group_of(job)
    if group is not None and enters(group) and not owns(group) and not drained(qpu, group):
        return Waiting(
            Why.DRAINING,
            "Its session becomes active as soon as other jobs have left the lanes.",
            workload_id=group.noun.workload_id,
        )
    if not qpu.locked and not windows.fits_qpu(qpu, job, c.now):
        ahead = _window_ahead(c, qpu, job, c.now)
        if ahead is not None:
            return ahead
    return _qpu_busy(qpu, job)


def _qpu_busy(qpu: Qpu, job: Job) -> Waiting:
    running = next(iter(qpu.locked.values()), None)
    if running is not None and running.instance_id == job.instance_id:
        message = f"It is ready; job {running.job_id} of your instance is on {qpu.spec.qpu_id}."
        return Waiting(Why.QPU_BUSY, message, job_id=running.job_id)
    return Waiting(Why.QPU_BUSY, f"It is ready; {qpu.spec.qpu_id} is busy with another job.")
