"""The backends as they are published: QPUs, simulators, and the mock twins for dry runs."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ketline.config import ConfigError, QpuSettings
from ketline.core.model import QpuMode, QpuSpec
from ketline.qpus.driver import DriverError, driver_type
from ketline.service.views import BackendView
from ketline.units.device import Device


def mock_name(name: str) -> str:
    """The dry-run twin's name, as the client makes it (``rest.md`` C.7)."""
    return re.sub(r"^[^_]+", "mock", name)


@dataclass(slots=True)
class Backend:
    """One backend: what the configuration says, and the device as it is now.

    ``device_path`` is the same device as a file, for the processes that work with it.
    """

    name: str
    settings: QpuSettings
    device: Device
    device_path: Path
    mock: bool
    configuration: bytes
    properties: bytes
    mode: QpuMode = QpuMode.ONLINE
    message: str = ""

    @property
    def serial(self) -> bool:
        """Whether it is a QPU with a queue and a process of its own."""
        return not self.mock and not self.settings.simulator

    @property
    def spec(self) -> QpuSpec:
        """What the scheduler needs to know."""
        settings = self.settings
        return QpuSpec(
            qpu_id=self.name,
            lanes=settings.lanes,
            serial=self.serial,
            mode=self.mode,
            mode_reason=self.message,
            job_overhead_seconds=settings.job_overhead_seconds,
            calibration_interval_seconds=settings.calibration_interval_seconds if self.serial else None,
            calibration_seconds=settings.calibration_seconds if self.serial else 0.0,
        )

    def publish(self, device: Device) -> None:
        """Take the device as it is now, and write it down for the processes."""
        self.device = device
        self.configuration = orjson.dumps(device.configuration)
        self.properties = b"null" if device.properties is None else orjson.dumps(device.properties)
        device.write(self.device_path)

    def view(self, queue_length: int) -> BackendView:
        """The backend as the outside sees it."""
        configuration: dict[str, Any] = self.device.configuration
        clops = configuration.get("clops_h") or configuration.get("clops")
        processor = configuration.get("processor_type")
        online = self.mode is QpuMode.ONLINE
        return BackendView(
            name=self.name,
            num_qubits=self.device.num_qubits,
            simulator=self.device.simulator,
            mock=self.mock,
            online=online,
            status="active" if online else self.mode.value,
            message=self.message,
            version=str(configuration.get("backend_version", "1.0.0")),
            queue_length=queue_length,
            processor_type=dict(processor) if isinstance(processor, dict) else None,
            clops=int(clops) if isinstance(clops, int | float) else None,
        )


def load(qpus: tuple[QpuSettings, ...], folder: Path) -> dict[str, Backend]:
    """The backends that the configuration names, each QPU followed by its mock twin.

    Raises:
        ConfigError: a name occurs twice, or a driver or device isn't known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Backend] = {}
    for settings in qpus:
        try:
            device = driver_type(settings.driver).device(settings)
        except DriverError as error:
            raise ConfigError(f"qpus: {settings.name}: {error}") from error
        _add(found, settings, device, folder, mock=False)
        if not settings.simulator:
            _add(found, settings, device, folder, mock=True)
    return found


def _add(
    found: dict[str, Backend], settings: QpuSettings, device: Device, folder: Path, *, mock: bool
) -> None:
    name = mock_name(settings.name) if mock else settings.name
    if name in found:
        what = "the dry-run twins of two QPUs would be called" if mock else "two QPUs are called"
        raise ConfigError(f"qpus: {what} {name!r}; give one of them another name after the underscore")
    path = folder / f"{name}.{settings.driver}.{settings.device}.json"
    if mock:
        configuration = {**device.configuration, "backend_name": name}
        properties = None if device.properties is None else {**device.properties, "backend_name": name}
        device = dataclasses.replace(device, name=name, configuration=configuration, properties=properties)
    elif path.exists():
        # As the last calibration left it.
        device = Device.read(path)
    backend = Backend(name, settings, device, path, mock, b"", b"")
    backend.publish(device)
    found[name] = backend


def measured_at(device: Device) -> float:
    """When the properties of a device were measured."""
    text = (device.properties or {}).get("last_update_date")
    if not isinstance(text, str):
        return 0.0
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
