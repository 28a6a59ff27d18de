"""A QPU behind any Qiskit ``BackendV2``: a machine of the site's own, a provider's, or a simulator.

``device`` in the configuration names what makes the backend, as ``module:attribute``: a class or a function
that is called without arguments, or a backend itself, for instance
``qiskit_ibm_runtime.fake_provider:FakeManilaV2``.
"""

from __future__ import annotations

import importlib
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ketline.core.estimate import sub_job
from ketline.errors import CIRCUIT_REJECTED, NOT_EMULATED
from ketline.qpus.driver import Admission, DriverError, Health, Progress
from ketline.units.errors import JobError
from ketline.units.work import ItemOutcome, Outcome, Span

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from ketline.config import QpuSettings
    from ketline.core.estimate import UsageEstimate
    from ketline.qpus.backend_job import BackendJob
    from ketline.qpus.counts import Shots
    from ketline.units.device import Device
    from ketline.units.work import WorkUnit

_MOST_CIRCUITS = 300
_LOOK_SECONDS = 0.02
_POLL_SECONDS = 0.25


@dataclass(slots=True)
class _Batch:
    """Sets ``[first, last)`` of an item that are one job of the backend."""

    item: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _HandedIn:
    """A job of the backend, in the order of batches: its id, when it was handed in, what it is."""

    job_id: str | None
    begun: str
    batch: tuple[int, int, int]


@dataclass(slots=True)
class _Started:
    """A unit; ``handed_in`` are its jobs so far, ``before`` those of a predecessor that it goes on with."""

    unit: WorkUnit
    todo: list[_Batch]
    shots: list[Shots]
    done: int = 0
    batch: _Batch | None = None
    job: BackendJob | None = None
    spans: list[Span] = field(default_factory=list)
    handed_in: list[_HandedIn] = field(default_factory=list)
    before: list[_HandedIn] = field(default_factory=list)


def make(settings: QpuSettings) -> Any:
    """The backend that the settings name.

    Raises:
        DriverError: it can't be imported or made, or is no ``BackendV2``.
    """
    from qiskit.providers import BackendV2

    module, _, attribute = settings.device.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
        backend = found if isinstance(found, BackendV2) else found()
    except Exception as error:
        raise DriverError(
            f"the backend {settings.device!r} can't be made: {error}; device has to be module:attribute"
        ) from error
    if not isinstance(backend, BackendV2):
        raise DriverError(f"{settings.device!r} is a {type(backend).__name__}, not a Qiskit BackendV2")
    return backend


