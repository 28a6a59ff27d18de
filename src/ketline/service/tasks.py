"""The tasks of compute workers: what programs and drivers do for a job outside of the QPU.

This module is loaded by the fork server; it and what it imports is what every worker finds ready. User bytes
are opened here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from pathlib import Path
from typing import Any

from ketline.config import QpuSettings
from ketline.programs import base as programs
from ketline.programs.base import Limits, Prepared, Program, ProgramContext
from ketline.programs.coming import coming
from ketline.programs.recurring import Recurring
from ketline.qpus.driver import Admission, DriverType, driver_type
from ketline.units import serial
from ketline.units.device import Device

_log = logging.getLogger("ketline.job")

TASKS = {
    "prepare": "ketline.service.tasks:prepare",
    "finalize": "ketline.service.tasks:finalize",
    "simulate": "ketline.service.tasks:simulate",
    "estimate": "ketline.service.tasks:estimate",
    "warm": "ketline.service.tasks:warm",
}
"""All that a worker can be asked to do."""

PRELOAD = (
    "qiskit",
    "qiskit.qpy",
    "qiskit.transpiler",
    "qiskit.quantum_info",
    "qiskit_aer",
    "samplomatic",
    "qiskit_ibm_runtime.utils.backend_converter",
    "ketline.service.tasks",
    "ketline.programs.sampler",
    "ketline.programs.estimator",
    "ketline.programs.executor",
    "ketline.programs.noise_learner",
    "qiskit_ibm_runtime.json",
    "qiskit_ibm_runtime.execution_span",
    "ibm_quantum_schemas.sampler.version_0_1.options",
    "ibm_quantum_schemas.estimator.version_0_1.options",
    "ibm_quantum_schemas.common.qpy",
)
"""What the fork server loads before it makes its first child."""

UNIT, STATE, OUTCOME, RESULT, LOG = "unit", "state", "outcome", "result", "log"


@functools.cache
def _program(program_id: str) -> Program:
    return programs.program(program_id)


@functools.cache
def _driver(name: str) -> DriverType:
    return driver_type(name)


_recurring = Recurring()


@functools.lru_cache(maxsize=32)
def _device_at(path: str, _changed: int) -> Device:
    return Device.read(Path(path))


def _device(path: str) -> Device:
    return _device_at(path, Path(path).stat().st_mtime_ns)


def _context(args: dict[str, Any]) -> ProgramContext:
    cache = args["cache_folder"]
    return ProgramContext(
        device=_device(args["device"]),
        limits=Limits(max_decompressed_bytes=args["max_decompressed_bytes"]),
        simulator=args["simulator"],
        mock=args["mock"],
        in_session=args["in_session"],
        cache_folder=None if cache is None else Path(cache),
        memory=_recurring.of(args["tenant"]),
    )


def prepare(args: dict[str, Any]) -> dict[str, Any]:
    """Read the payload, expand it, and have the driver admit it: files ``unit`` and ``state``."""
    folder = Path(args["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    with _logging(folder, args["log_level"]):
        context = _context(args)
        params = programs.open_params(Path(args["payload"]).read_bytes(), context.limits)
        program = _program(args["program"])
        return _keep(program, program.prepare(params, context), args, context)


def estimate(args: dict[str, Any]) -> dict[str, Any]:
    """What a payload would ask of the QPU, round by round: prepared and admitted like a job's, not kept."""
    context = _context(args)
    params = programs.open_params(Path(args["payload"]).read_bytes(), context.limits)
    program = _program(args["program"])
    rounds = _admitted(program, program.prepare(params, context), args, context)
    return {
        "rounds": [
            {"seconds": admission.qpu_seconds, "usage": dataclasses.asdict(admission.usage)}
            for admission in rounds
        ]
    }


def finalize(args: dict[str, Any]) -> dict[str, Any]:
    """Turn state and outcome into the result's file, or into another round's ``unit`` and ``state``."""
    folder = Path(args["folder"])
    with _logging(folder, args["log_level"]):
        context = _context(args)
        state = (folder / STATE).read_bytes()
        outcome = serial.read_outcome(folder / OUTCOME)
        for approximation in outcome.approximations:
            _log.warning("the QPU approximated: %s", approximation)
        program = _program(args["program"])
        step = program.finalize(state, outcome, context)
        if isinstance(step, Prepared):
            return _keep(program, step, args, context)
        serial.write(folder / RESULT, step.body)
        return {"result_bytes": len(step.body), "calibrate": step.calibrate}


def _keep(
    program: Program, prepared: Prepared, args: dict[str, Any], context: ProgramContext
) -> dict[str, Any]:
    folder = Path(args["folder"])
    rounds = _admitted(program, prepared, args, context)
    serial.write_unit(folder / UNIT, prepared.unit)
    serial.write(folder / STATE, prepared.state)
    return {"estimate_seconds": sum(admission.qpu_seconds for admission in rounds)}


def _admitted(
    program: Program, prepared: Prepared, args: dict[str, Any], context: ProgramContext
) -> list[Admission]:
    """What the driver says of a round and of those that will follow it; it refuses all or none."""
    settings = QpuSettings.model_validate(args["settings"])
    driver = _driver(settings.driver)
    prepared.unit.mock = context.mock
    return [driver.admit(unit, context.device, settings) for unit in coming(program, prepared, context)]


def simulate(args: dict[str, Any]) -> dict[str, Any]:
    """Run a unit here, for backends without a queue: simulators and dry runs."""
    folder = Path(args["folder"])
    settings = QpuSettings.model_validate(args["settings"])
    unit = serial.read_unit(folder / UNIT)
    began = time.monotonic()
    driver = _driver(settings.driver)(_device(args["device"]), settings)
    handle = driver.start(unit)
    while driver.poll(handle).state != "done":
        pass
    serial.write_outcome(folder / OUTCOME, driver.outcome(handle))
    return {"qpu_seconds": time.monotonic() - began}


def warm(args: dict[str, Any]) -> dict[str, Any]:
    """Make ready what the first job on each device would otherwise wait for."""
    for path in args["devices"]:
        _ = _device(path).target
    return {}


class _logging:  # noqa: N801 - a context manager by another name
    """Writes what is logged during a task, from the job's level on, to the job's log."""

    def __init__(self, folder: Path, level: str) -> None:
        self._path = folder / LOG
        self._level = logging.getLevelName(level.upper())
        self._handler: logging.Handler | None = None

    def __enter__(self) -> None:
        self._handler = logging.FileHandler(self._path, delay=True, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        self._before = root.level
        root.setLevel(self._level if isinstance(self._level, int) else logging.WARNING)
        root.addHandler(self._handler)

    def __exit__(self, *_: object) -> None:
        assert self._handler is not None
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.setLevel(self._before)
        self._handler.close()
