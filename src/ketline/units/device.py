"""A device as it is published: its configuration and properties in wire form, and Qiskit's view of them."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit.transpiler import Target

_MICROSECOND = 1e-6
_NANOSECOND = 1e-9


@dataclass(frozen=True)
class Device:
    """A device at one time.

    ``configuration`` and ``properties`` are the bodies of ``GET /backends/{n}/configuration`` and
    ``…/properties`` (``rest.md`` F); nobody changes them. ``properties`` is None for an ideal simulator.
    ``calibration_id`` names the calibration that the properties come from.
    """

    name: str
    configuration: dict[str, Any]
    properties: dict[str, Any] | None = None
    calibration_id: str | None = None

    @property
    def num_qubits(self) -> int:
        """Qubits of the device, faulty ones included."""
        return int(self.configuration["n_qubits"])

    @property
    def simulator(self) -> bool:
        """Whether it is an ideal simulator without a queue."""
        return bool(self.configuration["simulator"])

    @property
    def dt_seconds(self) -> float | None:
        """Length of a sample in seconds; None when the device doesn't tell."""
        dt = self.configuration.get("dt")
        return None if dt is None else float(dt) * _NANOSECOND

    @property
    def default_rep_delay_seconds(self) -> float:
        """Pause between two shots unless a job asks for another."""
        return float(self.configuration.get("default_rep_delay") or 0.0) * _MICROSECOND

    @property
    def rep_delay_range_seconds(self) -> tuple[float, float]:
        """Shortest and longest pause between two shots that a job may ask for."""
        given = self.configuration.get("rep_delay_range")
        if not given:
            delay = self.default_rep_delay_seconds
            return delay, delay
        return float(given[0]) * _MICROSECOND, float(given[1]) * _MICROSECOND

    @cached_property
    def target(self) -> Target:
        """Qiskit's target with every gate, fractional ones and control flow included, without faulty qubits.

        Made by the client's own converter, so that both sides agree on what the device can do.
        """
        from qiskit_ibm_runtime.models import BackendProperties, QasmBackendConfiguration
        from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
        from qiskit_ibm_runtime.utils.backend_decoder import decode_backend_configuration

        wire = copy.deepcopy(self.configuration)
        decode_backend_configuration(wire)
        properties = None
        if self.properties is not None:
            properties = BackendProperties.from_dict(copy.deepcopy(self.properties))
        return convert_to_target(QasmBackendConfiguration.from_dict(wire), properties)

    def write(self, path: Path) -> None:
        """Write the device to a file, completely or not at all."""
        body = json.dumps(
            {
                "name": self.name,
                "configuration": self.configuration,
                "properties": self.properties,
                "calibration_id": self.calibration_id,
            }
        )
        unfinished = path.with_name(path.name + ".part")
        unfinished.write_text(body, encoding="utf-8")
        unfinished.replace(path)

    @classmethod
    def read(cls, path: Path) -> Device:
        """Read a device that `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
