"""The parent's side of one QPU's process: one unit at a time runs there; a process that dies is replaced."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ketline import errors
from ketline.compute.child import Child
from ketline.config import QpuSettings
from ketline.core.model import Failure, FailureKind, Reason
from ketline.qpus.resuming import NOTE
from ketline.service import tasks

STOP_SECONDS = 10.0
"""How long a process may take to give a job up before it is killed."""
_RESUMED_AT_MOST = 3
"""How often a job may outlive the process that holds its QPU before it counts as that process's death."""
_FIRST_RETRY_SECONDS = 0.1
_LONGEST_RETRY_SECONDS = 30.0


class Listener(Protocol):
    """Who hears what becomes of the jobs."""

    def locked(self, job_id: str) -> None:
        """The QPU is locked for the job."""

    def released(self, job_id: str, qpu_seconds: float) -> None:
        """The job's outcome is there."""

    def stopped(self, job_id: str, qpu_seconds: float) -> None:
        """The job was given up as asked."""

    def failed(self, job_id: str, qpu_seconds: float | None, failure: Failure) -> None:
        """The job failed on the QPU."""

    def calibrated(self, qpu_id: str, ok: bool, message: str) -> None:
        """A calibration ended."""

    def fit(self, qpu_id: str, fit: bool, message: str) -> None:
        """The QPU's process can take work, or can't."""

    def well(self, qpu_id: str, well: bool, message: str) -> None:
        """The machine itself says whether it is well."""


@dataclass(slots=True)
class _Current:
    job_id: str
    message: dict[str, Any]
    folder: Path
    sent: bool = False
    attempts: int = 0
    locked_at: float | None = None
    resumed: int = 0
    stopping: bool = False
    alarm: asyncio.TimerHandle | None = None

    def seconds(self, told: float) -> float:
        """How long the QPU was held: as its process tells, unless that began anew meanwhile."""
        if self.resumed == 0 or self.locked_at is None:
            return told
        return time.monotonic() - self.locked_at


