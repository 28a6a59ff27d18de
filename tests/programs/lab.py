"""A bench for programs: a plain runner of work units, and the real client's payloads.

The runner knows nothing of the emulator: it binds every parameter set and hands the circuits to Aer.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime import IBMBackend, QiskitRuntimeService, RuntimeDecoder, RuntimeEncoder
from qiskit_ibm_runtime.models import QasmBackendConfiguration
from qiskit_ibm_runtime.utils.backend_decoder import decode_backend_configuration

from ketline.config import QpuSettings
from ketline.programs.base import Prepared, ProgramContext, open_params, program
from ketline.qpus.emulator import Emulator
from ketline.qpus.snapshots import ideal, snapshot
from ketline.units.device import Device
from ketline.units.serial import outcome_bytes, outcome_from_bytes, unit_bytes, unit_from_bytes
from ketline.units.work import ItemOutcome, Outcome, Span, WorkItem, WorkUnit

START = datetime(2026, 1, 1, tzinfo=UTC)


@lru_cache
def device(name: str = "manila") -> Device:
    return snapshot(name, f"ket_{name}")


@lru_cache
def simulator_device(name: str = "manila") -> Device:
    return ideal(name, "ket_simulator")


def context(name: str = "manila", **changes: Any) -> ProgramContext:
    return replace(ProgramContext(device(name)), **changes)


class Catcher(QiskitRuntimeService):
    """A service that keeps what would be posted instead of posting it."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, bytes]] = []

    def _run(self, program_id: str, inputs: dict[str, Any], **_: Any) -> None:
        self.posted.append((program_id, json.dumps(inputs, cls=RuntimeEncoder).encode()))


class _Api:
    def __init__(self, machine: Device) -> None:
        self.machine = machine

    def backend_properties(self, *_: Any, **__: Any) -> Any:
        return self.machine.properties


@lru_cache
def backend(name: str = "manila") -> IBMBackend:
    machine = device(name)
    configuration = json.loads(json.dumps(machine.configuration))
    decode_backend_configuration(configuration)
    return IBMBackend(
        configuration=QasmBackendConfiguration.from_dict(configuration),
        service=Catcher(),
        api_client=_Api(machine),
    )


