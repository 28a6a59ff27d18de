"""Running the centre: QPUs and instances come, change and go; calibrations; usage limits bite and let go."""

from __future__ import annotations

from dataclasses import replace

from ketline.core import codes, jobs, reasons, windows, workloads
from ketline.core.actions import Abandon, QpuModeSet
from ketline.core.centre import Centre, Qpu
from ketline.core.events import PastUsage
from ketline.core.lifecycle import JobStep
from ketline.core.model import (
    InstanceSpec,
    JobStatus,
    QpuMode,
    QpuSpec,
    QpuWindow,
    Reason,
    Stage,
    WorkloadState,
)
from ketline.core.timers import TimerKind

LIMIT_TOLERANCE_SECONDS = 1e-6
"""What a clock of seconds since the epoch can't tell apart."""

RECHECK_SECONDS = 0.001


def register_qpu(c: Centre, spec: QpuSpec, now: float) -> None:
    """A QPU exists, or its facts changed."""
    qpu = c.qpus.get(spec.qpu_id)
    if qpu is None:
        qpu = c.qpus[spec.qpu_id] = Qpu(spec, c.pool())
    elif qpu.spec.serial != spec.serial:
        raise ValueError(f"{spec.qpu_id}: a QPU can't turn into a simulator without a queue, or back")
    if spec.lanes < 1:
        raise ValueError(f"{spec.qpu_id}: lanes must be at least 1, not {spec.lanes}")
    _replace(c, qpu, spec)
    if spec.calibration_interval_seconds is None or not spec.serial:
        c.timers.clear(TimerKind.CALIBRATION, spec.qpu_id)
    elif qpu.calibrating or qpu.calibration_due:
        return
    elif spec.calibrated_at is not None:
        c.timers.set(
            TimerKind.CALIBRATION, spec.qpu_id, spec.calibrated_at + spec.calibration_interval_seconds
        )
    elif (TimerKind.CALIBRATION, spec.qpu_id) not in c.timers.deadlines:
        c.timers.set(TimerKind.CALIBRATION, spec.qpu_id, now + spec.calibration_interval_seconds)


def _replace(c: Centre, qpu: Qpu, spec: QpuSpec) -> None:
    qpu.spec = spec
    qpu.lanes_before = len(qpu.running)
    c.specs[spec.qpu_id] = spec
    c.restless_qpus[spec.qpu_id] = qpu


def _qpu(c: Centre, qpu_id: str) -> Qpu:
    qpu = c.qpus.get(qpu_id)
    if qpu is None:
        raise ValueError(f"QPU {qpu_id} isn't registered")
    return qpu


def change_mode(c: Centre, qpu_id: str, mode: QpuMode, reason: str, now: float) -> None:
    """A QPU is paused, taken offline, retired, or online again. What is on it goes on."""
    qpu = _qpu(c, qpu_id)
    _replace(c, qpu, replace(qpu.spec, mode=mode, mode_reason=reason))


def announce_window(c: Centre, window: QpuWindow, now: float) -> None:
    """Maintenance or a reservation is announced."""
    windows.announce(c, _qpu(c, window.qpu_id), window, now)


def withdraw_window(c: Centre, qpu_id: str, window_id: str, now: float) -> None:
    """Maintenance or a reservation won't be, or is over."""
    windows.withdraw(c, _qpu(c, qpu_id), window_id, now)


# calibration


def request_calibration(c: Centre, qpu_id: str) -> None:
    """A calibration is due; it takes place as soon as the QPU is free and no session has it."""
    qpu = _qpu(c, qpu_id)
    if not qpu.spec.serial:
        raise ValueError(f"{qpu_id} is a simulator: there is nothing to calibrate")
    if not qpu.calibrating:
        qpu.calibration_due = True
        c.restless_qpus[qpu_id] = qpu


def end_calibration(c: Centre, qpu_id: str, now: float, *, ok: bool) -> None:
    """The QPU finished calibrating; one that failed pauses it by itself (``modes.md`` 5.5)."""
    qpu = _qpu(c, qpu_id)
    if not qpu.calibrating:
        return
    qpu.calibrating = False
    c.restless_qpus[qpu_id] = qpu
    if qpu.spec.calibration_interval_seconds is not None:
        c.timers.set(TimerKind.CALIBRATION, qpu_id, now + qpu.spec.calibration_interval_seconds)
    if not ok:
        reason = Reason(
            codes.QPU_PAUSED,
            f"{qpu_id} was paused by itself: its calibration failed.",
            "An administrator puts it online again when it is well.",
        )
        change_mode(c, qpu_id, QpuMode.PAUSED, reason.message, now)
        c.do(QpuModeSet(qpu_id, reason))


