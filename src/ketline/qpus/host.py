"""The process that holds one QPU: its main loop and the messages it speaks.

Every message is one JSON object, sent with ``Connection.send_bytes``. The parent starts the process with
``main(connection, spec)`` where ``spec`` is a JSON text::

    {"settings": {…a [[qpus]] table, `QpuSettings.model_dump()`…},
     "device": "/path/device.json" | null}     the latest published device (`Device.write`); null: made from
                                               the settings

From the parent (``do``) and what is answered (``is``). Between two slices of a run (a quarter of a second,
or one shot of a very large circuit) messages are read, so ``stop``, ``health`` and ``describe`` are answered
during a run.

``{"do": "run", "job": ID, "unit": PATH, "outcome": PATH, "estimate_seconds": S}``
    Take the QPU and run the work unit in the file (`ketline.units.serial`), or go on with it if a note beside
    its file says that the machine has it already (`ketline.qpus.resuming`). Answered by

    ``{"is": "locked", "job": ID, "at": T}`` at once (T in seconds since the epoch), then any
    number of ``{"is": "progress", "job": ID, "done": N, "total": N}``, then exactly one of

    - ``{"is": "released", "job": ID, "at": T, "qpu_seconds": S}``: the outcome file is complete
    - ``{"is": "stopped", "job": ID, "at": T, "qpu_seconds": S}``: because of ``stop``; there's no outcome
    - ``{"is": "failed", "job": ID, "at": T, "qpu_seconds": S, "kind": "user" | "system", "code": N,
      "message": …, "solution": …}``: S counts from ``locked``

    A ``run`` before that answer, or during a calibration, is a fault of the parent: it is answered by
    ``failed`` of kind ``system`` with ``qpu_seconds`` 0 for the new job, and what runs goes on.
``{"do": "stop", "job": ID}``
    Give the job up; answered by ``stopped``, or by whatever ended the job before. Another job's id: ignored.
``{"do": "forget", "unit": PATH}``
    Give up a unit that the machine has, by the note beside its file; there's no answer.
``{"do": "calibrate", "key": K, "device": PATH}``
    Calibrate (only between jobs) and write the device as it is then to the file. Answered by
    ``{"is": "calibrated", "key": K, "ok": true, "at": T, "seconds": S}``, or with ``"ok": false`` and a
    ``"message"``. It takes ``settings.calibration_seconds``.
``{"do": "health", "key": K}``
    ``{"is": "health", "key": K, "ok": true|false, "message": …, "rss_bytes": N, "job": ID | null}``
``{"do": "describe", "key": K}``
    ``{"is": "description", "key": K, "description": {…}}``
``{"do": "exit"}``
    Stop what runs without an answer, and end the process with status 0. A closed connection means the same.
    A machine that goes on with a unit by itself, and will be asked for it again, is left at it.

Right after its start the process sends ``{"is": "ready", "qpu": NAME, "pid": N}``, or
``{"is": "unfit", "message": …}`` and ends with status 2 when the driver or the device can't be used.

The memory that the process may take beyond what it has at its start is ``settings.memory_bytes`` (a limit
of the operating system). A job that needs more fails with code 9303; if the process dies of it (or is
killed), the connection closes without an answer: the parent reports the job as failed with
`ketline.errors.QPU_PROCESS_DIED` (9304) and starts the process anew. The parent may kill the process at any
time, for instance when ``stop`` isn't answered soon enough; files that it was writing don't exist then, for
they are renamed into place when they are complete.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ketline.config import QpuSettings
from ketline.errors import QPU_FAULT, QPU_OUT_OF_MEMORY
from ketline.qpus.driver import Driver, DriverError, Fault, Health, driver_type
from ketline.qpus.resuming import Trail
from ketline.units.device import Device
from ketline.units.errors import JobError
from ketline.units.serial import FormatError, write_outcome

_PAGE_BYTES = resource.getpagesize()
_PROGRESS_SECONDS = 0.5
_log = logging.getLogger(__name__)
UNFIT_STATUS = 2
"""Exit status of a process whose driver or device can't be used."""


class _Job:
    """The job that holds the QPU."""

    def __init__(self, job: str, outcome: Path, locked_at: float) -> None:
        self.job = job
        self.outcome = outcome
        self.locked_at = locked_at
        self.handle: str | None = None
        self.trail: Trail | None = None
        self.told_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class _Calibration:
    key: str
    path: Path
    started: float
    until: float


