"""The engine of an emulated QPU: runs units of work on one device, piece by piece."""

from __future__ import annotations

import secrets
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.core.estimate import JOB_OVERHEAD_SECONDS, sub_job, together
from ketline.qpus.checks import check
from ketline.qpus.counts import Shots, pack, unpack
from ketline.qpus.drift import calibration_time, drifted, steps
from ketline.qpus.driver import Admission, Progress
from ketline.qpus.iq import placed, points, sides
from ketline.qpus.items import ReadyItem, TimedItem, Workbench, readers
from ketline.qpus.methods import PIECE_SECONDS, check_time
from ketline.qpus.recall import Found
from ketline.qpus.run import Clock, Simulation, calls, now
from ketline.qpus.timing import text
from ketline.units.work import ItemOutcome, Outcome

if TYPE_CHECKING:
    from ketline.config import QpuSettings
    from ketline.units.device import Device
    from ketline.units.work import WorkUnit

_FIXED_SECONDS = 0.003
_ADMITTED_INSTRUCTIONS = 500
"""Made ready at a time for admission, where nothing is gained by running circuits together."""
_benches: dict[int, Workbench] = {}


@dataclass(slots=True)
class _Started:
    steps: Iterator[None]
    done: int
    total: int
    outcome: Outcome | None = None


class Engine:
    """Runs units of work on one device, which drifts if its settings say so.

    Args:
        device: the device as it was published.
        settings: pace, seed, drift and memory of the QPU.
    """

    def __init__(self, device: Device, settings: QpuSettings) -> None:
        self._settings = settings
        self._published = device
        self._calibrated_at = calibration_time(device, time.time())
        self._step = 0
        self._bench = Workbench(device)
        self._seeds = np.random.SeedSequence(settings.seed)
        self._units: dict[str, _Started] = {}

    def restore(self, device: Device, at: float) -> None:
        """A calibration made the device what it is published as."""
        self._published, self._calibrated_at, self._step = device, at, 0
        self._bench = Workbench(device)

    def drift(self, at: float) -> Device:
        """Let the device drift up to a time, and return it as it is then."""
        step = steps(self._settings, self._calibrated_at, at)
        if step != self._step:
            self._step = step
            self._bench = Workbench(drifted(self._published, self._settings, self._calibrated_at, step))
        return self._bench.device

    def start(self, unit: WorkUnit) -> str:
        """Begin a unit and return its handle."""
        handle = secrets.token_hex(8)
        self.drift(time.time())
        seed = self._seed(unit)
        started = _Started(iter(()), 0, unit.executions)
        started.steps = self._mock(unit, seed, started) if unit.mock else self._run(unit, seed, started)
        self._units[handle] = started
        return handle

    def poll(self, handle: str) -> Progress:
        """Compute for about a quarter of a second, and tell how far the unit is."""
        started = self._units[handle]
        until = time.monotonic() + PIECE_SECONDS / 2
        try:
            while started.outcome is None and time.monotonic() < until:
                next(started.steps, None)
        except Exception:
            del self._units[handle]
            raise
        return Progress("running" if started.outcome is None else "done", started.done, started.total)

    def outcome(self, handle: str) -> Outcome:
        """What a unit that is done gave; it is forgotten."""
        outcome = self._units.pop(handle).outcome
        if outcome is None:
            raise KeyError(handle)
        return outcome

    def stop(self, handle: str) -> None:
        """Give a unit up."""
        self._units.pop(handle, None)

    def _seed(self, unit: WorkUnit) -> np.random.SeedSequence:
        given: Any = unit.simulator.get("seed_simulator")
        if unit.seed is not None:
            return np.random.SeedSequence(unit.seed)
        if given is not None:
            return np.random.SeedSequence(int(given))
        return self._seeds.spawn(1)[0]

    def _run(self, unit: WorkUnit, seed: np.random.SeedSequence, started: _Started) -> Iterator[None]:
        settings = self._settings
        clock = Clock(settings.pace, JOB_OVERHEAD_SECONDS)
        rng = np.random.default_rng(seed.spawn(1)[0])
        drawn = np.random.default_rng(seed)
        outcomes: list[ItemOutcome] = []
        approximations: list[str] = []
        seconds = 0.0
        for first, items in self._bench.batches(unit, settings.memory_bytes, rng):
            seconds += sum(ready.simulation_seconds for ready in items)
            check_time(seconds)
            simulation = Simulation(items, drawn, settings.memory_bytes, settings.name)
            yield from self._simulate(simulation, first, clock, started)
            for ready, shots in zip(items, simulation.shots, strict=True):
                outcomes.append(self._item(unit, ready, shots, drawn))
                approximations += ready.approximations
            del items, simulation, ready, shots  # before the next ones are made
        started.outcome = Outcome(outcomes, clock.all_spans(), approximations)

    def _simulate(
        self, simulation: Simulation, first: int, clock: Clock, started: _Started
    ) -> Iterator[None]:  # fmt: skip
        """Run all calls of some items, the first of which is the unit's item ``first``."""
        items = simulation.items
        yield from _hold(clock)
        done = float(started.done)
        for group in calls(items):
            begun = now()
            simulation.perform(group)
            for piece in group:
                ready = items[piece.item]
                part = ready.parts[piece.part]
                rows = piece.last - piece.first if part.values else 1
                share = piece.shots * rows / (part.row_shots * part.rows * len(ready.parts))
                done += share * ready.sets * ready.item.shots
                clock.ran(share * ready.device_seconds)
            started.done = round(done)
            yield from _hold(clock)
            ended = now()
            for piece in group:
                repeats = items[piece.item].parts[piece.part].repeats
                clock.mark(replace(piece, item=first + piece.item), repeats, begun, ended)
            yield
        for number, ready in enumerate(items, first):
            if not ready.parts:
                # Nothing is read, so nothing was simulated; the device would have run it all the same.
                begun = now()
                clock.ran(ready.device_seconds)
                yield from _hold(clock)
                clock.whole(number, ready.sets, begun, now())

    def _item(
        self, unit: WorkUnit, ready: ReadyItem, shots: Shots, rng: np.random.Generator
    ) -> ItemOutcome:  # fmt: skip
        outcome = self._timed(unit, ready)
        if unit.meas_level == "classified":
            outcome.bits = shots.bits
            return outcome
        reader = readers(ready.item.circuit)
        for name, places in ready.registers.items():
            bits = unpack(shots.bits[name], len(places))
            qubits = np.asarray([reader.get(place, 0) for place in places], dtype=np.int64)
            error = np.asarray([self._misreads(unit, int(q)) for q in qubits])
            values = points(bits, error, rng, classified=False)
            if unit.meas_level == "both":
                outcome.bits[name] = pack(sides(values))
            seen = placed(values, qubits, zlib.crc32(self._bench.device.name.encode()))
            outcome.iq[name] = np.mean(seen, axis=1) if unit.meas_level == "avg_kerneled" else seen
        return outcome

    def _misreads(self, unit: WorkUnit, qubit: int) -> float:
        # A noise model that was given has done its own misreading.
        if not unit.noise or self._bench.noise is None or unit.simulator.get("noise_model") is not None:
            return 0.0
        error = self._bench.noise.readout(qubit)
        return 0.0 if error is None else float(error.probabilities[0][1])

    def _timed(self, unit: WorkUnit, ready: TimedItem) -> ItemOutcome:
        return ItemOutcome(
            circuit_duration_seconds=self._bench.durations.seconds(ready.schedule.duration),
            timing=text(ready.schedule) if unit.scheduler_timing else None,
            stretch_values=ready.stretch_values if unit.stretch_values else None,
        )

    def _mock(self, unit: WorkUnit, seed: np.random.SeedSequence, started: _Started) -> Iterator[None]:
        """Random data of the right shape, timing as for the real thing."""
        rng = np.random.default_rng(seed)
        clock = Clock(0.0, 0.0)
        outcomes = []
        for number, ready in enumerate(self._bench.timed(unit)):
            begun = now()
            outcome = self._timed(unit, ready)
            for name, places in ready.registers.items():
                shape = (ready.sets, ready.item.shots, len(places))
                bits: NDArray[np.uint8] = rng.integers(0, 2, shape, dtype=np.uint8)
                if unit.meas_level in ("classified", "both"):
                    outcome.bits[name] = pack(bits)
                if unit.meas_level != "classified":
                    values = points(bits, np.full(len(places), 0.01), rng, classified=True)
                    outcome.iq[name] = values.mean(axis=1) if unit.meas_level == "avg_kerneled" else values
            outcomes.append(outcome)
            clock.whole(number, ready.sets, begun, now())
            started.done += ready.sets * ready.item.shots
            yield
        started.outcome = Outcome(outcomes, clock.all_spans())