class BackendDriver:
    """A QPU behind a ``BackendV2`` (`ketline.qpus.driver.DriverType`)."""

    def __init__(self, device: Device, settings: QpuSettings) -> None:
        self._device = device
        self._settings = settings
        self._backend = make(settings)
        self._units: dict[str, _Started] = {}

    @classmethod
    def device(cls, settings: QpuSettings) -> Device:
        """The backend's target as a device. Imports Qiskit, for only the backend knows what it is."""
        from ketline.qpus.published import published

        backend = make(settings)
        try:
            return published(backend, settings.name, settings.simulator)
        except DriverError:
            raise
        except Exception as error:
            raise DriverError(
                f"the target of the backend {settings.device!r} can't be published: "
                f"{type(error).__name__}: {error}"
            ) from error

    @classmethod
    def admit(cls, unit: WorkUnit, device: Device, settings: QpuSettings) -> Admission:
        """Check that a backend can do what the unit asks for (`ketline.qpus.driver.DriverType.admit`)."""
        from ketline.qpus.schedule import Durations, schedule

        _check(unit, device)
        durations = Durations(device.target, device.dt_seconds)
        circuits = []
        for item in unit.items:
            places = {qubit: i for i, qubit in enumerate(item.circuit.qubits)}
            length = durations.seconds(schedule(item.circuit, durations, places).duration)
            sets = item.parameter_values.shape[0]
            circuits.append((sets * item.shots, unit.pause_seconds(device), length))
        usage = sub_job(circuits)
        return Admission(usage.seconds, 0, ("backend",) * len(unit.items), usage)

    @classmethod
    def estimate(cls, usage: UsageEstimate, settings: QpuSettings) -> float | None:
        """The formula's own answer (`ketline.qpus.driver.DriverType.estimate`)."""
        return usage.seconds

    def start(self, unit: WorkUnit) -> str:
        """Hand in the first of the backend's jobs (`ketline.qpus.driver.Driver.start`)."""
        _check(unit, self._device)
        return self._begin(self._planned(unit))

    def note(self, handle: str) -> dict[str, Any] | None:
        """The backend's jobs so far, if it can find them again (`ketline.qpus.driver.Resumable.note`)."""
        started = self._units[handle]
        # Those of a predecessor that aren't looked up yet are the backend's too.
        jobs = [*started.handed_in, *started.before]
        if not callable(getattr(self._backend, "retrieve_job", None)):
            return None
        if any(job.job_id is None for job in jobs):
            return None
        return {"jobs": [[job.job_id, job.begun, list(job.batch)] for job in jobs]}

    def resume(self, unit: WorkUnit, note: dict[str, Any]) -> str:
        """Go on with the jobs that the backend has (`ketline.qpus.driver.Resumable.resume`)."""
        started = self._planned(unit)
        try:
            started.before = [_HandedIn(str(name), str(at), (*batch,)) for name, at, batch in note["jobs"]]
        except (KeyError, TypeError, ValueError) as error:
            raise LookupError(f"the note of the backend's jobs can't be read: {error!r}") from error
        plan = [(batch.item, batch.first, batch.last) for batch in started.todo]
        if [job.batch for job in started.before] != plan[: len(started.before)]:
            raise LookupError("the backend's jobs aren't those that it would be given now")
        return self._begin(started)

    def _planned(self, unit: WorkUnit) -> _Started:
        from ketline.qpus.counts import Shots
        from ketline.qpus.reduce import registers

        most = min(self._backend.max_circuits or _MOST_CIRCUITS, _MOST_CIRCUITS)
        todo, shots = [], []
        for number, item in enumerate(unit.items):
            sets = item.parameter_values.shape[0]
            step = min(item.chunk_sets or sets, most)
            todo += [_Batch(number, first, min(sets, first + step)) for first in range(0, sets, step)]
            shots.append(Shots(registers(item.circuit), item.circuit.num_clbits, sets, item.shots))
        return _Started(unit, todo, shots)

    def _begin(self, started: _Started) -> str:
        self._submit(started)
        handle = secrets.token_hex(8)
        self._units[handle] = started
        return handle

    def _submit(self, started: _Started) -> None:
        """Hand the next batch in; one that a predecessor handed in is looked up."""
        if not started.todo:
            return
        from ketline.qpus.backend_job import BackendJob

        started.batch = batch = started.todo.pop(0)
        item = started.unit.items[batch.item]
        rows = item.parameter_values[batch.first : batch.last]
        circuits = [item.circuit.assign_parameters(row.tolist()) for row in rows]
        job = self._known(started, circuits, item.shots)
        if job is None:
            job = BackendJob.handed_in(self._backend, circuits, item.shots)
        started.job = job
        place = (batch.item, batch.first, batch.last)
        started.handed_in.append(_HandedIn(job.job_id, job.begun.isoformat(), place))

    def _known(self, started: _Started, circuits: list[QuantumCircuit], shots: int) -> BackendJob | None:
        """The job that a predecessor handed in for the next batch; None if there's none.

        Raises:
            LookupError: the backend doesn't find the first of them.
        """
        if not started.before:
            return None
        from ketline.qpus.backend_job import BackendJob

        known = started.before.pop(0)
        begun = datetime.fromisoformat(known.begun)
        try:
            return BackendJob.retrieved(self._backend, str(known.job_id), circuits, shots, begun)
        except LookupError:
            if not started.handed_in:
                raise
            # The others were handed in after it.
            started.before.clear()
            return None

    def poll(self, handle: str) -> Progress:
        """Wait a moment for the backend (`ketline.qpus.driver.Driver.poll`)."""
        started = self._units[handle]
        until = time.monotonic() + _POLL_SECONDS
        while started.job is not None and time.monotonic() < until:
            if started.job.over():
                self._take(started)
            else:
                time.sleep(_LOOK_SECONDS)
        return Progress(
            "done" if started.job is None else "running", started.done, started.unit.executions
        )  # fmt: skip

    def _take(self, started: _Started) -> None:
        """Take the results of a finished job of the backend in, and submit the next."""
        batch, job = started.batch, started.job
        if batch is None or job is None:
            return
        item, shots = started.unit.items[batch.item], started.shots[batch.item]
        for index, bits in enumerate(job.bits(), batch.first):
            if bits is not None:
                shots.add_bits(index, bits, list(range(bits.shape[1])), spill=False)
        started.done += (batch.last - batch.first) * item.shots
        started.spans.append(Span(batch.item, batch.first, batch.last, job.begun, datetime.now(UTC)))
        started.job = started.batch = None
        self._submit(started)

    def outcome(self, handle: str) -> Outcome:
        """What a unit that is done gave; it is forgotten."""
        started = self._units.pop(handle)
        return Outcome([ItemOutcome(bits=shots.bits) for shots in started.shots], started.spans)

    def stop(self, handle: str) -> None:
        """Cancel the backend's job."""
        started = self._units.pop(handle, None)
        if started is not None and started.job is not None:
            started.job.cancel()

    def calibrate(self, at: float) -> Device:
        """Read the backend's target again: calibrating is its own affair."""
        self._device = self.device(self._settings)
        return self._device

    def describe(self) -> dict[str, object]:
        """Facts for an operator."""
        return {
            "name": self._device.name, "driver": "backend", "device": self._settings.device,
            "num_qubits": self._device.num_qubits, "simulator": self._device.simulator,
            "backend": str(self._backend.name),
        }  # fmt: skip

    def health(self) -> Health:
        """What the backend says of itself, if it says anything."""
        status = getattr(self._backend, "status", None)
        if status is None:
            return Health(True)
        told = status()
        return Health(bool(told.operational), str(told.status_msg))


def _check(unit: WorkUnit, device: Device) -> None:
    """Refuse by name what only an emulator can do, or what a backend has no common way of being asked for.

    Raises:
        JobError: naming the option.
    """
    asked = {
        "noise": not unit.noise, "mock": unit.mock, "seed": unit.seed is not None,
        "simulator": bool(unit.simulator), "meas_level": unit.meas_level != "classified",
        "init_qubits": not unit.init_qubits, "rep_delay": unit.rep_delay_seconds is not None,
        "stretch_values": unit.stretch_values, "scheduler_timing": unit.scheduler_timing,
    }  # fmt: skip
    for name, wanted in asked.items():
        if wanted:
            raise JobError(
                NOT_EMULATED.code, f"{name}: the QPU {device.name} has no such option", NOT_EMULATED.solution
            )
    for number, item in enumerate(unit.items):
        if item.circuit.num_qubits > device.num_qubits:
            raise JobError(
                CIRCUIT_REJECTED.code,
                f"the circuit of item {number} has {item.circuit.num_qubits} qubits, "
                f"{device.name} has {device.num_qubits}",
                CIRCUIT_REJECTED.solution,
            )