class Host:
    """The main loop of a QPU's process: reads messages between the slices of a run.

    Args:
        connection: to the parent.
        driver: the machine.
        settings: the QPU's settings.
    """

    def __init__(self, connection: Connection, driver: Driver, settings: QpuSettings) -> None:
        self._connection = connection
        self._driver = driver
        self._settings = settings
        self._running: _Job | None = None
        self._calibrating: _Calibration | None = None
        self._started = 0.0
        self._over = False

    def serve(self) -> None:
        """Answer messages until ``exit`` or until the connection is closed."""
        self._tell("ready", qpu=self._settings.name, pid=os.getpid())
        while not self._over:
            try:
                while not self._over and self._connection.poll(self._patience()):
                    self._take(json.loads(self._connection.recv_bytes()))
            except (EOFError, OSError):
                self._over = True
            if self._running is not None and not self._over:
                self._slice(self._running)
            if self._calibrating is not None and time.monotonic() >= self._calibrating.until:
                self._calibrated(self._calibrating)
        running = self._running
        if running is not None and not (running.trail is not None and running.trail.lasts):
            self._let_go(running)

    def _let_go(self, running: _Job) -> None:
        """Give up what runs; the QPU is free even if its driver can't do that properly."""
        if running.handle is None:
            return
        try:
            self._driver.stop(running.handle)
        except Exception:  # noqa: BLE001 - the QPU has to go on
            _log.exception("the driver of %s failed to stop a unit", self._settings.name)

    def _patience(self) -> float | None:
        """How long to wait for a message; None: for ever."""
        if self._running is not None:
            return 0.0
        if self._calibrating is not None:
            return max(0.0, self._calibrating.until - time.monotonic())
        return None

    def _tell(self, what: str, /, **facts: Any) -> None:
        try:
            self._connection.send_bytes(json.dumps({"is": what, **facts}).encode())
        except (BrokenPipeError, ConnectionResetError):
            self._over = True

    def _take(self, message: dict[str, Any]) -> None:
        match message["do"]:
            case "run":
                self._run(message)
            case "forget":
                self._forget(Path(message["unit"]))
            case "stop":
                self._stop(message["job"])
            case "calibrate":
                self._calibrate(message["key"], Path(message["device"]))
            case "health":
                self._health(message["key"])
            case "describe":
                self._tell("description", key=message["key"], description=self._driver.describe())
            case "exit":
                self._over = True
            case other:
                raise ValueError(f"the parent sent a message that isn't in the protocol: {other!r}")

    def _run(self, message: dict[str, Any]) -> None:
        job, outcome = message["job"], Path(message["outcome"])
        busy = self._busy()
        if busy:
            self._failed(job, 0.0, "system", QPU_FAULT.code, self._fault(busy), QPU_FAULT.solution)
            return
        self._running = running = _Job(job, outcome, time.time())
        self._started = time.monotonic()
        try:
            running.trail = Trail(self._driver, Path(message["unit"]), message.get("estimate_seconds", 0.0))
            running.handle = running.trail.begin()
        except Exception as error:  # noqa: BLE001 - whatever the unit does must fail the job, not the QPU
            self._tell("locked", job=job, at=running.locked_at)
            self._end_badly(error)
            return
        self._tell("locked", job=job, at=running.locked_at)

    def _slice(self, running: _Job) -> None:
        """Go on with the job for a moment."""
        if running.handle is None or running.trail is None:
            return
        try:
            progress = self._driver.poll(running.handle)
            if progress.state == "done":
                write_outcome(running.outcome, self._driver.outcome(running.handle))
                self._running = None
                self._tell("released", job=running.job, at=time.time(), qpu_seconds=self._held())
                return
            running.trail.keep(running.handle)
        except Exception as error:  # noqa: BLE001 - as above
            self._end_badly(error)
            return
        if time.monotonic() - running.told_at > _PROGRESS_SECONDS:
            running.told_at = time.monotonic()
            self._tell("progress", job=running.job, done=progress.done, total=progress.total)

    def _forget(self, unit: Path) -> None:
        """Give up what a predecessor left on the machine for a job that is over."""
        try:
            handle = Trail(self._driver, unit).found()
            if handle is not None:
                self._driver.stop(handle)
        except Exception:  # noqa: BLE001 - the QPU has to go on
            _log.exception("the driver of %s failed to give up an earlier unit", self._settings.name)

    def _stop(self, job: str) -> None:
        running = self._running
        if running is None or running.job != job:
            return
        self._let_go(running)
        self._running = None
        self._tell("stopped", job=job, at=time.time(), qpu_seconds=self._held())

    def _end_badly(self, error: Exception) -> None:
        """The job is over because of an error; the QPU is free again."""
        running = self._running
        if running is None:
            return
        self._running = None
        self._let_go(running)
        held = self._held()
        if isinstance(error, JobError):
            self._failed(running.job, held, "user", error.code, error.message, error.solution)
        elif isinstance(error, MemoryError):
            gc.collect()
            message = QPU_OUT_OF_MEMORY.message.format(
                limit_bytes=self._settings.memory_bytes, qpu=self._settings.name
            )
            self._failed(
                running.job, held, "user", QPU_OUT_OF_MEMORY.code, message, QPU_OUT_OF_MEMORY.solution
            )
        else:
            why = _reason(error)
            self._failed(
                running.job, held, "system", QPU_FAULT.code, self._fault(why[:500]), QPU_FAULT.solution
            )

    def _failed(self, job: str, held: float, kind: str, code: int, message: str, solution: str) -> None:
        self._tell(
            "failed", job=job, at=time.time(), qpu_seconds=held, kind=kind, code=code, message=message,
            solution=solution,
        )  # fmt: skip

    def _fault(self, why: str) -> str:
        return QPU_FAULT.message.format(qpu=self._settings.name, why=why)

    def _held(self) -> float:
        return time.monotonic() - self._started

    def _calibrate(self, key: str, path: Path) -> None:
        busy = self._busy()
        if busy:
            self._tell("calibrated", key=key, ok=False, message=busy)
            return
        started = time.monotonic()
        self._calibrating = _Calibration(key, path, started, started + self._settings.calibration_seconds)

    def _calibrated(self, calibration: _Calibration) -> None:
        self._calibrating = None
        try:
            self._driver.calibrate(time.time()).write(calibration.path)
        except Exception as error:  # noqa: BLE001 - a machine that can't be calibrated goes on as it is
            self._tell("calibrated", key=calibration.key, ok=False, message=_reason(error))
            return
        seconds = time.monotonic() - calibration.started
        self._tell("calibrated", key=calibration.key, ok=True, at=time.time(), seconds=seconds)

    def _busy(self) -> str:
        """What keeps the QPU from taking something else; empty when nothing does."""
        if self._running is not None:
            return f"it is running the job {self._running.job}"
        return "" if self._calibrating is None else "it is being calibrated"

    def _health(self, key: str) -> None:
        try:
            found = self._driver.health()
        except Exception as error:  # noqa: BLE001 - a machine that can't tell isn't well
            found = Health(False, f"its health can't be told: {_reason(error)}")
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
        job = None if self._running is None else self._running.job
        self._tell(
            "health", key=key, ok=found.ok, message=found.message, rss_bytes=resident, job=job
        )  # fmt: skip


def _reason(error: Exception) -> str:
    if isinstance(error, Fault | DriverError | FormatError | OSError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def limit_memory(more_bytes: int) -> None:
    """Let this process take so much more memory than it has."""
    fields = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    data = next(int(line.split()[1]) * 1024 for line in fields if line.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = data + more_bytes
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def main(connection: Connection, spec: str) -> None:
    """Run the process of one QPU (see above); returns when the parent says so or goes away.

    Raises:
        SystemExit: with status 2, after ``unfit``.
    """
    wanted = json.loads(spec)
    settings = QpuSettings(**wanted["settings"])
    try:
        made = driver_type(settings.driver)
        path = wanted.get("device")
        device = made.device(settings) if path is None else Device.read(Path(path))
        driver = made(device, settings)
    except Exception as error:
        connection.send_bytes(json.dumps({"is": "unfit", "message": _reason(error)}).encode())
        raise SystemExit(UNFIT_STATUS) from error
    limit_memory(settings.memory_bytes)
    Host(connection, driver, settings).serve()
