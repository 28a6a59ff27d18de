"""An item of a work unit made ready for simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ControlFlowOp

from ketline.errors import INVALID_REQUEST, NOT_EMULATED
from ketline.qpus.binding import columns, flatten
from ketline.qpus.chain import chained, links
from ketline.qpus.frames import Frames, frames
from ketline.qpus.idle import detunings, padded, turns
from ketline.qpus.methods import PATIENCE_SECONDS, Method, Suited, choose, frame_method, suited
from ketline.qpus.noise import DeviceNoise, given_model
from ketline.qpus.reduce import Reduced, reduce, registers
from ketline.qpus.schedule import Durations, Schedule, schedule
from ketline.qpus.sources import GivenNoise, NoiseSource, RecordedNoise
from ketline.qpus.stretches import resolve
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from qiskit.circuit import Parameter, QuantumCircuit
    from qiskit_aer.noise import NoiseModel

    from ketline.units.device import Device
    from ketline.units.work import WorkItem, WorkUnit


def _unread(uses: set[tuple[str, tuple[int, ...]]]) -> set[tuple[str, tuple[int, ...]]]:
    return {use for use in uses if use[0] != "measure"}


TWIRLED = (
    "noise that isn't made of Paulis was replaced by its Pauli twirl, so that the stabiliser method takes it"
)
_FORBIDDEN = "Or allow approximations: with its noise twirled to Paulis, the stabiliser method takes it."


@dataclass(frozen=True, slots=True)
class Limits:
    """What simulating may take, and whether it has to be exact."""

    memory_bytes: int
    allow_approximation: bool


@dataclass(slots=True)
class TimedItem:
    """An item with its times on the device; ``shot_seconds`` is what one shot takes there.

    ``circuit`` is the item's circuit with its stretches resolved.
    """

    item: WorkItem
    registers: dict[str, list[int]]
    circuit: QuantumCircuit
    schedule: Schedule
    shot_seconds: float
    stretch_values: list[dict[str, object]]

    @property
    def sets(self) -> int:
        """Parameter sets."""
        return int(self.item.parameter_values.shape[0])

    @property
    def device_seconds(self) -> float:
        """What the real device would take for all shots of all sets."""
        return self.sets * self.item.shots * self.shot_seconds


@dataclass(slots=True)
class ReadyItem(TimedItem):
    """An item on the qubits that it touches, with its noise and method.

    Each parameter set is simulated as ``repeats`` rows of ``row_shots`` shots, which differ in the detuning
    of waiting qubits (one row unless idle noise is simulated). A shot that is simulated is ``links``
    consecutive shots of the item (1 unless qubits aren't initialised). ``values`` maps the parameters that
    the reduced circuit carries to a value a row.
    """

    reduced: Reduced
    repeats: int
    links: int
    values: dict[Parameter, NDArray[np.float64]]
    source: NoiseSource
    method: Method
    approximation: str = ""

    @property
    def rows(self) -> int:
        """Rows that are simulated."""
        return self.sets * self.repeats

    @property
    def row_shots(self) -> int:
        """Simulated shots of a row; what a set doesn't need of them is dropped."""
        return -(-self.item.shots // (self.repeats * self.links))

    @property
    def simulation_seconds(self) -> float:
        """Estimate of what simulating it takes."""
        return self.method.seconds(self.rows, self.row_shots)

    def frames(self) -> Frames:
        """The circuit with its noise in the language of Pauli frames."""
        return frames(self.reduced.circuit, self.source, self.source.turning(self.reduced.slow))

    def model(self) -> NoiseModel | None:
        """The noise in the form that suits the method."""
        return self.source.model(self.method.name == "density_matrix")


def readers(circuit: QuantumCircuit) -> dict[int, int]:
    """The qubit that is read last into each classical bit, as places among the circuit's bits."""
    found: dict[int, int] = {}
    qubits = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    clbits = {bit: i for i, bit in enumerate(circuit.clbits)}
    _read(circuit, qubits, clbits, found)
    return found


def _read(
    circuit: QuantumCircuit, qubits: dict[Any, int], clbits: dict[Any, int], found: dict[int, int]
) -> None:
    for instruction in circuit.data:
        operation = instruction.operation
        if operation.name == "measure":
            found[clbits[instruction.clbits[0]]] = qubits[instruction.qubits[0]]
        elif isinstance(operation, ControlFlowOp):
            for block in operation.blocks:
                inner_qubits = {q: qubits[o] for q, o in zip(block.qubits, instruction.qubits, strict=True)}
                inner_clbits = {c: clbits[o] for c, o in zip(block.clbits, instruction.clbits, strict=True)}
                _read(block, inner_qubits, inner_clbits, found)


class Workbench:
    """What a device's units are made ready with: durations and noise, kept from job to job."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.durations = Durations(device.target, device.dt_seconds)
        self.noise = DeviceNoise(device) if device.properties is not None else None

    def ready(self, unit: WorkUnit, memory_bytes: int, rng: np.random.Generator) -> list[ReadyItem]:
        """Make all items of a unit ready.

        Raises:
            JobError: an item can't be run here; the message names it.
        """
        check(unit, self.device)
        given = unit.simulator.get("noise_model") is not None
        noisy = unit.noise and (self.noise is not None or given)
        idle = unit.idle_noise and unit.noise and self.noise is not None and not given
        timed = [self._timed(unit, item) for item in unit.items]
        reduced = [
            reduce(
                padded(part.circuit, part.schedule) if idle else part.circuit,
                self.durations, noisy, slow=idle,
            )
            for part in timed
        ]  # fmt: skip
        chains = [1] * len(timed)
        if not unit.init_qubits:
            pause = self.durations.dt(self._pause(unit))
            chains = [links(small, part.item.shots) for part, small in zip(timed, reduced, strict=True)]
            reduced = [chained(small, copies, pause) for small, copies in zip(reduced, chains, strict=True)]
        sources = self._sources(unit, reduced)
        limits = Limits(memory_bytes, unit.allow_approximation)
        return [
            self._ready(number, part, small, chain, sources[small.qubits], limits, rng)
            for number, (part, small, chain) in enumerate(zip(timed, reduced, chains, strict=True))
        ]

    def _sources(self, unit: WorkUnit, reduced: list[Reduced]) -> dict[tuple[int, ...], NoiseSource]:
        """One source of noise for all circuits on the same qubits, so that they can share an Aer call."""
        uses: dict[tuple[int, ...], set[tuple[str, tuple[int, ...]]]] = {}
        for small in reduced:
            uses.setdefault(small.qubits, set()).update(small.uses)
        wire: Any = unit.simulator.get("noise_model")
        if unit.noise and wire is not None:
            return {qubits: GivenNoise(*given_model(wire, qubits)) for qubits in uses}
        device = self.noise
        if not unit.noise or device is None:
            return dict.fromkeys(uses, GivenNoise(None, "none"))
        # Where points in the IQ plane are asked for, they do the misreading.
        classified = unit.meas_level == "classified"
        return {
            qubits: RecordedNoise(device, qubits, every if classified else _unread(every))
            for qubits, every in uses.items()
        }

    def _ready(
        self, number: int, timed: TimedItem, reduced: Reduced, chain: int, source: NoiseSource,
        limits: Limits, rng: np.random.Generator,
    ) -> ReadyItem:  # fmt: skip
        item = timed.item
        index = columns(item.circuit)
        values = np.asarray(item.parameter_values, dtype=np.float64)
        repeats = detunings(timed.sets, item.shots) if reduced.slow else 1
        flat = flatten(reduced.circuit, values, index) if index else {}
        method, approximation = self._method(
            f"the circuit of item {number}", reduced, source, suited(reduced, flat),
            (timed.sets * repeats, -(-item.shots // (repeats * chain))), limits,
        )  # fmt: skip
        if method.name == "pauli_frames":
            repeats = 1
        elif reduced.slow and self.noise is not None:
            flat = {parameter: np.repeat(column, repeats) for parameter, column in flat.items()}
            flat.update(turns(reduced.slow, timed.sets * repeats, self.noise, rng))
        return ReadyItem(
            item, timed.registers, timed.circuit, timed.schedule, timed.shot_seconds, timed.stretch_values,
            reduced, repeats, chain, flat, source, method,
            approximation and f"item {number}: {approximation}",
        )  # fmt: skip

    def _method(
        self, where: str, reduced: Reduced, source: NoiseSource, fits: Suited, size: tuple[int, int],
        limits: Limits,
    ) -> tuple[Method, str]:  # fmt: skip
        """The exact method, or an approximate one where that is allowed and the exact one is out of reach."""
        rows, shots = size
        try:
            exact = choose(where, reduced, source.kind, fits, shots, limits.memory_bytes)
        except JobError as error:
            if not fits.frames:
                raise
            if not limits.allow_approximation:
                raise JobError(error.code, error.message, f"{error.solution} {_FORBIDDEN}") from error
            return frame_method(reduced), TWIRLED
        quick = frame_method(reduced)
        slow = exact.seconds(rows, shots) > max(PATIENCE_SECONDS, quick.seconds(rows, shots))
        if fits.frames and limits.allow_approximation and slow and exact.name != "pauli_frames":
            return quick, TWIRLED
        return exact, ""

    def timed(self, unit: WorkUnit) -> list[TimedItem]:
        """All items of a unit with their times, without making them ready for simulation.

        Raises:
            JobError: an item can't be run here; the message names it.
        """
        check(unit, self.device)
        return [self._timed(unit, item) for item in unit.items]

    def _timed(self, unit: WorkUnit, item: WorkItem) -> TimedItem:
        circuit, stretch_values = resolve(item.circuit, self.durations)
        plan = schedule(circuit, self.durations, {q: i for i, q in enumerate(circuit.qubits)})
        seconds = self._shot_seconds(unit, circuit, plan)
        return TimedItem(item, registers(circuit), circuit, plan, seconds, stretch_values)

    def _pause(self, unit: WorkUnit) -> float:
        """Seconds between two shots."""
        given = unit.rep_delay_seconds
        return self.device.default_rep_delay_seconds if given is None else given

    def _shot_seconds(self, unit: WorkUnit, circuit: QuantumCircuit, plan: Schedule) -> float:
        """Length of one shot on the device: initialisation, circuit and pause (``modes.md`` 8.2)."""
        start = 0.0
        if unit.init_qubits and circuit.num_qubits:
            start = self.durations.seconds(self.durations.gate("reset", (0,)))
        return self._pause(unit) + start + self.durations.seconds(plan.duration)


def check(unit: WorkUnit, device: Device) -> None:
    """Refuse what a unit asks for that the emulator can't do.

    Raises:
        JobError: naming the option.
    """
    known = {"noise_model", "seed_simulator", "coupling_map", "basis_gates"}
    unknown = sorted(set(unit.simulator) - known)
    if unknown:
        raise JobError(
            NOT_EMULATED.code,
            f"simulator.{unknown[0]}: the emulator has no such option; it has {', '.join(sorted(known))}",
            NOT_EMULATED.solution,
        )
    for number, item in enumerate(unit.items):
        if item.circuit.num_qubits > device.num_qubits:
            raise JobError(
                INVALID_REQUEST.code,
                f"the circuit of item {number} has {item.circuit.num_qubits} qubits, "
                f"{device.name} has {device.num_qubits}",
                "Transpile the circuit for this backend.",
            )
        shape, expected = np.shape(item.parameter_values), item.circuit.num_parameters
        if len(shape) != 2 or shape[0] < 1 or shape[1] != expected:
            raise JobError(
                INVALID_REQUEST.code,
                f"the circuit of item {number} has {expected} parameters, its values have shape {shape}",
                "Give one value a parameter, in the order of circuit.parameters.",
            )
        if item.shots < 1:
            raise JobError(
                INVALID_REQUEST.code, f"item {number} asks for {item.shots} shots", "Ask for 1 shot or more."
            )
        _check_simulator_options(unit, number, item.circuit)


def _check_simulator_options(unit: WorkUnit, number: int, circuit: QuantumCircuit) -> None:
    coupling: Any = unit.simulator.get("coupling_map")
    basis: Any = unit.simulator.get("basis_gates")
    if coupling is None and basis is None:
        return
    pairs = None if coupling is None else {tuple(pair) for pair in coupling}
    always = {"measure", "reset", "delay", "barrier", "if_else", "for_loop", "while_loop", "switch_case"}
    index = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        name = instruction.operation.name
        if name in always:
            continue
        if basis is not None and name not in basis:
            raise JobError(
                INVALID_REQUEST.code,
                f"the circuit of item {number} uses {name}, which isn't in simulator.basis_gates",
                "Transpile the circuit for these basis gates.",
            )
        where = tuple(index[q] for q in instruction.qubits)
        if pairs is not None and len(where) == 2 and where not in pairs and where[::-1] not in pairs:
            raise JobError(
                INVALID_REQUEST.code,
                f"the circuit of item {number} has {name} on qubits {where}, "
                "which simulator.coupling_map doesn't couple",
                "Transpile the circuit for this coupling map.",
            )