def admit(unit: WorkUnit, device: Device, settings: QpuSettings) -> Admission:
    """Check that a unit can be run on a device and estimate what it takes.

    Raises:
        JobError: it can't be run.
    """
    bench = _bench(device)
    if unit.mock:
        check(unit, device)
        return Admission(_FIXED_SECONDS, 0, ("mock",) * len(unit.items), together(()))
    simulation, memory = _FIXED_SECONDS, 0.0
    methods: list[str] = []
    circuits: list[tuple[int, float, float]] = []
    pause = unit.pause_seconds(device)
    for one, executions in _found(unit, bench, settings.memory_bytes):
        simulation += one.simulation_seconds
        memory = max(memory, one.memory_bytes)
        methods.append(one.methods)
        circuits.append((executions, pause, one.shot_seconds - pause))
    check_time(simulation)
    usage = sub_job(circuits)
    return Admission(
        qpu_seconds=max(simulation, settings.pace * usage.seconds), memory_bytes=round(memory),
        methods=tuple(methods), usage=usage,
    )  # fmt: skip


def _found(unit: WorkUnit, bench: Workbench, memory_bytes: int) -> Iterator[tuple[Found, int]]:
    """What each item takes, and its executions."""
    known = bench.recall.unit(unit, memory_bytes)
    if known is not None:
        check(unit, bench.device)
        for item, found in zip(unit.items, known, strict=True):
            yield found, len(item.parameter_values) * item.shots
        return
    rng = np.random.default_rng(0)
    for _, items in bench.batches(unit, memory_bytes, rng, _ADMITTED_INSTRUCTIONS):
        for ready in items:
            yield bench.recall.keep(unit, ready, memory_bytes), ready.sets * ready.item.shots
        del items, ready  # before the next ones are made


def _hold(clock: Clock) -> Iterator[None]:
    """Wait for as long as the QPU is to be held, in short pieces."""
    while (owed := clock.owed()) > 0:
        time.sleep(min(owed, PIECE_SECONDS / 5))
        yield


def _bench(device: Device) -> Workbench:
    """The workbench of a device in this process; a worker sees few devices, again and again."""
    found = _benches.get(id(device))
    if found is None or found.device is not device:
        if len(_benches) > 8:
            _benches.clear()
        found = _benches[id(device)] = Workbench(device)
    return found
