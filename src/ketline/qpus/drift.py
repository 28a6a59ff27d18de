"""How a device drifts away from its last calibration, and how a calibration brings it back.

Every figure drifts on its own, steadily in a direction that the calibration left it with: errors grow by up
to a few times ``drift`` within a day, T1 and T2 wander by half as much either way. What is published is what
the last calibration measured; what circuits feel is the device as it is. A calibration restores the recorded
figures up to a tenth of ``drift`` and publishes them. All of it follows from the seed, the time of the last
calibration and the present, so a process that starts anew goes on where the last one was.
"""

from __future__ import annotations

import copy
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ketline.units.device import Device

if TYPE_CHECKING:
    from collections.abc import Callable

    from ketline.config import QpuSettings

_DAY_SECONDS = 86_400.0
_ERRORS = frozenset({"gate_error", "readout_error", "prob_meas0_prep1", "prob_meas1_prep0"})
_TIMES = frozenset({"T1", "T2"})
_RESTORED = 0.1
_STEP = 0.01
_MOST_READOUT = 0.5
_MOST_CHANGE = 3.0
_OFFSET = "+00:00"


def steps(settings: QpuSettings, calibrated_at: float, at: float) -> int:
    """How many hundredths the figures have drifted by: the device is rebuilt when this changes."""
    days = max(0.0, at - calibrated_at) / _DAY_SECONDS
    return int(settings.drift * days / _STEP)


def drifted(published: Device, settings: QpuSettings, calibrated_at: float, step: int) -> Device:
    """The device as it is after so many `steps` since its calibration; never published."""
    if step == 0 or published.properties is None:
        return published
    rng = np.random.default_rng([_seed(settings), round(calibrated_at)])
    amount = min(step * _STEP, _MOST_CHANGE)

    def change(name: str) -> float:
        drawn = rng.standard_normal()
        return float(np.exp(amount * (abs(drawn) if name in _ERRORS else drawn / 2)))

    return Device(
        published.name, published.configuration, _changed(published.properties, change),
        published.calibration_id,
    )  # fmt: skip


def calibrated(recorded: Device, settings: QpuSettings, at: float) -> Device:
    """The device right after a calibration, as it is published.

    Args:
        recorded: the device as it was recorded, under the QPU's name.
        settings: seed and drift.
        at: when the calibration ends, in seconds since the epoch.
    """
    if recorded.properties is None:
        return recorded
    rng = np.random.default_rng([_seed(settings), round(at), 1])

    def change(_name: str) -> float:
        return float(np.exp(_RESTORED * settings.drift * rng.standard_normal()))

    moment = datetime.fromtimestamp(at, UTC)
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%S") + _OFFSET
    properties = _changed(recorded.properties, change)
    properties["last_update_date"] = stamp
    for value in _values(properties):
        value["date"] = stamp
    identity = f"{recorded.name}-{moment.strftime('%Y%m%dT%H%M%SZ')}"
    return Device(recorded.name, recorded.configuration, properties, identity)


def calibration_time(device: Device, otherwise: float) -> float:
    """When a published device was calibrated; ``otherwise`` for one that is as it was recorded."""
    if device.calibration_id is None or device.properties is None:
        return otherwise
    return datetime.fromisoformat(device.properties["last_update_date"]).timestamp()


def _seed(settings: QpuSettings) -> int:
    return zlib.crc32(settings.name.encode()) if settings.seed is None else settings.seed


def _values(properties: dict[str, Any]) -> list[dict[str, Any]]:
    measured = [value for qubit in properties["qubits"] for value in qubit]
    return measured + [value for gate in properties["gates"] for value in gate["parameters"]]


def _changed(properties: dict[str, Any], change: Callable[[str], float]) -> dict[str, Any]:
    """A copy in which every error and every time is multiplied by what ``change`` draws for it."""
    made = copy.deepcopy(properties)
    for value in _values(made):
        name = value["name"]
        if name not in _ERRORS and name not in _TIMES:
            continue
        factor = change(name)
        limit = 1.0 if name == "gate_error" else _MOST_READOUT if name in _ERRORS else np.inf
        if value["value"] < limit:
            value["value"] = min(value["value"] * factor, limit)
    return made
