"""The emulated QPU: a recorded device whose circuits are simulated.

Qiskit and Aer are imported when the first unit comes (`ketline.qpus.engine`), so a process that only asks for
the device stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketline.qpus.drift import calibrated
from ketline.qpus.driver import Admission, Health, Progress
from ketline.qpus.snapshots import ideal, snapshot

if TYPE_CHECKING:
    from ketline.config import QpuSettings
    from ketline.core.estimate import UsageEstimate
    from ketline.units.device import Device
    from ketline.units.work import Outcome, WorkUnit


class Emulator:
    """An emulated QPU (`ketline.qpus.driver.DriverType`)."""

    def __init__(self, device: Device, settings: QpuSettings) -> None:
        from ketline.qpus.engine import Engine

        self._device = device
        self._settings = settings
        self._engine = Engine(device, settings)

    @classmethod
    def device(cls, settings: QpuSettings) -> Device:
        """The recorded device that the settings name, or an ideal simulator of its size."""
        make = ideal if settings.simulator else snapshot
        return make(settings.device, settings.name)

    @classmethod
    def admit(cls, unit: WorkUnit, device: Device, settings: QpuSettings) -> Admission:
        """Check a unit and estimate what it takes (`ketline.qpus.driver.DriverType.admit`)."""
        from ketline.qpus.engine import admit

        return admit(unit, device, settings)

    @classmethod
    def estimate(cls, usage: UsageEstimate, settings: QpuSettings) -> float | None:
        """The device's time at the emulator's pace; without one, only a circuit tells how long it takes."""
        return settings.pace * usage.seconds if settings.pace > 0 else None

    def start(self, unit: WorkUnit) -> str:
        """Begin a unit (`ketline.qpus.driver.Driver.start`)."""
        return self._engine.start(unit)

    def poll(self, handle: str) -> Progress:
        """Compute for about a quarter of a second (`ketline.qpus.driver.Driver.poll`)."""
        return self._engine.poll(handle)

    def outcome(self, handle: str) -> Outcome:
        """What a unit that is done gave; it is forgotten."""
        return self._engine.outcome(handle)

    def stop(self, handle: str) -> None:
        """Give a unit up."""
        self._engine.stop(handle)

    def calibrate(self, at: float) -> Device:
        """Bring the device back to its recorded figures, nearly (`ketline.qpus.drift`), and publish it."""
        self._device = calibrated(self.device(self._settings), self._settings, at)
        self._engine.restore(self._device, at)
        return self._device

    def describe(self) -> dict[str, object]:
        """Facts for an operator."""
        device = self._device
        return {
            "name": device.name, "driver": "emulator", "device": self._settings.device,
            "num_qubits": device.num_qubits, "simulator": device.simulator, "pace": self._settings.pace,
            "drift": self._settings.drift, "calibration_id": device.calibration_id,
            "memory_bytes": self._settings.memory_bytes,
        }  # fmt: skip

    def health(self) -> Health:
        """An emulator that answers is well."""
        return Health(True)
