"""The processes of all QPUs, and what the core is told of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from ketline.core.events import (
    CalibrationEnded,
    Event,
    JobFailed,
    JobLocked,
    JobReleased,
    JobStopped,
    QpuModeChanged,
)
from ketline.core.model import Failure, QpuMode
from ketline.service.backends import Backend, measured_at, mock_name
from ketline.service.calibrations import Calibrations
from ketline.service.engine import Engine
from ketline.service.qpu_host import QpuHost
from ketline.store import tables
from ketline.units.device import Device

if TYPE_CHECKING:
    from ketline.service.work import Work

_log = logging.getLogger(__name__)

_UNWELL = "the health check failed"


class Machines:
    """One process a QPU. Hears what becomes of jobs there and tells the core."""

    def __init__(self, work: Work, engine: Engine, backends: Mapping[str, Backend]) -> None:
        self._work = work
        self._engine = engine
        self._backends = backends
        self._hosts: dict[str, QpuHost] = {}
        self.calibrations = Calibrations(engine)
        self._unfit: dict[str, tuple[QpuMode, str]] = {}
        self._publishing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the processes."""
        for backend in self._backends.values():
            if backend.serial:
                self._hosts[backend.name] = QpuHost(backend.settings, backend.device_path, self)

    async def close(self) -> None:
        """End the processes, all at once: what ends the first before it has started may end the others."""
        await asyncio.gather(*(host.close() for host in self._hosts.values()))

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """The state of each QPU's process, and its calibrations."""
        return {name: host.facts | self.calibrations.facts(name) for name, host in self._hosts.items()}

    def run(self, qpu_id: str, job_id: str, folder: Path, estimate_seconds: float) -> None:
        """Run a job's unit, in its folder, on a QPU."""
        self._hosts[qpu_id].run(job_id, folder, estimate_seconds)

    def forget(self, qpu_id: str, folder: Path) -> None:
        """Have a QPU give up what it may be busy with for a predecessor, whose unit is in the folder."""
        if qpu_id in self._hosts:
            self._hosts[qpu_id].forget(folder)

    def stop(self, qpu_id: str, job_id: str) -> None:
        """Stop a job on a QPU."""
        self._hosts[qpu_id].stop(job_id)

    def calibrate(self, qpu_id: str) -> None:
        """Calibrate a QPU."""
        self.calibrations.begin(qpu_id)
        path = self._backends[qpu_id].device_path
        self._hosts[qpu_id].calibrate(path.with_name(path.name + ".calibrated"))

    def set_mode(self, qpu_id: str, mode: QpuMode, reason: str) -> None:
        """Put a QPU into the mode that an administrator chose.

        One whose process can't hold it stays offline, and gets into the mode as soon as one can.
        """
        backend = self._backends[qpu_id]
        if qpu_id in self._unfit:
            self._unfit[qpu_id] = mode, reason
            return
        backend.mode, backend.message = mode, reason
        self._engine.feed(QpuModeChanged(qpu_id, mode, reason))

    # what the processes tell

    def locked(self, job_id: str) -> None:
        """The QPU is locked for the job."""
        self._tell(job_id, JobLocked(job_id))

    def released(self, job_id: str, qpu_seconds: float) -> None:
        """The job has run."""
        self._tell(job_id, JobReleased(job_id, qpu_seconds))

    def stopped(self, job_id: str, qpu_seconds: float) -> None:
        """The job was stopped."""
        self._tell(job_id, JobStopped(job_id, qpu_seconds))

    def failed(self, job_id: str, qpu_seconds: float | None, failure: Failure) -> None:
        """The job failed on the QPU."""
        self._tell(job_id, JobFailed(job_id, failure, qpu_seconds))

    def _tell(self, job_id: str, event: Event) -> None:
        if job_id in self._engine.scheduler.jobs:
            self._engine.feed(event)

    def fit(self, qpu_id: str, fit: bool, message: str) -> None:
        """A QPU whose process can't hold it is offline until one can, and then as it was before."""
        backend = self._backends[qpu_id]
        if fit == (qpu_id not in self._unfit):
            return
        if fit:
            backend.mode, backend.message = self._unfit.pop(qpu_id)
        else:
            self._unfit[qpu_id] = backend.mode, backend.message
            backend.mode, backend.message = QpuMode.OFFLINE, message
        _log.warning("QPU %s is %s%s", qpu_id, backend.mode.value, f": {message}" if message else "")
        self._engine.feed(QpuModeChanged(qpu_id, backend.mode, backend.message))

    def well(self, qpu_id: str, well: bool, message: str) -> None:
        """A QPU that isn't well is paused by itself until it is again (``modes.md`` 5.5)."""
        backend = self._backends[qpu_id]
        if well and backend.mode is QpuMode.PAUSED and backend.message.startswith(_UNWELL):
            backend.mode, backend.message = QpuMode.ONLINE, ""
        elif not well and backend.mode is QpuMode.ONLINE:
            backend.mode, backend.message = QpuMode.PAUSED, f"{_UNWELL}: {message}"
        else:
            return
        _log.warning("QPU %s is %s%s", qpu_id, backend.mode.value, "" if well else f": {message}")
        self._engine.feed(QpuModeChanged(qpu_id, backend.mode, backend.message))
        now = self._engine.clock.now()
        self._engine.write_qpu_mode(qpu_id, backend.mode.value, backend.message, now)

    def calibrated(self, qpu_id: str, ok: bool, message: str) -> None:
        """A calibration ended: its device is the published one from now on."""
        if ok:
            task = asyncio.get_running_loop().create_task(self._publish(qpu_id))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)
        else:
            _log.warning("calibration of %s failed: %s", qpu_id, message)
            self.calibrations.end(qpu_id)
            self._engine.feed(CalibrationEnded(qpu_id, ok=False))

    async def _publish(self, qpu_id: str) -> None:
        backend = self._backends[qpu_id]
        path = backend.device_path.with_name(backend.device_path.name + ".calibrated")
        device = await asyncio.to_thread(Device.read, path)
        before = backend.properties
        await asyncio.to_thread(backend.publish, device)
        if backend.properties != before:
            self.keep_properties(backend)
        twin = self._backends.get(mock_name(qpu_id))
        if twin is not None and twin.settings is backend.settings:
            properties = (
                None if device.properties is None else {**device.properties, "backend_name": twin.name}
            )
            twin.properties = orjson.dumps(properties)
        self.calibrations.end(qpu_id)
        self._engine.feed(CalibrationEnded(qpu_id, ok=True))

    def keep_properties(self, backend: Backend) -> None:
        """Write a QPU's properties down in its history."""
        at = measured_at(backend.device) or self._engine.clock.now()
        self._engine.changes.call(
            sa.insert(tables.calibrations).values(
                qpu_id=backend.name, measured_at=at, properties=backend.properties
            )
        )
