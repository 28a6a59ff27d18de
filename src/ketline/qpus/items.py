"""An item of a work unit made ready for simulation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ControlFlowOp

from ketline.qpus.binding import columns, flatten
from ketline.qpus.chain import chained, links, pauses
from ketline.qpus.checks import check
from ketline.qpus.components import Component, components, plain
from ketline.qpus.expanding import expanded
from ketline.qpus.idle import detunings, padded, turns
from ketline.qpus.methods import bundle_method, suited
from ketline.qpus.noise import DeviceNoise, given_model
from ketline.qpus.parts import Limits, Part, chosen
from ketline.qpus.recall import Recall
from ketline.qpus.reduce import Reduced, reduce, registers
from ketline.qpus.schedule import Durations, Schedule, schedule
from ketline.qpus.sources import GivenNoise, NoiseSource, RecordedNoise
from ketline.qpus.stretches import resolve
from ketline.qpus.transfer import TURNING, Bundle
from ketline.units.packing import circuit_bytes, done_with

if TYPE_CHECKING:
    from qiskit.circuit import Parameter, QuantumCircuit

    from ketline.units.device import Device
    from ketline.units.work import WorkItem, WorkUnit


def _unread(uses: set[tuple[str, tuple[int, ...]]]) -> set[tuple[str, tuple[int, ...]]]:
    return {use for use in uses if use[0] != "measure"}


FEW_QUBITS = 5
"""Components of so many qubits or fewer are simulated by transfer matrices."""

_BATCH_INSTRUCTIONS = 10_000
_LEAST_INSTRUCTIONS = 10
"""A circuit of fewer counts as so many: it takes room for its qubits too."""


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
    """An item taken apart, each part with its noise and method."""

    parts: list[Part]

    @property
    def simulation_seconds(self) -> float:
        """Estimate of what simulating it takes."""
        return sum(part.seconds for part in self.parts)

    @property
    def memory_bytes(self) -> float:
        """The most memory that a part takes."""
        return max((part.method.memory_bytes for part in self.parts), default=0.0)

    @property
    def methods(self) -> str:
        """The names of the parts' methods; ``none`` when nothing is read."""
        return "+".join(sorted({part.method.name for part in self.parts})) or "none"

    @property
    def approximations(self) -> list[str]:
        """What isn't simulated exactly."""
        return sorted({part.approximation for part in self.parts if part.approximation})


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


def _few(apart: list[Component]) -> list[Component]:
    """The components that are simulated by transfer matrices."""
    return [
        component
        for component in apart
        if component.static and len(component.qubits) <= FEW_QUBITS and plain(component.instructions, TURNING)
    ]