def posted(primitive: Callable[[IBMBackend], Any], run: Callable[[Any], Any], name: str = "manila") -> Any:
    """What the client posts when ``run`` is called with the primitive: (program id, bytes of params)."""
    machine = backend(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        run(primitive(machine))
    program_id, body = machine.service.posted.pop()
    return program_id, body


def work(program_id: str, params: bytes, where: ProgramContext, noise: Any = None, seed: int = 7) -> bytes:
    """Prepare, run and finalize a job as the service does, files included; the result's bytes."""
    made = program(program_id)
    step: Any = made.prepare(open_params(params, where.limits), where)
    while isinstance(step, Prepared):
        unit = unit_from_bytes(unit_bytes(step.unit))
        outcome = run_unit(unit, noise=noise, seed=seed)
        seed += 1
        step = made.finalize(step.state, outcome_from_bytes(outcome_bytes(outcome)), where)
    body: bytes = step.body
    return body


def decoded(body: bytes) -> Any:
    return json.loads(body.decode(), cls=RuntimeDecoder)


def run_unit(unit: WorkUnit, noise: NoiseModel | None = None, seed: int = 7) -> Outcome:
    """Run every set of every item with Aer, reduced to the qubits that are used."""
    outcomes = []
    spans = []
    clock = START
    for number, item in enumerate(unit.items):
        outcomes.append(_run_item(item, unit, noise, seed + 1000 * number))
        sets = item.parameter_values.shape[0]
        step = item.chunk_sets or sets
        for first in range(0, sets, step):
            stop = clock + timedelta(seconds=1)
            spans.append(Span(number, first, min(first + step, sets), clock, stop))
            clock = stop
    return Outcome(outcomes, spans)


def _run_item(item: WorkItem, unit: WorkUnit, noise: NoiseModel | None, seed: int) -> ItemOutcome:
    circuit, kept = _compact(item.circuit)
    if noise is not None:
        noise = _restricted(noise, kept)
    sets = item.parameter_values.shape[0]
    registers = {register.name: register.size for register in circuit.cregs}
    if unit.mock:
        rng = np.random.default_rng(unit.seed)
        return ItemOutcome(
            bits={
                name: np.packbits(
                    rng.integers(0, 2, (sets, item.shots, size), dtype=np.uint8), axis=-1, bitorder="little"
                )[..., ::-1]
                for name, size in registers.items()
            },
            circuit_duration_seconds=1e-6,
        )
    memory: list[list[str]] = [[] for _ in range(sets)]
    if circuit.clbits and circuit.cregs:
        simulator = AerSimulator(noise_model=noise, seed_simulator=seed, max_parallel_threads=1)
        simulator.set_options(max_memory_mb=4000)
        binds = [
            {
                parameter: [float(value) for value in item.parameter_values[:, column]]
                for column, parameter in enumerate(item.circuit.parameters)
            }
        ]
        result = simulator.run(
            circuit, shots=item.shots, memory=True, parameter_binds=binds if binds[0] else None
        ).result()
        assert result.success, result.status
        unmeasured = " ".join("0" * register.size for register in circuit.cregs)
        memory = [
            result.get_memory(index) if "memory" in result.data(index) else [unmeasured] * item.shots
            for index in range(sets)
        ]
    bits = {}
    iq = {}
    order = list(registers)
    for place, (name, size) in enumerate(registers.items()):
        words = np.array(
            [[int(shot.split(" ")[len(order) - 1 - place], 2) for shot in shots] for shots in memory],
            dtype=object,
        )
        width = -(-size // 8)
        flat = b"".join(int(word).to_bytes(width, "big") for word in words.reshape(-1))
        bits[name] = np.frombuffer(flat, np.uint8).reshape(sets, item.shots, width)
        if unit.meas_level != "classified":
            unpacked = np.unpackbits(bits[name][..., ::-1], axis=-1, count=size, bitorder="little")
            points = (unpacked * 2.0 - 1.0).astype(np.complex128)
            iq[name] = points.mean(axis=1) if unit.meas_level == "avg_kerneled" else points
    return ItemOutcome(
        bits=bits if unit.meas_level in {"classified", "both"} else {},
        iq=iq,
        circuit_duration_seconds=4e-6,
        timing="sx,q0,0,160" if unit.scheduler_timing else None,
        stretch_values=[] if unit.stretch_values else None,
    )


def _compact(circuit: QuantumCircuit) -> tuple[QuantumCircuit, list[int]]:
    used = sorted(
        {circuit.find_bit(q).index for i in circuit.data if i.operation.name != "barrier" for q in i.qubits}
    ) or [0]
    if used == list(range(circuit.num_qubits)):
        return circuit, used
    small = QuantumCircuit(len(used), global_phase=circuit.global_phase)
    small.add_bits([bit for bit in circuit.clbits if not circuit.find_bit(bit).registers])
    for register in circuit.cregs:
        small.add_register(register)
    for variable in circuit.iter_declared_vars():
        small.add_uninitialized_var(variable)
    index = {old: new for new, old in enumerate(used)}
    for instruction in circuit.data:
        if instruction.operation.name == "barrier":
            continue
        small.append(
            instruction.operation,
            [index[circuit.find_bit(q).index] for q in instruction.qubits],
            instruction.clbits,
        )
    return small, used


def _restricted(noise: NoiseModel, kept: list[int]) -> NoiseModel:
    index = {old: new for new, old in enumerate(kept)}
    small = NoiseModel()
    for name, error in noise._default_quantum_errors.items():
        small.add_all_qubit_quantum_error(error, name)
    if noise._default_readout_error is not None:
        small.add_all_qubit_readout_error(noise._default_readout_error)
    for name, errors in noise._local_quantum_errors.items():
        for qubits, error in errors.items():
            if set(qubits) <= set(kept):
                small.add_quantum_error(error, name, [index[q] for q in qubits], warnings=False)
    for qubits, error in noise._local_readout_errors.items():
        if set(qubits) <= set(kept):
            small.add_readout_error(error, [index[q] for q in qubits], warnings=False)
    return small


@lru_cache
def device_noise(name: str = "manila") -> NoiseModel:
    return NoiseModel.from_backend(backend(name), thermal_relaxation=False)


def emulate(unit: WorkUnit, where: ProgramContext, **settings: Any) -> Outcome:
    """Run a unit on the emulated QPU, admission included."""
    chosen = QpuSettings(name=where.device.name, simulator=where.simulator, **settings)
    Emulator.admit(unit, where.device, chosen)
    driver = Emulator(where.device, chosen)
    handle = driver.start(unit)
    while driver.poll(handle).state != "done":
        pass
    return driver.outcome(handle)


def emulated(program_id: str, params: bytes, where: ProgramContext, **settings: Any) -> bytes:
    """Like `work`, on the emulated QPU."""
    made = program(program_id)
    step: Any = made.prepare(open_params(params, where.limits), where)
    while isinstance(step, Prepared):
        outcome = emulate(unit_from_bytes(unit_bytes(step.unit)), where, **settings)
        step = made.finalize(step.state, outcome_from_bytes(outcome_bytes(outcome)), where)
    body: bytes = step.body
    return body
