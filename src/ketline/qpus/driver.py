"""The interface of a QPU driver, and how drivers are found.

A driver is a class registered under the entry point group ``ketline.qpus``::

    [project.entry-points."ketline.qpus"]
    emulator = "ketline.qpus.emulator:Emulator"

Its class methods (`DriverType.device`, `DriverType.admit`, `DriverType.estimate`) need no machine: they
are called in compute workers too. An instance lives in the QPU's own process (`ketline.qpus.host`) and
holds the machine; it runs one unit of work at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ketline.config import QpuSettings
    from ketline.core.estimate import UsageEstimate
    from ketline.units.device import Device
    from ketline.units.work import Outcome, WorkUnit

GROUP = "ketline.qpus"


class DriverError(Exception):
    """A driver can't be found or can't be used; the message names it and what there is."""


class Fault(Exception):
    """The machine failed, not the job; the message says why."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a driver says of a unit before it takes the QPU.

    ``qpu_seconds`` estimates how long the QPU will be locked and ``memory_bytes`` the most memory taken
    (0: not on this machine). ``methods`` names, one an item, how each will be run. ``usage`` is what the
    real device would take, by the formula of ``modes.md`` 8.2 (`ketline.core.estimate.sub_job`).
    """

    qpu_seconds: float
    memory_bytes: int
    methods: tuple[str, ...]
    usage: UsageEstimate

    @property
    def device_seconds(self) -> float:
        """The whole time that the real device would take."""
        return self.usage.seconds


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a started unit is; ``done`` of ``total`` executions (circuits times shots)."""

    state: Literal["running", "done"]
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a machine can take work, and why not."""

    ok: bool
    message: str = ""


class Driver(Protocol):
    """A machine, held by the QPU's own process."""

    def start(self, unit: WorkUnit) -> str:
        """Begin a unit and return its handle, which names it in the calls that follow.

        Raises:
            ketline.units.errors.JobError: the unit can't be run, by its own fault.
        """
        ...

    def poll(self, handle: str) -> Progress:
        """Go on for about a quarter of a second at most, and tell how far it is.

        An emulator computes meanwhile, a driver of a remote machine waits and asks.

        Raises:
            ketline.units.errors.JobError: the unit failed by its own fault.
            Fault: the machine failed.
            KeyError: nothing is known of the handle.
        """
        ...

    def outcome(self, handle: str) -> Outcome:
        """What a unit that is done gave; the driver forgets it."""
        ...

    def stop(self, handle: str) -> None:
        """Give a unit up; its handle is forgotten. Nothing happens if it isn't known."""
        ...

    def calibrate(self, at: float) -> Device:
        """Calibrate at the time ``at`` (seconds since the epoch) and return the machine as it is now."""
        ...

    def describe(self) -> dict[str, object]:
        """Facts for an operator: name, driver, number of qubits, what it runs on (JSON)."""
        ...

    def health(self) -> Health:
        """Whether it can take work."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """What a driver can do besides, if its machine goes on with a unit while nobody is connected to it.

    The unit is found again when the QPU's process or the whole server comes back, and isn't run twice.
    """

    def note(self, handle: str) -> dict[str, Any] | None:
        """By what `resume` will find a started unit (JSON); None if it couldn't. Asked after every poll."""
        ...

    def resume(self, unit: WorkUnit, note: dict[str, Any]) -> str:
        """Go on with a unit that a predecessor started, and return its handle.

        Raises:
            LookupError: the machine knows nothing of it; it will be started anew.
        """
        ...


class DriverType(Protocol):
    """What an entry point of the group ``ketline.qpus`` names: a class that makes drivers."""

    def __call__(self, device: Device, settings: QpuSettings) -> Driver:
        """Take hold of the machine."""
        ...

    def device(self, settings: QpuSettings) -> Device:
        """The machine as it is published before its first calibration; Qiskit isn't imported.

        Raises:
            DriverError: ``settings.device`` isn't known.
        """
        ...

    def admit(self, unit: WorkUnit, device: Device, settings: QpuSettings) -> Admission:
        """Check that a unit can be run and say what it takes. Pure, and quick against running it.

        Raises:
            ketline.units.errors.JobError: it can't be run; the message names the estimate and the limit.
        """
        ...

    def estimate(self, usage: UsageEstimate, settings: QpuSettings) -> float | None:
        """How long the QPU will be locked for a job of which no more than its usage by the formula is known.

        None: only the circuits themselves tell. Qiskit isn't imported.
        """
        ...


def drivers() -> dict[str, EntryPoint]:
    """The drivers that are installed, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def driver_type(name: str) -> DriverType:
    """The driver of this name.

    Raises:
        DriverError: there is none, or it can't be imported.
    """
    found = drivers()
    if name not in found:
        raise DriverError(
            f"there is no QPU driver {name!r}; installed are {', '.join(sorted(found)) or 'none'}"
        )
    try:
        loaded: DriverType = found[name].load()
    except (ImportError, AttributeError) as error:
        raise DriverError(
            f"the QPU driver {name!r} ({found[name].value}) can't be imported: {error}"
        ) from error
    return loaded