class Workbench:
    """What a device's units are made ready with: durations, noise, what is known, kept from job to job."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.durations = Durations(device.target, device.dt_seconds)
        self.noise = DeviceNoise(device) if device.properties is not None else None
        self.recall = Recall()

    def batches(
        self,
        unit: WorkUnit,
        memory_bytes: int,
        rng: np.random.Generator,
        instructions: int | None = None,
    ) -> Iterator[tuple[int, list[ReadyItem]]]:
        """Make the items of a unit ready, so many at a time that their circuits don't fill the memory.

        A batch is complete with the item that brings it to so many ``instructions`` (None: as many as are run
        together).

        Yields:
            The number of the first item, and items.

        Raises:
            JobError: an item can't be run here; the message names it.
        """
        check(replace(unit, items=()), self.device)
        most = instructions or _BATCH_INSTRUCTIONS
        batch: list[WorkItem] = []
        first, size = 0, 0
        for item in unit.items:
            batch.append(item)
            size += max(_LEAST_INSTRUCTIONS, len(item.circuit.data))
            if size >= most:
                yield first, self.ready(replace(unit, items=batch), memory_bytes, rng, first)
                done_with(sum(circuit_bytes(one.circuit) for one in batch))
                first, size, batch = first + len(batch), 0, []
        if batch:
            yield first, self.ready(replace(unit, items=batch), memory_bytes, rng, first)

    def ready(
        self, unit: WorkUnit, memory_bytes: int, rng: np.random.Generator, first: int = 0
    ) -> list[ReadyItem]:
        """Make all items of a unit ready, which are called by their numbers from ``first`` on.

        Raises:
            JobError: an item can't be run here; the message names it.
        """
        check(unit, self.device, first)
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
        pause = None if unit.init_qubits else self.durations.dt(self._pause(unit))
        bound = [self._values(part, small) for part, small in zip(timed, reduced, strict=True)]
        taken_apart = [components(small) for small in reduced]
        joint = self._sources(unit, reduced)
        small_ones = [_few(apart) if unit.init_qubits else [] for apart in taken_apart]
        wide_ones = [
            [component.reduced(small) for component in apart if not any(component is few for few in fews)]
            for small, apart, fews in zip(reduced, taken_apart, small_ones, strict=True)
        ]
        own = self._sources(unit, [wide for every in wide_ones for wide in every], pause)
        limits = Limits(memory_bytes, unit.allow_approximation)
        made = []
        for number, part in enumerate(timed):
            small = reduced[number]
            values = bound[number]
            parts = []
            if small_ones[number]:
                parts.append(self._bundle(part, small, small_ones[number], values, joint[small.qubits], rng))
            for wide in wide_ones[number]:
                where = f"the circuit of item {first + number}"
                parts.append(self._part(where, part, wide, values, own[wide.qubits], pause, limits, rng))
            made.append(
                ReadyItem(
                    part.item, part.registers, part.circuit, part.schedule, part.shot_seconds,
                    part.stretch_values, parts,
                )
            )  # fmt: skip
        return made

    def _values(self, timed: TimedItem, reduced: Reduced) -> dict[Parameter, NDArray[np.float64]]:
        """Make a reduced circuit's gates carry plain parameters, and give their values."""
        index = columns(timed.item.circuit)
        values = np.asarray(timed.item.parameter_values, dtype=np.float64)
        return flatten(reduced.circuit, values, index) if index else {}

    def _sources(
        self, unit: WorkUnit, reduced: list[Reduced], pause: int | None = None
    ) -> dict[tuple[int, ...], NoiseSource]:
        """One source of noise for all circuits on the same qubits, so that they can share an Aer call."""
        uses: dict[tuple[int, ...], set[tuple[str, tuple[int, ...]]]] = {}
        for small in reduced:
            uses.setdefault(small.qubits, set()).update(small.uses)
            if pause:
                uses[small.qubits].update(pauses(small, pause))
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

    def _bundle(
        self, timed: TimedItem, reduced: Reduced, few: list[Component],
        values: dict[Parameter, NDArray[np.float64]], source: NoiseSource, rng: np.random.Generator,
    ) -> Part:  # fmt: skip
        """Components of few qubits, together."""
        slow = {
            parameter: wait
            for parameter, wait in reduced.slow.items()
            if any(reduced.qubits.index(wait[0]) in component.qubits for component in few)
        }
        repeats = detunings(timed.sets, timed.item.shots) if slow else 1
        every = self._turned(values, slow, timed.sets, repeats, rng)
        bundle = Bundle(reduced.circuit, few, every, source)
        method = bundle_method(bundle.steps, bundle.row_entries, len(bundle.clbits), timed.sets)
        own = every if bundle.turned else {}
        return Part(timed.sets, timed.item.shots, reduced, repeats, 1, own, source, method, bundle)

    def _turned(
        self, values: dict[Parameter, NDArray[np.float64]], slow: dict[Parameter, tuple[int, int]], sets: int,
        repeats: int, rng: np.random.Generator,
    ) -> dict[Parameter, NDArray[np.float64]]:  # fmt: skip
        """Values a row: a user's repeated, and the angles by which waiting qubits turn."""
        if not slow or self.noise is None:
            return values
        rows = {parameter: np.repeat(column, repeats) for parameter, column in values.items()}
        return {**rows, **turns(slow, sets * repeats, self.noise, rng)}

    def _part(
        self, where: str, timed: TimedItem, reduced: Reduced, values: dict[Parameter, NDArray[np.float64]],
        source: NoiseSource, pause: int | None, limits: Limits, rng: np.random.Generator,
    ) -> Part:  # fmt: skip
        """A component by itself."""
        item = timed.item
        chain = 1
        if pause is not None:
            chain = links(reduced, item.shots)
            reduced = chained(reduced, chain, pause)
        carried = set(reduced.circuit.parameters)
        own = {parameter: column for parameter, column in values.items() if parameter in carried}
        repeats = detunings(timed.sets, item.shots) if reduced.slow else 1
        rows, shots = timed.sets * repeats, -(-item.shots // (repeats * chain))
        # Without parameters all rows are one.
        size = (rows, shots) if own or reduced.slow else (1, rows * shots)
        method, approximation = chosen(
            where, reduced, source, suited(reduced, own, source), size, limits
        )  # fmt: skip
        if method.name == "pauli_frames":
            repeats = 1
        else:
            own = self._turned(own, reduced.slow, timed.sets, repeats, rng)
        return Part(
            timed.sets, item.shots, reduced, repeats, chain, own, source, method, None,
            approximation and f"{where}: {approximation}",
        )  # fmt: skip

    def timed(self, unit: WorkUnit) -> Iterator[TimedItem]:
        """The items of a unit, one after the other, with their times and not made ready for simulation.

        Raises:
            JobError: an item can't be run here; the message names it.
        """
        check(replace(unit, items=()), self.device)
        for number, item in enumerate(unit.items):
            check(replace(unit, items=[item]), self.device, number)
            yield self._timed(unit, item)

    def _timed(self, unit: WorkUnit, item: WorkItem) -> TimedItem:
        own = expanded(item.circuit) if self.device.simulator else item.circuit
        circuit, stretch_values = resolve(own, self.durations)
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