def fire(c: Centre, kind: TimerKind, key: str, now: float) -> None:
    """A deadline of the centre's own has passed."""
    if kind is TimerKind.CALIBRATION:
        request_calibration(c, key)
    elif kind is TimerKind.USAGE_LIMIT:
        c.restless_instances[key] = None
    elif kind is TimerKind.WINDOW:
        windows.look_again(c, c.qpus[key], now)


# instances


def register_instance(c: Centre, spec: InstanceSpec, now: float, past: PastUsage | None) -> None:
    """An instance exists, or its figures changed; archiving it cancels what hasn't started (F12)."""
    c.instances[spec.instance_id] = spec
    c.fair.register(spec)
    if past is not None:
        c.fair.recall(spec.instance_id, past.before, past.lines)
    c.touch(spec.instance_id)
    c.restless_instances[spec.instance_id] = None
    for qpu in c.qpus.values():
        c.restless_qpus[qpu.spec.qpu_id] = qpu
    if not spec.archived:
        return
    reason = reasons.instance_archived(spec.instance_id)
    for group in list(c.groups_of.get(spec.instance_id, {}).values()):
        workloads.cut_off(c, group, reasons.workload_archived(group.noun), JobStep.CANCEL, reason, now)
    for job in list(c.unfinished.get(spec.instance_id, {}).values()):
        if job.status is JobStatus.QUEUED:
            jobs.settle(c, job, JobStep.CANCEL, reason, now)


def review_limit(c: Centre, instance_id: str, now: float) -> None:
    """See whether an instance's usage limit holds it (C6, C7), and when to look again."""
    share = c.fair.shares[instance_id]
    limit = share.spec.limit_seconds
    if limit is None:
        c.timers.clear(TimerKind.USAGE_LIMIT, instance_id)
        held = False
    else:
        held = share.meter.used(now) >= limit - LIMIT_TOLERANCE_SECONDS
        if held and share.spec.limit_stops_running:
            _stop_running(c, instance_id, limit, now)
        again = _next_look(c, instance_id, limit, now, held=held)
        if again is None:
            c.timers.clear(TimerKind.USAGE_LIMIT, instance_id)
        else:
            c.timers.set(TimerKind.USAGE_LIMIT, instance_id, again)
    released = share.held and not held
    share.held = held
    if released:
        c.touch(instance_id)
        for qpu in c.qpus.values():
            c.restless_qpus[qpu.spec.qpu_id] = qpu


def _next_look(c: Centre, instance_id: str, limit: float, now: float, *, held: bool) -> float | None:
    meter = c.fair.shares[instance_id].meter
    if held:
        expiry = meter.next_expiry()
        return None if expiry is None else max(expiry, now + RECHECK_SECONDS)
    if not meter.rate():
        return None
    return now + max((limit - meter.used(now)) / meter.rate(), RECHECK_SECONDS)


def _stop_running(c: Centre, instance_id: str, limit: float, now: float) -> None:
    """A cost limit is reached: what runs is stopped and billed, active sessions and batches close (T16).

    Jobs that only wait in the normal queue stay queued until the limit is raised; jobs whose result is
    being finalized have used all they will, and finish. By policy all running ones finish.
    """
    reason = reasons.cost_limit_stop(limit)
    for qpu in () if c.instances[instance_id].limit_lets_finish else c.qpus.values():
        for job in [job for job in qpu.running.values() if job.instance_id == instance_id]:
            if job.stage is Stage.FINALIZING or job.cancelling:
                continue
            if job.stage is Stage.ON_QPU:
                jobs.stop(c, job, reason)
            else:
                c.do(Abandon(job.job_id))
                jobs.settle(c, job, JobStep.CANCEL, reason, now)
    for group in list(c.groups_of.get(instance_id, {}).values()):
        if group.noun.state is WorkloadState.ACTIVE:
            why = reasons.workload_cost_limit(group.noun, limit)
            workloads.cut_off(c, group, why, JobStep.CANCEL, reason, now)
