"""Takes up what a predecessor left: unfinished jobs, open sessions and batches, usage in the windows."""

from __future__ import annotations

import logging
from dataclasses import replace

from ketline.core.events import CalibrationRequested, InstanceRegistered, QpuRegistered, WindowAnnounced
from ketline.core.model import JobStatus, QpuMode, QpuWindow
from ketline.service import records
from ketline.service.backends import Backend
from ketline.service.calibrations import Calibrations
from ketline.service.engine import Engine
from ketline.service.instances import Instance, Instances
from ketline.service.windows_door import window_of
from ketline.store import queries
from ketline.store.store import Store

_log = logging.getLogger(__name__)


def restore(
    store: Store,
    engine: Engine,
    backends: dict[str, Backend],
    instances: Instances,
    calibrations: Calibrations,
    seen_at: float,
) -> dict[str, QpuWindow]:
    """Tell the core all it needs to go on, and begin what there is to do. Returns the QPUs' windows.

    What is read grows with what is unfinished and with the usage inside the windows, not with the number of
    finished jobs. ``seen_at`` is when the predecessor last wrote something down (0: there was none).
    """
    now = engine.clock.now()
    for row in store.read_now(queries.instances):
        instances.add(Instance.from_row(row))
    usage: list[tuple[str, float, float]] = []
    for instance in instances.all():
        window = instances.window_seconds(instance)
        since = None if window is None else now - window
        for at, seconds in store.read_now(queries.usage_by_minute, instance.instance_id, since):
            usage.append((instance.instance_id, at, seconds))
    for row in store.read_now(queries.qpus):
        backend = backends.get(row["qpu_id"])
        if backend is not None:
            backend.mode, backend.message = QpuMode(row["mode"]), row["mode_reason"]
    for backend in backends.values():
        engine.introduce(QpuRegistered(backend.spec))
    for instance in instances.all():
        engine.introduce(InstanceRegistered(instances.spec(instance)))
    windows = {row["window_id"]: window_of(row) for row in store.read_now(queries.windows, now)}
    for announced in windows.values():
        if announced.qpu_id in backends:
            engine.introduce(WindowAnnounced(announced))
    jobs = []
    for row in store.read_now(queries.unfinished_jobs):
        job, record = records.job_from_row(row), records.record_from_row(row)
        jobs.append(job)
        engine.records[job.job_id] = record
        engine.queue_lengths[job.qpu_id] += 1
        engine.board.pin_job(records.job_view(job, record))
    workloads = []
    for row in store.read_now(queries.unclosed_workloads):
        workload = records.workload_from_row(row)
        workloads.append(workload)
        engine.known_workloads.add(workload.workload_id)
        engine.board.pin_workload(records.workload_view(workload))
    engine.perform(engine.scheduler.restore(jobs, workloads, usage, now, seen_at or None), now)
    for job in engine.scheduler.jobs.values():
        if job.status is JobStatus.QUEUED and engine.performer is not None:
            engine.performer.queued(job)
    _restore_calibrations(store, engine, backends, calibrations)
    return windows


def _restore_calibrations(
    store: Store, engine: Engine, backends: dict[str, Backend], calibrations: Calibrations
) -> None:
    """Cadences go on from the last calibration; one that was interrupted is due again.

    Done last: a calibration that is due may begin at once, but not before the core knows what the QPU is
    busy with.
    """
    serial = {backend.name: backend for backend in backends.values() if backend.serial}
    interrupted = calibrations.restore(store, serial)
    for qpu_id, backend in serial.items():
        if qpu_id in interrupted:
            _log.warning("the calibration of %s was interrupted: it is done again", qpu_id)
            engine.feed(CalibrationRequested(qpu_id))
        elif qpu_id in calibrations.ended:
            engine.introduce(QpuRegistered(replace(backend.spec, calibrated_at=calibrations.ended[qpu_id])))