class QpuHost:
    """One QPU's process, started again whenever it ends."""

    def __init__(self, settings: QpuSettings, device: Path, listener: Listener) -> None:
        self._settings = settings
        self._device = device
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._current: _Current | None = None
        self._calibration: str | None = None
        self._calibration_target: Path | None = None
        self._ready = False
        self._unfit = ""
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._retry: asyncio.TimerHandle | None = None
        self._closing = False
        self._keys = 0
        self._check: asyncio.TimerHandle | None = None
        self._forgotten: list[dict[str, Any]] = []
        self.starts = 0
        self._child = self._spawn()

    @property
    def facts(self) -> dict[str, Any]:
        """The state of the process."""
        return {
            "pid": self._child.pid,
            "ready": self._ready,
            "message": self._unfit,
            "job": self._current.job_id if self._current else None,
            "starts": self.starts,
        }

    def _spawn(self) -> Child:
        self.starts += 1
        return Child(
            "ketline.qpus.host:main",
            {"settings": self._settings.model_dump(mode="json"), "device": str(self._device)},
            message=self._heard,
            ended=self._ended,
            niceness=2,
        )

    def run(self, job_id: str, folder: Path, estimate_seconds: float) -> None:
        """Run the unit in a folder as soon as the process can take it; the listener hears the rest."""
        assert self._current is None, "the core gave the QPU to two jobs"
        unit, outcome = str(folder / tasks.UNIT), str(folder / tasks.OUTCOME)
        message = {
            "do": "run", "job": job_id, "unit": unit, "outcome": outcome,
            "estimate_seconds": estimate_seconds,
        }  # fmt: skip
        self._current = _Current(job_id, message, folder)
        self._send_run()

    def forget(self, folder: Path) -> None:
        """Have the machine give up what a note in the folder says that it has."""
        # The process may be long in coming, and the job's folder goes with the job.
        aside = folder.rename(folder.with_name(f"{folder.name}.given-up"))
        self._forgotten.append({"do": "forget", "unit": str(aside / tasks.UNIT)})
        self._send_forgotten()

    def _send_forgotten(self) -> None:
        while self._ready and self._forgotten:
            self._child.send(self._forgotten.pop(0))

    def _send_run(self) -> None:
        if self._ready and self._current is not None and not self._current.sent:
            self._current.sent = self._child.send(self._current.message)
            self._current.attempts += 1

    def stop(self, job_id: str) -> None:
        """Give a job up: politely, then by force."""
        current = self._current
        if current is None or current.job_id != job_id or current.stopping:
            return
        if not current.sent:
            self._current = None
            if (current.folder / NOTE).exists():
                self.forget(current.folder)
            self._listener.stopped(job_id, current.seconds(0.0))
            return
        current.stopping = True
        self._child.send({"do": "stop", "job": job_id})
        current.alarm = self._loop.call_later(STOP_SECONDS, self._child.kill)

    def calibrate(self, target: Path) -> None:
        """Calibrate between two jobs and write the device to a file."""
        self._keys += 1
        self._calibration = f"calibration-{self._keys}"
        self._calibration_target = target
        if self._ready:
            self._send_calibration()

    def _send_calibration(self) -> None:
        self._child.send(
            {"do": "calibrate", "key": self._calibration, "device": str(self._calibration_target)}
        )

    def _check_soon(self) -> None:
        if self._check is not None:
            self._check.cancel()
        self._check = self._loop.call_later(self._settings.health_interval_seconds, self._check_health)

    def _check_health(self) -> None:
        self._check = None
        if self._ready:
            self._child.send({"do": "health", "key": "check"})

    async def close(self) -> None:
        """End the process."""
        self._closing = True
        if self._check is not None:
            self._check.cancel()
        if self._retry is not None:
            self._retry.cancel()
        self._finish()
        self._child.kill()
        await self._child.gone

    def _heard(self, message: dict[str, Any]) -> None:
        match message["is"]:
            case "ready":
                self._ready, self._unfit = True, ""
                self._retry_seconds = _FIRST_RETRY_SECONDS
                self._listener.fit(self._settings.name, True, "")
                self._check_soon()
                self._send_forgotten()
                self._send_run()
                if self._calibration is not None:
                    self._send_calibration()
            case "health":
                self._listener.well(self._settings.name, bool(message["ok"]), str(message["message"]))
                self._check_soon()
            case "unfit":
                self._unfit = str(message["message"])
            case "calibrated" if message["key"] == self._calibration:
                self._calibration = None
                self._listener.calibrated(
                    self._settings.name, bool(message["ok"]), str(message.get("message", ""))
                )
            case "locked" | "progress" | "released" | "stopped" | "failed":
                if self._current is not None and message["job"] == self._current.job_id:
                    self._heard_of_job(self._current, message)

    def _heard_of_job(self, current: _Current, message: dict[str, Any]) -> None:
        match message["is"]:
            case "locked" if current.locked_at is None:
                current.locked_at = time.monotonic()
                self._listener.locked(current.job_id)
            case "released":
                self._finish()
                self._listener.released(current.job_id, current.seconds(float(message["qpu_seconds"])))
            case "stopped":
                self._finish()
                self._listener.stopped(current.job_id, current.seconds(float(message["qpu_seconds"])))
            case "failed":
                self._finish()
                reason = Reason(int(message["code"]), str(message["message"]), str(message["solution"]))
                failure = Failure(reason, FailureKind(message["kind"]))
                self._listener.failed(current.job_id, current.seconds(float(message["qpu_seconds"])), failure)

    def _finish(self) -> None:
        if self._current is not None and self._current.alarm is not None:
            self._current.alarm.cancel()
        self._current = None

    def _ended(self, ending: str) -> None:
        was_ready, self._ready = self._ready, False
        if self._closing:
            return
        current = self._current
        if current is not None and current.sent and self._unheard(current):
            # It may have died before it read the message. A job that is its death is found out at once.
            current.sent = False
        elif current is not None and current.sent and self._goes_on(current):
            current.sent = False
            current.resumed += 1
        elif current is not None and current.sent:
            self._finish()
            seconds = 0.0 if current.locked_at is None else time.monotonic() - current.locked_at
            if current.stopping:
                self._listener.stopped(current.job_id, seconds)
            else:
                self._listener.failed(current.job_id, seconds, self._died(ending))
        if self._calibration is not None and was_ready:
            self._calibration = None
            self._listener.calibrated(self._settings.name, False, f"the QPU's process ended ({ending})")
        if was_ready:
            self._child = self._spawn()
        else:
            self._listener.fit(self._settings.name, False, self._unfit or f"its process ended ({ending})")
            self._retry = self._loop.call_later(self._retry_seconds, self._again)
            self._retry_seconds = min(self._retry_seconds * 4, _LONGEST_RETRY_SECONDS)

    def _again(self) -> None:
        self._retry = None
        self._child = self._spawn()

    @staticmethod
    def _unheard(current: _Current) -> bool:
        return current.locked_at is None and not current.stopping and current.attempts < 2

    @staticmethod
    def _goes_on(current: _Current) -> bool:
        """Whether the machine goes on with the job, and its next process is to ask for it."""
        return (
            not current.stopping and current.resumed < _RESUMED_AT_MOST and (current.folder / NOTE).exists()
        )

    def _died(self, ending: str) -> Failure:
        kind = errors.QPU_PROCESS_DIED
        limit = f"{self._settings.memory_bytes:,}"
        fields = {
            "qpu": self._settings.name,
            "why": f" ({ending}); a job may take {limit} bytes of memory there",
        }
        reason = Reason(kind.code, kind.message.format(**fields), kind.solution.format(**fields))
        return Failure(reason, FailureKind.SYSTEM)
